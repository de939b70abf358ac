"""A picture of the pixel weight of a training step."""
from __future__ import annotations

import cv2
import numpy as np

from mcir_plugin.report.strip import Panel, comparison_strip

SQUARE = 64  # pixels a side of what is enlarged


def weight_strip(output: np.ndarray, gt: np.ndarray, weight: np.ndarray, step: int) -> np.ndarray:
    """Draws the output with the square of the largest weight marked, and that square of output, ground truth, weight.

    Args:
        output (np.ndarray): of shape (H, W, 3), uint8, BGR.
        gt (np.ndarray): of the same shape.
        weight (np.ndarray): of shape (H, W), 0 or more; in the picture, its maximum is the brightest colour.
        step (int): Iteration, for the caption.

    Returns:
        np.ndarray: the strip, of shape (H', W', 3), uint8, BGR.
    """
    size = min(SQUARE, *weight.shape)
    sums = np.pad(weight.astype(np.float64), ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    squares = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    top, left = (int(place) for place in np.unravel_index(squares.argmax(), squares.shape))
    scaled = (255 * weight / max(float(weight.max()), 1e-12)).round().clip(0, 255).astype(np.uint8)
    span = f'{weight.min():.2f} to {weight.max():.2f}, mean {weight.mean():.2f}'
    panels = [Panel('output', output), Panel('ground truth', gt),
              Panel('weight', cv2.applyColorMap(scaled, cv2.COLORMAP_VIRIDIS), span)]
    return comparison_strip(Panel(f'iteration {step}', output), panels, (top, left), size)
