"""From one photograph to aligned pairs of HR and LR images: reading, bicubic LR, sub-images."""
from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import cv2
import numpy as np
from lmdb_writer import PNG_COMPRESSION, EncodedImage
from new_folder import PreparationError
from PIL import ExifTags, Image

from mcir_plugin.data import IMAGE_SUFFIXES, image_key

SCALES = (1, 2, 3, 4, 8)
MAX_KEY_BYTES = 500  # LMDB's own limit is 511; the sub-image's number comes on top


@dataclass(frozen=True)
class PairPlan:
    """How images become pairs.

    Args:
        scale (int): factor between HR and LR, one of 1, 2, 3, 4, 8; with 1 there is no LR.
        size (int | None): side of the square HR sub-images in pixels, a multiple of the scale; None keeps images whole.
        step (int): distance between two sub-images in HR pixels, a multiple of the scale. Default: 240.
        min_rest (int): a rest at the right or lower edge of more than this many pixels gets a sub-image of its own,
            aligned to that edge. Default: 0.

    Raises:
        PreparationError: for a value outside these.
    """

    scale: int
    size: int | None
    step: int = 240
    min_rest: int = 0

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise PreparationError(f'--scale {self.scale} is not known: use one of {", ".join(map(str, SCALES))}.')
        if self.min_rest < 0:
            raise PreparationError(f'--min-rest {self.min_rest} must be 0 or more pixels.')
        if self.size is None:
            return
        for name, value in (('--size', self.size), ('--step', self.step)):
            if value < 1 or value % self.scale:
                nearest = max(self.scale, value - value % self.scale)
                raise PreparationError(f'{name} {value} must be a positive multiple of the scale {self.scale}, so that '
                                       f'HR and LR stay aligned; the nearest is {nearest}.')

    @property
    def smallest(self) -> int:
        """The smallest height or width in pixels that an image may have."""
        # the bicubic kernel reaches 2 * scale pixels beyond an edge, and these are mirrored
        return max(self.size or 1, 2 * self.scale if self.scale > 1 else 1)


def find_images(folder: Path, only: list[str], exclude: list[str]) -> dict[str, Path]:
    """The images in a folder and its sub-folders by their LMDB key, sorted by key.

    Args:
        folder (Path): where to look; hidden files and folders are left out.
        only (list[str]): if not empty, keep just these: names with or without suffix, or patterns such as ``a/*``.
        exclude (list[str]): leave these out; same spelling.

    Raises:
        PreparationError: no such folder, no image, a name that fits nothing, two images with the same key.
    """
    if not folder.is_dir():
        raise PreparationError(f'--input {folder} is not a folder.')
    relative = (path.relative_to(folder) for path in sorted(folder.rglob('*')) if path.suffix.lower() in IMAGE_SUFFIXES)
    names = [name for name in relative if not any(part.startswith('.') for part in name.parts)]
    if not names:
        raise PreparationError(f'--input {folder} holds no image (looked for {", ".join(IMAGE_SUFFIXES)}).')
    if only:
        names = _fitting(names, '--only', only)
    if exclude:
        left_out = set(_fitting(names, '--exclude', exclude))
        names = [name for name in names if name not in left_out]
    if not names:
        raise PreparationError(f'--only and --exclude together leave no image of {folder}.')
    return _by_key(folder, names)


def _fitting(names: list[Path], option: str, patterns: list[str]) -> list[Path]:
    for pattern in patterns:
        if not any(_fits(name, pattern) for name in names):
            raise PreparationError(f'{option} {pattern} fits none of the {len(names)} images, such as {names[0]}.')
    return [name for name in names if any(_fits(name, pattern) for pattern in patterns)]


def _fits(name: Path, pattern: str) -> bool:
    spellings = (name.as_posix(), name.with_suffix('').as_posix(), name.name, name.stem)
    return pattern in spellings or any(fnmatch(spelling, pattern) for spelling in spellings)


def _by_key(folder: Path, names: list[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name in names:
        key = lmdb_key(name)
        if key in found:
            raise PreparationError(f'{found[key].relative_to(folder)} and {name} would get the same LMDB key {key}: '
                                   'rename one of them, or leave it out with --exclude.')
        found[key] = folder / name
    return dict(sorted(found.items()))


def lmdb_key(name: Path) -> str:
    """The key of an image, in characters that BasicSR can read back. Raises PreparationError if it is too long."""
    key = image_key(name.as_posix())
    if len(key) > MAX_KEY_BYTES:
        raise PreparationError(f'the name of {name} is too long for an LMDB key ({len(key)} of at most '
                               f'{MAX_KEY_BYTES} characters): rename it.')
    return key


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) in pixels of the upright image, from the file's header. PreparationError if it is no image."""
    try:
        with Image.open(path) as image:
            if not _lies(image):
                return image.height, image.width
    except Exception as error:
        raise PreparationError(f'cannot be read as an image ({error})') from error
    return read_image(path).shape[:2]  # which formats are turned depends on the version of OpenCV


def _lies(image: Image.Image) -> bool:
    if image.format == 'PNG' and 'exif' not in image.info:
        return False  # Pillow would decode it to look behind the pixels
    return image.getexif().get(ExifTags.Base.Orientation) in range(5, 9)


def read_image(path: Path) -> np.ndarray:
    """An 8-bit image as BasicSR reads it: (H, W) grey or (H, W, 3) BGR, turned upright, without alpha channel.

    Raises:
        PreparationError: the file is damaged or cut off, or holds more than 8 bits per channel.
    """
    try:
        # before version 5, OpenCV returns what it could read of a file that is cut off; Pillow tells
        with warnings.catch_warnings(), Image.open(path) as whole:
            warnings.simplefilter('ignore')
            whole.load()
    except Exception as error:
        raise PreparationError(f'cannot be read as an image ({error})') from error
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    if image is None:
        raise PreparationError('cannot be read as an image (OpenCV does not know this kind of file)')
    if image.dtype != np.uint8:
        raise PreparationError(f'has {image.dtype.itemsize * 8} bits per channel, but BasicSR trains on 8 bits: '
                               'convert it first, so that you decide how its range is mapped')
    return image


def starts(length: int, plan: PairPlan) -> list[int]:
    """Where the sub-images begin along one side of ``length`` pixels (a multiple of the scale)."""
    last = length - plan.size
    found = list(range(0, last + 1, plan.step))
    if last - found[-1] > plan.min_rest:
        found.append(last)
    return found


def bicubic_lr(image: np.ndarray, scale: int) -> np.ndarray:
    """MATLAB-compatible bicubic LR of a whole uint8 image (H, W[, 3]) whose sides are multiples of ``scale``."""
    small = basicsr_imresize()(image.astype(np.float32) / 255, 1 / scale)
    return (small * 255).round().clip(0, 255).astype(np.uint8)


@cache
def basicsr_imresize() -> Callable[[np.ndarray, float], np.ndarray]:
    """BasicSR's ``imresize`` from its own file: importing the whole toolbox for it would take ten seconds."""
    toolbox = find_spec('basicsr')
    if toolbox is None:
        raise PreparationError('needs BasicSR for the bicubic LR: pip install basicsr')
    spec = spec_from_file_location('matlab_functions', Path(toolbox.origin).with_name('utils') / 'matlab_functions.py')
    functions = module_from_spec(spec)
    spec.loader.exec_module(functions)
    return functions.imresize


def make_pairs(key: str, path: Path, plan: PairPlan) -> tuple[list[EncodedImage], list[EncodedImage]]:
    """The HR sub-images of one file and, unless the scale is 1, the LR ones with the same keys."""
    image = read_image(path)
    height, width = (side - side % plan.scale for side in image.shape[:2])
    image = image[:height, :width]
    small = bicubic_lr(image, plan.scale) if plan.scale > 1 else None
    if plan.size is None:
        return [encode(key, image)], [] if small is None else [encode(key, small)]
    corners = [(top, left) for top in starts(height, plan) for left in starts(width, plan)]
    large_parts, small_parts = [], []
    for number, (top, left) in enumerate(corners, 1):
        name = f'{key}_s{number:03d}'
        large_parts.append(encode(name, _square(image, top, left, plan.size)))
        if small is not None:
            corner_and_size = (value // plan.scale for value in (top, left, plan.size))
            small_parts.append(encode(name, _square(small, *corner_and_size)))
    return large_parts, small_parts


def _square(image: np.ndarray, top: int, left: int, size: int) -> np.ndarray:
    return image[top:top + size, left:left + size]


def encode(key: str, image: np.ndarray) -> EncodedImage:
    """An image (H, W[, 3]), uint8 and BGR, as PNG."""
    png = cv2.imencode('.png', image, [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION])[1]
    return EncodedImage(key, png.tobytes(), (*image.shape[:2], 1 if image.ndim == 2 else image.shape[2]))
