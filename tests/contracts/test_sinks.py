"""The promises of every sink, at its defaults."""

from __future__ import annotations

import csv
import dataclasses
import inspect
import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from trainer.errors import BudgetrainError
from trainer.sinks import SINKS, SinkConfig, SinkContext
from trainer.sinks.protocol import figures

Point = tuple[str, int, float]
Lines = dict[str, list[dict[str, Any]]]


def _of_json(folder: Path) -> list[Point]:
    found = []
    for name in ("steps.jsonl", "evaluations.jsonl"):
        for text in (folder / name).read_text().splitlines():
            line = json.loads(text)
            found += [(curve, line["step"], value) for curve, value in figures(line)]
    return found


def _of_csv(folder: Path) -> list[Point]:
    found = []
    for name, prefix in (("steps.csv", "train/"), ("evaluations.csv", "test/")):
        with (folder / name).open() as file:
            for row in csv.DictReader(file):
                columns = (
                    ("loss", "lr", "rate", "progress", "pixels") if prefix == "train/" else ("accuracy",)
                )
                found += [(f"{prefix}{key}", int(row["step"]), float(row[key])) for key in columns]
    return found


def _of_tensorboard(folder: Path) -> list[Point]:
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = event_accumulator.EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [
        (curve, event.step, event.value)
        for curve in events.Tags()["scalars"]
        for event in events.Scalars(curve)
    ]


def _of_wandb(folder: Path) -> list[Point]:
    protocol = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    # Its own process writes the file, the last of it as it ends.
    pytest.importorskip("wandb").teardown()
    found = []
    for path in (folder / "wandb").glob("offline-run-*/*.wandb"):
        for data in _records(path.read_bytes()):
            record = protocol.Record()
            record.ParseFromString(data)
            items = {
                item.key or "/".join(item.nested_key): json.loads(item.value_json)
                for item in record.history.item
            }
            step = record.history.step.num
            found += [(key, step, value) for key, value in items.items() if not key.startswith("_")]
    return found


def _records(content: bytes) -> Iterator[bytes]:
    """LevelDB's log format after 7 bytes: blocks of 32 KiB, of parts of records with 7 bytes before each."""
    at, parts = 7, b""
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        # 1 is a whole record, 4 the last part of one.
        if kind in (1, 4):
            yield parts
            parts = b""


READ: Mapping[str, Callable[[Path], list[Point]]] = {
    "jsonl": _of_json,
    "csv": _of_csv,
    "tensorboard": _of_tensorboard,
    "wandb": _of_wandb,
}


@pytest.fixture(params=SINKS)
def name(request: pytest.FixtureRequest) -> str:
    made: str = request.param
    return made


@pytest.fixture
def config(name: str) -> SinkConfig:
    made: SinkConfig = SINKS[name]()
    try:
        made.check()
    except BudgetrainError as error:
        pytest.skip(str(error))
    return made


def context(folder: Path, lines: Lines) -> SinkContext:
    def append(name: str, line: Mapping[str, Any]) -> None:
        with (folder / name).open("a") as file:
            file.write(json.dumps(line) + "\n")

    def earlier(name: str) -> Sequence[Mapping[str, Any]]:
        return lines[name]

    return SinkContext(folder, {"epochs": 2.0, "model": {"name": "x"}}, 1.7e9, ("accuracy",), earlier, append)


def step(number: int) -> dict[str, Any]:
    return {
        "step": number,
        "round": number // 4,
        "samples": 8 * number,
        "progress": number / 8,
        "pixels": 8,
        "lr": 0.5**number,
        "loss": 1.0 / number,
        "seconds": 0.25 * number,
        "rate": 32.0,
    }


def evaluation(number: int) -> dict[str, Any]:
    return {
        "schema": 2,
        "step": number,
        "round": number // 4,
        "samples": 8 * number,
        "progress": number / 8,
        "compute": 8.0,
        "seconds": 0.25 * number,
        "entropy": 0.5,
        "metrics": {"accuracy": number / 16},
    }


def test_is_a_frozen_dataclass_with_a_description(name: str) -> None:
    config = SINKS[name]()
    assert dataclasses.is_dataclass(config)
    assert hash(config) == hash(type(config)())
    assert inspect.cleandoc(type(config).__doc__ or "").partition("\n")[0].endswith((".", ";"))
    assert name in READ


@pytest.mark.filterwarnings("ignore")
def test_holds_every_point_once_also_after_an_interruption(
    name: str, config: SinkConfig, tmp_path: Path
) -> None:
    sink = config.open(context(tmp_path, {"steps.jsonl": [], "evaluations.jsonl": []}))
    for number in (2, 4, 6):
        sink.step(step(number))
        if number == 4:
            sink.evaluation(evaluation(number))
    sink.close()
    # The checkpoint is of step 4: what came after it is made again.
    kept: Lines = {"steps.jsonl": [step(2), step(4)], "evaluations.jsonl": [evaluation(4)]}
    for file, lines in kept.items():
        (tmp_path / file).write_text("".join(json.dumps(line) + "\n" for line in lines))
    sink = config.open(context(tmp_path, kept))
    for number in (6, 8):
        sink.step(step(number))
    sink.evaluation(evaluation(8))
    sink.close()
    wanted = [
        (curve, number, value)
        for number in (2, 4, 6, 8)
        for line in ([step(number), evaluation(number)] if number in (4, 8) else [step(number)])
        for curve, value in figures(line)
    ]
    found = sorted(READ[name](tmp_path))
    assert [point[:2] for point in found] == [point[:2] for point in sorted(wanted)]
    assert [point[2] for point in found] == pytest.approx([point[2] for point in sorted(wanted)], rel=1e-6)
