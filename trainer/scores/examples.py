"""Per-example scores from trained networks: EL2N, features for core-sets, irreducible losses."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from shlex import quote

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import Loader
from pipeline.formats import Converted
from pipeline.formats.card import Card
from samplers.families.history import fill_unseen
from trainer.errors import RunError
from trainer.inference.predict import EverySample, PreLogits, predict
from trainer.scores.gradients import measure
from trainer.session import Session


def probabilities(session: Session) -> Iterator[tuple[Tensor, Tensor]]:
    """Run the network on the whole training set, without augmentation.

    Yields
    ------
    Softmax probabilities float32[b, classes] and labels int64[b], by id, on the device.
    """
    everything = EverySample(len(session.data.train))
    seen = predict(session.network, session.loader, session.view, everything, bf16=session.bf16)
    for batch, outputs in seen:
        yield torch.softmax(outputs, dim=1), batch.targets["label"]
    session.account.charge("scored", everything.samples, session.full)


def el2n(session: Session) -> NDArray[np.float32]:
    """EL2N of one network: the norm of the error vector, ||softmax(x) - onehot(y)||_2.

    Paul, Ganguli, Dziugaite (2021). The published score is the mean over several networks.

    Returns
    -------
    float32[N]
    """
    norms = []
    for p, labels in probabilities(session):
        error = p - torch.nn.functional.one_hot(labels, p.shape[1])
        norms.append(error.norm(dim=1))
    return torch.cat(norms).cpu().numpy()


def last_errors(session: Session) -> NDArray[np.float32]:
    """1 - p_y of each sample's last prediction in training, the basis of sample_importance's weights.

    "Sample importance in SGD training", eq. 4, in a run that ends with epoch E. A sample that last
    fell into a dropped remainder has its prediction of the previous epoch, or the largest error if it was
    never trained on.

    Returns
    -------
    float32[N]
    """
    return fill_unseen(np.float32(1) - session.samples.last_probability)


def gradient_norms(session: Session) -> NDArray[np.float32]:
    """Norm of each sample's gradient by all parameters: "GNorms" of the same paper, appendix E.2.

    Returns
    -------
    float32[N]
    """
    everything = EverySample(len(session.data.train))
    measured = measure(session.method, session.loader, session.view, everything)
    norms = [norms.cpu() for _, _, norms in measured]
    session.account.charge("gradient", everything.samples, session.full)
    return torch.cat(norms).numpy()


def features(session: Session) -> NDArray[np.float32]:
    """Return the inputs of the network's classifier layer for each sample.

    Returns
    -------
    float32[N, d]

    Raises
    ------
    RunError
        When the network lacks an encoder's methods.
    """
    everything, network = EverySample(len(session.data.train)), PreLogits(session.network)
    seen = predict(network, session.loader, session.view, everything, bf16=session.bf16)
    read = [features for _, features in seen]
    session.account.charge("scored", everything.samples, session.full)
    return torch.cat(read).cpu().numpy()


def irreducible_losses(session: Session, scored: Converted) -> NDArray[np.float32]:
    """Losses of another set's samples, without augmentation, under a network trained without them.

    The losses that RHO-LOSS subtracts, Mindermann et al. (2022), by the run's own method.

    Returns
    -------
    float32[N], in the order of ``scored``
    """
    losses, everything = [], EverySample(len(scored))
    size, method = session.test_loader.batch_size, session.method
    with Loader(scored, engine=session.run.engine, batch_size=size, device=session.device) as loader:
        for batch, outputs in predict(session.network, loader, session.view, everything, bf16=session.bf16):
            labels = batch.constituents(batch.targets["label"])
            losses.append(method.losses(outputs, labels).loss[:, 0])
    session.account.charge("scored", everything.samples, session.full)
    return torch.cat(losses).cpu().numpy()


def check_holdout(holdout: Converted, scored: Converted) -> None:
    """Check that a network trained on ``holdout`` can measure the irreducible losses of ``scored``.

    Raises
    ------
    RunError
        When the sets share samples, as far as their cards show, or differ in classes; when only images of
        ``scored`` have several shapes.
    """
    ours, theirs = holdout.card, scored.card
    same = ours.digest == theirs.digest if ours.digest and theirs.digest else holdout.path == scored.path
    if same or ((ours.name, ours.source) == (theirs.name, theirs.source) and _overlap(ours, theirs)):
        raise RunError(
            f"irreducible losses are those of a network that never saw the samples; {holdout.path}, which it "
            f"trains on, shares samples with {scored.path}: make both by one `trainer convert --validation`, "
            "name the validation set by --data and the other by --of"
        )
    if ours.classes != theirs.classes:
        pairs = zip_longest(ours.classes, theirs.classes)
        place, first = next((place, pair) for place, pair in enumerate(pairs) if pair[0] != pair[1])
        raise RunError(
            "the holdout set and the one to score must have the same classes in the same order; they differ "
            f"from class {place} on, {first[0]!r} in {holdout.path} ({len(ours.classes):,} classes) and "
            f"{first[1]!r} in {scored.path} ({len(theirs.classes):,}): `trainer convert SOURCE "
            f"{quote(str(holdout.path))} --classes-of {quote(str(scored.path))} --overwrite` mends it"
        )
    if ours.height is not None and theirs.height is None:
        raise RunError(
            f"images to score must be of one shape where those of the holdout set are; {scored.path} has "
            f"many: convert both sets alike, as {holdout.path} was"
        )


def _overlap(ours: Card, theirs: Card) -> bool:
    """Whether two sets of one source overlap: one is a part of a split, and the other not its other part."""
    one, other = ours.held_out, theirs.held_out
    if one is None or other is None:
        return one is not other
    return one.part == other.part or (one.fraction, one.seed) != (other.fraction, other.seed)
