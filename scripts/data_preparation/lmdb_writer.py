"""Images into one LMDB in BasicSR's layout: ``X.lmdb/{data.mdb, lock.mdb, meta_info.txt}``."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import lmdb

# BasicSR's own level: reading speed counts more than size
PNG_COMPRESSION = 1
# an LMDB has to be opened with an upper bound of its size; this one grows when it is reached
FIRST_MAP_SIZE = 1 << 26


class EncodedImage(NamedTuple):
    """One image as it is stored: its key, its PNG bytes, and its (height, width, channels)."""

    key: str
    png: bytes
    shape: tuple[int, int, int]


class LmdbWriter:
    """Writes images and the text file that BasicSR reads the keys from. Use it in a ``with`` block.

    Args:
        path (Path): a folder that does not exist, named ``*.lmdb``.
        map_size (int): first upper bound of the size in bytes; doubled as often as needed. Default: 64 MiB.

    Raises:
        ValueError: if the name does not end in .lmdb (BasicSR knows an LMDB by that).
    """

    def __init__(self, path: Path, map_size: int = FIRST_MAP_SIZE) -> None:
        if path.suffix != '.lmdb':
            raise ValueError(f'an LMDB folder must end in .lmdb, but got {path.name}')
        self.map_size = map_size
        # sync=False: one flush at the end instead of one per image
        self.env = lmdb.open(str(path), map_size=map_size, sync=False)
        self.meta = (path / 'meta_info.txt').open('w', encoding='ascii')

    def __enter__(self) -> LmdbWriter:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.meta.close()
        self.env.sync(True)
        self.env.close()

    def put(self, images: Iterable[EncodedImage]) -> None:
        """Stores images (all of them, in one transaction) and their lines of ``meta_info.txt``."""
        images = list(images)
        while not self._store(images):
            self.map_size *= 2
            self.env.set_mapsize(self.map_size)
        for key, _, (height, width, channels) in images:
            self.meta.write(f'{key}.png ({height},{width},{channels}) {PNG_COMPRESSION}\n')

    def _store(self, images: list[EncodedImage]) -> bool:
        """One transaction; False if the images do not fit below the present bound."""
        try:
            with self.env.begin(write=True) as transaction:
                for image in images:
                    transaction.put(image.key.encode('ascii'), image.png)
        except lmdb.MapFullError:
            return False
        return True
