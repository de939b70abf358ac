"""Images into one LMDB in BasicSR's layout: ``X.lmdb/{data.mdb, lock.mdb, meta_info.txt}``."""
from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import lmdb

# BasicSR's own level: reading speed counts more than size
PNG_COMPRESSION = 1
# an LMDB has to be opened with an upper bound of its size; this one grows when it is reached
FIRST_MAP_SIZE = 1 << 26


class EncodedImage(NamedTuple):
    """One image as it is stored.

    Args:
        key (str): its key.
        content (bytes): the encoded image.
        shape (tuple[int, int, int]): height, width, channels.
        suffix (str): what kind of file the content is. Default: .png.
        level (int): PNG compression, 0 for a file that is stored as it was found. Default: BasicSR's own level.
    """

    key: str
    content: bytes
    shape: tuple[int, int, int]
    suffix: str = '.png'
    level: int = PNG_COMPRESSION

    def meta_line(self) -> str:
        """The image's line of ``meta_info.txt``; BasicSR reads the key from it."""
        height, width, channels = self.shape
        return f'{self.key}{self.suffix} ({height},{width},{channels}) {self.level}\n'


class GrowingLmdb:
    """An LMDB that grows when its bound is reached. Use it in a ``with`` block.

    Args:
        path (Path): the folder, named ``*.lmdb``.
        map_size (int): first upper bound of the size in bytes; doubled as often as needed.
        sync (bool): flush to the disk at the end of every transaction, not only at the end of all.

    Raises:
        ValueError: if the name does not end in .lmdb (BasicSR knows an LMDB by that).
    """

    def __init__(self, path: Path, map_size: int, sync: bool) -> None:
        if path.suffix != '.lmdb':
            raise ValueError(f'an LMDB folder must end in .lmdb, but got {path.name}')
        self.env = lmdb.open(str(path), map_size=map_size, sync=sync)
        self.map_size = self.env.info()['map_size']  # larger if there is more in it already

    def __enter__(self) -> GrowingLmdb:
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.env.sync(True)
        finally:
            self.env.close()

    def store(self, images: list[EncodedImage]) -> None:
        """Stores images, all of them in one transaction.

        Raises:
            OSError: the disk does not take them, as when it is full; none of them is stored then.
        """
        while not self._fits(images):
            self.map_size *= 2
            self.env.set_mapsize(self.map_size)

    def _fits(self, images: list[EncodedImage]) -> bool:
        """One transaction; False if the images do not fit below the present bound."""
        try:
            with self.env.begin(write=True) as transaction:
                for image in images:
                    transaction.put(image.key.encode('ascii'), image.content)
        except lmdb.MapFullError:
            return False
        except lmdb.Error as error:  # LMDB calls it an input/output error if a part of its write still fits
            free = shutil.disk_usage(self.env.path()).free / 1e6
            raise OSError(f'the disk does not take {self.env.path()}/data.mdb ({error}; {free:.1f} MB are free there). '
                          'Make room, look at quotas, or choose another --output') from error
        return True


class LmdbWriter(GrowingLmdb):
    """Writes images and the text file that BasicSR reads the keys from. Use it in a ``with`` block.

    Args:
        path (Path): a folder that does not exist, named ``*.lmdb``.
        map_size (int): first upper bound of the size in bytes; doubled as often as needed. Default: 64 MiB.

    Raises:
        ValueError: if the name does not end in .lmdb (BasicSR knows an LMDB by that).
    """

    def __init__(self, path: Path, map_size: int = FIRST_MAP_SIZE) -> None:
        super().__init__(path, map_size, sync=False)  # one flush at the end instead of one per image
        self.meta = (path / 'meta_info.txt').open('w', encoding='ascii')

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.meta.close()  # which writes the rest of it
        finally:
            super().__exit__(*exc_info)

    def put(self, images: Iterable[EncodedImage]) -> None:
        """Stores images (all of them, in one transaction) and their lines of ``meta_info.txt``."""
        images = list(images)
        self.store(images)
        self.meta.writelines(image.meta_line() for image in images)
