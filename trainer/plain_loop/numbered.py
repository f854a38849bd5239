"""Batches that carry their number through a DataLoader's workers, whatever order these return them in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from trainer.errors import RunError


class Numbered:
    """A map-style data set whose items are asked for as ``[batch number, id, id, ...]``."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, asked: list[int]) -> tuple[int, Any]:
        number, *ids = asked
        # As torch fetches: some data sets read a batch at once.
        if getattr(self.dataset, "__getitems__", None):
            return number, self.dataset.__getitems__(ids)
        return number, [self.dataset[sample] for sample in ids]


class NumberedCollate:
    """A collate function that leaves the batch's number as it is."""

    def __init__(self, collate: Callable[[Any], Any]) -> None:
        self._collate = collate

    def __call__(self, fetched: tuple[int, Any]) -> tuple[int, Any]:
        """Return the number, and the batch that is made of the items."""
        number, items = fetched
        return number, self._collate(items)


class Asked:
    """A batch sampler over lists ``[batch number, id, id, ...]``, made when the first is taken.

    A DataLoader with workers makes two iterators and takes from one.
    """

    def __init__(self, batches: Callable[[], Iterator[list[int]]]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[list[int]]:
        yield from self._batches()


def check_loader(loader: Any) -> None:
    """Refuse loaders whose order can't be replaced by a sampler's.

    Raises
    ------
    RunError
        With the remedy.
    """
    if not isinstance(loader, DataLoader):
        raise RunError(
            f"a loader must be a torch.utils.data.DataLoader; got {type(loader).__name__}: wrap the data set "
            "in one"
        )
    if isinstance(loader.dataset, IterableDataset) or not hasattr(loader.dataset, "__getitem__"):
        raise RunError(
            f"a sampler chooses samples by index, and {type(loader.dataset).__name__} is read in sequence: "
            "use a map-style data set, with __getitem__ and __len__"
        )
    if loader.batch_size is None:
        raise RunError("a loader must have a batch_size, from which its batches are made: give it one")
    usual = (RandomSampler, SequentialSampler, DistributedSampler)
    if not isinstance(loader.sampler, usual):
        raise RunError(
            f"a loader's order is replaced by the sampler's, and {type(loader.sampler).__name__} would be "
            "lost: leave out its sampler"
        )


def numbered(
    loader: DataLoader[Any], batches: Callable[[], Iterator[list[int]]], *, keep_workers: bool = True
) -> DataLoader[tuple[int, Any]]:
    """Return a loader with the settings of another that yields (batch number, batch).

    Parameters
    ----------
    batches
        Returns the lists ``[batch number, id, id, ...]`` of an iteration.
    keep_workers
        Whether workers persist between iterations, where those of ``loader`` do.
    """
    workers: dict[str, Any] = {}
    if loader.num_workers > 0:
        workers = {
            "multiprocessing_context": loader.multiprocessing_context,
            "prefetch_factor": loader.prefetch_factor,
            "persistent_workers": loader.persistent_workers and keep_workers,
            "in_order": loader.in_order,
        }
    dataset: Dataset[Any] = Numbered(loader.dataset)  # type: ignore[assignment]
    return DataLoader(
        dataset,
        batch_sampler=Asked(batches),
        num_workers=loader.num_workers,
        collate_fn=NumberedCollate(loader.collate_fn),  # type: ignore[arg-type]
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        generator=loader.generator,
        **workers,
    )
