"""``trainer advise``: potential speed-up of selecting from larger pools, given the cost of scoring."""

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
from pipeline.text import parsed, read_text
from tools.outputs import check_output
from trainer.errors import RunError
from trainer.selection.pareto import Pareto


@dataclass(frozen=True)
class Advise:
    """Show the potential speed-up of a selection at several ratios, by a Pareto model.

    The model is that of Kocyigit (2023), section 4.5: the best x per cent of a pool hold a fraction
    F(x) = 1 - (x_min / x)^alpha of its utility (eq. 4.5). Scoring `ratio` samples to train on one costs
    1 + ratio * cost instead of ratio, and gains F(100 / ratio) of the utility of training on all of them:

      speed-up = ratio * F(100 / ratio) / (1 + ratio * cost)

    Kocyigit (2023) states F and shows the speed-up in a figure, without its formula; the formula is our
    interpretation.

    Not known are the distribution of utility over your samples (alpha and x_min are not measured; the
    defaults are the figure's), and how well a score predicts it. The score is assumed to be perfect, so these
    are the model's upper bounds: low resolution, noisy labels and late training reduce them. Only runs show
    whether a method is worth it at your budget.
    """

    run: Annotated[
        tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="[RUN]", help_behavior_hint="")
    ] = None
    """A run folder, to use the cost of scoring measured in that run."""

    cost: float | None = None
    """Cost of scoring a sample relative to training on one, if no run folder is given. Typical values are 1/3
    at full resolution and 0.05 at 96 of 224 pixels."""

    ratios: tuple[float, ...] = (1.5, 2, 3, 4, 5, 8, 10)
    """Candidates scored per trained sample."""

    alpha: float = 1.16
    """Exponent of the distribution: larger if few samples hold most of the utility."""

    x_min: float = 6.0
    """Percentage of a pool below which nothing is gained."""

    json: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Write the figures to this file too."""

    def execute(self, console: Console) -> int:
        """Print the table, and write the file if requested.

        Raises
        ------
        RunError
            If the cost of scoring is not known, or an option is out of range.
        UsageError
            If ``json`` can't be written.
        """
        if self.json is not None:
            check_output("--json", self.json, "advice.json", mark=b'"speed_up"')
        told = advice(self.scoring_cost(), self.ratios, Pareto(self.alpha, self.x_min))
        _show(told, console)
        if self.json is not None:
            write_whole(self.json, dumps(told, indent=2).encode())
        return 0

    def scoring_cost(self) -> float:
        """Return the cost of scoring a sample relative to training on one, given or measured by the run."""
        if (self.run is None) == (self.cost is None):
            given = "neither" if self.run is None else "both"
            raise RunError(f"the cost of scoring must come from a run folder or from --cost; got {given}")
        cost = measured_cost(self.run) if self.run is not None else self.cost
        if cost is None or not 0 <= cost < math.inf:
            raise RunError(f"the cost of scoring must be at least 0 and finite; got {cost}")
        return cost


def measured_cost(run: Path) -> float:
    """Return the cost of scoring in a run folder's ledger.

    Raises
    ------
    RunError
        If there is no ledger, or it didn't measure this cost.
    """
    path = run / "ledger.json"
    if not run.is_dir():
        raise RunError(f"a run must be a folder made by `trainer run`; got {run}: name one, or give --cost")
    try:
        cost = parsed(json.loads, read_text(path))["score_cost"]
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
    """Return the model's results, as written to the file.

    Returns
    -------
    dict
        schema, score_cost, the model's alpha and x_min, one row per ratio with the fraction of a pool trained
        on, its utility, scoring relative to training, and the speed-up; and the best ratio.

    Raises
    ------
    RunError
        If there is no ratio, or one below 1.
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
                "use": pareto.fraction(100 / ratio),
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
