"""``tools/gpu-check``: all checks that need a GPU, with results in one folder with a page."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.formats.strict_json import dumps
from pipeline.formats.whole import write_whole
from tools.arguments import UsageError, parse
from tools.gpu import page, prepare
from tools.gpu.sections import SECTIONS, Section
from tools.gpu.supervise import Result, Supervisor
from tools.streams import say


@dataclass(frozen=True)
class GpuCheck:
    """Check this machine's GPU: correctness first, then rates and bottlenecks.

    Writes a folder with index.html, results.json, console.log and a short run: send it with a report. Nothing
    is sent automatically. Exit status 0 without problems, 1 with problems, 2 if the check can't start.
    """

    minutes: float = 8.0
    """Approximate time limit in minutes, divided among the sections; the last may be left out."""

    out: Path | None = None
    """Folder to write; by default a new one in the current folder, named by date and time."""

    only: tuple[str, ...] = ()
    """Sections to run, of machine, parity, waits, streams, accounts, resume, cuda_tests, plain, loop,
    augmentation, benches, training; all of them by default."""

    data: Path | None = None
    """Training set of a converted CIFAR-10 for the short training; by default, synthetic images are used."""

    smoke: bool = False
    """Run everything at minimum size on the CPU, to test the check itself."""

    prepared: Path | None = None
    """Folder made by --prepare, for a machine without network."""

    prepare: Path | None = None
    """Check nothing; fill this folder with packages and data for a machine without network."""

    def __post_init__(self) -> None:
        if not self.minutes > 0:
            raise UsageError(f"--minutes must be above 0; got {self.minutes:g}")
        known = [section.name for section in SECTIONS]
        for name in self.only:
            if name not in known:
                raise UsageError(f"--only must be of {', '.join(known)}; got {name!r}")
        for option, path in (("--data", self.data), ("--prepared", self.prepared)):
            if path is not None and not path.exists():
                raise UsageError(f"{option} must be there; {path} isn't")

    def execute(self, console: Console) -> int:
        """Run the sections, and write results.json and the page after each."""
        if self.prepare is not None:
            prepare.prepare(self.prepare, lambda line: console.print(line, soft_wrap=True))
            return 0
        self._check_machine()
        began = datetime.now(UTC)
        out = self._folder(began)
        chosen = [section for section in SECTIONS if not self.only or section.name in self.only]
        results: dict[str, Any] = {
            "schema": page.SCHEMA,
            "began": began.isoformat(timespec="seconds"),
            "minutes": self.minutes,
            "smoke": self.smoke,
            "command": " ".join(["tools/gpu-check", *sys.argv[1:]]),
            "sections": {},
        }

        def tell(section: Section, result: Result) -> None:
            results["sections"][section.name] = result
            console.print(line_of(section, result), highlight=False, soft_wrap=True)
            for problem in result.get("problems", ()):
                console.print(f"    {problem}", highlight=False, soft_wrap=True)
            _write(out, results)

        console.print(f"writing {out}", highlight=False, soft_wrap=True)
        Supervisor(
            chosen,
            60 * self.minutes,
            out,
            device="cpu" if self.smoke else "cuda",
            smoke=self.smoke,
            data=self._data(),
            environment=self._environment(),
            tell=tell,
        ).run()
        console.print(f"{page.verdict(results)}: {out / 'index.html'}", highlight=False, soft_wrap=True)
        return 0 if page.sound(results) else 1

    def _check_machine(self) -> None:
        if self.smoke:
            return
        import torch

        if not torch.cuda.is_available():
            raise UsageError(
                f"the GPU check needs a CUDA device, and torch {torch.__version__} finds none; --smoke tries "
                "the check itself on a CPU"
            )

    def _folder(self, began: datetime) -> Path:
        out = self.out or Path(f"gpu-check-{began:%Y%m%d-%H%M%S}")
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(f"--out must be a new or an empty folder; got {out}: name another")
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"--out must be a folder that can be made; got {out} ({error.strerror})"
            ) from None
        return out.absolute()

    def _data(self) -> Path | None:
        if self.smoke:
            return None
        carried = None if self.prepared is None else prepare.data_of(self.prepared)
        data = self.data or carried
        return None if data is None else data.absolute()

    def _environment(self) -> dict[str, str]:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if self.smoke:
            # Smoke mode is identical on every machine.
            environment |= {"CUDA_VISIBLE_DEVICES": ""}
        return environment


def line_of(section: Section, result: Result) -> str:
    """Return a section's line on the terminal."""
    seconds = f"{result['seconds']:.1f} s" if "seconds" in result else ""
    found = len(result.get("problems", ()))
    status = f"{found} problem{'' if found == 1 else 's'}" if found else result["status"]
    return f"{section.name:14s} {seconds:>8s}  {status}{': ' + result['error'] if 'error' in result else ''}"


def _write(out: Path, results: dict[str, Any]) -> None:
    write_whole(out / "results.json", (dumps(results, indent=1) + "\n").encode())
    write_whole(out / "index.html", page.page(results).encode())


def main() -> int:
    """Run the command line; return the exit status."""
    try:
        return parse(GpuCheck, sys.argv[1:], "gpu-check").execute(Console(markup=False, emoji=False))
    except UsageError as error:
        say(f"gpu-check: {error}")
        return 2
    except KeyboardInterrupt:
        say("gpu-check: interrupted; the folder holds what was found so far")
        return 130
