"""Images from disk to augmented batches on the device, in whatever order they are asked for."""

from __future__ import annotations

from pipeline.augment import AUGMENTS, Augment, Augmentation, Mixing, compose
from pipeline.batch import Batch, PendingIds, RawBatch
from pipeline.engines import ENGINES, EngineConfig, Reader
from pipeline.errors import CorruptSampleError, DataError, MissingExtraError
from pipeline.formats import open_dataset
from pipeline.loading.loader import Loader
from pipeline.mixture import Mixture
from pipeline.recording import LoaderProfile, profile
from pipeline.views import Views

__all__ = [
    "AUGMENTS",
    "ENGINES",
    "Augment",
    "Augmentation",
    "Batch",
    "CorruptSampleError",
    "DataError",
    "EngineConfig",
    "Loader",
    "LoaderProfile",
    "MissingExtraError",
    "Mixing",
    "Mixture",
    "PendingIds",
    "RawBatch",
    "Reader",
    "Views",
    "compose",
    "open_dataset",
    "profile",
]
