"""Engines read images by id: one file per engine, all behind one contract."""

from __future__ import annotations

from pipeline.engines.dali import DaliEngine
from pipeline.engines.ffcv import FfcvEngine
from pipeline.engines.protocol import Dataset, EngineConfig, Reader
from pipeline.engines.resident import ResidentEngine

ENGINES: dict[str, type[EngineConfig]] = {
    "resident": ResidentEngine,
    "ffcv": FfcvEngine,
    "dali": DaliEngine,
}
"""Every engine by the name that recipes use."""

__all__ = ["ENGINES", "Dataset", "EngineConfig", "Reader"]
