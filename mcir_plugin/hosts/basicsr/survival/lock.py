"""One run per folder: the second one refuses, instead of renaming the folder of the first one away."""
from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mcir_plugin.errors import McirError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_held: set[int] = set()


class ExperimentInUseError(McirError, RuntimeError):
    """Another run works in the folder."""


class ExperimentFolderError(McirError, OSError):
    """The place of the folder cannot be written to."""


def lock_path(folder: Path) -> Path:
    """Return the lock of a run's folder. It lies beside the folder, since BasicSR renames the folder."""
    return folder.with_name(f'.{folder.name}.lock')


@contextmanager
def locked(folder: Path, warn: Callable[[str], None], option: str = 'path.experiments_root') -> Iterator[None]:
    """Hold the lock of a run's folder inside the block.

    The system forgets it together with the process, however that ends, and forked workers give it up. Where the file
    system has no locks, the process that is named in the file is looked for instead, on this host only.

    Args:
        folder (Path): The folder; it need not exist.
        warn (Callable[[str], None]): Is told if the file system has no locks.
        option (str): Says where the folder lies; errors name it. Default: 'path.experiments_root'.

    Raises:
        ExperimentInUseError: If another process holds it.
        ExperimentFolderError: If it cannot be written.
    """
    path = lock_path(folder)
    handle = _claimed(path, folder, warn, option)
    _held.add(handle)
    try:
        yield
    finally:
        _held.discard(handle)
        path.unlink(missing_ok=True)  # while it is held: whoever waits for this file finds out that it is gone
        os.close(handle)


def _claimed(path: Path, folder: Path, warn: Callable[[str], None], option: str) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _open_locked(path, folder, warn)
        try:
            _write_owner(handle)
        except OSError:
            os.close(handle)
            raise
    except OSError as error:
        raise ExperimentFolderError(f'{path.parent} cannot be written to: {error}. Free space or fix the permissions, '
                                    f'or set {option} in the option file.') from error
    return handle


def _open_locked(path: Path, folder: Path, warn: Callable[[str], None]) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(handle, path, folder, warn)
            if _is_still(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # its owner has ended and removed it in between


def _lock(handle: int, path: Path, folder: Path, warn: Callable[[str], None]) -> None:
    try:
        if fcntl is None:
            raise OSError('this system has no flock')
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _in_use(folder, _read_owner(path)) from None
    except OSError as error:
        owner = _read_owner(path)
        if _is_alive(owner):
            raise _in_use(folder, owner) from None
        warn(f'{path.parent} is on a file system without locks ({error}): a run of the same name on another machine '
             'would not be noticed.')


def _in_use(folder: Path, owner: dict[str, Any]) -> ExperimentInUseError:
    who = f'process {owner["pid"]} on {owner["host"]}, since {owner["since"]}' if owner else 'another process'
    return ExperimentInUseError(f'{folder} is in use by a run of the same name ({who}). Nothing was changed. Wait for '
                                'it or stop it, or choose another name in the option file.')


def _is_still(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def _write_owner(handle: int) -> None:
    owner = {'host': socket.gethostname(), 'pid': os.getpid(), 'since': time.strftime('%Y-%m-%d %H:%M:%S')}
    os.ftruncate(handle, 0)
    os.write(handle, json.dumps(owner).encode() + b'\n')


def _read_owner(path: Path) -> dict[str, Any]:
    try:
        owner = json.loads(path.read_text(encoding='utf-8'))
        return owner if isinstance(owner, dict) and {'host', 'pid', 'since'} <= set(owner) else {}
    except (OSError, ValueError):
        return {}


def _is_alive(owner: dict[str, Any]) -> bool:
    if owner.get('host') != socket.gethostname() or owner['pid'] == os.getpid():
        return False
    try:
        os.kill(int(owner['pid']), 0)
    except (ProcessLookupError, ValueError, TypeError):
        return False
    except PermissionError:
        return True
    return True


def _let_go() -> None:
    """A forked worker would hold the lock for as long as it lives."""
    while _held:
        os.close(_held.pop())


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_let_go)
