"""Files of per-sample scores and features, made before a run and read by samplers that need them."""

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
_MAKE = "make it with `trainer score` or Scores.save"


@dataclass(frozen=True)
class Scores:
    """One score a sample, and optionally its features.

    On disk: a ``.npz`` archive of ``schema`` (1), ``scores`` float32[N], ``method`` and ``metadata`` (JSON)
    as strings, and ``features`` float32[N, d] where there are any.

    Attributes
    ----------
    scores
        float32[N], the higher the more worth keeping.
    method
        What they are, as in ``el2n``.
    metadata
        How they came about: networks, epochs, seeds, data set. Plain numbers and strings.
    features
        float32[N, d] or None: what the distances of core-sets and the diversity of mcl are taken in.
    """

    scores: Floats
    method: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    features: Floats | None = None

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

    def save(self, path: Path) -> None:
        """Write the file whole or not at all.

        Raises
        ------
        SamplingError
            When it can't be written, or JSON can't hold the metadata.
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
        if self.features is not None:
            columns["features"] = self.features
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
                f"a scores file must be one that can be written; {path} can't be: {error.strerror or error}: "
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
            When it can't be read, isn't such a file, or is of another set or number of samples.
        """
        try:
            mode = path.stat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                # A FIFO would be waited for, and /dev/zero read without end.
                raise SamplingError(f"a scores file must be a regular file; {path} isn't: {_MAKE}")
            with path.open("rb") as file:
                columns = _columns(path, file)
        except OSError as error:
            raise SamplingError(
                f"a scores file must be one that can be read; {path} can't be ({error.strerror or error}): "
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
            raise SamplingError(f"a scores file must have schema 1; {path} has {schema}: score the set anew")
        if scores.shape != (samples,):
            raise SamplingError(
                f"a scores file must hold one score for each of the set's {samples:,} samples; "
                f"{path} has shape {scores.shape}: score this set"
            )
        told = metadata.get("data_sha256")
        if digest is not None and told is not None and told != digest:
            raise SamplingError(
                f"a scores file must be of this training set, of sha256 {digest}; {path} is of another of "
                f"as many samples, {told}: score this set, or take it all the same with --accept-changed-data"
            )
        try:
            return cls(scores, str(columns["method"]), metadata, columns.get("features"))
        except SamplingError as error:
            raise SamplingError(f"{path}: {error}: {_MAKE}") from None


def _columns(path: Path, file: BinaryIO) -> dict[str, NDArray[Any]]:
    """Read those arrays of a scores file that are there."""
    if not zipfile.is_zipfile(file):
        raise SamplingError(
            f"a scores file must be a whole .npz archive; {path}, of {path.stat().st_size:,} bytes, is none: "
            f"{_MAKE}"
        )
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in (*_NAMES, "features") if name in archive.files}
    except OSError:
        raise
    except Exception as error:  # A damaged archive makes zipfile and NumPy raise whatever they stumble over.
        if isinstance(error, MemoryError):
            # A damaged one states more than it holds. Where there is no room for what it holds, this raises.
            np.empty(path.stat().st_size, np.uint8)
        raise SamplingError(
            f"a scores file must be one that Scores.save wrote; {path} can't be understood ({error}): {_MAKE}"
        ) from error


def _metadata(text: str) -> dict[str, Any] | None:
    """Read a JSON object; None where the text is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
