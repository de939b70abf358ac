"""What the bytes of an image tell, against what OpenCV makes of them."""
from __future__ import annotations

from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from mcir_plugin.data.encoded import is_cut_off, read_header

IMAGE = cv2.resize(np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8), (35, 22))
SORTS = {'colour': IMAGE, 'grey': IMAGE[..., 0], '16bit': IMAGE.astype(np.uint16) * 257, 'alpha': np.dstack(
    [IMAGE, IMAGE[..., :1]]), '16bit grey': IMAGE[..., 0].astype(np.uint16) * 257}


def encoded(image: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


@pytest.mark.parametrize('sort', SORTS)
@pytest.mark.parametrize('suffix', ['.png', '.tif', '.jpg'])
def test_header_says_what_opencv_reads(suffix, sort):
    if suffix == '.jpg' and sort not in ('colour', 'grey'):
        pytest.skip('JPEG holds neither')
    content = encoded(SORTS[sort], suffix)
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    header = read_header(content)
    assert header.depth == 8 * image.itemsize
    assert header.channels == (1 if image.ndim == 2 else 3)
    if suffix != '.tif':
        assert header.size == image.shape[:2] == read_header(content[:4096]).size
    assert header.oddity == ('16bit' if '16bit' in sort else sort if sort == 'grey' else '')


def turned(kind: str, orientation: int, endian: str, **others: bytes) -> bytes:
    """The image as a camera saves it that was held in this way."""
    exif, file = Image.Exif(), BytesIO()
    exif.endian = endian
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Orientation] = 'a camera', orientation
    Image.fromarray(IMAGE).save(file, kind, exif=exif, **others)
    return file.getvalue()


@pytest.mark.parametrize('endian', ['<', '>'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_size_is_that_of_the_image_turned_upright(orientation, endian):
    content = turned('JPEG', orientation, endian, comment=b'before the Exif data')
    shape = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).shape
    assert shape == ((35, 22, 3) if orientation > 4 else IMAGE.shape)
    assert read_header(content) == (shape[:2], 8, 3)
    png = read_header(turned('PNG', orientation, endian))  # is turned by newer versions of OpenCV
    assert png == (None if orientation > 4 else IMAGE.shape[:2], 8, 3)


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_every_truncation_is_seen(suffix):
    content = encoded(IMAGE, suffix)
    assert not is_cut_off(content) and not is_cut_off(content + b'left by a camera')
    assert all(is_cut_off(content[:end]) for end in range(8, len(content)))


def test_end_of_a_preview_inside_a_jpeg_is_not_its_end():
    content = encoded(IMAGE, '.jpg')
    preview = b'Exif\0\0' + encoded(IMAGE[:9, :9], '.jpg')
    both = content[:2] + b'\xff\xe1' + (len(preview) + 2).to_bytes(2, 'big') + preview + content[2:]
    assert cv2.imdecode(np.frombuffer(both, np.uint8), cv2.IMREAD_COLOR).shape == IMAGE.shape
    assert not is_cut_off(both) and read_header(both).size == IMAGE.shape[:2]
    assert is_cut_off(both[:-2])


@pytest.mark.parametrize('junk', [
    b'', b'\x89PNG\r\n\x1a\n', b'\xff\xd8', b'\xff\xd8\xff', b'II*\0', b'MM\0*\xff\xff\xff\xff', b'BM' + b'\0' * 9,
    b'\xff\xd8' + b'\xff' * 50, b'\x89PNG\r\n\x1a\n' + b'\xff' * 50])
def test_junk_is_no_trouble(junk):
    is_cut_off(junk)
    assert read_header(junk + b'\0' * 4).oddity in ('', 'grey', '16bit')
