"""Results side by side: one strip per image, with a thumbnail and the same square enlarged from every version."""
from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

FONT = cv2.FONT_HERSHEY_SIMPLEX
INK, PAPER, MARK = (40, 40, 40), 255, (80, 255, 255)
GAP = 8  # pixels between the parts of a picture
LINE = 20  # height of a line of text in pixels


@dataclass(frozen=True)
class Panel:
    """One version of an image.

    Args:
        label (str): what it is, such as 'bicubic'.
        image (np.ndarray): of shape (H, W, 3), uint8, BGR. A version of lower resolution has its sides divided by a
            whole number.
        note (str): a second line, such as its PSNR. Default: none.
    """

    label: str
    image: np.ndarray
    note: str = ''


def hardest_square(reference: np.ndarray, estimate: np.ndarray, size: int) -> tuple[int, int]:
    """Where an estimate is furthest from the reference, as a place worth looking at.

    Choose it by a simple method's error (bicubic), not by the gain of the method shown: that would flatter.

    Args:
        reference (np.ndarray): of shape (H, W, 3), uint8.
        estimate (np.ndarray): same shape.
        size (int): side of the square in pixels, at most H and W.

    Returns:
        tuple[int, int]: top and left of the square with the largest mean absolute difference.
    """
    error = np.abs(reference.astype(np.float64) - estimate).mean(axis=2)
    sums = np.pad(error, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    squares = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    top, left = np.unravel_index(squares.argmax(), squares.shape)
    return int(top), int(left)


def comparison_strip(overview: Panel, panels: Sequence[Panel], corner: tuple[int, int], size: int,
                     shown: int = 256) -> np.ndarray:
    """Draws one strip: an overview as a thumbnail with a square marked, then the square of every panel, enlarged.

    Args:
        overview (Panel): the image at full resolution, with its name and a note.
        panels (Sequence[Panel]): the versions to compare.
        corner (tuple[int, int]): top and left of the square in the overview's pixels.
        size (int): its side in the overview's pixels.
        shown (int): side of an enlarged square in the picture. Default: 256.

    Returns:
        np.ndarray: the strip, of shape (H, W, 3), uint8, BGR.

    Raises:
        ValueError: if a panel's height is no whole fraction of the overview's.
    """
    height = overview.image.shape[0]
    parts = [_captioned(_thumbnail(overview.image, corner, size, shown), overview.label, overview.note)]
    for panel in panels:
        factor, rest = divmod(height, panel.image.shape[0])
        if rest:
            raise ValueError(f'panel {panel.label!r} is {panel.image.shape[0]} pixels high, which is no whole fraction '
                             f'of the overview, {height}')
        top, left, side = (value // factor for value in (*corner, size))
        square = panel.image[top:top + side, left:left + side]
        parts.append(_captioned(cv2.resize(square, (shown, shown), interpolation=cv2.INTER_NEAREST),
                                panel.label, panel.note))
    return _spaced(parts, axis=1)


def stack_strips(strips: Sequence[np.ndarray]) -> np.ndarray:
    """Puts strips below each other on one sheet; narrower ones are filled up with paper."""
    width = max(strip.shape[1] for strip in strips)
    filled = [cv2.copyMakeBorder(strip, 0, 0, 0, width - strip.shape[1], cv2.BORDER_CONSTANT, value=(PAPER,) * 3)
              for strip in strips]
    return _spaced(filled, axis=0)


def save_picture(image: np.ndarray, path: Path) -> None:
    """Writes a PNG under a temporary name and renames it. Raises OSError if it cannot be written."""
    partial = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        partial.write_bytes(cv2.imencode('.png', image)[1].tobytes())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _thumbnail(image: np.ndarray, corner: tuple[int, int], size: int, height: int) -> np.ndarray:
    """The image on paper of height x 1.5 height pixels, so that strips of differently shaped images line up."""
    width = height * 3 // 2
    scale = min(height / image.shape[0], width / image.shape[1])
    small = cv2.resize(image, (round(image.shape[1] * scale), round(image.shape[0] * scale)),
                       interpolation=cv2.INTER_AREA)
    top, left, bottom, right = (round(value * scale) for value in (*corner, corner[0] + size, corner[1] + size))
    for colour, thickness in ((INK, 4), (MARK, 2)):  # seen on dark and on bright ground
        cv2.rectangle(small, (left, top), (right, bottom), colour, thickness)
    return cv2.copyMakeBorder(small, 0, height - small.shape[0], 0, width - small.shape[1], cv2.BORDER_CONSTANT,
                              value=(PAPER,) * 3)


def _captioned(image: np.ndarray, label: str, note: str) -> np.ndarray:
    text = np.full((2 * LINE + 4, image.shape[1], 3), PAPER, np.uint8)
    for line, (words, scale) in enumerate(((label, 0.5), (note, 0.4)), 1):
        cv2.putText(text, words, (2, line * LINE - 5), FONT, scale, INK, 1, cv2.LINE_AA)
    return np.concatenate([image, text])


def _spaced(parts: Sequence[np.ndarray], axis: int) -> np.ndarray:
    shape = list(parts[0].shape)
    shape[axis] = GAP
    gap = np.full(shape, PAPER, np.uint8)
    spaced = [piece for part in parts for piece in (part, gap)]
    return np.concatenate(spaced[:-1], axis)
