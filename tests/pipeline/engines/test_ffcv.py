"""The ffcv engine's library: not installed, not whole, or loaded for the first time."""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
import torch
from engine_sets import CPU

from pipeline import ENGINES, MissingExtraError
from pipeline.engines import ffcv
from pipeline.formats import Converted


def test_ffcv_that_is_not_installed_is_named_with_the_commands(
    data: dict[tuple[str, str], Converted], monkeypatch: pytest.MonkeyPatch
) -> None:
    ffcv._library.cache_clear()
    monkeypatch.setitem(sys.modules, "ffcv", None)
    with pytest.raises(
        MissingExtraError, match=r"libturbojpeg0-dev libopencv-dev.*pip install 'budgetrain\[ffcv\]'"
    ):
        ENGINES["ffcv"]().open(data["beton", "raw"], CPU)


def test_a_library_that_can_not_be_loaded_is_named_with_the_commands(
    data: dict[tuple[str, str], Converted], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the one that it is linked with has been removed."""
    (tmp_path / "ffcv").mkdir()
    (tmp_path / "ffcv" / "__init__.py").touch()
    for name in [name for name in sys.modules if name.startswith("ffcv")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    for content in (None, b"no library"):
        if content is not None:
            (tmp_path / "ffcv" / f"_libffcv{EXTENSION_SUFFIXES[0]}").write_bytes(content)
            importlib.invalidate_caches()
        ffcv._library.cache_clear()
        with pytest.raises(MissingExtraError, match=r"_libffcv.*libturbojpeg0-dev libopencv-dev"):
            ENGINES["ffcv"]().open(data["beton", "raw"], CPU)


def test_loading_the_library_runs_none_of_ffcvs_modules(data: dict[tuple[str, str], Converted]) -> None:
    """They compile for seconds, and set the number of threads of everybody."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        ffcv._library.cache_clear()
        for name in [name for name in sys.modules if name.startswith("ffcv")]:
            del sys.modules[name]
        ENGINES["ffcv"]().open(data["beton", "raw"], CPU).close()
        assert torch.get_num_threads() == 3
        assert not [name for name in sys.modules if name.startswith("ffcv")]
    finally:
        torch.set_num_threads(threads)
