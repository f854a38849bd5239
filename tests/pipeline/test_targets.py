"""Target specs: their values checked and counted, and round trips from source to data set for every kind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.conversion import job
from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.errors import CorruptSampleError, DataError
from pipeline.formats import FORMATS, Converted, card_path, open_dataset
from pipeline.formats.sheet import contact_sheet
from pipeline.formats.verify import verify
from pipeline.multiplied import Multiplied
from pipeline.sources import ArraySource
from pipeline.sources.protocol import no_labels
from pipeline.targets import LABEL, TargetKind, TargetSpec, check_targets, kind_of

SAMPLES = 24
RNG = np.random.default_rng(5)
TARGETS: dict[str, tuple[TargetKind, tuple[str, ...], NDArray[Any]]] = {
    "class": ("class", ("a", "b"), RNG.integers(0, 2, SAMPLES)),
    "multi_label": ("multi_label", ("x", "y", "z"), RNG.integers(0, 2, (SAMPLES, 3), np.uint8)),
    "one label": ("multi_label", ("x",), RNG.integers(0, 2, (SAMPLES, 1), np.uint8)),
    "value": ("value", (), RNG.normal(size=SAMPLES).astype(np.float32)),
    "value rows": ("value", (), RNG.normal(size=(SAMPLES, 4)).astype(np.float32)),
    "none": ("none", (), no_labels(SAMPLES)),
}
every_target = pytest.mark.parametrize("targets", list(TARGETS.values()), ids=list(TARGETS))
every_format = pytest.mark.parametrize("ending", list(FORMATS))


def source(targets: tuple[TargetKind, tuple[str, ...], NDArray[Any]]) -> ArraySource:
    kind, classes, labels = targets
    images = np.random.default_rng(1).integers(0, 256, (len(labels), 9, 7, 3), dtype=np.uint8)
    return ArraySource("noise", "train", "noise", classes, labels, images, kind=kind)


def converted(path: Path, targets: tuple[TargetKind, tuple[str, ...], NDArray[Any]], **options: Any) -> Path:
    convert(source(targets), path, ConvertOptions(**options))
    return path


def check(data: Converted, targets: tuple[TargetKind, tuple[str, ...], NDArray[Any]]) -> None:
    kind, classes, labels = targets
    assert (data.card.target, data.card.classes) == (kind, classes)
    if kind == "none":
        assert dict(data.targets) == {}
    else:
        assert list(data.targets) == [LABEL]
        assert data.targets[LABEL].dtype == data.card.spec.dtype
        np.testing.assert_array_equal(data.targets[LABEL], labels)


@every_format
@every_target
def test_targets_go_from_source_to_data_set(
    tmp_path: Path, targets: tuple[TargetKind, tuple[str, ...], NDArray[Any]], ending: str
) -> None:
    path = converted(tmp_path / f"x.{ending}", targets, levels=(4,), validation=0.2, encoding="jpeg")
    held, rest = open_dataset(tmp_path / f"x-validation.{ending}"), open_dataset(path)
    assert len(held) + len(rest) == SAMPLES
    rows = [int(data.name(index).split()[1]) for data in (rest, held) for index in range(len(data))]
    parts = np.split(targets[2][rows], [len(rest)])
    for data, part in zip((rest, held), parts, strict=True):
        check(data, (*targets[:2], part))
        check(data.at(4), (*targets[:2], part))
        assert data.card.class_counts == data.card.spec.counts(data.targets.get(LABEL))
        assert verify(data.path).sound
    contact_sheet(rest, tmp_path / "sheet.png")
    check(Multiplied(rest, 2), (*targets[:2], np.concatenate([parts[0], parts[0]])))


@every_format
@every_target
def test_a_set_without_its_card_or_table_still_knows_its_targets(
    tmp_path: Path, targets: tuple[TargetKind, tuple[str, ...], NDArray[Any]], ending: str
) -> None:
    path = converted(tmp_path / f"x.{ending}", targets)
    text = card_path(path).read_text()
    card_path(path).unlink()
    check(open_dataset(path), targets)
    if ending == "wds":
        card_path(path).write_text(text.replace(open_digest(text), "null"))
        (path / "samples.npz").unlink()
        check(open_dataset(path), targets)


def open_digest(text: str) -> str:
    return json.dumps(json.loads(text)["digest"])


@every_format
def test_cards_of_classes_are_of_schema_1_and_others_of_schema_2(tmp_path: Path, ending: str) -> None:
    for number, (kind, *rest) in enumerate(TARGETS.values()):
        path = converted(tmp_path / f"{number}.{ending}", (kind, *rest))  # type: ignore[arg-type]
        entries = json.loads(card_path(path).read_text())
        assert entries["schema"] == (1 if kind == "class" else 2)
        assert ("target" in entries) == (kind != "class")


@every_format
@every_target
def test_a_conversion_that_was_stopped_ends_with_the_same_bytes(
    tmp_path: Path,
    targets: tuple[TargetKind, tuple[str, ...], NDArray[Any]],
    ending: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job, "_SECONDS", 0)

    class Stopping(ArraySource):
        def read(self, index: int) -> NDArray[np.uint8]:
            if index == SAMPLES + 60:
                raise CorruptSampleError("stop")
            return super().read(index)

    kind, classes, labels = targets
    whole = source((kind, classes, np.concatenate([labels] * 4)))
    stopping = Stopping(**{name: getattr(whole, name) for name in ArraySource.__dataclass_fields__})
    with pytest.raises(CorruptSampleError):
        convert(stopping, tmp_path / f"x.{ending}", ConvertOptions(workers=1))
    assert (tmp_path / f".x.{ending}.journal").exists()
    convert(whole, tmp_path / f"x.{ending}", ConvertOptions(workers=1))
    (tmp_path / "y").mkdir()
    convert(whole, tmp_path / "y" / f"x.{ending}", ConvertOptions())
    assert open_dataset(tmp_path / f"x.{ending}").card == open_dataset(tmp_path / "y" / f"x.{ending}").card


@pytest.mark.parametrize("name", ["multi_label", "value", "value rows"])
def test_a_changed_target_is_noticed(tmp_path: Path, name: str) -> None:
    path = converted(tmp_path / "x.beton", TARGETS[name])
    content = bytearray(path.read_bytes())
    values = TARGETS[name][2]
    row = (values[3].astype(np.float64) if name == "value" else values[3]).tobytes()
    if name == "multi_label":
        # Rows are too short to be found; they stand one after the other.
        row = values.tobytes()
    at = content.index(row)
    content[at] ^= 1
    path.write_bytes(content)
    card_path(path).unlink()
    with pytest.raises(
        DataError, match=r"x\.beton must hold its labels, shapes and card as they were written"
    ):
        open_dataset(path)
    assert not verify(path).sound


@every_format
def test_a_card_of_other_targets_is_refused(tmp_path: Path, ending: str) -> None:
    path = converted(tmp_path / f"x.{ending}", TARGETS["value rows"])
    entries = json.loads(card_path(path).read_text())
    for change, message in (
        ({"columns": 3}, "which hold another columns"),
        ({"columns": 0}, "its columns must be a whole number of at least 1, or null; got 0"),
        ({"target": "map"}, "its target must be one of class, multi_label, value, none; got 'map'"),
        ({"target": "none"}, "columns must be at least 1, and of targets of kind value; got 4 of none"),
        ({"classes": ["a"], "class_counts": [1]}, "targets of kind value must have no classes; got 1"),
        ({"target": "multi_label", "columns": None, "classes": ["a"], "class_counts": [99]}, "has 1 counts"),
        ({"schema": 1}, "it was changed, or|class_counts has 0 counts"),
    ):
        card_path(path).write_text(json.dumps(entries | change))
        with pytest.raises(DataError, match=message) as caught:
            open_dataset(path)
        assert "\n" not in str(caught.value)
    card_path(path).write_text(json.dumps(entries | {"target": "none", "columns": None}))
    with pytest.raises(DataError, match=r"no targets; it holds value .*: delete its card to have one made"):
        verify(path)


def test_labels_are_for_classes_alone(tmp_path: Path) -> None:
    data = open_dataset(converted(tmp_path / "x.beton", TARGETS["value"]))
    with pytest.raises(
        DataError, match=r"x\.beton must have one class per image to be used so; .* kind value"
    ):
        _ = data.labels


@pytest.mark.parametrize(
    ("spec", "values", "message"),
    [
        (TargetSpec("class", ("a", "b")), np.array([0, 2]), "image 1 has label 2, and there are 2 classes"),
        (
            TargetSpec("multi_label", ("a",)),
            np.array([[1], [7]], np.uint8),
            "image 1 has a label that is nei",
        ),
        (TargetSpec("value"), np.array([np.nan, 1], np.float32), "image 0 has a value that is no finite"),
        (TargetSpec("value"), np.zeros(2), r"must be float32 of shape \(2,\) .*; got float64"),
        (TargetSpec("value", columns=2), np.zeros((2, 3), np.float32), r"shape \(2, 2\) \(2 values per"),
        (TargetSpec("none"), np.zeros(2, np.float32), "must be there unless their kind is none"),
        (TargetSpec("value"), None, "must be there unless their kind is none"),
    ],
)
def test_values_that_are_not_what_their_spec_promises(
    spec: TargetSpec, values: NDArray[Any] | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        check_targets(spec, values, 2, "x")


def test_the_kind_of_values_follows_from_their_type() -> None:
    for kind, classes, labels in TARGETS.values():
        values = None if kind == "none" else labels
        assert kind_of(values) == kind
        check_targets(TargetSpec.of(kind, classes, values), values, SAMPLES, "x")


# ------------------------------------------------------------------------------------ the peers' own readers

# FFCV runs in processes of its own: it forks, leaves threads behind, and warns.
FFCV_READS = """
import sys
import numpy as np
from ffcv.loader import Loader, OrderOption
target, *paths = sys.argv[1:]
found = {}
for path in paths:
    for os_cache in (True, False):
        loader = Loader(path, 4, num_workers=1, os_cache=os_cache, order=OrderOption.SEQUENTIAL)
        found[f"{path} {os_cache}"] = np.concatenate([np.array(batch[-1]) for batch in loader])
np.savez(target, **found)
"""


def run_ffcv(script: str, *arguments: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)]
    # FFCV compiles for 7 s what takes milliseconds as Python; formats/beton/test_ffcv.py has it compiled.
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr


def test_ffcv_reads_our_targets(tmp_path: Path) -> None:
    pytest.importorskip("ffcv")
    names = ("multi_label", "value", "value rows", "none")
    paths = [converted(tmp_path / f"{number}.beton", TARGETS[name]) for number, name in enumerate(names)]
    run_ffcv(FFCV_READS, tmp_path / "out.npz", *paths)
    with np.load(tmp_path / "out.npz") as found:
        for name, path in zip(names, paths, strict=True):
            # Of unlabeled images there is nothing but the images.
            expected = source(TARGETS[name]).images if name == "none" else TARGETS[name][2]
            for cache in (True, False):
                np.testing.assert_array_equal(found[f"{path} {cache}"].reshape(expected.shape), expected)


FFCV_WRITES = """
import sys
import numpy as np
from ffcv.writer import DatasetWriter
from ffcv.fields import FloatField, NDArrayField, RGBImageField
class Set:
    def __init__(self, labels): self.labels = labels
    def __len__(self): return len(self.labels)
    def __getitem__(self, index): return np.full((5, 6, 3), index, np.uint8), self.labels[index]
for path in sys.argv[1:]:
    labels = np.load(path + ".npy")
    row = FloatField() if labels.ndim == 1 else NDArrayField(labels.dtype, labels.shape[1:])
    fields = {"image": RGBImageField(write_mode="raw"), "target": row}
    DatasetWriter(path, fields, num_workers=1).from_indexed_dataset(Set(labels))
"""


def test_targets_that_ffcv_wrote_are_read(tmp_path: Path) -> None:
    pytest.importorskip("ffcv")
    names = ("multi_label", "value", "value rows")
    paths = [tmp_path / f"{number}.beton" for number in range(len(names))]
    for name, path in zip(names, paths, strict=True):
        np.save(f"{path}.npy", TARGETS[name][2])
    run_ffcv(FFCV_WRITES, *paths)
    for name, path in zip(names, paths, strict=True):
        data = open_dataset(path)
        assert data.card.target == TARGETS[name][0]
        np.testing.assert_array_equal(data.targets[LABEL], TARGETS[name][2])


# webdataset leaves its files open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_webdataset_reads_our_targets(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    for name in ("multi_label", "value", "value rows"):
        path = converted(tmp_path / f"{name.replace(' ', '_')}.wds", TARGETS[name])
        shards = sorted(map(str, path.glob("*.tar")))
        samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode())
        np.testing.assert_array_equal(np.stack([sample["npy"] for sample in samples]), TARGETS[name][2])
