"""Damaged sets through every engine: an error that names the sample, or the right images."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from damages import (
    EVERYWHERE,
    FOLDERS,
    HEIGHT,
    SAMPLES,
    WIDTH,
    Damage,
    another_file,
    another_magic,
    blank,
    copy,
    cut,
    flip_many,
    flip_one,
    index_flipped,
    index_of_another_shard,
    lengthen,
    nothing_vouched,
    shard_missing,
    shards_swapped,
    write,
)
from numpy.typing import NDArray

from pipeline.crop import Crop, Windows
from pipeline.engines import ENGINES, EngineConfig
from pipeline.errors import CorruptSampleError, DataError
from pipeline.formats import Converted, open_dataset
from pipeline.formats.verify import verify

CPU = torch.device("cpu")
PATIENCE = 60
"""Seconds after which a read has hung; it takes some hundredths."""
SEEDS = 6
CROP = Crop(
    Windows(
        top=np.arange(SAMPLES) % 9,
        left=np.arange(SAMPLES) * 2,
        height=20 + np.arange(SAMPLES),
        width=25 + np.arange(SAMPLES) // 2,
        flip=np.arange(SAMPLES) % 2 == 0,
    ),
    16,
    24,
)


@dataclass(frozen=True)
class Sound:
    """A set before it is damaged, and what each engine reads from it, by the samples' names."""

    path: Path
    whole: dict[str, dict[str, torch.Tensor]]
    crops: dict[str, dict[str, torch.Tensor]]
    labels: dict[str, int]


def read(engine: EngineConfig, data: Converted, ids: NDArray[np.int64], crop: Crop | None) -> torch.Tensor:
    """Read through an engine, in a thread that has to come back."""
    result: list[torch.Tensor | BaseException] = []

    def work() -> None:
        reader = None
        try:
            reader = engine.open(data, CPU)
            result.append(reader.read(ids, crop))
        except BaseException as error:
            result.append(error)
        finally:
            if reader is not None:
                reader.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "reading hangs"
    (outcome,) = result
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


@pytest.fixture(scope="module")
def sound(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sound:
    path = write(tmp_path_factory.mktemp("sound") / f"set.{request.param}")
    data = open_dataset(path)
    everything = np.arange(SAMPLES)
    names = [data.name(index) for index in everything]  # type: ignore[arg-type]
    engines = {name: part(threads=1) for name, part in ENGINES.items()}  # type: ignore[call-arg]
    whole = {name: read(engine, data, everything, None) for name, engine in engines.items()}
    crops = {name: read(engine, data, everything, CROP) for name, engine in engines.items()}
    assert all(torch.equal(images, whole["resident"]) for images in whole.values())
    return Sound(
        path,
        {name: dict(zip(names, images, strict=True)) for name, images in whole.items()},
        {name: dict(zip(names, images, strict=True)) for name, images in crops.items()},
        dict(zip(names, data.labels.tolist(), strict=True)),
    )


def opened(path: Path) -> Converted | None:
    """Open a set, or give None for an error that names it."""
    try:
        return open_dataset(path)
    except DataError as error:
        line = str(error)
    assert path.stem in line
    assert "\n" not in line
    return None


def read_or_named(
    engine: EngineConfig, data: Converted, ids: NDArray[np.int64], crop: Crop | None
) -> torch.Tensor | None:
    """Read, or give None for an error that names file and sample."""
    try:
        return read(engine, data, ids, crop)
    except CorruptSampleError as error:
        line = str(error)
    assert re.search(rf"{re.escape(data.path.name)}: sample \d+ ", line)
    assert "\n" not in line
    return None


def assert_errors_or_right(path: Path, sound: Sound) -> int:
    """Read a damaged set through every engine; gives how many reads went well."""
    data = opened(path)
    if data is None:
        return 0
    right = 0
    names = [data.name(index) for index in range(len(data))]
    assert [sound.labels[name] for name in names] == data.labels.tolist()
    for engine_name, part in ENGINES.items():
        engine = part(threads=1)  # type: ignore[call-arg]
        for crop, expected in ((None, sound.whole[engine_name]), (CROP, sound.crops[engine_name])):
            # All at once, and then one by one: also those behind a broken one must be right.
            for ids in [np.arange(SAMPLES), *np.arange(SAMPLES)[:, None]]:
                if len(ids) == 1 and (engine_name == "resident" or ids[0] % 4):
                    continue
                windows = None if crop is None else Crop(crop.windows[ids], crop.height, crop.width)
                images = read_or_named(engine, data, ids, windows)
                if images is not None:
                    right += 1
                    for index, image in zip(ids, images, strict=True):
                        assert torch.equal(image, expected[names[index]])
    return right


def cases(everywhere: list[Damage], folders: list[Damage]) -> pytest.MarkDecorator:
    """Every format with what can happen to it."""
    pairs = [(form, damage) for form in ("beton", "wds") for damage in everywhere]
    pairs += [("wds", damage) for damage in folders]
    ids = [f"{form}-{damage.__name__}" for form, damage in pairs]
    return pytest.mark.parametrize(("sound", "damage"), pairs, ids=ids, indirect=["sound"])


@cases(EVERYWHERE, FOLDERS)
def test_a_damaged_set_gives_errors_or_the_right_images(
    damage: Damage, sound: Sound, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for seed in range(SEEDS):
        path = copy(sound.path, tmp_path)
        damage(path, np.random.default_rng(seed))
        assert_errors_or_right(path, sound)
        capfd.readouterr()


@pytest.mark.parametrize("sound", ["beton", "wds"], indirect=True)
def test_the_harness_sees_sound_sets_as_such(sound: Sound, tmp_path: Path) -> None:
    assert assert_errors_or_right(copy(sound.path, tmp_path), sound) == 6 + 4 * 3
    assert verify(sound.path).sound


@cases(
    [flip_one, flip_many, cut, lengthen, blank, another_magic, another_file],
    [shards_swapped, shard_missing, index_of_another_shard, index_flipped],
)
def test_without_checksums_no_engine_hangs_or_reads_what_pillow_does_not(
    damage: Damage, sound: Sound, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for seed in range(SEEDS):
        path = nothing_vouched(copy(sound.path, tmp_path))
        damage(path, np.random.default_rng(seed))
        data = opened(path)
        if data is None:
            continue
        assert data.checksums is None
        if (data.heights != HEIGHT).any() or (data.widths != WIDTH).any():
            continue
        for part in ENGINES.values():
            engine = part(threads=1)  # type: ignore[call-arg]
            for index in range(len(data)):
                ids = np.array([index])
                read_or_named(engine, data, ids, Crop(CROP.windows[ids], 16, 24))
                images = read_or_named(engine, data, ids, None)
                if images is not None:
                    assert (images[0].permute(1, 2, 0).numpy() == data.image(index)).all()
        capfd.readouterr()
