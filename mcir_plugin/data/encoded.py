"""What the bytes of an image file tell without decoding them: whether all of it is there, size, depth, channels.

Decoders differ in what they make of half a file: OpenCV before 5 returns an image whose rest is grey.
"""
from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

PNG, PNG_END = b'\x89PNG\r\n\x1a\n', b'IEND\xaeB`\x82'
JPEG, JPEG_END = b'\xff\xd8', b'\xff\xd9'
TIFF = {b'II*\0': '<', b'MM\0*': '>'}  # byte order
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}  # by colour type; a palette holds colours, alpha is not counted
_DEPTH_TAG, _ORIENTATION_TAG, _SAMPLES_TAG, _SHORT = 258, 274, 277, 3
_SCAN, _APP1, _EXIF = 0xDA, 0xE1, b'Exif\0\0'
_LYING = range(5, 9)  # orientations whose height is that of the stored width


class Header(NamedTuple):
    """What is known of an encoded image; None where the format or the part at hand does not tell.

    Attributes:
        size (tuple[int, int] | None): Height and width of the image turned upright, as BasicSR reads it.
        depth (int | None): Bits per channel.
        channels (int | None): 1 for grey, 3 for colour; alpha is not counted.
    """

    size: tuple[int, int] | None = None
    depth: int | None = None
    channels: int | None = None

    @property
    def oddity(self) -> str:
        """``16bit`` or ``grey`` if BasicSR would change the image while it reads it, else empty."""
        if self.depth is not None and self.depth > 8:
            return '16bit'
        return 'grey' if self.channels == 1 else ''


def read_header(content: bytes) -> Header:
    """Read PNG, JPEG or TIFF, whole or its beginning; of other formats nothing is known."""
    if content.startswith(PNG) and len(content) >= 26:
        width, height, depth, colour = struct.unpack('>IIBB', content[16:26])
        # whether a PNG is turned depends on the version of OpenCV
        size = None if _orientation(_png_exif(content)) in _LYING else (height, width)
        return Header(size, depth, _PNG_CHANNELS.get(colour))
    if content.startswith(JPEG):
        at = next((at for marker, at in _jpeg_segments(content) if _is_frame(marker)), None)
        if at is not None and len(content) >= at + 10:
            depth, height, width, channels = struct.unpack('>BHHB', content[at + 4:at + 10])
            lying = _orientation(_jpeg_exif(content)) in _LYING
            return Header((width, height) if lying else (height, width), depth, channels)
    return _tiff_header(content) if content[:4] in TIFF else Header()


def is_cut_off(content: bytes) -> bool:
    """Say whether the end of a PNG or a JPEG is missing. What follows after the end is ignored."""
    if content.startswith(PNG):
        return not _png_ends(content)
    if content.startswith(JPEG):
        at = next((at for marker, at in _jpeg_segments(content) if marker == _SCAN), None)
        return at is None or content.find(JPEG_END, at) < 0
    return False


def _png_ends(content: bytes) -> bool:
    return any(kind == PNG_END[:4] and end <= len(content) for kind, _, end in _png_chunks(content))


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each chunk that begins in the content, where its data begin, and where the next chunk does."""
    at = len(PNG)
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at:at + 4], 'big')
        yield content[at + 4:at + 8], at + 8, end
        at = end


def _png_exif(content: bytes) -> bytes:
    return next((content[at:end - 4] for kind, at, end in _png_chunks(content) if kind == b'eXIf'), b'')


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield marker and place of the segments up to that of the first scan, with it."""
    at, marker = len(JPEG), 0
    while at + 4 <= len(content) and content[at] == 0xFF and marker != _SCAN:
        marker = content[at + 1]
        yield marker, at
        # fill bytes and markers without a length are short
        at += 1 if marker == 0xFF else 2 if 0xD0 <= marker <= 0xD8 or marker == 1 else (
            2 + int.from_bytes(content[at + 2:at + 4], 'big'))


def _is_frame(marker: int) -> bool:
    return 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)


def _jpeg_exif(content: bytes) -> bytes:
    return next((content[at + 4 + len(_EXIF):] for marker, at in _jpeg_segments(content)
                 if marker == _APP1 and content.startswith(_EXIF, at + 4)), b'')


def _orientation(exif: bytes) -> int:
    """Return how a camera was held; 1 is upright. Exif data are the tags of a TIFF."""
    return (_tiff_tags(exif) or {}).get(_ORIENTATION_TAG, 1)


def _tiff_header(content: bytes) -> Header:
    tags = _tiff_tags(content)
    if tags is None:
        return Header()
    samples = tags.get(_SAMPLES_TAG, 1)
    return Header(None, tags.get(_DEPTH_TAG), 1 if samples < 3 else 3)


def _tiff_tags(content: bytes) -> dict[int, int] | None:
    """Return the tags of the first image and their values; None where they are not in the content."""
    order = TIFF.get(content[:4])
    if order is None:
        return None
    try:
        at, = struct.unpack_from(f'{order}I', content, 4)
        count, = struct.unpack_from(f'{order}H', content, at)
        return dict(_tiff_tag(content, order, at + 2 + 12 * i) for i in range(count))
    except struct.error:
        return None


def _tiff_tag(content: bytes, order: str, at: int) -> tuple[int, int]:
    """Return tag and first value; a list of short numbers stands elsewhere in the file."""
    tag, kind, count, value = struct.unpack_from(f'{order}HHII', content, at)
    if kind != _SHORT:
        return tag, value
    inline = struct.unpack_from(f'{order}H', content, at + 8)[0]
    return tag, inline if count <= 2 else struct.unpack_from(f'{order}H', content, value)[0]
