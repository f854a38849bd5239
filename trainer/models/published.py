"""Published weights: in the caches of the Hugging Face hub and of torch.hub, or downloaded into them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import torch

from trainer.errors import RunError


def cached(hub: str | None, names: Sequence[str], url: str | None) -> Path | None:
    """Return the file of published weights that a cache holds; None where neither does.

    Parameters
    ----------
    hub
        Repository on the Hugging Face hub, as "timm/resnet50.a1_in1k".
    names
        Names that the file may have in it, the first that is there is taken.
    url
        Address that torch.hub would download it from.
    """
    if hub is not None:
        from huggingface_hub import try_to_load_from_cache

        for name in names:
            found = try_to_load_from_cache(hub, name)
            if isinstance(found, str):
                return Path(found)
    if url is not None and _of_torch_hub(url).is_file():
        return _of_torch_hub(url)
    return None


def download(hub: str | None, names: Sequence[str], url: str | None) -> Path:
    """Download published weights into their cache, and return the file.

    Raises
    ------
    RunError
        When it fails.
    """
    faults = []
    if hub is not None:
        from huggingface_hub import hf_hub_download

        for name in names:
            try:
                return Path(hf_hub_download(hub, name))
            # The libraries below raise errors of their own for every way in which a network fails.
            except Exception as error:
                faults.append(" ".join(str(error).split())[:120])
    if url is not None:
        try:
            _of_torch_hub(url).parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(_of_torch_hub(url)), progress=False)
        except (OSError, HTTPException, RuntimeError, ValueError) as error:
            faults.append(" ".join(str(error).split())[:120])
        else:
            return _of_torch_hub(url)
    raise RunError(
        f"published weights {hub or url} can't be downloaded ({faults[0]}): connect the machine, or copy the "
        "file to it and name it by --init-from"
    )


def _of_torch_hub(url: str) -> Path:
    """Return where torch.hub keeps what it downloads from ``url``."""
    return Path(torch.hub.get_dir(), "checkpoints", os.path.basename(urlsplit(url).path))  # noqa: PTH119
