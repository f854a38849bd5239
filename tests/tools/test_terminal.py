"""Output of commands on terminals of any encoding, with names of any kind."""

from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from pipeline import DataError
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.device import resolve_device
from pipeline.sources import ArraySource
from tools.arguments import below_home
from tools.cli import main
from tools.terminal import counted_warnings
from trainer.errors import RunError
from trainer.hardware.device import choose_device
from trainer.parallel import World
from trainer.recipe import from_table

ODD = "[v2] [red]:cat: é 猫"


def make(path: Path, name: str = "noise") -> Path:
    images = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3), dtype=np.uint8)
    source = ArraySource(name, path.stem, "seeded noise", ("[b]", "[/x] 猫"), np.arange(64) % 2, images)
    convert(source, path, ConvertOptions())
    return path


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, data and all, whose every name looks like markup and isn't ASCII."""
    folder = tmp_path_factory.mktemp("odd") / "[" / "x] [/dim]"
    folder.mkdir(parents=True)
    make(folder / "train.beton", ODD)
    make(folder / "test.beton", ODD)
    return folder


def words(folder: Path, name: str = ODD) -> list[str]:
    return [
        *("run", "cifar10", "--data", str(folder / "train.beton"), "--model", "resnet8", "--device", "cpu"),
        *("--epochs", "1", "--budget", "1", "--batch-size", "32", "--threads", "1"),
        *("--runs-dir", str(folder / "runs"), "--name", name),
    ]


def test_nothing_that_a_user_wrote_is_markup(odd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(odd)) == 0
    told = capsys.readouterr()
    report = f"report: {odd}/runs/{ODD}/report.html"
    assert report in told.out
    assert ODD in told.out.partition("\n")[0]
    for again in (words(odd), ["report", f"{odd}/runs/{ODD}"], ["inspect", str(odd / "train.beton")]):
        assert main(again) == 0, again
        assert ODD in capsys.readouterr().out


def test_a_terminal_of_another_alphabet_gets_replacement_characters(
    odd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", errors="strict")
    monkeypatch.setattr(sys, "stdout", terminal)
    for words in (["inspect", str(odd / "train.beton")], ["verify", str(odd / "train.beton")], ["list"]):
        assert main(words) == 0
    terminal.flush()
    shown = terminal.buffer.getvalue()
    assert b"[v2]" in shown
    assert b"?" in shown


def test_a_locale_without_an_alphabet_gets_replacement_characters(odd: Path) -> None:
    """In a process of its own: the names of files, too, are then of no encoding."""
    locale = {"LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "NO_COLOR": "1"}
    commands = [["inspect", str(odd / "train.beton")], ["verify", str(odd / "train.beton")], ["list"]]
    code = (
        "import sys; from tools.cli import main; codes = [main(eval(a)) for a in sys.argv[1:]]; print(codes)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(ascii, commands)],
        capture_output=True,
        check=False,
        env={**os.environ, **locale},
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert done.stdout.splitlines()[-1] == b"[0, 0, 0]"
    assert b"[v2]" in done.stdout
    assert b"Traceback" not in done.stderr


def test_a_word_below_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    words = ["~/x.toml", "--runs-dir=~/runs", "--runs-dir", "~/runs", "--name=a~b", "a~", "--json=~", "-h"]
    home = str(tmp_path)
    expected = [f"{home}/x.toml", f"--runs-dir={home}/runs", "--runs-dir", f"{home}/runs"]
    assert [below_home(word) for word in words] == [*expected, "--name=a~b", "a~", f"--json={home}", "-h"]


def test_commands_and_recipes_know_the_home_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    make(tmp_path / "train.beton")
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", "~/train.beton", "--sheet=~/sheet.png"]) == 0
    assert (tmp_path / "sheet.png").exists()
    run = from_table({"data": "~/train.beton", "runs_dir": "~/runs", "data_dir": "~/d"}, where="test")
    assert run.data == str(tmp_path / "train.beton")
    assert (run.runs_dir, run.data_dir) == (tmp_path / "runs", tmp_path / "d")
    monkeypatch.setenv("BUDGETRAIN_DATA", "~/nowhere")
    assert main(["run", "cifar10", "--data", "mnist"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[-1].endswith(
        "BUDGETRAIN_DATA must name a folder; got ~/nowhere, which is none: make it, or unset it"
    )
    assert not (tmp_path / "~").exists()


def test_what_libraries_warn_of_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Matplotlib has no sign for a cat, and warns of it wherever a name of such a class stands."""
    monkeypatch.setattr(sys, "warnoptions", [])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with counted_warnings("trainer test"):
            for _ in range(3):
                figure = Figure()
                figure.text(0.5, 0.5, "猫\n犬")
                figure.savefig(io.BytesIO(), format="png")
            logging.getLogger("matplotlib.font_manager").warning("a font of %d points is missing", 7)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("trainer test: warnings of libraries: UserWarning: Glyph ")
    assert re.search(r" and \d+ more; PYTHONWARNINGS=default prints each one$", line)


def test_warnings_that_are_asked_for_come_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "warnoptions", ["default"])
    with pytest.warns(UserWarning, match="as it is"), counted_warnings("trainer test"):
        warnings.warn("as it is", stacklevel=1)


def test_without_warnings_there_is_no_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "warnoptions", [])
    with counted_warnings("trainer test"):
        pass
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("device", ["cpu:99", "gpu", "cuda:x", "cuda:99", "", "CPU"])
def test_devices_that_are_none(device: str) -> None:
    with pytest.raises(RunError, match="device"):
        choose_device(device, World())
    with pytest.raises(DataError, match="device must be"):
        resolve_device(device)
