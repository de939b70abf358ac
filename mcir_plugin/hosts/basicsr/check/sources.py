"""Images in a folder or in an LMDB, looked at without decoding them."""
from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
from basicsr.utils import imfrombytes
from basicsr.utils.file_client import FileClient

from mcir_plugin.data.encoded import JPEG, JPEG_END, PNG, PNG_END, read_header

HEAD, TAIL = 4096, 12  # bytes: size and depth, mostly; the last chunk of a PNG
OTHER_FORMATS = (b'BM', b'II*\0', b'MM\0*', b'RIFF')  # BMP, TIFF, WebP
Size = tuple[int, int]  # height, width


class Peek(NamedTuple):
    """What the first and last bytes of an image tell.

    Attributes:
        state (str): ``fine``, ``missing``, ``empty``, ``unended`` (no end of a PNG or JPEG where it should be) or
            ``foreign`` (not the beginning of a common image format).
        size (tuple[int, int] | None): Height and width, where the format tells at once.
        oddity (str): ``16bit`` or ``grey``, where the beginning tells; else empty.
    """

    state: str
    size: Size | None = None
    oddity: str = ''


class Images(Protocol):
    """Some place that holds images by name."""

    folder: str

    def names(self) -> dict[str, Size | None]:
        """Return the names in order, with height and width where they are on record."""

    def peek(self, name: str) -> Peek:
        """Look at the beginning and the end of one image."""

    def read(self, name: str) -> bytes:
        """Return the encoded image."""


class LmdbImages:
    """Images in an LMDB, by key, as BasicSR reads them.

    Args:
        folder (str): The ``.lmdb`` folder. It must hold ``data.mdb``.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._client = FileClient('lmdb', db_paths=[folder], client_keys=['images']).client

    def names(self) -> dict[str, Size | None]:
        """Return the keys in ``meta_info.txt``, cut out as BasicSR does it, and the shapes beside them."""
        lines = Path(self.folder, 'meta_info.txt').read_text().splitlines()
        return {line.split('.')[0]: _recorded_size(line) for line in lines}

    def peek(self, name: str) -> Peek:
        """Look at the beginning and the end of one value, without copying it."""
        if not (name.isascii() and 0 < len(name) <= 511):  # what LMDB takes for a key
            return Peek('missing')
        with self._client._client['images'].begin(buffers=True) as transaction:
            value = transaction.get(name.encode('ascii'))
            return Peek('missing') if value is None else look(bytes(value[:HEAD]), bytes(value[-TAIL:]))

    def read(self, name: str) -> bytes:
        """Return the encoded image."""
        return self._client.get(name, 'images')


class FolderImages:
    """Image files in one folder, without sub-folders and hidden files.

    Args:
        folder (str): The folder.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def names(self) -> dict[str, Size | None]:
        """Return the file names."""
        entries = [entry.name for entry in os.scandir(self.folder) if entry.is_file()]
        return {name: None for name in sorted(entries) if not name.startswith('.')}

    def peek(self, name: str) -> Peek:
        """Look at the beginning and the end of one file."""
        try:
            with open(os.path.join(self.folder, name), 'rb') as file:
                head = file.read(HEAD)
                file.seek(-min(TAIL, file.seek(0, os.SEEK_END)), os.SEEK_END)
                return look(head, file.read())
        except OSError:
            return Peek('missing')

    def read(self, name: str) -> bytes:
        """Return the encoded image."""
        return Path(self.folder, name).read_bytes()


def look(head: bytes, tail: bytes) -> Peek:
    """Judge an image by its first ``HEAD`` and last ``TAIL`` bytes."""
    if not head:
        return Peek('empty')
    header = read_header(head)
    if head.startswith((PNG, JPEG)):
        ended = tail.endswith(PNG_END if head.startswith(PNG) else JPEG_END)
        return Peek('fine' if ended else 'unended', header.size, header.oddity)
    return Peek('fine' if head.startswith(OTHER_FORMATS) else 'foreign', None, header.oddity)


def decoded_size(content: bytes) -> Size | None:
    """Decode an image as BasicSR does and return its height and width; None if that fails."""
    try:
        image = imfrombytes(content)
    except cv2.error:
        return None
    return None if image is None else image.shape[:2]


def _recorded_size(line: str) -> Size | None:
    found = re.search(r'\((\d+), ?(\d+)', line)
    return (int(found[1]), int(found[2])) if found else None
