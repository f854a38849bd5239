"""Per-sample statistics of the training set: the table behind samples.parquet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.formats import Converted
from pipeline.formats.strict_json import dumps
from pipeline.formats.whole import write_whole
from pipeline.kernels.kept import kernel
from pipeline.multiplied import Multiplied
from samplers import Feedback

SAMPLES_SCHEMA = 2
"""Schema of samples.parquet: 2 added ``weight``, ``image`` and ``copy``."""

_SAVED = {"coefficients": "share"}
"""Names in checkpoints of columns that were renamed since."""


@kernel
def _add_probabilities(
    ids: NDArray[np.int64],
    p_true: NDArray[np.float32],
    coefficients: NDArray[np.float32],
    trained: NDArray[np.bool_],
    sums: NDArray[np.float64],
    weights: NDArray[np.float64],
    last: NDArray[np.float32],
) -> None:
    """Add rows one after another, so that the sums don't depend on how rows are divided among calls."""
    for row in range(ids.size):
        i, p, coefficient = ids[row], p_true[row], coefficients[row]
        sums[i] += np.float64(coefficient) * np.float64(p)
        weights[i] += np.float64(coefficient)
        if trained[row] and coefficient > 0:
            last[i] = p if np.isnan(last[i]) else last[i] + (p - last[i]) * coefficient


@dataclass(slots=True)
class SampleRecord:
    """Per-sample statistics of the training set, for samples.parquet.

    Attributes
    ----------
    times_seen
        int64[N], how often the sample was loaded and trained on.
    last_loss
        float32[N], the sample's last loss, whatever its coefficient; nan if there was none.
    probability, coefficients
        float64[N], sums over feedback of coefficient * p_true and of coefficient; 0 where a method has no
        classes.
    last_probability
        float32[N], the last p_true of training, nan if there was none; updated by the coefficient.
    """

    times_seen: NDArray[np.int64]
    last_loss: NDArray[np.float32]
    probability: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    last_probability: NDArray[np.float32]

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return the columns under the names of checkpoints, which call ``coefficients`` share."""
        return {_SAVED.get(name, name): getattr(self, name) for name in self.__slots__}

    @classmethod
    def of_state(cls, state: Mapping[str, NDArray[Any]]) -> SampleRecord:
        """Return the record that was saved as ``state``."""
        return cls(**{name: state[_SAVED.get(name, name)] for name in cls.__slots__})

    @classmethod
    def empty(cls, samples: int) -> SampleRecord:
        """Return the record of ``samples`` samples before training."""
        return cls(
            np.zeros(samples, np.int64),
            np.full(samples, np.nan, np.float32),
            np.zeros(samples),
            np.zeros(samples),
            np.full(samples, np.nan, np.float32),
        )

    def count(self, ids: NDArray[np.int64]) -> None:
        """Increment the counts of a trained batch's ids, which may repeat."""
        np.add.at(self.times_seen, ids, 1)

    def observe(self, feedback: Feedback) -> None:
        """Update losses, and for methods with classes the probabilities, weighted by coefficients."""
        given = feedback.coefficient
        coefficient = np.ones(len(feedback.ids), np.float32) if given is None else given
        counted = coefficient > 0
        self.last_loss[feedback.ids[counted]] = feedback.loss[counted]
        if feedback.p_true is not None:
            columns = self.probability, self.coefficients, self.last_probability
            _add_probabilities(feedback.ids, feedback.p_true, coefficient, feedback.trained, *columns)

    def write(self, path: Path, train: Converted, importance: NDArray[np.float64] | None) -> None:
        """Write one row per sample: its statistics, and its image.

        Columns are id, label (-1 where the targets are no classes), times_seen, last_loss, mean_probability
        (nan where there was none) and weight, the w of sample_importance at epoch E (null where the run took
        none); of a multiplied set also image, its id in the data set, and copy, from 0.

        Parameters
        ----------
        train
            The training set.
        importance
            float64[N], nan for none; or None for samplers that take no weights.
        """
        seen = self.coefficients > 0
        mean = np.divide(self.probability, self.coefficients, out=np.full(len(seen), np.nan), where=seen)
        weight = np.full(len(train), np.nan) if importance is None else importance
        columns = {
            "id": np.arange(len(train)),
            "label": train.labels if train.card.target == "class" else np.full(len(train), -1),
            "times_seen": self.times_seen,
            "last_loss": self.last_loss,
            "mean_probability": mean.astype(np.float32),
            "weight": pa.array(weight, mask=np.isnan(weight)),
        }
        if isinstance(train, Multiplied):
            columns |= {"image": train.stored, "copy": train.copies}
        table = pa.table(
            columns,
            metadata={"schema": str(SAMPLES_SCHEMA), "classes": dumps(list(train.card.classes))},
        )
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        write_whole(path, sink.getvalue().to_pybytes())


def entropy(counts: NDArray[np.int64]) -> float:
    """Return the entropy in nats of normalized counts: H(c) = -sum p log p with p = c / sum c.

    Arazo et al. 2021, figure 1 (c) and (d), where c is how often each sample was trained on; 0 for no counts.
    """
    total = counts.sum()
    if total == 0:
        return 0.0
    p = counts[counts > 0] / total
    return float(-(p * np.log(p)).sum())
