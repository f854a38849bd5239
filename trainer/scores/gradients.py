"""Norms of per-sample gradients with respect to all of a network's parameters, in batches."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pipeline import Batch, Loader
from pipeline.loading.loader import OrderLike
from trainer.inference.predict import View
from trainer.methods import Method

_MOST_NUMBERS = 1 << 25
"""Maximum number of gradient entries at a time: 128 MiB in float32."""


def gradient_norms(method: Method, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return ||grad_theta L(x_i, y_i)||_2 of each sample i over all trained parameters theta.

    "Sample importance in SGD training", appendix E.2 (GNorms), which loops over samples; here by
    torch.func.vmap(grad), some samples at a time. In evaluation mode, as one sample has no statistics of its
    own to normalize by, and without autocast.

    Parameters
    ----------
    method
        One that offers scores; its encoder is put into evaluation mode for the pass and then back.
    images
        float[n, 3, H, W]
    labels
        int64[n]

    Returns
    -------
    norms float[n] and the outputs float[n, classes], both in the parameters' type and without gradients.
    """
    encoder = method.encoder
    trained = {name: value.detach() for name, value in encoder.named_parameters() if value.requires_grad}
    fixed = {name: value.detach() for name, value in encoder.named_parameters() if not value.requires_grad}
    fixed |= dict(encoder.named_buffers())

    def loss(parameters: dict[str, Tensor], image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        outputs: Tensor = torch.func.functional_call(encoder, {**parameters, **fixed}, (image[None],))
        return method.losses(outputs, label[None, None]).loss.sum(), outputs[0]

    def norm(image: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        gradients, outputs = torch.func.grad(loss, has_aux=True)(trained, image, label)
        squares = [gradient.square().sum() for gradient in gradients.values()]
        return torch.stack(squares).sum().sqrt(), outputs

    at_once = max(1, _MOST_NUMBERS // sum(value.numel() for value in trained.values()))
    training = encoder.training
    encoder.eval()
    try:
        norms, outputs = torch.func.vmap(norm, chunk_size=min(at_once, len(images)))(images, labels)
    finally:
        encoder.train(training)
    return norms.detach(), outputs.detach()


def measure(
    method: Method, loader: Loader, view: View, order: OrderLike
) -> Iterator[tuple[Batch, Tensor, Tensor]]:
    """Run the network on an order's images under ``view``, and measure each one's gradient.

    Yields
    ------
    Each batch, its outputs float32[n, classes] and the norms float32[n], on the device.
    """
    for batch in loader.batches(order, augment=view.augmentation, stage=view.stage):
        norms, outputs = gradient_norms(method, batch.images, batch.targets["label"])
        yield batch, outputs, norms
