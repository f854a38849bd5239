"""Commands on machines that refuse them something: one line, and what helps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from forked import run_program

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.formats import Sample, StoredImage, WebDatasetFormat, open_dataset
from pipeline.sources import ArraySource
from tools.limits import refusal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux has them")


BEGIN = "import os, resource, sys\nfrom pathlib import Path\nfrom tools.cli import main\n"


def limited(program: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BEGIN + program, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_libraries_that_do_not_fit_into_memory() -> None:
    program = "resource.setrlimit(resource.RLIMIT_AS, (300 << 20,) * 2); sys.exit(main(['list']))"
    done = limited(program, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert line.startswith("trainer list: every library must load; one can't be")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words", [("run", "--help"), ("list", "samplers"), ("inspect", "x.beton")], ids=" ".join
)
def test_an_output_that_is_closed_from_the_start(words: tuple[str, ...]) -> None:
    program = "os.close(1); sys.stdout = None; sys.exit(main(sys.argv[1:]))"
    done = run_program(BEGIN + program, words)
    assert done.returncode == (2 if words[0] == "inspect" else 0)
    assert "Traceback" not in done.stderr


def test_no_folder_of_temporary_files_can_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    nowhere = str(tmp_path / "file" / "x")
    program = "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); sys.exit(main(sys.argv[1:]))"
    environment = {"HOME": nowhere, "XDG_CONFIG_HOME": nowhere, "XDG_CACHE_HOME": nowhere}
    done = limited(program, "report", str(tmp_path), PYTHONDONTWRITEBYTECODE="1", **environment)
    assert done.returncode == 2
    # A library may have warned before.
    line = done.stderr.splitlines()[-1]
    assert line.startswith("trainer report: a folder for temporary files must be there")
    assert line.endswith("TMPDIR")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("convert", "m:o", "x.beton"), ("profile", "cifar10")], ids=" ".join)
def test_a_current_folder_that_is_gone(tmp_path: Path, words: tuple[str, ...]) -> None:
    program = "os.chdir(sys.argv[1]); os.rmdir(sys.argv[1]); sys.exit(main(sys.argv[2:]))"
    (tmp_path / "gone").mkdir()
    done = run_program(BEGIN + program, [str(tmp_path / "gone"), *words])
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line == f"trainer {words[0]}: the current folder must be there; it was removed: change to another"


def test_an_output_without_room() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tools.cli", "list", "samplers"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("trainer list: a file must have room; its disk has none left")


def test_a_set_of_more_shards_than_files_may_be_open(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (160, 32, 32, 3), dtype=np.uint8)
    source = ArraySource("noise", "train", "seeded noise", ("a", "b"), np.arange(160) % 2, images)
    convert(source, tmp_path / "x.beton", ConvertOptions(encoding="raw"))
    data, path = open_dataset(tmp_path / "x.beton"), tmp_path / "x.wds"
    with WebDatasetFormat(shard_size=1 << 13).create(path, 160) as writer:
        for index in range(160):
            writer.append(Sample([StoredImage.of(data.encoded(index), 32, 32)], False, index % 2, f"{index}"))
        writer.publish(writer.finish(data.card))
    assert len(list(path.glob("*.tar"))) > 100
    program = """
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 1000))
raised = main(["verify", sys.argv[1]])
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
print([raised, main(["verify", sys.argv[1]])])
"""
    done = run_program(BEGIN + program, [str(path)])
    if sys.version_info < (3, 13):
        assert done.stdout.splitlines()[-1] == "[0, 2]"
        (line,) = done.stderr.splitlines()
        assert "this process may open 64: raise ulimit -n, or convert the set to a .beton" in line
    else:
        assert done.stdout.splitlines()[-1] == "[0, 0]"


def test_a_home_that_can_not_be_written_is_one_line_at_most() -> None:
    program = "sys.exit(main(['report', sys.argv[1]]))"
    done = limited(program, "/nowhere", HOME="/proc/nowhere", XDG_CONFIG_HOME="", XDG_CACHE_HOME="")
    assert done.returncode == 2
    note, error = done.stderr.splitlines()
    assert note.startswith("trainer report: warnings of libraries: matplotlib")
    assert error.startswith("trainer report: ")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "memory must suffice"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "memory must"),
        (RuntimeError("could not create a primitive"), "memory must suffice"),
        (RuntimeError("can't start new thread"), "raise ulimit -u"),
        (OSError(24, "Too many open files", "/x"), "(/x): raise ulimit -n"),
        (OSError(28, "No space left on device", "/x"), "its disk has none left (/x): free some"),
        (OSError(30, "Read-only file system", b"/caf\xe9"), "/caf\udce9 can't be read or written: Read-only"),
        (
            OSError(36, "File name too long", "n" * 300),
            f"; {'n' * 120}... can't be (File name too long): mend",
        ),
        (
            OSError(13, "Permission denied", "/root/x"),
            "/root/x can't be (Permission denied): mend it, or name",
        ),
    ],
)
def test_what_helps_is_told(error: Exception, line: str) -> None:
    told = refusal(error)
    assert told is not None
    assert line in told
    assert "\n" not in told


@pytest.mark.parametrize(
    "error", [RuntimeError("a fault of ours"), ModuleNotFoundError("no x"), OSError(), OSError(13, "x")]
)
def test_faults_of_our_own_are_not_hidden(error: Exception) -> None:
    assert refusal(error) is None
