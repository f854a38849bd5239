"""Keeps compiled kernels on disk: the first process compiles them, and those after it load them.

Every kernel and signature has a file, named by all that its code depends on: the sources of its package, the
versions of Python and of what compiles, the processor, and Numba's environment variables. Numba's own
``cache=True`` compares a kernel with the file that it stands in alone, and so misses a change of the kernels
that it calls; it numbers its files, so that processes which compile at the same time can mix up signatures;
and it refuses to import where no folder can be written to.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar, cast, overload

import llvmlite
import numba
import numpy as np
from numba.core import ccallback, compiler, config, serialize

F = TypeVar("F", bound=Callable[..., Any])

# Untyped throughout.
_config: Any = config
_CFunc: Any = ccallback.CFunc
_dumps: Any = serialize.dumps
_CompileResult: Any = compiler.CompileResult

_VERSIONS = (sys.version, numba.__version__, llvmlite.__version__, np.__version__)
_DIGEST = hashlib.sha256().digest_size
_MOST_FOLDERS = 8
"""Number of versions of the sources whose kernels are kept; the oldest are removed."""


@overload
def kernel(function: F) -> F: ...


@overload
def kernel(function: None = None, **options: Any) -> Callable[[F], F]: ...


def kernel(function: F | None = None, **options: Any) -> F | Callable[[F], F]:
    """Compile a function by ``numba.njit``, without the GIL, and keep the code on disk; a decorator.

    Functions made several times, with other constants of a closure, need a ``__qualname__`` each: that is the
    name of their code.
    """
    if function is None:
        return partial(kernel, **options)
    compiled: Any = numba.njit(nogil=True, **options)(function)
    if compiled is not function:  # with NUMBA_DISABLE_JIT it is
        compiled._cache = KernelCache(function)
    return cast(F, compiled)


def callback(function: Callable[..., Any], signature: Any) -> Any:
    """Return a C callback as of ``numba.cfunc``, kept on disk; it is compiled with NUMBA_DISABLE_JIT, too."""
    compiled = _CFunc(function, (signature.args, signature.return_type), locals={}, options={})
    compiled._cache = KernelCache(function)
    compiled.compile()
    return compiled


class KernelCache:
    """The compiled signatures of one function, in the place of Numba's own cache of a dispatcher."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._package = function.__module__.partition(".")[0]
        self._name = f"{function.__module__}.{function.__qualname__}".replace("<locals>.", "")

    @property
    def cache_path(self) -> str | None:
        """The folder of the files; None where there can't be one."""
        folder = kernel_folder(self._package)
        return None if folder is None else str(folder)

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return what was compiled for a signature; None where nothing is kept, or its file is damaged."""
        target_context.refresh()
        path = self._path(signature, target_context.codegen())
        if path is None:
            return None
        try:
            content = path.read_bytes()
        except OSError:
            return None
        digest, payload = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(payload).digest() != digest:
            return None
        return _CompileResult._rebuild(target_context, *pickle.loads(payload))

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep what was compiled for a signature, if a file can be written."""
        path = self._path(signature, result.codegen)
        if path is None:
            return
        # An address within the code would be another process's.
        assert not result.library.has_dynamic_globals, self._name
        payload = _dumps(result._reduce())
        with contextlib.suppress(OSError):
            _write(path, hashlib.sha256(payload).digest() + payload)

    def enable(self) -> None:
        """Do nothing: it is always enabled."""

    def disable(self) -> None:
        """Do nothing: it is always enabled."""

    def flush(self) -> None:
        """Do nothing: files of a changed function are never read again."""

    def _path(self, signature: Any, codegen: Any) -> Path | None:
        folder = kernel_folder(self._package)
        if folder is None:
            return None
        about = repr((self._name, signature, codegen.magic_tuple()))
        return folder / f"{self._name}-{hashlib.sha256(about.encode()).hexdigest()[:24]}"


@cache
def kernel_folder(package: str) -> Path | None:
    """Return the folder of a package's kernels as its sources are; None where it can't be written to.

    It lies in ``NUMBA_CACHE_DIR``, else in the user's folder of caches. Files in it are run, so a folder of
    another user is not used.
    """
    try:
        sources = digest_of(Path(sys.modules[package].__file__ or "").parent)
        usual = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folders = Path(_config.CACHE_DIR or Path(usual, "budgetrain")) / f"{package}-kernels"
        folder = folders / sources
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _remove_oldest(folders)
        if folder.stat().st_uid != os.geteuid() or not os.access(folder, os.W_OK):
            return None
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return None
    return folder


def digest_of(package: Path) -> str:
    """Return a digest of the sources of a package, and of the versions and settings that compile them."""
    numba_settings = sorted(item for item in os.environ.items() if item[0].startswith("NUMBA_"))
    digest = hashlib.sha256(repr((_VERSIONS, numba_settings)).encode())
    for file in sorted(package.rglob("*.py")):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:24]


def _write(path: Path, content: bytes) -> None:
    # Under another name first: a process that reads it meanwhile finds the file whole or not at all.
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(content)
            file.close()
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink()
            raise


def _remove_oldest(folders: Path) -> None:
    # Another process may be removing them, too.
    with contextlib.suppress(OSError):
        made = sorted(folders.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
        for folder in made[_MOST_FOLDERS:]:
            shutil.rmtree(folder, ignore_errors=True)
