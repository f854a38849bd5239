from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samplers import MCL, ClassImportance, Plan, SampleImportance, SamplingError, Scores, Subset


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "scores.npz"
    scores = np.array([1, 2.5, -3], np.float32)
    features = np.ones((3, 2), np.float32)
    Scores(scores, "forgetting", {"epochs": 20, "model": "resnet18"}, features).save(path)
    loaded = Scores.load(path, 3)
    np.testing.assert_array_equal(loaded.scores, scores)
    np.testing.assert_array_equal(loaded.features, features)
    assert (loaded.method, loaded.metadata) == ("forgetting", {"epochs": 20, "model": "resnet18"})
    assert [file.name for file in tmp_path.iterdir()] == ["scores.npz"]


@pytest.mark.parametrize("where", ["folder", "none/a.npz"])
def test_a_file_that_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path: Path, where: str) -> None:
    (tmp_path / "folder").mkdir()  # takes the name: what was written can't be moved there
    with pytest.raises(SamplingError, match=rf"must be writable; .*{where} can't be written: "):
        Scores(np.zeros(2, np.float32), "el2n").save(tmp_path / where)
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_features_may_be_missing(tmp_path: Path) -> None:
    Scores(np.zeros(2, np.float32), "el2n").save(tmp_path / "a.npz")
    assert Scores.load(tmp_path / "a.npz", 2).features is None


def test_a_file_for_another_set_is_refused(tmp_path: Path) -> None:
    Scores(np.zeros(2, np.float32), "el2n").save(tmp_path / "a.npz")
    with pytest.raises(SamplingError, match=r"each of the set's 3 samples; .*a\.npz has shape \(2,\)"):
        Scores.load(tmp_path / "a.npz", 3)


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"PK\x03\x04 cut"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    match = rf"must be a complete \.npz archive; .*a\.npz, of {len(content)} bytes, isn't one: make it"
    with pytest.raises(SamplingError, match=match):
        Scores.load(tmp_path / "a.npz", 3)


@pytest.mark.parametrize(
    ("name", "why"), [("none.npz", "No such file"), ("", "Is a dir"), ("a/b", "Not a dir")]
)
def test_what_is_no_file_is_refused(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(
        SamplingError, match=rf"must be readable; .* can't be read \({why}.*\): name an"
    ) as caught:
        Scores.load(tmp_path / name, 3)
    assert str(caught.value).count(str(tmp_path)) == 1


def test_a_cut_or_changed_archive_is_refused_or_right(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    Scores(np.arange(3, dtype=np.float32), "el2n", {"seed": 1}).save(path)
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(SamplingError, match=r"a\.npz"):
            Scores.load(path, 3)
    lines = []
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            loaded = Scores.load(path, 3)
        except SamplingError as error:
            lines.append(str(error))
        else:
            assert (loaded.scores.tolist(), loaded.method) == ([0, 1, 2], "el2n")
    assert len(lines) > 100
    for line in lines:
        assert "\n" not in line
        assert "make it with `trainer score`" in line or "score the set again" in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"method": None, "metadata": None},
            r"must hold schema, .*; .*a\.npz lacks method, metadata: make it",
        ),
        ({"scores": None, "images": np.zeros(3)}, r"a\.npz lacks scores: make it with `trainer score`"),
        (
            {"scores": np.array([None] * 3)},
            r"must be written by Scores\.save; .*a\.npz can't be parsed \(Obj",
        ),
        (
            {"scores": np.zeros(3)},
            r"a\.npz: scores must be float32\[N\]; got float64 of shape \(3,\): make it",
        ),
        ({"features": np.zeros((2, 1), np.float32)}, r"a\.npz: features must be .* shape \(2, 1\): make it"),
        ({"metadata": "[1]"}, r"metadata that are a JSON object; .*a\.npz has '\[1\]': make it"),
        ({"metadata": "el2n"}, r"metadata that are a JSON object; .*a\.npz has 'el2n': make it"),
        ({"schema": np.arange(3)}, r"must have schema 1; .*a\.npz has \[0, 1, 2\]: score the set again"),
    ],
)
def test_another_archive_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    arrays = {"schema": 1, "scores": np.zeros(3, np.float32), "method": "x", "metadata": "{}"} | change
    np.savez(tmp_path / "a.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(SamplingError, match=message):
        Scores.load(tmp_path / "a.npz", 3)


def test_an_array_that_no_memory_could_hold_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    shape = {"descr": "<f4", "fortran_order": False, "shape": (10**13,)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name in ("schema", "scores", "method", "metadata"):
            archive.writestr(f"{name}.npy", header.getvalue())
    with pytest.raises(SamplingError, match=r"a\.npz can't be parsed \(Unable to allocate"):
        Scores.load(tmp_path / "a.npz", 3)


SHORT = """
import resource
import sys
from pathlib import Path

from samplers import Scores

with open("/proc/self/statm") as file:
    now = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (16 << 20),) * 2)
try:
    Scores.load(Path(sys.argv[1]), 4)
except MemoryError:
    print("memory")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's limits")
def test_too_little_memory_is_no_damage(tmp_path: Path) -> None:
    Scores(np.zeros(4, np.float32), "el2n", features=np.zeros((4, 1 << 22), np.float32)).save(
        tmp_path / "a.npz"
    )
    command = [sys.executable, "-c", SHORT, str(tmp_path / "a.npz")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert (done.stdout, done.returncode) == ("memory\n", 0), done.stderr


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without FIFOs")
def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.npz")
    for path in (tmp_path / "a.npz", Path(os.devnull)):
        with pytest.raises(SamplingError, match=f"must be a regular file; {path} isn't: make it with"):
            Scores.load(path, 3)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", schema=2, scores=np.zeros(3, np.float32), method="x", metadata="{}")
    with pytest.raises(SamplingError, match="must have schema 1"):
        Scores.load(tmp_path / "a.npz", 3)


@pytest.mark.parametrize(
    ("scores", "features", "message"),
    [
        (np.zeros(3), None, "must be float32"),
        (np.zeros((3, 1), np.float32), None, r"shape \(3, 1\)"),
        (np.array([0, np.nan], np.float32), None, "finite; got nan for sample 1"),
        (np.zeros(2, np.float32), np.zeros((3, 1), np.float32), r"finite float32\[2, d\]"),
        (np.zeros(1, np.float32), np.full((1, 1), np.inf, np.float32), "finite"),
    ],
)
def test_what_is_no_score_is_refused(scores: Any, features: Any, message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        Scores(scores, "x", features=features)


@pytest.mark.parametrize(
    "part", [Subset, SampleImportance, ClassImportance, MCL], ids=lambda part: part.__name__
)
def test_scores_of_another_set_of_the_same_size_are_refused(tmp_path: Path, part: Any) -> None:
    path, labels = tmp_path / "a.npz", np.arange(20) % 2
    features = np.ones((20, 2), np.float32)
    Scores(np.ones(20, np.float32), "p", {"data_sha256": "a1"}, features).save(path)
    option = {"features": path} if part is MCL else {"scores": path}
    for digest in ("a1", None):  # None: of a set without a digest nothing is known
        part(**option).build(Plan(20, epochs=40, budget=0.5, labels=labels, digest=digest))
    with pytest.raises(SamplingError, match=r"of this training set, with sha256 b2; .*a\.npz is of another"):
        part(**option).build(Plan(20, epochs=40, budget=0.5, labels=labels, digest="b2"))


@pytest.mark.parametrize("value", [float("nan"), np.arange(2)], ids=["nan", "array"])
def test_metadata_that_json_cannot_hold_are_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(SamplingError, match="metadata must be strings and finite numbers"):
        Scores(np.zeros(2, np.float32), "p", {"epochs": value}).save(tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())
