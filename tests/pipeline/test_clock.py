"""The clock of work stands still while the process does; phases add up to it, on a device too."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import pipeline.clock
from pipeline.clock import PhaseTimes

WORKS = """
import runpy, sys, time
clock = runpy.run_path(sys.argv[1])["CLOCK"]
with clock.watching():
    begin, began = clock.now(), time.perf_counter()
    print("on", flush=True)
    sys.stdin.readline()
    print(clock.now() - begin, time.perf_counter() - began)
"""


def test_a_stop_does_not_count() -> None:
    words = [sys.executable, "-c", WORKS, str(Path(pipeline.clock.__file__))]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as works:
        assert works.stdin is not None
        assert works.stdout is not None
        assert works.stdout.readline() == "on\n"
        works.send_signal(signal.SIGSTOP)
        time.sleep(2.5)
        works.send_signal(signal.SIGCONT)
        works.stdin.write("\n")
        works.stdin.close()
        worked, elapsed = map(float, works.stdout.readline().split())
    assert elapsed >= 2.5
    assert elapsed - worked >= 2.0


class Device:
    """A host's clock and a device that works through what it is given, as CUDA does; both in seconds."""

    def __init__(self) -> None:
        self.host = self.free = 0.0

    def works(self, seconds: float) -> None:
        self.host += seconds

    def launches(self, seconds: float) -> None:
        self.host += 0.001
        self.free = max(self.free, self.host) + seconds

    def event(self) -> Any:
        return Event(self)


class Event:
    """A mark in the device's queue."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.at = 0.0

    def record(self) -> None:
        self.at = max(self.device.host, self.device.free)

    def synchronize(self) -> None:
        self.device.host = max(self.device.host, self.at)

    def elapsed_time(self, later: Event) -> float:
        return 1e3 * (later.at - self.at)


def times(device: Device, *, on_device: bool = True) -> PhaseTimes:
    return PhaseTimes(
        ("wait", "copy", "forward", "feedback", "evaluate"),
        on_device=("forward",),
        off_the_clock=("evaluate",),
        copies="copy",
        timer=device.event if on_device else None,
        now=lambda: device.host,
    )


def steps(phases: PhaseTimes, device: Device, *, loading: float, computing: float) -> None:
    """Make ten steps; bring back losses after each five, which waits for the device."""
    for step in range(10):
        with phases.phase("wait"):
            device.works(loading)
        with phases.phase("forward"):
            device.launches(computing)
        if step % 5 == 4:
            phases.settle()
            with phases.phase("feedback"):
                device.works(0.2)
    phases.settle()


def test_a_phase_within_another_interrupts_it() -> None:
    device = Device()
    phases = times(device, on_device=False)
    with phases.phase("feedback"):
        device.works(1.0)
        with phases.phase("wait"):
            device.works(2.0)
        device.works(4.0)
    device.works(8.0)
    assert list(phases.through("wait", iter([1, 2]))) == [1, 2]
    phases.settle()
    assert phases.seconds == {"wait": 2.0, "copy": 0.0, "forward": 0.0, "feedback": 5.0, "evaluate": 0.0}
    assert phases.train_seconds == 15.0


@pytest.mark.parametrize(
    ("loading", "computing", "stall"),
    # A device that always has work never waits; one that is slower to feed waits for the rest of the time.
    [(0.1, 1.0, 2 * 0.1), (1.0, 0.1, 10 * 0.9 + 2 * 0.1), (0.5, 0.5, 1.0)],
    ids=["busy", "starved", "even"],
)
def test_a_devices_phases_add_up_to_the_clock(loading: float, computing: float, stall: float) -> None:
    device = Device()
    phases = times(device)
    device.works(100.0)
    phases.start_clock()
    steps(phases, device, loading=loading, computing=computing)
    seconds = phases.seconds
    assert sum(seconds.values()) == pytest.approx(phases.train_seconds, rel=0.02)
    # The queue that is drained for the losses is the network's; what follows finds the device idle.
    assert seconds["feedback"] == pytest.approx(2 * 0.2)
    assert seconds["forward"] == pytest.approx(10 * computing, rel=0.02)
    assert seconds["wait"] == pytest.approx(stall, abs=0.03)
    assert seconds["copy"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("loading", "computing"), [(0.1, 1.0), (1.0, 0.1), (0.5, 0.5)])
def test_times_read_behind_the_device_are_the_same_and_leave_it_work(
    loading: float, computing: float
) -> None:
    device = Device()
    phases = times(device)
    phases.start_clock()
    idle = []
    for step in range(20):
        with phases.phase("wait"):
            device.works(loading)
        with phases.phase("forward"):
            device.launches(computing)
        if step % 5 == 4:
            phases.settle_behind()
            idle.append(device.host >= device.free)
            with phases.phase("feedback"):
                device.works(0.2)
    assert not any(idle)
    # Up to the mark before the last: read once more, they are complete.
    assert 0 < sum(phases.seconds.values()) < phases.train_seconds
    phases.settle()
    seconds = phases.seconds
    assert sum(seconds.values()) == pytest.approx(phases.train_seconds, rel=0.02)
    assert seconds["forward"] == pytest.approx(20 * computing, rel=0.02)
    if computing > loading:
        # The device has work all the time: neither feedback nor loading costs any.
        assert seconds["feedback"] == pytest.approx(0.2 if loading < 0.1 else 0.0, abs=1e-6)
        assert seconds["wait"] == pytest.approx(loading, abs=0.01)


def test_without_a_device_nothing_is_behind() -> None:
    device = Device()
    phases = times(device, on_device=False)
    with phases.phase("forward"):
        device.works(1.0)
        phases.settle_behind()
        assert phases.seconds["forward"] == 1.0


def test_evaluation_is_off_the_clock_and_has_no_part_of_the_training_before_it() -> None:
    device = Device()
    phases = times(device)
    phases.start_clock()
    with phases.phase("forward"):
        device.launches(3.0)
    with phases.phase("evaluate"):
        device.works(2.0)
    assert phases.seconds["forward"] == pytest.approx(3.001)
    assert phases.seconds["evaluate"] == pytest.approx(2.0)
    assert phases.train_seconds == pytest.approx(3.001)


def test_a_wait_for_another_stream_is_that_of_copies() -> None:
    device = Device()
    phases = times(device)
    phases.start_clock()
    with phases.phase("wait"):
        device.works(0.1)
    # The stream waits for an event of the copying stream.
    device.free = 0.6
    with phases.phase("forward"):
        device.launches(1.0)
    phases.settle()
    assert phases.seconds["copy"] == pytest.approx(0.5)
    assert phases.seconds["wait"] == pytest.approx(0.1)


def test_recorded_spans_are_what_was_charged() -> None:
    class Kept:
        def __init__(self) -> None:
            self.found: list[tuple[str, str, float, float]] = []
            self.step: int | None = 7
            self.numbers: set[int | None] = set()

        def add(self, lane: str, name: str, begin: float, end: float, number: int | None = None) -> None:
            self.found.append((lane, name, begin, end))
            if lane == "device":
                self.numbers.add(number)

    device, kept = Device(), Kept()
    phases = times(device)
    phases.start_clock()
    phases.spans = kept
    steps(phases, device, loading=0.1, computing=1.0)
    assert kept.numbers == {7}
    of_device = [(begin, end) for lane, _, begin, end in kept.found if lane == "device"]
    assert [end - begin for begin, end in of_device] == pytest.approx([1.0] * 10, abs=0.01)
    assert all(end <= begin + 1e-9 for (_, end), (begin, _) in pairwise(of_device))
    assert of_device[-1][1] <= device.host
    waits = [end - begin for lane, name, begin, end in kept.found if (lane, name) == ("host", "wait")]
    assert waits == pytest.approx([0.1] * 10)
