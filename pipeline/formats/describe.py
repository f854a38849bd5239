"""Cards of files without one, made from the files themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.formats.card import Card, Encoding
from pipeline.formats.statistics import sums_of
from pipeline.modes import PIXELS
from pipeline.targets import LABEL, TargetSpec, kind_of

if TYPE_CHECKING:
    from pipeline.formats.beton import Beton
    from pipeline.formats.webdataset import WebDataset

_PROBES = 512
_MOST_CLASSES = 1_000_000


def describe(data: Beton | WebDataset) -> Card:
    """Describe a data set without a card: classes named by number, mean and std of some of its images.

    Classes up to a million are taken as they are; the reader reports labels outside of them.

    Raises
    ------
    CorruptSampleError
        When one of the images can't be read.
    """
    spec, counts = _targets(data.targets.get(LABEL))
    probed = np.unique(np.linspace(0, len(data) - 1, min(len(data), _PROBES)).astype(np.int64))
    sums = sums_of(data.mode)
    for index in probed:
        if not (data.lenient and data.fault(int(index))):
            sums.add(data.image(int(index)))
    mean, std = sums.mean_and_std()
    sizes = {"height": data.heights, "width": data.widths}
    same = {side: int(values[0]) if (values == values[0]).all() else None for side, values in sizes.items()}
    fraction = data.compressed.mean()
    encoding: Encoding = "raw" if fraction == 0 else "jpeg" if fraction == 1 else "mixed"
    return Card(
        name=data.path.stem,
        split="unknown",
        samples=len(data),
        classes=spec.classes,
        class_counts=counts,
        height=same["height"],
        width=same["width"],
        min_height=int(data.heights.min()),
        max_height=int(data.heights.max()),
        min_width=int(data.widths.min()),
        max_width=int(data.widths.max()),
        mean=mean,
        std=std,
        encoding=encoding,
        quality=None,
        source=f"{data.path.name}, a file without a card; mean and std of {len(probed):,} of its images",
        target=spec.kind,
        columns=spec.columns,
        channels=PIXELS[data.mode].channels,
        mode=data.mode,
    )


def _targets(values: NDArray[Any] | None) -> tuple[TargetSpec, tuple[int, ...]]:
    """Return the specification of targets, and the number of samples of each class or with each label."""
    kind = kind_of(values)
    if values is None or kind == "value":
        return TargetSpec.of(kind, (), values), ()
    if kind == "multi_label":
        spec = TargetSpec(kind, tuple(str(number) for number in range(values.shape[1])))
        return spec, spec.counts(values == 1)
    labels = values[(values >= 0) & (values < _MOST_CLASSES)]
    classes = int(labels.max()) + 1 if len(labels) else 1
    counts = np.bincount(labels, minlength=classes)
    # Broken labels aren't left out silently: the counts must add up, and the reader names the samples.
    counts[-1] += len(values) - len(labels)
    return TargetSpec("class", tuple(str(i) for i in range(classes))), tuple(counts.tolist())
