from __future__ import annotations

import pytest
import torch

from pipeline.augment import AUGMENTS
from tools.arguments import UsageError
from tools.bench.augment import BATCHES, AugmentBench, ours, part_of, peers, photographs


def test_rows_name_their_case_and_peer() -> None:
    rows = AugmentBench(
        augment=("standard", "cutout", "cutmix"), pixels=(32,), repeats=1, device="cpu"
    ).rows()
    assert [(row.case, row.peer) for row in rows if row.peer != "kornia"] == [
        ("augment/standard/32", "torchvision-pil"),
        ("augment/standard/32", "torchvision-tensor"),
        ("augment/cutout/32", None),
        ("augment/cutmix/32", "torchvision-tensor"),
    ]
    for row in rows:
        assert row.unit == "images/s"
        assert row.ours > 0
        assert row.ratio == (None if row.theirs is None else pytest.approx(row.ours / row.theirs))


@pytest.mark.parametrize("name", [name for name in AUGMENTS if name != "none"])
def test_ours_and_the_peers_do_their_work_on_the_same_images(name: str) -> None:
    images = photographs(3, 32)
    out = ours(name, images)()
    assert isinstance(out, torch.Tensor)
    assert out.shape == images.shape
    assert (out.dtype == torch.uint8) == (part_of(name).domain != "float")
    with torch.random.fork_rng():
        for work in peers(name, images, torch.device("cpu")).values():
            assert work() is not None


def test_every_call_draws_anew() -> None:
    work = ours("standard", photographs(8, 32))
    assert not torch.equal(work(), work())  # type: ignore[arg-type]


def test_what_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match=f"pixels must be of {', '.join(map(str, BATCHES))}; got 64"):
        AugmentBench(pixels=(64,))
    with pytest.raises(UsageError, match=r"augment must be of none, standard, .*; got riccap"):
        AugmentBench(augment=("riccap",))
