"""Weights & Biases."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.errors import MissingExtraError
from trainer.errors import RunError
from trainer.sinks.protocol import Line, SinkContext, figures


@dataclass(frozen=True)
class WeightsAndBiases:
    """Weights & Biases, offline unless asked otherwise (extra: wandb).

    Offline, everything stays in wandb/ of the run folder until ``wandb sync`` uploads it.
    """

    mode: Literal["offline", "online"] = "offline"
    """offline: write to the run folder, for ``wandb sync``. online: upload, by the account of ``wandb
    login``."""
    project: str = "budgetrain"
    """Project that the run belongs to."""
    entity: str | None = None
    """User or team; None takes the account's own."""

    def __post_init__(self) -> None:
        if self.mode not in ("offline", "online"):
            raise RunError(f"sinks.wandb.mode must be offline or online; got {self.mode!r}")

    def check(self) -> None:
        """Raise MissingExtraError where wandb can't be imported."""
        try:
            import wandb  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(
                f"sink wandb needs the package wandb, which can't be imported ({error}): pip install "
                "'budgetrain[wandb]', or leave the sink out"
            ) from None

    def open(self, context: SinkContext) -> OpenWeightsAndBiases:
        """Return the sink; offline, in place of what earlier sessions left.

        Raises
        ------
        RunError
            When wandb refuses, as online without an account.
        """
        return OpenWeightsAndBiases(self, context)


class OpenWeightsAndBiases:
    """Hands figures to wandb's own process."""

    def __init__(self, config: WeightsAndBiases, context: SinkContext) -> None:
        import wandb

        # The same in every session of a run: its points then belong together.
        own = f"{context.path.resolve().name} {context.started}"
        run_id = hashlib.sha256(own.encode()).hexdigest()[:16]
        if config.mode == "offline":
            for stale in (context.path / "wandb").glob(f"offline-run-*-{run_id}"):
                shutil.rmtree(stale, ignore_errors=True)
        try:
            self._run: Any = wandb.init(
                project=config.project,
                entity=config.entity,
                name=context.path.resolve().name,
                id=run_id,
                resume="allow",
                dir=str(context.path),
                mode=config.mode,
                config=dict(context.table),
                settings=wandb.Settings(silent=True, console="off"),
            )
        except Exception as error:  # wandb has errors of many kinds, of its service and of the network.
            raise RunError(
                f"sink wandb must be able to begin a run; it can't ({' '.join(str(error).split())[:200]}): "
                "give --sinks.wandb.mode offline, or leave the sink out"
            ) from error
        if config.mode == "offline":
            lines = [*context.earlier("steps.jsonl"), *context.earlier("evaluations.jsonl")]
            # Of one step, its own figures come before its evaluation; steps must only increase.
            for line in sorted(lines, key=lambda line: line["step"]):
                self.step(line)

    def step(self, line: Line) -> None:
        """Log figures; online, wandb itself drops points of steps that it has already."""
        self._run.log(dict(figures(line)), step=line["step"])

    evaluation = step

    def close(self) -> None:
        """Hand over what waits, and end wandb's run."""
        self._run.finish()
