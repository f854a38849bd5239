"""Files of per-sample scores and features, made before a run and read by samplers."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from samplers.draws.arrays import Floats
from samplers.errors import SamplingError

_NAMES = ("schema", "scores", "method", "metadata")
_OPTIONAL = ("features", "p_true")
_MAKE = "make it with `trainer score` or Scores.save"


@dataclass(frozen=True)
class Scores:
    """One score per sample, and optionally features.

    On disk: a ``.npz`` archive of ``schema`` (1), ``scores`` float32[N], ``method`` and ``metadata`` (JSON)
    as strings, and ``features`` float32[N, d] and ``p_true`` float32[N] where there are any.

    Attributes
    ----------
    scores
        float32[N], higher for samples more worth keeping.
    method
        Name of the score, such as ``el2n``.
    metadata
        Provenance: networks, epochs, seeds, data set. Plain numbers and strings.
    features
        float32[N, d] or None: feature space for the distances of core-sets and the diversity of mcl.
    p_true
        float32[N] or None: mean probability of the true class over the epochs scored, for subset's choice
        dual.
    """

    scores: Floats
    method: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    features: Floats | None = None
    p_true: Floats | None = None

    def __post_init__(self) -> None:
        if self.scores.ndim != 1 or self.scores.dtype != np.float32:
            raise SamplingError(
                f"scores must be float32[N]; got {self.scores.dtype} of shape {self.scores.shape}"
            )
        wrong = ~np.isfinite(self.scores)
        if wrong.any():
            sample = int(wrong.argmax())
            raise SamplingError(f"scores must be finite; got {self.scores[sample]} for sample {sample}")
        if self.features is not None and (
            self.features.ndim != 2
            or len(self.features) != len(self.scores)
            or self.features.dtype != np.float32
            or not np.isfinite(self.features).all()
        ):
            raise SamplingError(
                f"features must be finite float32[{len(self.scores)}, d]; got {self.features.dtype} "
                f"of shape {self.features.shape}"
            )
        if self.p_true is not None and (
            self.p_true.shape != self.scores.shape
            or self.p_true.dtype != np.float32
            or not ((self.p_true >= 0) & (self.p_true <= 1)).all()
        ):
            raise SamplingError(
                f"p_true must be probabilities, float32[{len(self.scores)}] in [0, 1]; got "
                f"{self.p_true.dtype} of shape {self.p_true.shape}"
            )

    def save(self, path: Path) -> None:
        """Write the file atomically.

        Raises
        ------
        SamplingError
            If it can't be written, or the metadata isn't JSON-serializable.
        """
        try:
            metadata = json.dumps(dict(self.metadata), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise SamplingError(
                f"a scores file's metadata must be strings and finite numbers that JSON can hold; {error}"
            ) from error
        columns: dict[str, Any] = {
            "schema": 1,
            "scores": self.scores,
            "method": self.method,
            "metadata": metadata,
        }
        for name in _OPTIONAL:
            if getattr(self, name) is not None:
                columns[name] = getattr(self, name)
        partial = path.with_name(path.name + ".partial")
        try:
            with partial.open("wb") as file:
                np.savez(file, **columns)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException as error:
            with contextlib.suppress(OSError):
                partial.unlink()
            if not isinstance(error, OSError):
                raise
            raise SamplingError(
                f"a scores file must be writable; {path} can't be written: {error.strerror or error}: "
                "name another"
            ) from error

    @classmethod
    def load(cls, path: Path, samples: int, digest: str | None = None) -> Scores:
        """Read a file.

        Parameters
        ----------
        samples
            N of the training set.
        digest
            SHA-256 of the training set; compared with the file's ``data_sha256``, where both are known.

        Raises
        ------
        SamplingError
            If it can't be read, isn't a scores file, or belongs to another set or number of samples.
        """
        try:
            mode = path.stat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                # Opening a FIFO would block, and /dev/zero has no end.
                raise SamplingError(f"a scores file must be a regular file; {path} isn't: {_MAKE}")
            with path.open("rb") as file:
                columns = _columns(path, file)
        except OSError as error:
            raise SamplingError(
                f"a scores file must be readable; {path} can't be read ({error.strerror or error}): "
                f"name another, or {_MAKE}"
            ) from error
        missing = [name for name in _NAMES if name not in columns]
        if missing:
            raise SamplingError(
                f"a scores file must hold {', '.join(_NAMES)}; {path} lacks {', '.join(missing)}: {_MAKE}"
            )
        scores, metadata = columns["scores"], _metadata(str(columns["metadata"]))
        if metadata is None:
            raise SamplingError(
                f"a scores file must hold metadata that are a JSON object; {path} has "
                f"{str(columns['metadata'])[:40]!r}: {_MAKE}"
            )
        schema = columns["schema"].tolist()
        if schema != 1:
            raise SamplingError(f"a scores file must have schema 1; {path} has {schema}: score the set again")
        if scores.shape != (samples,):
            raise SamplingError(
                f"a scores file must hold one score for each of the set's {samples:,} samples; "
                f"{path} has shape {scores.shape}: score this set"
            )
        stored = metadata.get("data_sha256")
        if digest is not None and stored is not None and stored != digest:
            raise SamplingError(
                f"a scores file must be of this training set, with sha256 {digest}; {path} is of another of "
                f"as many samples, {stored}: score this set, or use it anyway with --accept-changed-data"
            )
        try:
            more = {name: columns.get(name) for name in _OPTIONAL}
            return cls(scores, str(columns["method"]), metadata, **more)
        except SamplingError as error:
            raise SamplingError(f"{path}: {error}: {_MAKE}") from None


def _columns(path: Path, file: BinaryIO) -> dict[str, NDArray[Any]]:
    """Read the known arrays of a scores file; absent ones are left out."""
    if not zipfile.is_zipfile(file):
        raise SamplingError(
            f"a scores file must be a complete .npz archive; {path}, of {path.stat().st_size:,} bytes, isn't "
            f"one: {_MAKE}"
        )
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in (*_NAMES, *_OPTIONAL) if name in archive.files}
    except OSError:
        raise
    except Exception as error:  # zipfile and NumPy raise many types of errors on a damaged archive
        if isinstance(error, MemoryError):
            # A damaged header may claim more than the file holds. If memory is really short, this raises.
            np.empty(path.stat().st_size, np.uint8)
        raise SamplingError(
            f"a scores file must be written by Scores.save; {path} can't be parsed ({error}): {_MAKE}"
        ) from error


def _metadata(text: str) -> dict[str, Any] | None:
    """Parse a JSON object; return None if the text isn't one."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
