"""The settings that may be tuned: those that change how fast a run is, and not what it learns."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import tomli_w
import torch
from torch import nn

from pipeline.engines import Dataset
from pipeline.engines.ffcv import FfcvEngine
from pipeline.engines.protocol import EngineConfig
from pipeline.engines.resident import ResidentEngine
from pipeline.machine import cores
from trainer import config
from trainer.recipe import part_table
from trainer.slots import SLOTS

HEADER = "# Written by trainer tune"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A run with some settings changed.

    Attributes
    ----------
    changed
        The settings that differ from the run as it was given, with their values.
    """

    run: config.Run
    changed: Mapping[str, Any]


def space(run: config.Run, train: Dataset, *, compiled: bool = False) -> list[Candidate]:
    """Return all candidates but compiled ones, the run as it is first; or, ``compiled``, only those.

    Engines are tried where they give the same pixels: FFCV's decodes large JPEGs at a reduced scale unless
    its option forbids it, DALI's decoder rounds otherwise.
    """
    axes: list[list[dict[str, Any]]] = [
        [{"engine": engine} for engine in _engines(run, train)],
        [{"threads": number} for number in _threads(run)],
        [{"prefetch": number} for number in dict.fromkeys((run.prefetch, 3, 8))],
        [{"service": service} for service in _services(run)],
        [{"channels_last": value} for value in (run.channels_last, not run.channels_last)],
        [{"accumulate": number} for number in _micro_batches(run)],
    ]
    found: list[Candidate] = []
    for chosen in itertools.product(*axes):
        values = {key: value for one in chosen for key, value in one.items()}
        # One in memory reads nothing ahead.
        if isinstance(values["engine"], ResidentEngine) and values["prefetch"] != run.prefetch:
            continue
        made = replace(run, **values, compile=run.compile or compiled)
        changed = {
            item.name: getattr(made, item.name)
            for item in fields(made)
            if getattr(made, item.name) != getattr(run, item.name)
        }
        found.append(Candidate(made, changed))
    # Where time is short, single changes have come before combinations.
    return sorted(found, key=lambda candidate: len(candidate.changed))


def _engines(run: config.Run, train: Dataset) -> Iterator[EngineConfig]:
    yield run.engine
    now = run.engine
    if isinstance(now, FfcvEngine):
        for threads in _counts(now.threads):
            yield replace(now, threads=threads)
    same = not train.compressed.any() or (isinstance(now, FfcvEngine) and now.exact)
    if same and not isinstance(now, ResidentEngine):
        yield ResidentEngine()
    if isinstance(now, ResidentEngine) and _installed():
        yield FfcvEngine(exact=bool(train.compressed.any()))


def _installed() -> bool:
    import importlib.util

    return importlib.util.find_spec("ffcv") is not None


def _counts(now: int) -> list[int]:
    return [number for number in dict.fromkeys((1, cores(), 2 * cores())) if number != (now or cores())]


def _threads(run: config.Run) -> list[int | None]:
    if run.device not in ("auto", "cpu") or (run.device == "auto" and torch.cuda.is_available()):
        return [run.threads]
    now = run.threads or torch.get_num_threads()
    others = [number for number in dict.fromkeys((1, max(1, cores() // 2), cores())) if number != now]
    return [run.threads, *others]


def _services(run: config.Run) -> Sequence[str]:
    """Services other than the run's only where it draws ahead: without, none works beside the training."""
    return dict.fromkeys((run.service, "inline", "thread", "process")) if run.lead else (run.service,)  # type: ignore[return-value]


def _micro_batches(run: config.Run) -> list[int]:
    """Micro-batches change statistics of batch normalization, and which losses ordered_sgd takes."""
    with torch.device("meta"):
        network = run.model.build(classes=2)
    normalized = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
    if normalized or run.selection != SLOTS["selection"].make():
        return [run.accumulate]
    fitting = [
        number for number in (1, 2, 4) if run.batch_size % number == 0 and run.batch_size >= 2 * number
    ]
    return list(dict.fromkeys([run.accumulate, *fitting]))


def settings_of(candidate: Candidate) -> list[str]:
    """Return a candidate's changes as options to type."""
    words: list[str] = []
    for name, value in candidate.changed.items():
        option = name.replace("_", "-")
        if name == "engine":
            table = part_table(SLOTS["engine"], value)
            words.append(f"--engine {table.pop('name')}")
            usual = type(value)()
            words += [
                f"--engine.{key.replace('_', '-')} {entry}"
                if not isinstance(entry, bool)
                else f"--engine.{key}"
                for key, entry in table.items()
                if entry != getattr(usual, key)
            ]
        elif isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{option}")
        else:
            words.append(f"--{option} {value}")
    return words


def toml(candidate: Candidate, gain: float) -> str:
    """Return a candidate's changes as TOML, for `--with`."""
    table = {
        name: part_table(SLOTS["engine"], value) if name == "engine" else value
        for name, value in candidate.changed.items()
    }
    line = f"{HEADER}: {gain:.2f} times as fast, and what is learned is the same. Take it by --with FILE."
    return f"{line}\n{tomli_w.dumps(table)}"
