"""``trainer advise``: what selecting from larger pools could save, given what scoring costs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from pipeline.formats.strict_json import dumps
from pipeline.formats.whole import write_whole
from tools.outputs import check_output
from trainer.errors import RunError
from trainer.selection.pareto import Pareto


@dataclass(frozen=True)
class Advise:
    """Show the speed-up that a selection could reach at several ratios, by a Pareto model.

    The model is that of section 4.5 of the thesis that foms is from: the best x per cent of a pool hold a
    share F(x) = 1 - (x_min / x)^alpha of its use (eq. 4.5). Scoring `ratio` samples to train on one costs
    1 + ratio * cost in place of ratio, and gains F(100 / ratio) of what training on all of them would:

      speed-up = ratio * F(100 / ratio) / (1 + ratio * cost)

    The thesis states F and shows the speed-up in a figure, without its formula; the formula is our reading.

    What it can't know: how use is spread over your samples (alpha and x_min are not measured; the defaults
    are the figure's), and how well a score finds it. The score is taken to be perfect, so these are the
    model's upper bounds: low resolution, noisy labels and a late stage of training leave less. Whether a
    method is worth it at your budget is told by runs.
    """

    run: Annotated[
        tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="[RUN]", help_behavior_hint="")
    ] = None
    """A run folder, to take the cost of scoring that was measured there."""

    cost: float | None = None
    """Cost of scoring a sample relative to training on one, where no run folder is given. Usual are 1/3 at
    full resolution and 0.05 at 96 of 224 pixels."""

    ratios: tuple[float, ...] = (1.5, 2, 3, 4, 5, 8, 10)
    """Candidates scored for each trained sample."""

    alpha: float = 1.16
    """Exponent of the distribution: larger where few samples hold most of the use."""

    x_min: float = 6.0
    """Per cent of a pool below which nothing is gained."""

    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Write the figures to this file too."""

    def execute(self, console: Console) -> int:
        """Print the table, and write the file where asked.

        Raises
        ------
        RunError
            When the cost of scoring is not known, or an option makes no sense.
        UsageError
            When ``json`` isn't a file to write.
        """
        if self.json is not None:
            check_output("--json", self.json, "advice.json", mark=b'"speed_up"')
        told = advice(self.scoring_cost(), self.ratios, Pareto(self.alpha, self.x_min))
        _show(told, console)
        if self.json is not None:
            write_whole(self.json, dumps(told, indent=2).encode())
        return 0

    def scoring_cost(self) -> float:
        """Cost of scoring a sample relative to training on one, as told or as measured by the run."""
        if (self.run is None) == (self.cost is None):
            given = "neither" if self.run is None else "both"
            raise RunError(f"the cost of scoring must come from a run folder or from --cost; got {given}")
        cost = measured_cost(self.run) if self.run is not None else self.cost
        if cost is None or not 0 <= cost < math.inf:
            raise RunError(f"the cost of scoring must be at least 0 and finite; got {cost}")
        return cost


def measured_cost(run: Path) -> float:
    """What a run folder's ledger says of the cost of scoring.

    Raises
    ------
    RunError
        When there is no ledger, or none that measured it.
    """
    path = run / "ledger.json"
    if not run.is_dir():
        raise RunError(f"a run must be a folder made by `trainer run`; got {run}: name one, or give --cost")
    try:
        cost = json.loads(path.read_text(encoding="utf-8"))["score_cost"]
    except (OSError, ValueError, KeyError, TypeError):
        raise RunError(
            f"a finished run's folder must hold ledger.json with score_cost; {run} doesn't: "
            "finish the run, or give --cost"
        ) from None
    if not isinstance(cost, int | float) or isinstance(cost, bool):
        raise RunError(
            f"score_cost must have been measured; {path} has {cost!r}: "
            "take a run whose selection scores, or give --cost"
        )
    return float(cost)


def advice(cost: float, ratios: tuple[float, ...], pareto: Pareto) -> dict[str, Any]:
    """The model's figures, as they stand in the file.

    Returns
    -------
    dict
        schema, score_cost, the model's alpha and x_min, a row for each ratio with what is trained of a pool,
        the use it holds, scoring as a part of training, and the speed-up; and the best ratio.

    Raises
    ------
    RunError
        When there is no ratio, or one below 1.
    """
    if not ratios:
        raise RunError("ratios must name at least one ratio; got none")
    for ratio in ratios:
        if not 1 <= ratio < math.inf:
            raise RunError(f"ratios must be at least 1 and finite; got {ratio:g}")
    best = pareto.best_ratio(cost)
    return {
        "schema": 1,
        "score_cost": cost,
        **asdict(pareto),
        "rows": [
            {
                "ratio": ratio,
                "trained": 1 / ratio,
                "use": pareto.share(100 / ratio),
                "scoring": cost * ratio,
                "speed_up": pareto.speed_up(ratio, cost),
            }
            for ratio in ratios
        ],
        "best": {"ratio": best, "speed_up": pareto.speed_up(best, cost)},
    }


def _show(told: dict[str, Any], console: Console) -> None:
    title = "Speed-up possible with a perfect score (Pareto model, Kocyigit 2023, section 4.5)"
    table = Table(title=title, title_justify="left")
    headings = ("ratio", "trained of a pool", "use they hold", "scoring / training", "speed-up")
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in told["rows"]:
        parts = (f"{row['trained']:.1%}", f"{row['use']:.1%}", f"{row['scoring']:.1%}")
        table.add_row(f"{row['ratio']:g}", *parts, f"{row['speed_up']:.2f}x")
    console.print(table)
    best = told["best"]
    pays = best["ratio"] > 1 and best["speed_up"] > 1
    verdict = f"best ratio: {best['ratio']:.2f}, {best['speed_up']:.2f}x" if pays else "no ratio pays"
    console.print(
        f"scoring a sample costs {told['score_cost']:.3g} of training on one; "
        f"alpha {told['alpha']:g}, x_min {told['x_min']:g}%\n{verdict}",
        highlight=False,
        soft_wrap=True,
    )
