"""Fixtures of all tests: a generated data set in the layout of Fashion-MNIST."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch._subclasses.fake_tensor import FakeTensorMode

from pipeline.conversion.convert import ConvertOptions, convert
from pipeline.sources import ArraySource, open_source

# A shell that starts the tests in the background has them ignore Ctrl-C and SIGQUIT, and nohup SIGHUP, which
# some tests send.
for number, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGTERM, signal.SIG_DFL),
):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, usual)

# Of several tests at a time each computes on one core, as under `tools/test`: threads that wait for each
# other took ten times as long.
if "PYTEST_XDIST_WORKER" in os.environ and "OMP_NUM_THREADS" not in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--long`, as `tools/test` has it."""
    parser.addoption("--long", action="store_true", help="run the tests marked `long`, too: minutes each")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what is imported and collected out of garbage collections, which take a tenth of the time else."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests marked `long`, counted as deselected, unless `--long` asks for them."""
    if config.getoption("--long"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


@pytest.fixture(autouse=True)
def _same_global_randomness() -> None:
    """Networks that a test makes have the same weights whatever tests ran before it, in any process."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def fake_cuda() -> None:
    """Skip where PyTorch asks a driver even about tensors that are nowhere."""
    try:
        with FakeTensorMode(), torch.device("cuda"):
            torch.zeros(4)[:2] = torch.zeros(2)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        pytest.skip(f"torch {torch.__version__} works on fake CUDA tensors only with a driver: {reason}")


def _whole_numbers(
    generator: np.random.PCG64, low: int, high: int, shape: tuple[int, ...]
) -> NDArray[np.int64]:
    """Draw from ``low`` up to ``high``, by raw words, which NumPy keeps the same for ever."""
    words = generator.random_raw(int(np.prod(shape))) >> np.uint64(33)
    return (low + words.astype(np.int64) % (high + 1 - low)).reshape(shape)


def _shapes(x: NDArray[np.int64], y: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Draw ten shapes around the origin, each like its mirror image: bool[10, n, h, w]."""
    round_, square = x * x + y * y, np.maximum(abs(x), abs(y))
    inside = square <= size
    return np.stack(
        [
            round_ <= size * size,
            (round_ <= size * size) & (3 * round_ >= size * size),
            inside,
            inside & (2 * square >= size),
            inside & (3 * abs(y) <= size),
            inside & (3 * abs(x) <= size),
            inside & ((4 * abs(x) <= size) | (4 * abs(y) <= size)),
            inside & (abs(abs(x) - abs(y)) <= 2),
            inside & (2 * abs(x) <= y + size),
            inside & (2 * abs(x) <= size - y),
        ]
    )


def _draw(samples: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw gray images uint8[samples, 28, 28] and their labels: one bright shape, a faint other one, noise.

    In whole numbers throughout, so the same bytes come out on every machine.
    """
    generator = np.random.PCG64(seed)
    labels, others = _whole_numbers(generator, 0, 9, (2, samples))
    rows, columns = np.mgrid[:28, :28]
    image = np.arange(samples)

    def placed(kind: NDArray[np.int64], reach: int, least: int, most: int) -> NDArray[np.bool_]:
        x, y = 14 + _whole_numbers(generator, -reach, reach, (2, samples, 1, 1))
        return _shapes(columns - x, rows - y, _whole_numbers(generator, least, most, (samples, 1, 1)))[
            kind, image
        ]

    images = _whole_numbers(generator, 0, 70, (samples, 28, 28))
    images += placed(others, 9, 4, 7) * _whole_numbers(generator, 20, 90, (samples, 1, 1))
    images += placed(labels, 4, 7, 10) * _whole_numbers(generator, 40, 140, (samples, 1, 1))
    return np.minimum(images, 255).astype(np.uint8), labels.astype(np.uint8)


def _idx(array: NDArray[np.uint8]) -> bytes:
    """Lay an array out as MNIST's files do."""
    return bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, ">u4").tobytes() + array.tobytes()


def make_tiny(folder: Path, seed: int = 0) -> Path:
    """Convert 128 training and 48 test images of 8 x 8 noise in two classes; returns the training set."""
    rng = np.random.default_rng(seed)
    for split, samples in (("train", 128), ("test", 48)):
        images = rng.integers(0, 256, (samples, 8, 8, 3), dtype=np.uint8)
        sides = images.reshape(samples, 8, 2, 4, 3).mean(axis=(1, 3, 4))
        labels = sides.argmax(axis=1).astype(np.int64)
        source = ArraySource("tiny", split, "noise", ("left", "right"), labels, images)
        convert(source, folder / f"{split}.beton", ConvertOptions(overwrite=True))
    return folder / "train.beton"


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Path]:
    """Make, or make again from another seed, the smallest set that runs train on: runs of a second."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    return lambda seed=0: make_tiny(folder, seed)


@pytest.fixture(scope="session")
def tiny_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a data directory with the smallest set, ``tiny``, for tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "tiny").mkdir()
    make_tiny(folder / "tiny")
    return folder


@pytest.fixture
def tiny_words(tiny: Callable[..., Path], tmp_path: Path) -> Callable[..., list[str]]:
    """Make the command line of a run of 16 steps on the tiny set; further options override."""
    data = tiny()

    def words(*more: str) -> list[str]:
        places = ("--data", str(data), "--runs-dir", str(tmp_path / "runs"), "--name", "x", "--device", "cpu")
        network = ("--model", "resnet8", "--model.width", "4", "--batch-size", "16", "--precision", "fp32")
        length = ("--epochs", "4", "--budget", "0.5", "--log-every", "1", "--evaluate-every", "2")
        return ["run", "fashion_mnist_cpu", *places, *network, *length, *more]

    return words


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a data directory that holds 1,280 + 2,000 drawn images in the files of Fashion-MNIST.

    What needs real images says so, and is skipped where they are not on disk.
    """
    folder = tmp_path_factory.mktemp("drawn")
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, samples, seed in (("train", 1280, 1), ("t10k", 2000, 2)):
        images, labels = _draw(samples, seed)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(_idx(images))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(_idx(labels))
    return folder


@pytest.fixture(scope="session")
def fashion(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory whose fashion_mnist holds 1,280 + 512 images of ``drawn``, converted."""
    folder = tmp_path_factory.mktemp("data")
    for split, samples in (("train", 1280), ("test", 512)):
        source = open_source("fashion_mnist", split=split, data_dir=drawn)
        path = folder / "fashion_mnist" / f"{split}.beton"
        path.parent.mkdir(exist_ok=True)
        images = np.stack([source.read(index) for index in range(samples)])
        some = ArraySource(source.name, split, source.origin, source.classes, source.labels[:samples], images)
        convert(some, path, ConvertOptions())
    return folder
