"""Versions of the files that this package writes and reads back. A file without a version is of version 1.

A version is raised when older releases could misread a file; all earlier ones stay readable.
"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mcir_plugin.errors import StateError

KEY = 'format'
FIRST = 1


def require_readable(found: Any, newest: int, what: str) -> None:
    """Make sure that a file can be read.

    Args:
        found (Any): The version that the file carries; None if it carries none.
        newest (int): The newest version that this release reads.
        what (str): How the message calls the file.

    Raises:
        StateError: If it is newer, or no version at all.
    """
    found = FIRST if found is None else found
    if not isinstance(found, int) or isinstance(found, bool) or found < FIRST:
        raise StateError(f'{what} is damaged: its {KEY} is {str(found)[:40]!r}, must be a whole number from {FIRST}.')
    if found > newest:
        raise StateError(f'{what} has format {found}; this version of mcir_plugin reads up to {newest}. Update '
                         'mcir_plugin (pip install --upgrade), or use the version that wrote it.')


def read_json(path: Path, newest: int) -> dict[str, Any]:
    """Read a JSON file of this package.

    Args:
        path (Path): The file.
        newest (int): The newest version that this release reads.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no JSON, or holds no mapping.
        StateError: If it is of a newer version.
    """
    content = json.loads(path.read_text(encoding='utf-8'))
    if not isinstance(content, dict):
        raise ValueError(f'{path} holds no mapping')
    require_readable(content.get(KEY), newest, str(path))
    return content
