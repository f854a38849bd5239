from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from pipeline import ENGINES, open_dataset
from tools.arguments import UsageError
from tools.bench.loader_sides import SIDES, Work
from tools.bench.loader_worker import Worker, WorkerError
from tools.bench.loaders import PEERS, LoadersBench, _pictures, _spread
from tools.bench.photographs import photographs
from tools.cli import main

IMAGES = 24


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The same JPEGs as a file of ours, as single files, and as shards."""
    folder = tmp_path_factory.mktemp("pictures")
    path = _pictures(folder / "set.beton", IMAGES)
    _spread(open_dataset(path), folder / "files", folder / "shards.wds")
    return {"data": str(path), "files": str(folder / "files"), "shards": str(folder / "shards.wds")}


def work(side: str, pictures: dict[str, str], engine: str = "") -> Work:
    shards = side in ("dali", "webdataset")
    return Work(side, engine, pictures["shards" if shards else "data"], pictures["files"], 32, 10, 2)


def test_pictures_are_seeded_and_cost_what_photographs_do(pictures: dict[str, str]) -> None:
    data = open_dataset(Path(pictures["data"]))
    assert data.compressed.all()
    assert 55_000 < data.sizes.mean() < 85_000
    assert (photographs(2, 40) == photographs(3, 40)[:2]).all()
    assert (photographs(2, 40)[0] != photographs(2, 40)[1]).any()


def test_everybody_reads_the_same_bytes(pictures: dict[str, str]) -> None:
    data, shards = (open_dataset(Path(pictures[name])) for name in ("data", "shards"))
    files = {int(path.stem): path.read_bytes() for path in Path(pictures["files"]).glob("*/*.jpg")}
    assert sorted(files) == list(range(IMAGES))
    for index, content in files.items():
        assert data.encoded(index) == shards.encoded(index) == content
        assert zlib.crc32(content) == data.checksums[index]  # type: ignore[index]
    assert (shards.labels == data.labels).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_ours_goes_through_the_data_every_epoch(engine: str, pictures: dict[str, str]) -> None:
    side = SIDES["ours"](work("ours", pictures, engine))
    assert list(side.epoch()) == list(side.epoch()) == [10, 10, 4]
    assert side.ahead == 0


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_goes_through_the_data_every_epoch(
    peer: str, pictures: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own: some set the number of threads of everybody, and warn."""
    # FFCV compiles for 7 s what takes milliseconds as Python.
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    with Worker(work(peer, pictures)) as worker:
        report = worker.run(3)
    # DALI's first three batches, a whole epoch here, may have been made beforehand: they don't count.
    assert report.images == (2 if peer == "dali" else 3) * IMAGES
    assert report.seconds > 0
    assert report.cpu > 0
    assert min(report.peak, report.memory) > 100e6


def test_a_worker_that_fails_says_why(pictures: dict[str, str]) -> None:
    with (
        Worker(work("ours", pictures, "no such engine")) as worker,
        pytest.raises(WorkerError, match="KeyError"),
    ):
        worker.run(1)


def test_rows_name_their_case_and_peer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rows.json"
    words = ["--pixels", "--raw-images", "600", "--engines", "resident", "ffcv", "--peers", "ffcv-loader"]
    assert main(["bench", "loaders", *words, "--repeats", "1", "--json", str(out)]) == 0
    rows = json.loads(out.read_text())
    kinds = ("load", "cpu", "memory")
    assert {row["case"] for row in rows} == {
        f"{kind}/raw32/{engine}" for kind in kinds for engine in ("resident", "ffcv")
    }
    for row in rows:
        assert row["peer"] == "ffcv-loader"
        better = (row["ours"], row["theirs"]) if row["unit"] == "images/s" else (row["theirs"], row["ours"])
        assert row["ratio"] == pytest.approx(better[0] / better[1])
    assert "ffcv-loader" in capsys.readouterr().out


def test_every_format_and_the_growth_have_rows(pictures: dict[str, str]) -> None:
    bench = LoadersBench(
        data=Path(pictures["data"]),
        raw_images=0,
        pixels=(32,),
        engines=("resident",),
        peers=(),
        repeats=1,
        growth=True,
    )
    rows = {row.case: row for row in bench.rows()}
    assert set(rows) == {
        "growth/set-32/resident",
        *(f"{kind}/set-32/resident{end}" for kind in ("load", "cpu", "memory") for end in ("", "/wds")),
    }
    assert {row.peer for row in rows.values()} == {None}
    assert rows["growth/set-32/resident"].unit == "MB"
    assert rows["growth/set-32/resident"].ours < 30


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"engines": ("fastest",)}, "engines must be of resident, .*; got 'fastest'"),
        ({"peers": ("tf.data",)}, "peers must be of ffcv-loader, .*; got 'tf.data'"),
        ({"formats": ("tfrecord",)}, "formats must be of beton, wds; got 'tfrecord'"),
    ],
)
def test_what_there_is_not_is_refused(options: dict[str, tuple[str, ...]], line: str) -> None:
    with pytest.raises(UsageError, match=line):
        LoadersBench(**options)  # type: ignore[arg-type]


def test_a_set_of_raw_images_is_refused(fashion: Path) -> None:
    path = fashion / "fashion_mnist" / "train.beton"
    assert not open_dataset(path).compressed.any()
    with pytest.raises(
        UsageError, match=r"data must hold JPEGs, so that all can read it; .* holds raw images"
    ):
        LoadersBench(data=path, raw_images=0).rows()


def test_a_random_order_is_another_every_epoch(
    pictures: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tools.bench import loader_sides

    orders: list[list[int]] = []

    class Spied(loader_sides._Order):
        def __init__(self, round_: int, ids: np.ndarray) -> None:
            orders.append(ids.tolist())
            super().__init__(round_, ids)

    monkeypatch.setattr(loader_sides, "_Order", Spied)
    side = SIDES["ours"](work("ours", pictures, "resident"))
    assert sum(side.epoch()) == sum(side.epoch()) == IMAGES
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(IMAGES))
