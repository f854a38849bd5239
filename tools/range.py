"""``trainer range``: the learning rate range test of a recipe."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console

from pipeline.formats.strict_json import dumps
from pipeline.formats.whole import write_whole
from tools.convert import image_progress
from tools.outputs import check_output_folder
from tools.recipe_line import read_run
from trainer import config, recipe
from trainer.lr_range import RangeOptions, RangeResult, range_test

SCHEMA = 1
DESCRIPTION = """Find the learning rates that a recipe can be trained at: a learning rate range test.

Takes the command line of `trainer run`. The rate rises exponentially from --first to --last, one step at a
time, and after each step the loss on the same held-out images is measured. Training is useful from the rate
where that loss begins to fall up to the one where it rises again, which is printed as the maximum. The curve
is drawn, and no run folder is made.

  trainer range cifar10 --optimizer adamw --first 1e-5 --last 0.1
"""


@dataclass(frozen=True)
class Options(RangeOptions):
    """Options of a range test, and where to write."""

    out: Path | None = None
    """Folder for range.png and range.json; by default range-RECIPE in the folder for runs."""


@dataclass(frozen=True)
class Range:
    """A run to be tested."""

    run: config.Run
    options: Options

    @classmethod
    def from_words(cls, words: Sequence[str], prog: str) -> Range:
        """Parse a command line: that of `trainer run`, and the test's own options.

        Raises
        ------
        UsageError, RunError
            As `read_run` does.
        """
        run, options = read_run(words, prog, DESCRIPTION, Options)
        return cls(run, options)

    def execute(self, console: Console) -> int:
        """Test, print the rates, and draw the curve."""
        options = self.options
        out = options.out or self.run.runs_dir / f"range-{self.run.recipe}"
        check_output_folder(out)
        with tempfile.TemporaryDirectory() as scratch, image_progress(Console(stderr=True)) as progress:
            task = progress.add_task("steps", total=options.steps + 1)

            def converting(name: str, done: int, total: int) -> None:
                progress.update(task, description=f"converting {name}", completed=done, total=total)

            def stepped(done: int, total: int) -> None:
                progress.update(task, description="steps", completed=done, total=total)

            result = range_test(self.run, options, Path(scratch), converting, stepped)
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / "range.json", (dumps(self._table(result), indent=1) + "\n").encode())
        write_whole(out / "range.png", picture(result, self.run.recipe))
        for line in (*verdict(result, options), f"curve: {out / 'range.png'}"):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        return 0

    def _table(self, result: RangeResult) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "options": {item.name: getattr(self.options, item.name) for item in fields(RangeOptions)},
            "lowest": result.lowest,
            "highest": result.highest,
            "lr": result.rates.tolist(),
            "train_loss": result.train.tolist(),
            "held_out_loss": result.held_out.tolist(),
            "smoothed": result.smoothed.tolist(),
            "run": recipe.to_table(self.run),
        }


def verdict(result: RangeResult, options: RangeOptions) -> list[str]:
    """Return what the test found, a line each."""
    if result.lowest is None:
        return [
            f"the held-out loss doesn't fall between {options.first:g} and {result.rates[-1]:.3g}: give a "
            "lower --first, or more --steps"
        ]
    lines = [f"the held-out loss falls from a learning rate of {result.lowest:.3g} on"]
    if result.highest is not None:
        lines.append(
            f"maximum: {result.highest:.3g}, beyond which it rises: --optimizer.lr {result.highest:.2g}"
        )
    elif len(result.rates) <= options.steps:
        lines.append(
            f"maximum: {result.rates[-1]:.3g}, after which it is not finite: --optimizer.lr "
            f"{result.rates[-1]:.2g} at most"
        )
    else:
        lines.append(f"it doesn't rise again up to {options.last:g}: a higher --last shows where it does")
    return lines


def picture(result: RangeResult, title: str) -> bytes:
    """Return the curve as a PNG."""
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(result.rates, result.train, color="#a1a1aa", linewidth=1, label="training batch")
    axes.plot(result.rates, result.held_out, color="#93c5fd", linewidth=1, label="held out")
    axes.plot(result.rates, result.smoothed, color="#1d4ed8", linewidth=2, label="held out, smoothed")
    for rate, name in ((result.lowest, "falls from"), (result.highest, "maximum")):
        if rate is not None:
            axes.axvline(rate, color="#b45309", linewidth=1, linestyle="--")
            axes.annotate(
                f" {name} {rate:.2g}",
                (rate, 1),
                xycoords=("data", "axes fraction"),
                va="top",
                color="#b45309",
            )
    smoothed = result.smoothed
    # What lies beyond the turn would leave the rest no room.
    top = max(smoothed[0], result.held_out[0]) * 1.25
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss, nats", ylim=(0, top))
    axes.set_title(f"Learning rate range test: {title}", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
