"""The images of a folder or of an LMDB by name."""
from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mcir_plugin.errors import McirError

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm')
Size = tuple[int, int]  # height, width
_META_LINE = re.compile(r'([^.]+)\.\S*(?: \((\d+), ?(\d+))?')


class ListingError(McirError, ValueError):
    """A folder or an LMDB whose images cannot be listed."""


@dataclass(frozen=True)
class Listing:
    """Images by name, sorted in the same way on disk and in an LMDB.

    Args:
        folder (str): The folder or the ``.lmdb`` folder.
        places (dict[str, str]): Name without suffix -> path relative to the folder, or key of the LMDB.
        sizes (dict[str, tuple[int, int]]): Name -> (height, width) in pixels, where it is on record (LMDB only).
    """

    folder: str
    places: dict[str, str]
    sizes: dict[str, Size] = field(default_factory=dict)


def image_key(name: str | PurePosixPath) -> str:
    """Return the LMDB key of an image: its path without suffix, in characters that BasicSR can read back.

    BasicSR cuts a key at the first dot and encodes it as ASCII, and names its validation pictures by what follows the
    last slash; so dots, blanks and slashes become ``_``, and other characters outside A-Z a-z 0-9 _ - their code point:
    ``sub/0025_0.8_0.04.jpg`` -> ``sub_0025_0_8_0_04``.
    """
    return re.sub(r'[^A-Za-z0-9_-]', lambda found: '_' if found[0] in './ ' else f'u{ord(found[0]):x}',
                  without_suffix(str(name)))


def without_suffix(name: str) -> str:
    """Return a name or path without the suffix of an image format; other dots are part of the name."""
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in IMAGE_SUFFIXES else name


def list_images(folder: str, lmdb: bool = False) -> Listing:
    """List the images of a folder with its sub-folders, or of an LMDB in BasicSR's layout.

    Hidden files and folders are left out, and so are files with other suffixes than ``IMAGE_SUFFIXES``.

    Args:
        folder (str): Where to look.
        lmdb (bool): It is an LMDB. Default: False.

    Raises:
        ListingError: No such folder, no image in it, two files of one name, no LMDB.
    """
    listing = _list_lmdb(folder) if lmdb else _list_folder(folder)
    if not listing.places:
        looked = 'meta_info.txt is empty' if lmdb else f'looked for {", ".join(IMAGE_SUFFIXES)}'
        raise ListingError(f'{folder} holds no image ({looked})')
    return listing


def _list_folder(folder: str) -> Listing:
    if not os.path.isdir(folder):
        raise ListingError(f'{folder} is not a folder')
    places: dict[str, str] = {}
    for path in _walk(folder, ''):
        name = without_suffix(path)
        if name in places:
            raise ListingError(f'{folder} holds {places[name]} and {path}, which pairing by names cannot tell apart: '
                               'remove one of them')
        places[name] = path
    return Listing(folder, dict(sorted(places.items(), key=lambda item: (image_key(item[0]), item[0]))))


def _walk(root: str, below: str) -> Iterator[str]:
    with os.scandir(os.path.join(root, below)) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith('.'):
                continue
            path = f'{below}/{entry.name}' if below else entry.name
            if entry.is_dir():
                yield from _walk(root, path)
            elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:
                yield path


def _list_lmdb(folder: str) -> Listing:
    missing = [name for name in ('data.mdb', 'meta_info.txt') if not Path(folder, name).is_file()]
    if missing or not folder.rstrip('/').endswith('.lmdb'):
        reason = f'it lacks {" and ".join(missing)}' if missing else 'its name does not end in .lmdb'
        raise ListingError(f'{folder} is no LMDB of BasicSR: {reason}. For a folder of images use '
                           'io_backend: {type: disk}')
    keys, sizes = [], {}
    for line in Path(folder, 'meta_info.txt').read_text(encoding='utf-8').splitlines():
        found = _META_LINE.match(line)
        if found:
            keys.append(found[1])
            if found[2]:
                sizes[found[1]] = (int(found[2]), int(found[3]))
    return Listing(folder, {key: key for key in sorted(keys)}, sizes)
