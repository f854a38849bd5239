"""A network as a program of its own: torch.export's and ONNX's, compared with the network on real images."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import MissingExtraError
from trainer.errors import RunError

OPSET = 18
"""Version of ONNX's operators that is written: what torch's exporter makes without converting."""
TOLERANCE = 1e-4
"""By how much logits may differ from the network's, as a fraction of the largest one, and of 1 at least."""
DESCRIPTION = "budgetrain.json"
"""Name of the extra file of a .pt2 that holds its description."""


def program_bytes(network: nn.Module, images: Tensor, description: str) -> tuple[bytes, float]:
    """Return a network as torch.export's .pt2, for batches of any size, and how far its logits are off.

    Parameters
    ----------
    network
        In evaluation mode, in float32, on the CPU.
    images
        float32[n, 3, H, W], real ones, to compare on.
    description
        JSON that becomes an extra file.

    Raises
    ------
    RunError
        When torch.export can't follow the network, or the program's logits are others.
    """
    with _quietly(), _unsupported("pt2", "torch.export"):
        program = torch.export.export(network, (_example(images),), dynamic_shapes=({0: _batch()},))
        file = io.BytesIO()
        torch.export.save(program, file, extra_files={DESCRIPTION: description})
        file.seek(0)
        found = torch.export.load(file).module()(images)
    return file.getvalue(), _compared("pt2", network, images, found)


def onnx_bytes(network: nn.Module, images: Tensor, description: str) -> tuple[bytes, float]:
    """Return a network as an ONNX model, for batches of any size, and how far onnxruntime's logits are off.

    Its input is "images", its output "logits"; the description is the entry "budgetrain" of its metadata.
    Parameters and errors are those of `program_bytes`.

    Raises
    ------
    MissingExtraError
        Without the packages onnx, onnxscript and onnxruntime.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  (torch's exporter needs it)
    except ImportError as error:
        raise MissingExtraError(
            f"ONNX needs onnx, onnxscript and onnxruntime, and they can't be imported ({error}): pip install "
            "'budgetrain[export]'"
        ) from None
    with _quietly(), _unsupported("onnx", "torch.onnx"):
        program = torch.onnx.export(
            network,
            (_example(images),),
            dynamo=True,
            dynamic_shapes=({0: _batch()},),
            input_names=["images"],
            output_names=["logits"],
            opset_version=OPSET,
            verbose=False,
        )
        assert program is not None
        proto = program.model_proto
        entry = proto.metadata_props.add()
        entry.key, entry.value = "budgetrain", description
        onnx.checker.check_model(proto)
        content: bytes = proto.SerializeToString()
        session: Any = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (found,) = session.run(["logits"], {"images": images.numpy()})
    return content, _compared("onnx", network, images, torch.from_numpy(found))


def _batch() -> Any:
    return torch.export.Dim("batch")


def _example(images: Tensor) -> Tensor:
    """Two images: a batch of one would be taken for a constant."""
    return images[:1].expand(2, *images.shape[1:]).contiguous()


@torch.no_grad()
def _compared(form: str, network: nn.Module, images: Tensor, found: Tensor) -> float:
    """Return the largest difference from the network's logits, as `TOLERANCE` counts it."""
    wanted = network(images)
    off = float((wanted - found).abs().max() / wanted.abs().max().clamp(min=1))
    if not off <= TOLERANCE:
        raise RunError(
            f"an exported network must give the network's logits to {TOLERANCE:g}; those of {form} are off "
            f"by {off:.2g} on {len(images)} images: export safetensors"
        )
    return off


@contextlib.contextmanager
def _unsupported(form: str, exporter: str) -> Iterator[None]:
    """Turn whatever an exporter raises into one line."""
    try:
        yield
    except (MemoryError, OSError):  # The machine's, which the command tells as such.
        raise
    except Exception as error:  # Exporters raise what they meet in a network's code.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise RunError(
            f"{exporter} must be able to follow the network to export {form}; it can't "
            f"({type(error).__name__}: {reason}): export safetensors, or train another --model"
        ) from error


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep what exporters print and warn of about themselves from a person who can't mend it."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
