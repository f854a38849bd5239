"""Batch normalizations that can be folded into the convolutions before them, and the modules that do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from trainer.models.narrow import NarrowConv2d
from trainer.pretrained.freezing import FrozenBatchNorm2d


@dataclass(frozen=True, slots=True)
class Pair:
    """A convolution and the normalization of its output, and the modules that stand for them.

    The tensors are those of the modules, or neutral ones if a module has none.
    """

    conv: nn.Conv2d
    norm: nn.BatchNorm2d
    folded: nn.Conv2d
    nothing: nn.Identity
    conv_bias: Tensor
    mean: Tensor
    variance: Tensor
    scale: Tensor
    shift: Tensor


Places = list[tuple[nn.Module, str]]
"""Modules and the names under which they hold the convolutions and normalizations of pairs, in turn."""


def find_pairs(model: nn.Module, dtype: torch.dtype | None) -> tuple[Places, list[Pair]]:
    """Return the pairs of a network that can be folded, and where their modules are.

    A convolution can where torch.fx sees its output go into one normalization and nowhere else. A network
    that torch.fx can't follow has none.

    Parameters
    ----------
    model
        The network, on its device and in its memory format.
    dtype
        Of the folded weights; None keeps that of the network's own.
    """
    places: Places = []
    pairs: list[Pair] = []
    for names in _foldable(model):
        for name in names:
            parent, _, own = name.rpartition(".")
            places.append((model.get_submodule(parent), own))
        conv, norm = (model.get_submodule(name) for name in names)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        pairs.append(_pair(conv, norm, dtype))
    return places, pairs


def _pair(conv: nn.Conv2d, norm: nn.BatchNorm2d, dtype: torch.dtype | None) -> Pair:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    zeros = torch.zeros_like(norm.running_var)
    return Pair(
        conv,
        norm,
        _folded(conv, conv.weight.dtype if dtype is None else dtype),
        nn.Identity(),
        conv_bias=zeros if conv.bias is None else conv.bias,
        mean=norm.running_mean,
        variance=norm.running_var,
        scale=torch.ones_like(zeros) if norm.weight is None else norm.weight,
        shift=zeros if norm.bias is None else norm.bias,
    )


def _folded(conv: nn.Conv2d, dtype: torch.dtype) -> nn.Conv2d:
    """Return a convolution like ``conv``, with a bias, whose weights are computed later."""
    folded = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        conv.dilation,  # type: ignore[arg-type]
        conv.groups,
        padding_mode=conv.padding_mode,
        device="meta",
    )
    # Zeros, not uninitialized memory: the weights may be read before the first pass.
    folded.weight = nn.Parameter(torch.zeros_like(conv.weight, dtype=dtype), requires_grad=False)
    bias = torch.zeros(conv.out_channels, dtype=dtype, device=conv.weight.device)
    folded.bias = nn.Parameter(bias, requires_grad=False)
    return folded


class _Tracer(fx.Tracer):
    """Takes our own modules that stand for torch's as one operation each, as torch's own."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (FrozenBatchNorm2d, NarrowConv2d)) or super().is_leaf_module(
            m, module_qualified_name
        )


def trace(model: nn.Module) -> fx.Graph | None:
    """Return the graph of a network in evaluation mode by torch.fx; None if it can't trace the code."""
    training = model.training
    model.eval()
    try:
        return _Tracer().trace(model)
    except Exception:  # A network's own code may raise anything on torch.fx's proxies.
        return None
    finally:
        model.train(training)


def _foldable(model: nn.Module) -> list[tuple[str, str]]:
    """Names of the convolutions that can be folded, each with that of its normalization."""
    graph = trace(model)
    if graph is None:
        return []
    modules = dict(model.named_modules())
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    # A network that reads a module's parameters itself must find its own there.
    read = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    # A module that occurs twice would be swapped only once.
    occurrences = Counter(id(child) for module in modules.values() for child in module._modules.values())
    found = []
    for node in graph.nodes:
        if node.op != "call_module" or not node.args or not isinstance(node.args[0], fx.Node):
            continue
        before = node.args[0]
        if before.op != "call_module" or len(before.users) != 1:
            continue
        conv, norm = modules[str(before.target)], modules[str(node.target)]
        # Of exactly these types: a subclass may do something else, as parametrizations do.
        if type(conv) not in _CONVS or type(norm) not in _NORMS or norm.running_var is None:
            continue
        if conv.out_channels != norm.num_features:
            continue
        names = str(before.target), str(node.target)
        alone = all(
            calls[name] == 1 and name not in read and occurrences[id(modules[name])] == 1 for name in names
        )
        if alone and not any(_hooked(module) for module in (conv, norm)):
            found.append(names)
    return found


_CONVS = (nn.Conv2d, NarrowConv2d)
_NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)


def _hooked(module: nn.Module) -> bool:
    """Whether the module has forward hooks."""
    return bool(module._forward_hooks or module._forward_pre_hooks)
