"""``trainer``: dispatches to the command, importing only its module, and prints errors in one line."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib import metadata

from tools.limits import refusal
from tools.streams import say, unbroken_output

COMMANDS = {
    "run": ("tools.run", "Run", "train under a budget, timed, and write a report"),
    "study": ("tools.study", "Study", "run a grid of settings over seeds; write its tables and its page"),
    "profile": ("tools.profile", "Profile", "find what bounds a run and what to change; write a page"),
    "tune": ("tools.tune", "Tune", "find the fastest settings that don't change what is learned"),
    "convert": ("tools.convert", "Convert", "convert images to a data set: .beton, or .wds tar shards"),
    "inspect": ("tools.inspect", "Inspect", "show a data set's card and a sheet of its images"),
    "verify": ("tools.verify", "Verify", "read every sample of a data set and name the broken ones"),
    "report": ("tools.report", "Report", "write a page about one run, or several side by side"),
    "evaluate": ("tools.evaluate", "Evaluate", "measure a run's network on labeled images"),
    "predict": ("tools.predict", "Predict", "predict classes, labels or values of images"),
    "export": ("tools.export", "Export", "write a run's network for others: safetensors, torch.export, ONNX"),
    "range": ("tools.range", "Range", "test which learning rates a recipe can train at"),
    "score": ("tools.score", "Score", "score every training sample, for samplers and selections by scores"),
    "advise": ("tools.advise", "Advise", "estimate the speed-up of selecting from larger pools"),
    "augment-gallery": ("tools.gallery", "Gallery", "show augmented images of a data set"),
    "list": ("tools.listing", "List", "show every part, its options and the recipes"),
    "bench": ("tools.bench.command", "Bench", "benchmark this project against peers, interleaved"),
}
"""Each command's module, class and description."""

LASTING = ("run", "study", "convert", "score", "export", "range")
"""Commands that write files, and so continue if output can't be printed any more."""

_STOPPING_THEMSELVES = ("run", "study", "bench")
"""Commands that have children or ranks to stop."""


def usage() -> str:
    """Return the text of ``trainer --help``."""
    lines = [f"  {name:<16} {what}" for name, (_, _, what) in COMMANDS.items()]
    return "\n".join(
        (
            "usage: trainer COMMAND [OPTIONS]",
            "",
            "Train image models under a compute budget.",
            "",
            "commands:",
            *lines,
            "",
            "`trainer COMMAND --help` shows a command's options.",
        )
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        The exit status: 0 success; 1 the command found damage, or another rank ended; 2 invalid usage or
        input; 3 the loss diverged; 4 data changed, or the disk failed, during reading; 130 stopped by a
        signal.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in COMMANDS:
        return _run(f"trainer {words[0]}", lambda: _carry_out(words[0], words[1:]))
    if not words or words[0] in ("-h", "--help", "help"):
        return _run("trainer", lambda: _show(usage()))
    if words[0] == "--version":
        return _run("trainer", lambda: _show(f"budgetrain {metadata.version('budgetrain')}"))
    say(f"trainer: command must be one of {', '.join(COMMANDS)}; got {words[0]!r}")
    return 2


def _run(prog: str, work: Callable[[], int]) -> int:
    try:
        return work()
    except (MemoryError, ImportError, RuntimeError, OSError) as error:
        refused = refusal(error)
        if refused is None:
            raise
        say(f"{prog}: {refused}")
        return 2


def _show(text: str) -> int:
    with unbroken_output():
        print(text)
    return 0


def _carry_out(name: str, words: list[str]) -> int:
    if "RANK" in os.environ:
        # The end of a rank is reported in one line of our own; torch would add a stack trace.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    # Imported here: torch alone takes seconds, which --help and a mistyped command should not.
    from rich.console import Console

    from pipeline.bus_error import EXIT_STATUS as CHANGED
    from pipeline.errors import ChangedDataError, one_line
    from tools.arguments import UsageError, below_home, parse
    from tools.caches import leave_out_unwritable
    from tools.terminal import counted_warnings, take_any_text
    from trainer.errors import BudgetrainError, DivergedError, InterruptedRunError, PeerError
    from trainer.interrupt import stop_on_signal

    take_any_text()
    leave_out_unwritable()
    words = [below_home(word) for word in words]
    prog = f"trainer {name}"
    module, class_name, _ = COMMANDS[name]
    stop = None
    try:
        with contextlib.ExitStack() as stack:
            if name not in _STOPPING_THEMSELVES:
                stop = stack.enter_context(stop_on_signal())
            stack.enter_context(counted_warnings(prog))
            stack.enter_context(unbroken_output(goes_on=name in LASTING))
            command_type = getattr(importlib.import_module(module), class_name)
            # The options of `run` depend on the chosen parts, so it parses its words itself.
            read = getattr(command_type, "from_words", None)
            command = read(words, prog) if read else parse(command_type, words, prog)
            # Printed text has no markup or emoji codes: users' names may look like either.
            status: int = command.execute(Console(markup=False, emoji=False))
        return status
    except (*BudgetrainError, UsageError) as error:
        say(f"{prog}: {one_line(str(error))}")
        if isinstance(error, DivergedError):
            return 3
        if isinstance(error, PeerError):
            return 1
        if isinstance(error, ChangedDataError):
            return CHANGED
        return 130 if isinstance(error, InterruptedRunError) else 2
    except KeyboardInterrupt:
        by = "SIGINT" if stop is None or stop.by is None else stop.by
        said = "interrupted" if by == "SIGINT" else f"stopped by {by}; give the same command again"
        say(f"{prog}: {said}")
        return 130


if __name__ == "__main__":  # `torchrun -m tools.cli run ...`
    sys.exit(main())
