"""What the bytes of an image file tell without decoding them: whether all of it is there, size, depth, channels.

Decoders differ in what they make of half a file: OpenCV before 5 returns an image whose rest is grey.
"""
from __future__ import annotations

import struct
from typing import NamedTuple

PNG, PNG_END = b'\x89PNG\r\n\x1a\n', b'IEND\xaeB`\x82'
JPEG, JPEG_END = b'\xff\xd8', b'\xff\xd9'
TIFF = {b'II*\0': '<', b'MM\0*': '>'}  # byte order
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}  # by colour type; a palette holds colours, alpha is not counted
_DEPTH_TAG, _SAMPLES_TAG, _SHORT = 258, 277, 3


class Header(NamedTuple):
    """What is known of an encoded image; None where the format or the part at hand does not tell.

    Attributes:
        size (tuple[int, int] | None): Height and width.
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
        return Header((height, width), depth, _PNG_CHANNELS.get(colour))
    if content.startswith(JPEG):
        at = _jpeg_segment(content, frame=True)
        if at is not None and len(content) >= at + 10:
            depth, height, width, channels = struct.unpack('>BHHB', content[at + 4:at + 10])
            return Header((height, width), depth, channels)
    return _tiff_header(content) if content[:4] in TIFF else Header()


def is_cut_off(content: bytes) -> bool:
    """Say whether the end of a PNG or a JPEG is missing. What follows after the end is ignored."""
    if content.startswith(PNG):
        return not _png_ends(content)
    if content.startswith(JPEG):
        at = _jpeg_segment(content, frame=False)
        return at is None or content.find(JPEG_END, at) < 0
    return False


def _png_ends(content: bytes) -> bool:
    at = len(PNG)
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at:at + 4], 'big')
        if content[at + 4:at + 8] == PNG_END[:4]:
            return end <= len(content)
        at = end
    return False


def _jpeg_segment(content: bytes, frame: bool) -> int | None:
    """Return where the segment of the frame (size and depth), or that of the first scan, begins."""
    at = len(JPEG)
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        is_frame = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        if is_frame if frame else marker == 0xDA:
            return at
        # fill bytes and markers without a length are short
        at += 1 if marker == 0xFF else 2 if 0xD0 <= marker <= 0xD8 or marker == 1 else (
            2 + int.from_bytes(content[at + 2:at + 4], 'big'))
    return None


def _tiff_header(content: bytes) -> Header:
    order = TIFF[content[:4]]
    try:
        at, = struct.unpack_from(f'{order}I', content, 4)
        count, = struct.unpack_from(f'{order}H', content, at)
        tags = dict(_tiff_tag(content, order, at + 2 + 12 * i) for i in range(count))
    except struct.error:
        return Header()
    samples = tags.get(_SAMPLES_TAG, 1)
    return Header(None, tags.get(_DEPTH_TAG), 1 if samples < 3 else 3)


def _tiff_tag(content: bytes, order: str, at: int) -> tuple[int, int]:
    """Return tag and first value; a list of short numbers stands elsewhere in the file."""
    tag, kind, count, value = struct.unpack_from(f'{order}HHII', content, at)
    if kind != _SHORT:
        return tag, value
    inline = struct.unpack_from(f'{order}H', content, at + 8)[0]
    return tag, inline if count <= 2 else struct.unpack_from(f'{order}H', content, value)[0]
