"""Golden losses are the same whatever instructions the processor has, and whatever number of threads.

Each setting makes a library compute as on another processor; that it does is seen by results in single
precision. Two at once here; each alone, with every run, under ``tools/test --long``; and
``tools/test --instruction-sets`` runs all tests under two of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

GOLDEN = Path(__file__).with_name("test_golden.py")
ROOT = GOLDEN.parents[2]

PROBE = """
import hashlib, importlib, json, numba, numpy, sys, torch

words = numpy.random.PCG64(1).random_raw(1 << 18) >> numpy.uint64(40)
values = words.astype(numpy.float32) * numpy.float32(2.0**-24)
numbers = torch.from_numpy(values)
images = numbers.view(16, 16, 32, 32).contiguous(memory_format=torch.channels_last)
kernels = numbers[: 32 * 16 * 9].view(32, 16, 3, 3).clone().requires_grad_()
maps = torch.nn.functional.conv2d(images, kernels, padding=1)
maps.square().mean().backward()


@numba.njit(fastmath=True)
def sum_of_squares(numbers):
    total = numpy.float32(0)
    for number in numbers:
        total += number * number
    return total


matrix = numbers.view(512, 512)
results = {
    "sums": numbers.sum(),
    "normal variates": torch.randn(1000, generator=torch.Generator().manual_seed(1)),
    "products and sums": torch.addcmul(numbers, numbers, numbers + 1),
    "softmax": matrix.log_softmax(1),
    "normalization": torch.nn.functional.batch_norm(images, None, None, training=True),
    "convolution": maps.detach(),
    "its gradient": kernels.grad,
    "matrix product": matrix @ matrix,
    "tensor's exponential": torch.exp(numbers),
    "array's exponential": torch.from_numpy(numpy.exp(values)),
    "array's tangent": torch.from_numpy(numpy.tan(values)),
    "compiled sum": torch.tensor(sum_of_squares(values)),
}
digests = {
    name: hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest() for name, value in results.items()
}
core = "numpy._core" if int(numpy.__version__[0]) > 1 else "numpy.core"
umath = importlib.import_module(core + "._multiarray_umath")
has = [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name]]
print(json.dumps([digests, " ".join(has)]), flush=True)
if sys.argv[1:]:
    import pytest

    sys.exit(pytest.main(sys.argv[1:]))
"""
"""Prints what this process computes in single precision, then runs the tests named on its command line."""

NUMPY = "NPY_DISABLE_CPU_FEATURES"
"""Its value is made of what NumPy finds here: it warns of names that are not there."""

ALONE = {
    "torch, no AVX": {"ATEN_CPU_CAPABILITY": "default"},
    "torch, AVX2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "oneDNN, SSE4.1": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "oneDNN, AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "MKL, compatible": {"MKL_CBWR": "COMPATIBLE"},
    "numba, generic": {"NUMBA_CPU_NAME": "generic"},
    "NumPy, baseline": {NUMPY: "all"},
    "two threads": {"OMP_NUM_THREADS": "2", "GOLDEN_THREADS": "2"},
}
TOGETHER = {
    "no AVX": {
        **ALONE["torch, no AVX"],
        **ALONE["oneDNN, SSE4.1"],
        **ALONE["MKL, compatible"],
        **ALONE["numba, generic"],
        **ALONE["NumPy, baseline"],
    },
    "AVX2, two threads": {**ALONE["torch, AVX2"], **ALONE["oneDNN, AVX2"], **ALONE["two threads"]},
}


def _environment(setting: dict[str, str]) -> dict[str, str]:
    ours = {name for one in ALONE.values() for name in one} | {"GOLDEN", "PYTEST_ADDOPTS"}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **setting}


def _probed(setting: dict[str, str], *tests: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-W", "ignore", "-c", PROBE, *tests]
    return subprocess.run(words, env=_environment(setting), cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def usual() -> tuple[dict[str, str], str]:
    """Digests of results in single precision by name, and the instructions that NumPy chooses by."""
    done = _probed({})
    assert done.returncode == 0, done.stderr
    digests, features = json.loads(done.stdout)
    return digests, features


@pytest.fixture
def check(usual: tuple[dict[str, str], str], tmp_path: Path) -> Callable[..., None]:
    """Run golden tests under a setting, and see that it changes anything at all."""

    def run(setting: dict[str, str], *runs: str) -> None:
        before, features = usual
        if NUMPY in setting:
            setting = {**setting, NUMPY: features}
        tests = [f"{GOLDEN}::test_losses_are_the_golden_ones[{name}]" for name in runs] or [str(GOLDEN)]
        # NumPy's feature names differ between its versions, and it warns of some combinations.
        quiet = ["-W", "ignore::RuntimeWarning", "-W", "ignore::ImportWarning"]
        words = ["-q", *quiet, "-p", "no:cacheprovider", "-p", "no:xdist"]
        done = _probed(setting, *words, f"--basetemp={tmp_path / 'golden'}", *tests)
        after, _ = json.loads(done.stdout.partition("\n")[0])
        changed = [name for name in before if after[name] != before[name]]
        if not changed:
            pytest.skip(
                f"{setting} changes none of {', '.join(before)} in single precision on this processor"
            )
        assert done.returncode == 0, f"under {setting}, which changes {changed}:\n{done.stdout}{done.stderr}"
        assert f"{len(tests)} passed" in done.stdout or not runs

    return run


@pytest.mark.parametrize("name", TOGETHER)
def test_golden_losses_hold_with_other_instructions(check: Callable[..., None], name: str) -> None:
    check(TOGETHER[name], "selection foms" if name == "no AVX" else "p_sgd")


@pytest.mark.long
@pytest.mark.parametrize("name", ALONE)
def test_golden_losses_hold_under_each_setting(check: Callable[..., None], name: str) -> None:
    check(ALONE[name])


@pytest.mark.long
@pytest.mark.parametrize("name", TOGETHER)
def test_all_golden_losses_hold_with_other_instructions(check: Callable[..., None], name: str) -> None:
    check(TOGETHER[name])
