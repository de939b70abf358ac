"""A folder that appears complete or not at all."""
from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class PreparationError(Exception):
    """Something in the user's input that stops the preparation; the message says what to do."""


def refuse_existing(folder: Path) -> None:
    """Raises PreparationError if ``folder`` exists with something in it (an empty folder may be used)."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        raise PreparationError(f'--output {folder} exists already and nothing is overwritten: '
                               f'choose another --output, or remove it first (rm -r {folder}).')


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Builds ``folder`` under a temporary name beside it and renames it when the block ends well.

    After an error, Ctrl-C or SIGTERM the temporary folder is removed, so that nothing half-written stays behind.

    Args:
        folder (Path): the folder to make. Its parents are made as needed.

    Yields:
        Path: the temporary folder to write into.

    Raises:
        PreparationError: if ``folder`` exists and is not empty, before and after the work.
    """
    refuse_existing(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = folder.with_name(f'.{folder.name}.building-{os.getpid()}')
    building.mkdir()
    previous = signal.signal(signal.SIGTERM, _stop)
    try:
        yield building
        refuse_existing(folder)
        os.replace(building, folder)
    finally:
        signal.signal(signal.SIGTERM, previous)
        shutil.rmtree(building, ignore_errors=True)


def _stop(signum: int, frame: object) -> None:
    """Turns a signal that would end the process at once into an exception, so that ``finally`` blocks run."""
    raise SystemExit(128 + signum)
