"""Checkpoints: written whole or not at all, failures are errors, loading runs no code."""
from __future__ import annotations

import codecs
import hashlib
import os
import pickle
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from mcir_plugin.errors import McirError
from mcir_plugin.hosts.basicsr.compat.swap import swapped

TEMPORARY = '.tmp'  # ends the name of a file that is being written

_torch_save = torch.save
_torch_load = torch.load
_added: dict[str, Any] = {}
_recorders: list[dict[Path, str]] = []


class CheckpointError(McirError, OSError):
    """A checkpoint could not be written or read."""


def save_atomically(obj: Any, path: str | os.PathLike[str]) -> str:
    """Write with ``torch.save`` to a temporary file beside ``path``, flush it to the disk, then rename.

    Returns:
        str: SHA-256 of what was written.

    Raises:
        OSError: If the disk is full or not writable; a file that was there before is left as it was.
    """
    with atomic_file(path) as file:
        hashing = _Hashing(file)
        _torch_save(obj, hashing)
    return hashing.sha256.hexdigest()


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield a file that appears as ``path``, on the disk and complete, when the block ends well, else not at all.

    Raises:
        OSError: If the disk is full or not writable; a file that was there before is left as it was.
    """
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.', suffix=TEMPORARY)
    try:
        with os.fdopen(handle, 'wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class _Hashing:
    """A file to write to, which computes the checksum on the way: ``torch.save`` only ever appends."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.sha256 = hashlib.sha256()

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def load_safely(path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> Any:
    """Load a checkpoint onto the CPU with ``weights_only=True``: tensors, plain values, NumPy numbers, no pickled code.

    Raises:
        CheckpointError: If the file is missing, damaged, or holds anything else.
    """
    _allow_plain_values()
    try:
        return _torch_load(path, map_location='cpu', weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f'{path} does not exist.') from error
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(f'{path} cannot be loaded: it is damaged, or holds more than tensors and plain values '
                              f'({reason}). Nothing of it was run.') from error


@contextmanager
def extra_state(extra: dict[str, Any]) -> Iterator[None]:
    """Add keys to the training states that BasicSR saves inside the block. Stock BasicSR ignores them."""
    _added.update(extra)
    try:
        yield
    finally:
        _added.clear()


@contextmanager
def recorded_files() -> Iterator[dict[Path, str]]:
    """Collect the files that BasicSR's models save inside the block, with their SHA-256."""
    files: dict[Path, str] = {}
    _recorders.append(files)
    try:
        yield files
    finally:
        _recorders.pop()


def unwritable(error: BaseException) -> CheckpointError:
    """Return the error for a checkpoint that could not be written."""
    return CheckpointError(f'The checkpoint could not be written: {error}. Earlier checkpoints are intact. Free space '
                           'or fix the permissions, then continue with --auto_resume.')


def checked_saving(host_method: Callable[..., None]) -> Callable[..., None]:
    """Wrap ``save_network`` and ``save_training_state``, which write in place, retry, and then ignore the failure.

    Always applies. Can go when BasicSR writes atomically and raises.

    Raises:
        CheckpointError: (by the wrapped method) if no attempt succeeded.
    """

    @wraps(host_method)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
        failure: list[BaseException] = []

        def save(obj: Any, path: str, *_: Any, **__: Any) -> None:
            failure[:] = []
            try:
                digest = save_atomically({**obj, **_added} if 'optimizers' in obj else obj, path)
                for files in _recorders:
                    files[Path(path)] = digest
            except Exception as error:
                failure.append(error)
                raise

        with swapped(torch, 'save', save):
            host_method(self, *args, **kwargs)
        if failure:
            raise unwritable(failure[0]) from failure[0]

    return wrapper


def safe_loading(host_method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method that calls ``torch.load`` without ``weights_only``, so that a file from a stranger runs no code.

    Always applies. Can go when BasicSR passes ``weights_only=True``.
    """

    @wraps(host_method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with swapped(torch, 'load', load_safely):
            return host_method(*args, **kwargs)

    return wrapper


def _allow_plain_values() -> None:
    """Let through the milestones of BasicSR's schedulers, a ``Counter``, and NumPy numbers, as in FFA-Net's weights.

    NumPy numbers need torch 2.4 or later.
    """
    if hasattr(torch.serialization, 'add_safe_globals'):
        # the bytes of a number are written as encoded text, which torch 2.4 does not know yet
        torch.serialization.add_safe_globals([Counter, codecs.encode, np.dtype, *_NUMBER_TYPES, *_SCALARS])
    else:  # before torch 2.4 the allow-list is a cached dictionary
        from torch import _weights_only_unpickler
        _weights_only_unpickler._get_allowed_globals()['collections.Counter'] = Counter


def _scalar_of(module: str) -> Callable[[np.dtype, bytes], np.generic]:
    """Return a stand-in for what NumPy's pickles call to make a number; NumPy's own would also make objects."""

    def scalar(dtype: np.dtype, data: bytes) -> np.generic:
        if type(dtype) not in _NUMBER_TYPES:
            raise pickle.UnpicklingError(f'a NumPy value of dtype {dtype} is no plain number')
        return np.frombuffer(data, dtype)[0]

    scalar.__module__, scalar.__qualname__ = module, 'scalar'  # by which the safe loader knows a function
    return scalar


_NUMBER_TYPES = [type(np.dtype(name)) for name in ('float64', 'float32', 'float16', 'int64', 'int32', 'bool')]
_SCALARS = [_scalar_of(f'numpy.{core}.multiarray') for core in ('core', '_core')]  # NumPy 1 and 2


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
