"""When a picture of the pixel weight is due, and the picture, from the tensors of a training step."""
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mcir_plugin.hosts.criterion import StepContrast
from mcir_plugin.report.weight_map import weight_strip


def is_due(contrast: StepContrast, every: int | None) -> bool:
    """Return whether this step is the first weighted one since a multiple of ``every`` iterations; None is never."""
    if every is None or contrast.weight is None:
        return False
    return contrast.step // every > (contrast.step - contrast.term.schedule.interval) // every


def picture(contrast: StepContrast) -> np.ndarray:
    """Return output, ground truth and weight of the first image of the step, of shape (H, W, 3), uint8, BGR.

    Of a video it is the first frame. Images are taken as RGB or gray in [0, 1].
    """
    weight = _first(contrast.weight)[0].float().cpu().numpy()
    return weight_strip(_bgr(contrast.pred), _bgr(contrast.gt), weight, contrast.step)


def _first(images: Tensor) -> Tensor:
    return images.flatten(0, -4)[0]


def _bgr(images: Tensor) -> np.ndarray:
    image = _first(images).detach().float().clamp(0, 1).mul(255).round().to(torch.uint8).cpu().permute(1, 2, 0).numpy()
    return np.ascontiguousarray(image[..., ::-1] if image.shape[2] == 3 else image[..., :1].repeat(3, axis=2))
