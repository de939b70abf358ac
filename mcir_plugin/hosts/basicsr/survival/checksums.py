"""``5000.state.sha256``: the SHA-256 of every file of a checkpoint, in the form that ``sha256sum -c`` reads.

It is written after the files that it names, so that its presence says that the checkpoint was completed. Stock BasicSR
looks for ``*.state`` only and ignores it.
"""
from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from mcir_plugin.hosts.basicsr.compat.saving import CheckpointError, atomic_file, load_safely, unwritable

SUFFIX = '.sha256'
_LINE = re.compile(r'([0-9a-f]{64})  (.+)')
_CHUNK = 1 << 20
_verified: dict[Path, tuple[tuple[int, ...], str]] = {}  # what a file looked like when it was found to be whole


def write_checksums(state: Path, files: Mapping[Path, str]) -> None:
    """Write the checksums of a checkpoint.

    Args:
        state (Path): Its training state.
        files (Mapping[Path, str]): SHA-256 of each of its files, the state included.

    Raises:
        CheckpointError: If the file cannot be written.
    """
    lines = [f'{digest}  {os.path.relpath(path, state.parent)}\n' for path, digest in files.items()]
    try:
        with atomic_file(checksums_of(state)) as file:
            file.write(''.join(lines).encode())
    except OSError as error:
        raise unwritable(error) from error


def checksums_of(state: Path) -> Path:
    """Return the path of the checksums that go with a training state."""
    return state.with_name(state.name + SUFFIX)


def recorded(state: Path) -> dict[Path, str] | None:
    """Return the files of a checkpoint with their SHA-256; None if none were recorded, as by an older version.

    Raises:
        CheckpointError: If the file with the checksums is itself damaged.
    """
    path = checksums_of(state)
    if not path.is_file():
        return None
    found = [_LINE.fullmatch(line) for line in path.read_text(encoding='utf-8', errors='replace').splitlines()]
    if not found or None in found:
        raise CheckpointError(f'{path} is damaged')
    return {Path(os.path.normpath(state.parent / match[2])): match[1] for match in found}


def damage_of(state: Path, needed: Iterable[Path] = ()) -> str:
    """Say what is wrong with a checkpoint; an empty text if it is complete and as it was written.

    Args:
        state (Path): Its training state.
        needed (Iterable[Path]): Network files that continuing from it will read. Default: none.
    """
    try:
        files = recorded(state)
    except CheckpointError as error:
        return str(error)
    for path in (state, *needed):
        if not path.is_file():
            return f'{path} is missing'
    if files is None:  # written by stock BasicSR or by an older version
        return next(filter(None, (_torn(path) for path in (state, *needed))), '')
    return next(filter(None, (_changed(path, digest) for path, digest in files.items())), '')


def _changed(path: Path, digest: str) -> str:
    try:
        stat = path.stat()
        looks = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if _verified.get(path) == (looks, digest):
            return ''
        found = _sha256(path)
    except OSError as error:
        return f'{path} cannot be read ({error.strerror})'
    if found != digest:
        return f'{path} is damaged: its SHA-256 is not the one that was recorded when it was written'
    _verified[path] = looks, digest
    return ''


def _sha256(path: Path) -> str:
    sha256 = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
    return sha256.hexdigest()


def _torn(path: Path) -> str:
    """Look for damage without a recorded checksum: torch's files are zip files, whose parts have a CRC each."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                bad = archive.testzip()
            return f'{path} is damaged: the CRC of {bad} is wrong' if bad else ''
        load_safely(path)  # torch before 1.6 wrote no zip files
    except (OSError, zipfile.BadZipFile, CheckpointError) as error:
        return str(error) if str(path) in str(error) else f'{path} is damaged ({error})'
    return ''
