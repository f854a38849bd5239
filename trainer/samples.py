"""What happened to each sample of the training set: the table behind samples.parquet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.formats.whole import write_whole
from samplers import Feedback
from trainer.errors import RunError
from trainer.record import SCHEMA


@dataclass(slots=True)
class SampleRecord:
    """What happened to each sample of the training set, for samples.parquet.

    Attributes
    ----------
    times_seen
        int64[N], how often the sample was loaded and trained on.
    last_loss
        float32[N], the last that was heard of the sample, whatever its share; nan where nothing was.
    probability, share
        float64[N], sums over feedback of share * p_true and of share.
    """

    times_seen: NDArray[np.int64]
    last_loss: NDArray[np.float32]
    probability: NDArray[np.float64]
    share: NDArray[np.float64]

    @classmethod
    def empty(cls, samples: int) -> SampleRecord:
        """A record of ``samples`` samples to which nothing has happened."""
        return cls(
            np.zeros(samples, np.int64),
            np.full(samples, np.nan, np.float32),
            np.zeros(samples),
            np.zeros(samples),
        )

    def count(self, ids: NDArray[np.int64]) -> None:
        """Count one more time seen for each of a trained batch's ids, which may repeat."""
        np.add.at(self.times_seen, ids, 1)

    def observe(self, feedback: Feedback) -> None:
        """Take in losses, and probabilities by each owner's share."""
        if feedback.p_true is None:
            raise RunError("per-sample records need a method that gives probabilities; this one gives none")
        share = np.ones(len(feedback.ids)) if feedback.share is None else feedback.share.astype(np.float64)
        heard = share > 0
        self.last_loss[feedback.ids[heard]] = feedback.loss[heard]
        np.add.at(self.probability, feedback.ids, share * feedback.p_true)
        np.add.at(self.share, feedback.ids, share)

    def write(self, path: Path, labels: NDArray[np.int64], classes: Sequence[str]) -> None:
        """Write one row a sample: id, label, times_seen, last_loss, mean_probability."""
        seen = self.share > 0
        mean = np.divide(self.probability, self.share, out=np.full(len(seen), np.nan), where=seen)
        table = pa.table(
            {
                "id": np.arange(len(labels)),
                "label": labels,
                "times_seen": self.times_seen,
                "last_loss": self.last_loss,
                "mean_probability": mean.astype(np.float32),
            },
            metadata={"schema": str(SCHEMA), "classes": json.dumps(list(classes))},
        )
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        write_whole(path, sink.getvalue().to_pybytes())
