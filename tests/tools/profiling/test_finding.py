"""The bottleneck in a profile's figures, and the sentence about it."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any

import pytest

from tools.profiling.finding import Measured
from tools.profiling.sentences import sentence
from tools.reporting.wording import multiple
from trainer.config import Run
from trainer.recipe import from_table
from trainer.selection import SELECTIONS

ALWAYS = {"order", "reading", "draws", "augmentation", "forward", "backward", "optimizer", "feedback", "rest"}


def measured(beside: frozenset[str] = frozenset(), wait: float = 0.0, **stages: float) -> Measured:
    """A profile in milliseconds a step, of 1 ms a stage but for those given."""
    run = from_table({"data": "x"}, where="test")
    every = dict.fromkeys(ALWAYS - {"rest"}, 1.0) | {"rest": 0.0} | stages
    seconds = {name: value / 1e3 for name, value in every.items()}
    step = sum(taken for name, taken in seconds.items() if name not in beside) + wait / 1e3
    return Measured(run, seconds, {"standard": 1e-4}, step, wait / 1e3, beside, decodes=True)


LOADER = frozenset({"reading", "draws", "copy"})


@pytest.mark.parametrize(
    ("profile", "bottleneck", "words"),
    [
        (measured(forward=30.0, backward=60.0), "network", "the loader alone gives 48 times as many images"),
        (measured(augmentation=9.0), "augmentation", "most of that standard"),
        (measured(scoring=9.0), "selection", "is bound by choosing among candidates"),
        (measured(order=9.0), "sampler", "--service process"),
        (measured(feedback=9.0), "feedback", "--log-every"),
        (measured(draws=9.0), "draws", "random numbers"),
        (measured(copy=9.0), "copies", "copies to the device"),
        (measured(rest=9.0), "launches", "--batch-size"),
        (measured(**{"reading again": 9.0}), "rereading", "read again"),  # type: ignore[arg-type]
        # Beside the training, the longer way counts: 7 ms of reading hold nobody up where a step takes 8 ...
        (measured(LOADER, reading=6.0, forward=2.0, backward=3.0), "network", "bound by the network"),
        # ... and 12 do.
        (measured(LOADER, wait=6.0, reading=12.0, forward=4.0), "reading", "waits for images to be read"),
    ],
)
def test_the_sentence_names_the_longest_stage_of_the_longer_way(
    profile: Measured, bottleneck: str, words: str
) -> None:
    assert profile.bottleneck == bottleneck
    said = sentence(profile)
    assert words in said
    assert said.startswith("Training ")
    assert said.endswith(".")
    assert ". " not in said
    assert "\n" not in said


def with_parts(**entries: Any) -> Run:
    return from_table({"data": "x", **entries}, where="test")


def test_remedies_fit_the_run() -> None:
    slow = measured(LOADER, wait=9.0, reading=12.0)
    decoding = replace(slow, run=with_parts(engine="ffcv"))
    assert "waits for JPEG decoding: it takes 12 ms where a whole step takes 15 ms, 4.0 times" in sentence(
        decoding
    )
    assert "--engine.threads" in sentence(decoding)
    assert "--engine resident" in sentence(replace(decoding, decodes=False))
    assert "--square" in sentence(slow)
    network = measured(forward=30.0, run_=0.0)
    assert "--resolution progressive" in sentence(network)
    assert "--compile" in sentence(network)
    grown = replace(network, run=with_parts(resolution="progressive", compile=True))
    assert "--resolution" not in sentence(grown)
    assert "--compile" not in sentence(grown)
    scoring = replace(measured(scoring=9.0), run=with_parts(selection="foms"))
    assert "scoring candidates for foms" in sentence(scoring)
    assert "--selection.pixels" in sentence(scoring)
    for name, part in SELECTIONS.items():
        if name == "hard_augment":
            continue  # of methods without labels
        for more in ({}, {"inputs": "penultimate"} if name.startswith("impon") else {}):
            told = sentence(replace(scoring, run=with_parts(selection={"name": name, **more})))
            advised = set(re.findall(r"--selection\.(\w+)", told))
            assert advised <= {item.name for item in fields(part)}, told  # type: ignore[arg-type]


def test_stages_that_do_not_explain_a_step_are_told_of() -> None:
    alone = measured(forward=30.0, backward=60.0)
    assert "alone, its stages" not in sentence(alone)
    contended = replace(alone, step=4 * alone.step)
    assert contended.explained == pytest.approx(0.25)
    said = sentence(contended)
    assert "as it should be" in sentence(alone)
    assert "as it should be" not in said
    assert "but alone, its stages take only 25% of a step: other programs" in said
    assert "--threads" in said
    # Stages beside the training are not added to its own.
    assert measured(LOADER, wait=6.0, reading=12.0, forward=4.0).explained == pytest.approx(14 / 15, rel=0.1)


def test_stages_that_exceed_their_step_are_told_of() -> None:
    # Forward and backward pass were timed while something else ran; the step when nothing did.
    alone = measured(forward=30.0, backward=60.0)
    assert alone.disturbed is None
    over = replace(alone, step=0.7 * alone.step)
    assert over.disturbed is not None
    assert over.disturbed.startswith("alone, its stages take 143% of the step that they are part of")
    said = sentence(over)
    assert "as it should be" not in said
    assert said.endswith("so profile it again on a quiet machine.")
    # A device beside the host does several of them at once.
    assert replace(over, overlaps=True).disturbed is None
    assert "a fixed piece of work beside it took 1.6 times as long as it needs" in sentence(
        replace(alone, machine=1.6)
    )


def test_stages_and_their_gap_add_up_to_the_step() -> None:
    alone = measured(forward=30.0, backward=60.0)
    assert alone.gap == pytest.approx(0.0)
    assert replace(alone, step=0.1).gap == pytest.approx(0.1 - sum(alone.stages.values()))
    waits = measured(LOADER, wait=6.0, reading=12.0, forward=4.0)
    own = sum(seconds for name, seconds in waits.stages.items() if name not in LOADER)
    assert own + waits.wait + waits.gap == pytest.approx(waits.step)
    assert waits.gap == pytest.approx(0.0)


def test_the_reserve_is_of_the_set_as_it_comes() -> None:
    alone = measured(forward=30.0, backward=60.0)
    assert alone.reserve == pytest.approx(alone.step / 2e-3)
    slower = replace(alone, loading=10e-3)
    assert slower.reserve == pytest.approx(alone.step / 10e-3)
    assert f"the loader alone gives {multiple(slower.reserve)} as many images" in sentence(slower)


def row(option: str, speedup: float, *, learns: bool = False) -> dict[str, Any]:
    return {"option": option, "learns": learns, "speedup": speedup, "significant": abs(speedup - 1) > 0.1}


def test_only_what_was_tried_is_advised() -> None:
    slow = replace(measured(LOADER, wait=9.0, reading=12.0), run=with_parts(engine="ffcv"))
    threads, resident = row("--engine.threads 4", 1.8), row("--engine resident", 1.02)
    said = sentence(slow)
    assert "; not tried: decode in more threads (--engine.threads) or convert" in said
    said = sentence(slow, [threads, resident])
    assert "; type --engine.threads 4: tried, it is 1.80 times as fast; not tried: convert the set" in said
    assert "decode in more threads" not in said
    said = sentence(slow, [resident])
    assert "; tried, --engine resident makes it no faster beyond the spread; not tried: decode in" in said
    larger = row("--batch-size 128", 3.0, learns=True)
    assert "type --batch-size 128: tried, it is 3.00 times as fast, though it changes what" in sentence(
        slow, [larger]
    )
    # What leaves the result alone comes first, and what was refused was not measured.
    assert "type --engine.threads 4" in sentence(slow, [larger, threads])
    refused = {"option": "--engine resident", "learns": False, "refused": "it must fit"}
    assert "no faster" not in sentence(slow, [refused])
    network = measured(forward=30.0)
    assert "not tried: train at lower resolutions (--resolution progressive), compile" in sentence(network)
    assert "take 86% of a step, all else could win 14%, and" in sentence(network)
    assert "(--compile, tried from --seconds 60 on)" in sentence(network)
    assert "--compile" not in sentence(network, [row("--compile", 0.99)]).split("not tried")[1]


def test_waiting_beside_a_slower_network_is_mentioned() -> None:
    waits = measured(LOADER, wait=2.0, forward=10.0, backward=10.0)
    assert sentence(waits).endswith("; it also waits for data 7.7% of the time.")
    assert "waits for data" not in sentence(measured(LOADER, wait=1.0, forward=10.0, backward=10.0))


@pytest.mark.parametrize(
    ("more", "bottleneck", "words"),
    [
        ({"launching": 20e-3}, "launches", "launches and Python"),
        # More than the network takes can't be its launches.
        ({"launching": 90e-3}, "launches", "take 82% of a step"),
        ({"launching": 5e-3}, "network", "bound by the network"),
        ({"host_bound": True}, "launches", "--batch-size"),
        ({"memory_bound": True}, "memory", "bound by the memory's bandwidth"),
        ({"loading": 60e-3}, "disk", "waits for the disk: loading takes 60 ms per step from there and 2 ms"),
        # What is within the noise of both measurements isn't the disk's.
        ({"loading": 5e-3}, "network", "bound by the network"),
    ],
)
def test_bounds_that_no_stage_has(more: dict[str, Any], bottleneck: str, words: str) -> None:
    found = replace(measured(forward=10.0, backward=12.0), **more)
    assert found.bottleneck == bottleneck
    assert words in sentence(found)
    assert sum(found.groups.values()) == pytest.approx(found.step + found.group("disk"))


def test_the_gain_is_bounded_by_the_other_way() -> None:
    waits = measured(LOADER, wait=6.0, reading=12.0, forward=4.0)
    # Without reading the training itself takes 9 of 13 ms, whatever the loader takes.
    assert waits.gain == pytest.approx(1 - 9 / 13)
    assert "without it a step would be 31% shorter" in sentence(waits)
    assert measured(feedback=9.0).gain == pytest.approx(9 / 16)
