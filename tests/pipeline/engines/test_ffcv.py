"""The ffcv engine's library: not installed, or imported for the first time."""

from __future__ import annotations

import sys

import pytest
import torch
from engine_sets import CPU

from pipeline import ENGINES, MissingExtraError
from pipeline.formats import Converted


def test_ffcv_that_is_not_installed_is_named_with_the_commands(
    data: dict[tuple[str, str], Converted], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.engines import ffcv

    ffcv._library.cache_clear()
    monkeypatch.setitem(sys.modules, "ffcv.libffcv", None)
    with pytest.raises(
        MissingExtraError, match=r"libturbojpeg0-dev libopencv-dev.*pip install 'budgetrain\[ffcv\]'"
    ):
        ENGINES["ffcv"]().open(data["beton", "raw"], CPU)


def test_importing_ffcv_leaves_the_number_of_threads(data: dict[tuple[str, str], Converted]) -> None:
    from pipeline.engines import ffcv

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        ffcv._library.cache_clear()
        for name in [name for name in sys.modules if name.startswith("ffcv")]:
            del sys.modules[name]
        ENGINES["ffcv"]().open(data["beton", "raw"], CPU).close()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
