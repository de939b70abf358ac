"""Errors and differences of images as pictures, and the sheet that shows them below enlarged squares."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from mcir_plugin.report.strip import Panel, comparison_strip, hardest_square, stack_strips

Image = np.ndarray


@dataclass(frozen=True)
class Shown:
    """One validation image in all versions.

    Attributes:
        name (str): Of the image.
        lq (ndarray): Input, (h, w, 3) uint8 BGR; its sides divide those of the ground truth.
        gt (ndarray): Ground truth, (H, W, 3) uint8 BGR.
        outputs (Mapping): Output of every variant, the baseline first, (H, W, 3) uint8 BGR.
        notes (Mapping): Second line below each output, such as its PSNR.
    """

    name: str
    lq: Image
    gt: Image
    outputs: Mapping[str, Image]
    notes: Mapping[str, str]


def error_map(image: Image, gt: Image, top: float) -> Image:
    """Mean absolute difference over channels as a picture: black is 0, bright yellow is ``top`` or more (of 255)."""
    error = np.abs(image.astype(np.float64) - gt).mean(axis=2)
    return cv2.applyColorMap(_levels(error / top), cv2.COLORMAP_INFERNO)


def difference_map(image: Image, baseline: Image, top: float) -> Image:
    """Signed difference, mean over channels, as a picture: red is brighter than the baseline, blue darker.

    White is 0; full colour is ``top`` or more (of 255).
    """
    signed = np.clip((image.astype(np.float64) - baseline).mean(axis=2) / top, -1, 1)[..., None]
    red, blue = np.array([43, 24, 178.]), np.array([172, 102, 33.])  # BGR
    colour = np.where(signed > 0, red, blue)
    return np.rint(255 + (colour - 255) * np.abs(signed)).astype(np.uint8)


def sheet(shown: Shown, size: int = 96) -> Image:
    """Draw one image: enlarged squares of input, outputs and ground truth, and below them errors and differences.

    The square is where the baseline errs most. All error maps share one scale, all difference maps another; both are
    written beside them.

    Args:
        shown (Shown): The image.
        size (int): Side of the square in pixels of the ground truth, at most half of the image's. Default: 96.

    Returns:
        ndarray: of shape (H, W, 3), uint8, BGR.
    """
    baseline, others = next(iter(shown.outputs)), list(shown.outputs)[1:]
    factor = max(1, shown.gt.shape[0] // shown.lq.shape[0])
    size = max(factor, min(size, *(side // 2 for side in shown.gt.shape[:2])) // factor * factor)
    corner = tuple(value - value % factor for value in hardest_square(shown.gt, shown.outputs[baseline], size))
    errors = {name: _scaled(np.abs(image.astype(np.float64) - shown.gt)) for name, image in shown.outputs.items()}
    top = max(errors.values())
    widest = max((_scaled(np.abs(_gray(shown.outputs[name]) - _gray(shown.outputs[baseline]))) for name in others),
                 default=1.)
    first = [Panel('LQ', shown.lq), *(Panel(name, image, shown.notes.get(name, ''))
                                      for name, image in shown.outputs.items()), Panel('ground truth', shown.gt)]
    second = [Panel(f'error of {name}', error_map(image, shown.gt, top), f'black 0 .. yellow {top:.1f} of 255')
              for name, image in shown.outputs.items()]
    second += [Panel(f'{name} - {baseline}', difference_map(shown.outputs[name], shown.outputs[baseline], widest),
                     f'blue -{widest:.1f} .. red +{widest:.1f}') for name in others]
    overviews = Panel(shown.name, shown.gt, 'square: where the baseline errs most'), Panel(
        'error of the baseline', error_map(shown.outputs[baseline], shown.gt, top), baseline)
    return stack_strips([comparison_strip(overview, panels, corner, size)
                         for overview, panels in zip(overviews, (first, second), strict=True)])


def _levels(share: Image) -> Image:
    return np.rint(np.clip(share, 0, 1) * 255).astype(np.uint8)


def _gray(image: Image) -> Image:
    return image.astype(np.float64).mean(axis=2)


def _scaled(error: Image) -> float:
    """Return the 99.5th percentile, at least 1: single pixels do not set the scale."""
    return max(1., float(np.percentile(error, 99.5)))
