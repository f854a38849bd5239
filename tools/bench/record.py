"""The record training of CIFAR-10 (airbench94_muon, Jordan 2024) as a plain loop: the peer of `SpeedBench`.

All images lie on the device, normalized, flipped and padded once; all are cropped, and flipped the other way,
once per epoch; weights are in half precision; Muon takes one matrix after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.inference.averaged import Averaged
from trainer.models import WhitenedCNN

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
_PADDING = 2
_SMOOTHING = 0.2
_WHITENED = 5000
_WHITENING_ENDS = 3 / 8
_DECAY = 2e-6
_RATES = {"filters": 0.24, "vectors": 0.053, "head": 0.67}
_MOMENTA = {"filters": 0.6, "rest": 0.85}
_QUINTIC = 3.4445, -4.7750, 2.0315
_TESTED = 2000


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """A set on the device.

    Attributes
    ----------
    normalized
        half[n, 3, 32, 32], channels_last.
    labels
        int64[n]
    """

    normalized: Tensor
    labels: Tensor

    @classmethod
    def of(cls, levels: Tensor, labels: Tensor, device: torch.device) -> Images:
        """Return a set of uint8[n, 3, h, w] levels, in float16 on a GPU and bfloat16 elsewhere."""
        half = torch.float16 if device.type == "cuda" else torch.bfloat16
        mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))
        normalized = ((levels.to(device).float() / 255 - mean) / std).to(half)
        return cls(normalized.contiguous(memory_format=torch.channels_last), labels.to(device))


class RecordTraining:
    """One training, a step at a time.

    Parameters
    ----------
    train
        Its training set.
    part
        The network.
    classes
        Number of classes.
    batch_size, epochs
        Whole batches of each epoch are trained on.
    seed
        Of all its draws.
    compiled
        Whether the network is compiled.
    """

    def __init__(
        self,
        train: Images,
        part: WhitenedCNN,
        classes: int,
        *,
        batch_size: int,
        epochs: int,
        seed: int,
        compiled: bool = False,
    ) -> None:
        device, half = train.normalized.device, train.normalized.dtype
        torch.manual_seed(seed)
        network = part.build(classes)
        network = network.to(device).to(memory_format=torch.channels_last)
        network.begin_from(torch.split(train.normalized[:_WHITENED].float(), _TESTED))
        for module in network.modules():
            if not isinstance(module, nn.BatchNorm2d):
                for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
                    tensor.data = tensor.data.to(half)
        self._network = network
        self._module: nn.Module = torch.compile(network) if compiled else network  # type: ignore[assignment]
        self._train = train
        self._batch_size = batch_size
        self._epochs = epochs
        per_epoch = len(train.labels) // batch_size
        self.total = per_epoch * epochs
        self._whitening = _WHITENING_ENDS * self.total
        filters = [value for value in network.parameters() if value.ndim == 4]
        norms = [value for name, value in network.named_parameters() if "norm" in name]
        decay = _DECAY * batch_size
        groups = [
            {"params": [network.whiten.bias], "lr": _RATES["vectors"]},
            {"params": norms, "lr": _RATES["vectors"]},
            {"params": list(network.head.parameters()), "lr": _RATES["head"]},
        ]
        self._sgd = torch.optim.SGD(
            [{**group, "weight_decay": decay / float(group["lr"])} for group in groups],  # type: ignore[arg-type]
            momentum=_MOMENTA["rest"],
            nesterov=True,
        )
        self._muon = _Muon(filters)
        self._bases = [group["lr"] for group in self._sgd.param_groups]

    def steps(self) -> Iterator[int]:
        """Train, yielding the number of each step after it, from 1."""
        self._network.train()
        images, labels = self._train.normalized, self._train.labels
        device, size = images.device, images.shape[2:]
        flipped = torch.rand(len(images), device=device) < 0.5
        images = torch.where(flipped.view(-1, 1, 1, 1), images.flip(3), images)
        padded = F.pad(images, (_PADDING,) * 4, "reflect")
        step = 0
        for epoch in range(self._epochs):
            shown = _cropped(padded, int(size[0]), int(size[1]))
            if epoch % 2:
                shown = shown.flip(3)
            order = torch.randperm(len(labels), device=device)
            for ids in torch.split(order, self._batch_size)[: len(labels) // self._batch_size]:
                self._step(shown[ids], labels[ids], step)
                step += 1
                yield step

    def _step(self, images: Tensor, labels: Tensor, step: int) -> None:
        outputs = self._module(images)
        loss = F.cross_entropy(outputs, labels, label_smoothing=_SMOOTHING, reduction="sum")
        loss.backward()  # type: ignore[no-untyped-call]
        left = 1 - step / self.total
        whitening = max(0.0, 1 - step / self._whitening)
        factors = (whitening, *(left for _ in self._bases[1:]))
        for group, base, factor in zip(self._sgd.param_groups, self._bases, factors, strict=True):
            group["lr"] = base * factor
        self._sgd.step()
        self._muon.step(_RATES["filters"] * left)
        self._network.zero_grad(set_to_none=True)

    @torch.no_grad()
    def accuracy(self, test: Images) -> float:
        """Return the accuracy on a set, with test-time augmentation."""
        self._network.eval()
        network = Averaged(self._network, "mirror_translate")
        found = torch.cat([network(part).argmax(dim=1) for part in torch.split(test.normalized, _TESTED)])
        return float((found == test.labels).float().mean())


def _cropped(padded: Tensor, height: int, width: int) -> Tensor:
    """Return a random crop of each padded image, the images of each shift at once."""
    shifts = torch.randint(0, 2 * _PADDING + 1, (len(padded), 2), device=padded.device)
    shape = (len(padded), 3, height, width)
    crops = torch.empty(shape, dtype=padded.dtype, device=padded.device, memory_format=torch.channels_last)
    for top, left in np.ndindex(2 * _PADDING + 1, 2 * _PADDING + 1):
        chosen = (shifts[:, 0] == top) & (shifts[:, 1] == left)
        crops[chosen] = padded[chosen, :, top : top + height, left : left + width]
    return crops


class _Muon:
    """Muon of normalized filters, one matrix after the other."""

    def __init__(self, filters: list[nn.Parameter]) -> None:
        self._filters = filters
        self._velocities = [torch.zeros_like(weight) for weight in filters]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Update every filter at a learning rate."""
        a, b, c = _QUINTIC
        momentum = _MOMENTA["filters"]
        for weight, velocity in zip(self._filters, self._velocities, strict=True):
            assert weight.grad is not None
            velocity.mul_(momentum).add_(weight.grad)
            x = weight.grad.add(velocity, alpha=momentum).flatten(1).bfloat16()
            weight.mul_(len(weight) ** 0.5 / weight.norm())
            x = x / (x.norm() + 1e-7)
            tall = x.shape[0] > x.shape[1]
            x = x.T if tall else x
            for _ in range(3):
                gram = x @ x.T
                x = a * x + (b * gram + c * gram @ gram) @ x
            weight.add_((x.T if tall else x).reshape(weight.shape).to(weight.dtype), alpha=-lr)
