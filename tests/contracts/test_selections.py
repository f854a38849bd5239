"""What every selection promises, whatever it chooses by."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)

from pipeline import Batch, Mixture
from samplers import Scores
from trainer.errors import RunError
from trainer.methods import METHODS, Losses
from trainer.parallel import World
from trainer.selection import (
    SELECTIONS,
    Candidates,
    Selection,
    SelectionConfig,
    Setting,
    Terms,
    Weighting,
)

SAMPLES, CLASSES, BATCH, FEATURES = 500, 10, 12, 6
CPU = torch.device("cpu")


def variants() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in SELECTIONS:
        yield name, {}
    yield "foms", {"beta": 3.0, "ratio": 5.0, "score": "gradient_norm", "forgetting": 0.7}
    yield "selective_backprop", {"beta": 1.0, "history": 20}
    yield "ordered_sgd", {"thresholds": (0.05, 0.2)}
    yield "impon", {"inputs": "penultimate", "lr": 0.01}
    yield "impon", {"lr": 0.01, "grid": 3}
    yield "gradient_norm", {"threshold": 0.0, "check_every": 3}


@pytest.fixture(params=list(variants()), ids=lambda variant: "-".join((variant[0], *variant[1])))
def part(request: pytest.FixtureRequest, tmp_path: Path) -> SelectionConfig:
    return make(*request.param, tmp_path)


def make(name: str, options: dict[str, Any], folder: Path) -> SelectionConfig:
    if name == "rho_loss":
        losses = np.random.default_rng(5).random(SAMPLES).astype(np.float32)
        Scores(losses, "irreducible_loss", {"trained": 3000, "data_sha256": "5e"}).save(folder / "losses.npz")
        options = {"irreducible": folder / "losses.npz", **options}
    return SELECTIONS[name](**options).bind(Terms(0.3, 20, BATCH))


def setting(device: torch.device = CPU) -> Setting:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, CLASSES))
    return Setting(BATCH, SAMPLES, device, World(), model, budget=0.1)


class Watched(Setting):
    """A setting that knows what of it was read."""

    read: ClassVar[set[str]] = set()

    def __getattribute__(self, name: str) -> Any:
        type(self).read.add(name)
        return super().__getattribute__(name)


def candidates(part: SelectionConfig, n: int, step: int = 0) -> Candidates:
    """Show n candidates as the driver does: with outputs, losses and features where they are asked for."""
    generator = torch.Generator().manual_seed(1000 * step + n)
    labels = torch.randint(0, CLASSES, (n,), generator=generator)
    outputs = 2 * torch.randn(n, CLASSES, generator=generator)
    return Candidates(
        ids=np.random.default_rng(step).integers(0, SAMPLES, n),
        images=torch.randn(n, 3, 8, 8, generator=generator),
        labels=labels,
        uniforms=torch.rand(n, 2, generator=generator),
        outputs=outputs if part.scores else None,
        losses=METHODS["supervised"]().build(torch.nn.Identity()).losses(outputs, labels[:, None])
        if part.scores
        else None,
        features=torch.randn(n, FEATURES, generator=generator) if part.features else None,
    )


def trained(step: int, n: int, k: int = 1) -> tuple[Losses, Batch]:
    """Return losses of a trained batch, and the batch, whose images are mixed k at a time."""
    generator = torch.Generator().manual_seed(7000 + 10 * step + n)
    labels = torch.randint(0, CLASSES, (n,), generator=generator)
    partners = np.stack([np.roll(np.arange(n), i) for i in range(k)], axis=1)
    mixture = Mixture.of(partners, np.full((n, k), 1 / k, np.float32)) if k > 1 else None
    batch = Batch(np.arange(n), (torch.zeros(n, 3, 8, 8),), {"label": labels}, mixture)
    outputs = torch.randn(n, CLASSES, generator=generator)
    method = METHODS["supervised"]().build(torch.nn.Identity())
    return method.losses(outputs, batch.constituents(labels)), batch


def pool(part: SelectionConfig) -> int:
    return round(part.ratio * BATCH)


def go(part: SelectionConfig, selection: Selection, steps: range) -> list[Tensor]:
    """Take steps, each second one unselected, with a round of five steps; give what was chosen."""
    told: list[Tensor] = []
    for step in steps:
        shown = candidates(part, pool(part), step)
        choice = selection.choose(shown) if step % 2 == 0 or step < 4 else None
        if choice is not None:
            told.append(choice.places)
            if choice.weights is not None:
                told.append(choice.weights)
        losses, batch = trained(step, BATCH if choice is None else len(choice.places), 2)
        if isinstance(selection, Weighting):
            told.append(selection.weigh(losses, batch))
        selection.observe(losses, batch, choice)
        told.append(torch.tensor(selection.on(step, 0.6)))
        if step % 5 == 4:
            selection.end_round()
    return told


def test_is_a_frozen_dataclass_with_a_description(part: SelectionConfig) -> None:
    assert dataclasses.is_dataclass(part)
    with pytest.raises(dataclasses.FrozenInstanceError):
        part.start = 0.5  # type: ignore[attr-defined]
    summary = (type(part).__doc__ or "").splitlines()[0]
    assert summary.endswith(".")
    assert hash(part) == hash(dataclasses.replace(part))  # type: ignore[type-var]


def test_nothing_is_told_that_no_selection_asks_for(tmp_path: Path) -> None:
    told = setting()
    for name, options in variants():
        part = make(name, options, tmp_path)
        selection = part.build(Watched(BATCH, SAMPLES, CPU, told.world, told.model, "5e", 0.1))
        go(part, selection, range(20))
        selection.load_state_dict(selection.state_dict())
    assert Watched.read >= {item.name for item in dataclasses.fields(Setting)}


def test_says_what_it_needs(part: SelectionConfig) -> None:
    assert part.ratio >= 1
    assert all(isinstance(trait, bool) for trait in (part.scores, part.features, part.exact, part.syncs))
    assert not part.features or part.scores
    assert part.exact or part.syncs
    assert isinstance(part.build(setting()), Weighting) == (type(part) is SELECTIONS["ordered_sgd"])


@pytest.mark.parametrize("n", [0, 1, 5, BATCH, BATCH + 1, 5 * BATCH])
def test_chooses_a_batch_of_places(part: SelectionConfig, n: int) -> None:
    selection = part.build(setting())
    for step in range(3):
        choice = selection.choose(candidates(part, n, step))
        places = choice.places
        assert places.dtype == torch.int64
        assert places.ndim == 1
        assert ((places >= 0) & (places < n)).all()
        replaces = type(part) is SELECTIONS["gradient_norm"]
        assert replaces or len(places.unique()) == len(places)
        if part.ratio == 1:
            assert len(places) == n
        elif part.exact:
            assert len(places) == min(n, BATCH)
        if choice.weights is not None:
            assert choice.weights.dtype == torch.float32
            assert choice.weights.shape == places.shape
            assert (choice.weights > 0).all()
        selection.observe(*trained(step, len(places)), choice)


@pytest.mark.usefixtures("fake_cuda")
@pytest.mark.parametrize("n", [1, BATCH, 5 * BATCH])
def test_choosing_never_waits_for_the_device(
    part: SelectionConfig, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On fake CUDA tensors .item(), a data-dependent shape and a tensor left on the host all raise."""
    # Fakes know no pinned memory, through which ids go to the device.
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor)
    shown, count = candidates(part, n), n if part.ratio == 1 else min(n, BATCH)
    made = trained(0, count, 2)
    with FakeTensorMode(), torch.device("cuda"):
        selection = part.build(setting(torch.device("cuda")))
        on_device = _fake(shown)
        if not part.exact:
            with pytest.raises(DynamicOutputShapeException):
                selection.choose(on_device)
            return
        choice = selection.choose(on_device)
        assert choice.places.device.type == "cuda"
        assert choice.places.shape == (count,)
        losses, batch = map(_fake, made)
        selection.observe(losses, batch, choice)
        selection.observe(losses, batch, None)
        if isinstance(selection, Weighting):
            weights = selection.weigh(losses, batch)
            assert weights.device.type == "cuda"
            assert weights.shape == choice.places.shape
        if part.syncs:
            with pytest.raises(DataDependentOutputException):
                _observe_on(selection, losses, batch)
        else:
            _observe_on(selection, losses, batch)


def _observe_on(selection: Selection, losses: Losses, batch: Batch) -> None:
    for _ in range(50):
        selection.observe(losses, batch, None)


def _fake(given: Any) -> Any:
    if isinstance(given, Tensor):
        return torch.empty(given.shape, dtype=given.dtype)
    if isinstance(given, dict):
        return {name: _fake(values) for name, values in given.items()}
    if isinstance(given, tuple):
        return tuple(_fake(values) for values in given)
    if dataclasses.is_dataclass(given) and not isinstance(given, type):
        found = {item.name: _fake(getattr(given, item.name)) for item in dataclasses.fields(given)}
        return type(given)(**found)
    return given


@pytest.mark.usefixtures("fake_cuda")
def test_the_check_notices_a_wait() -> None:
    with FakeTensorMode(), torch.device("cuda"):
        with pytest.raises(DataDependentOutputException):
            torch.ones(3).sum().item()
        with pytest.raises(DynamicOutputShapeException):
            torch.ones(3).nonzero()


def test_two_of_a_kind_choose_alike_and_leave_no_trace(part: SelectionConfig) -> None:
    first, second = part.build(setting()), part.build(setting())
    shown = candidates(part, pool(part))
    before = [tensor.clone() for tensor in _tensors(shown)]
    state = torch.get_rng_state()
    assert _same(go(part, first, range(12)), go(part, second, range(12)))
    first.choose(shown)
    assert all(torch.equal(tensor, kept) for tensor, kept in zip(_tensors(shown), before, strict=True))
    assert torch.equal(state, torch.get_rng_state())


def _tensors(shown: Candidates) -> list[Tensor]:
    return [
        tensor for tensor in (shown.images, shown.labels, shown.uniforms, shown.outputs) if tensor is not None
    ]


@pytest.mark.parametrize("stop", [1, 4, 5, 8, 11])
def test_a_resumed_selection_equals_an_uninterrupted_one(
    part: SelectionConfig, stop: int, tmp_path: Path
) -> None:
    whole = part.build(setting())
    expected = go(part, whole, range(14))
    stopped = part.build(setting())
    told = go(part, stopped, range(stop))
    torch.save(stopped.state_dict(), tmp_path / "state.pt")
    # What happens after a checkpoint doesn't reach into it.
    go(part, stopped, range(stop, 14))
    resumed = part.build(setting())
    resumed.load_state_dict(torch.load(tmp_path / "state.pt"))
    assert _same(expected, told + go(part, resumed, range(stop, 14)))
    assert _plain(whole.state_dict()) == _plain(resumed.state_dict())


def _same(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def _plain(state: Mapping[str, Any]) -> str:
    return str({key: value.tolist() if isinstance(value, Tensor) else value for key, value in state.items()})


def test_a_saved_state_is_not_written_to_afterwards(part: SelectionConfig) -> None:
    selection = part.build(setting())
    go(part, selection, range(4))
    state = selection.state_dict()
    before = _plain(state)
    go(part, selection, range(4, 12))
    assert _plain(state) == before


def test_is_on_within_its_schedule_alone(part: SelectionConfig) -> None:
    options = {item.name for item in dataclasses.fields(part)}  # type: ignore[arg-type]
    if "start" not in options:
        assert not any(part.build(setting()).on(step, step / 99) for step in range(100))
        return
    always = {"threshold": 0.0} if "threshold" in options else {}
    made = dataclasses.replace(part, start=0.2, end=0.8, interrupt=4, **always)  # type: ignore[type-var]
    selection = made.build(setting())
    expected = [20 <= step < 80 and step % 4 != 3 for step in range(101)]
    assert [selection.on(step, step / 100) for step in range(101)] == expected
    to_the_end = dataclasses.replace(made, end=1.0, interrupt=0).build(setting())
    assert [to_the_end.on(step, step / 100) for step in range(101)] == [step >= 20 for step in range(101)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": -0.1}, "start and end must rise within"),
        ({"end": 1.5}, "start and end must rise within"),
        ({"start": 0.5, "end": 0.5}, "got 0.5 and 0.5"),
        ({"start": float("nan")}, "start and end must rise within"),
        ({"interrupt": 1}, "interrupt must be 0 or at least 2 pools; got 1"),
        ({"interrupt": -3}, "interrupt must be 0 or at least 2 pools; got -3"),
        ({"pixels": 0}, "pixels must be a fraction"),
        ({"pixels": -2}, "pixels must be a fraction"),
        ({"pixels": 96.5}, "whole number of pixels; got 96.5"),
        ({"pixels": float("nan")}, "pixels must be a fraction"),
        ({"pixels": float("inf")}, "pixels must be a fraction"),
        ({"ratio": 0.5}, "ratio must be at least 1"),
        ({"ratio": float("inf")}, "ratio must be at least 1 and finite"),
        ({"keep": 0.0}, "keep must be above 0 and at most 1"),
        ({"keep": 1.1}, "keep must be above 0 and at most 1"),
        ({"beta": -1.0}, "beta must be at least 0"),
        ({"history": 0}, "history must be at least 1 loss"),
        ({"thresholds": (0.9, 0.8)}, "thresholds must rise"),
        ({"thresholds": (0.0,)}, "thresholds must rise"),
        ({"beta": 2.0, "ratio": 2.5}, r"ratio must be at least 1 \+ beta = 3"),
        ({"score": "entropy"}, "score must be one of loss, gradient_norm"),
        ({"forgetting": -1.0}, "forgetting must be at least 0"),
        ({"pace": 0.0}, "pace must be above 0"),
        ({"inputs": "text"}, "inputs must be one of pixels, penultimate"),
        ({"grid": 0}, "grid must be at least 1"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"smoothing": 1.0}, "smoothing must be at least 0 and below 1"),
        ({"threshold": -1.0}, "threshold must be at least 0"),
        ({"check_every": 0}, "check_every must be at least 1 step"),
        ({"holdout_samples": -1}, "holdout_samples must be at least 0"),
        ({"bank": 0}, "bank must be at least 2"),
        ({"bank": 300, "ratio": 2.0}, "ratio takes the place of selection.bank; got 2 and 300: leave one"),
        (
            {"keep": 0.5, "beta": 1.0},
            r"keep and beta are one setting, .*; got 0\.5 and 1: leave one of them out",
        ),
    ],
)
def test_options_that_cannot_work_are_refused_in_one_line(options: dict[str, Any], message: str) -> None:
    takers = [cls for cls in SELECTIONS.values() if options.keys() <= _option_names(cls)]
    assert takers
    for cls in takers:
        with pytest.raises(RunError, match=message) as error:
            cls(**options)
        assert "\n" not in str(error.value)


def _option_names(cls: type[Any]) -> set[str]:
    return {item.name for item in dataclasses.fields(cls)}
