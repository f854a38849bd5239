"""TensorBoard's event files."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import MissingExtraError, UnwritableError
from trainer.sinks.protocol import Line, SinkContext, figures

FOLDER = "tensorboard"


@dataclass(frozen=True)
class TensorBoard:
    """Event files for TensorBoard in tensorboard/ of the run folder (extra: tensorboard).

    ``tensorboard --logdir runs`` shows them. Its relative times are those of the training clock.
    """

    def check(self) -> None:
        """Raise MissingExtraError where TensorBoard can't be imported."""
        try:
            import torch.utils.tensorboard  # noqa: F401
        except ImportError as error:
            raise MissingExtraError(
                f"sink tensorboard needs the package tensorboard, which can't be imported ({error}): pip "
                "install 'budgetrain[tensorboard]', or leave the sink out"
            ) from None

    def open(self, context: SinkContext) -> OpenTensorBoard:
        """Return the sink, in place of the event files that earlier sessions left."""
        return OpenTensorBoard(context)


class OpenTensorBoard:
    """Writes event files in a thread of TensorBoard's."""

    def __init__(self, context: SinkContext) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = context.path / FOLDER
        self._started = context.started
        try:
            for stale in folder.glob("events.out.tfevents.*"):
                stale.unlink()
            self._writer = SummaryWriter(str(folder), flush_secs=30)
        except OSError as error:
            raise UnwritableError(f"{folder} can't be written: {error.strerror or error}") from None
        for name in ("steps.jsonl", "evaluations.jsonl"):
            for line in context.earlier(name):
                self.step(line)

    def step(self, line: Line) -> None:
        """Add a point to each curve of training."""
        for name, value in figures(line):
            # By the training clock, so that a run that was interrupted shows no gap.
            self._writer.add_scalar(name, value, line["step"], self._started + line["seconds"])

    evaluation = step

    def close(self) -> None:
        """Write what waits."""
        self._writer.close()
