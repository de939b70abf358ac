"""The output folder of one part: made or continued by one process at a time, never overwritten."""
from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from new_folder import PreparationError, refuse_existing
from paired_layout import FoundPart
from paired_work import Source

MARKER, FORMAT = 'preparation.json', 2
RESIZED = 'files of other sizes'
Plan = dict[str, object]


def plan_of(name: str, found: FoundPart, sources: list[Source]) -> Plan:
    """What tells two preparations apart: the set, the names and sizes of its files, and how they are cut."""
    names = '\n'.join(f'{source.kind} {source.key}' for source in sources)
    sizes = '\n'.join(str(os.path.getsize(source.path)) for source in sources)
    crop = found.part.crop
    return {'made_by': 'mcir_plugin data_preparation', 'set': name, 'part': found.part.name, 'version': found.version,
            'files': len(sources), 'crop': None if crop is None else asdict(crop),
            'names': hashlib.sha256(names.encode()).hexdigest(), 'sizes': hashlib.sha256(sizes.encode()).hexdigest()}


class Before(NamedTuple):
    """What an earlier run has left.

    Args:
        finished (bool): it has come to its end.
        changed (bool): it has not, and files have other sizes since: one that was damaged may be whole now.
    """

    finished: bool
    changed: bool


@contextmanager
def claimed(folder: Path, plan: Plan) -> Iterator[Before]:
    """Makes the folder, or continues it if it holds the same preparation.

    Args:
        folder (Path): the folder. Its parents are made as needed.
        plan (dict): from ``plan_of``.

    Yields:
        Before: what is there of the preparation.

    Raises:
        PreparationError: the folder holds something else, or another process works on it.
    """
    if not (folder / MARKER).is_file():
        refuse_existing(folder)
        folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, folder)
        if not (folder / MARKER).is_file():
            mark(folder, plan, finished=False)
        before = _read(folder / MARKER)
        other, finished = list(_differences(before, plan)), before.get('finished') is True
        changed = other == [RESIZED] and not finished
        if other and not changed:
            raise PreparationError(f'--output {folder} holds another preparation ({"; ".join(other)}) and nothing is '
                                   'overwritten: choose another --output, or remove it first '
                                   f'(rm -r {folder}).')
        yield Before(finished, changed)
    finally:
        os.close(descriptor)


def _differences(before: Plan, plan: Plan) -> Iterator[str]:
    for name, value in plan.items():
        if before.get(name) == value or (name == 'sizes' and before.get('format', 1) == 1):  # which had none
            continue
        yield {'names': 'other files', 'sizes': RESIZED}.get(name, f'{name} is {before.get(name)!r}, not {value!r}')


def mark(folder: Path, plan: Plan, finished: bool) -> None:
    """Writes the file by which a preparation is known again."""
    building = folder / f'.{MARKER}.building'
    building.write_text(json.dumps({'format': FORMAT, **plan, 'finished': finished}, indent=2) + '\n', encoding='utf-8')
    os.replace(building, folder / MARKER)


def _lock(descriptor: int, folder: Path) -> None:
    """The lock goes with the process, however it ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise PreparationError(f'--output {folder}: another process is preparing it right now.') from error


def _read(marker: Path) -> Plan:
    try:
        content = json.loads(marker.read_text(encoding='utf-8'))
    except ValueError:
        return {}
    content = content if isinstance(content, dict) else {}
    found = content.get('format', FORMAT)  # the first preparations carry none
    if not isinstance(found, int) or found > FORMAT:
        raise PreparationError(f'{marker} has format {found!r}; these scripts read up to {FORMAT}. Use newer scripts, '
                               'or choose another --output.')
    return content
