"""Where an output is worse than its past: weights that let a loss push only there."""
from __future__ import annotations

import torch
from torch import Tensor


class GroundTruthGate:
    """Compares the error of an output with that of negatives, pixel by pixel.

    With e(x) = sum over channels of |x - gt|, the gate of a negative is 1 where e(pred) > e(negative), and 0 elsewhere:
    where the output is already the better one, there is nothing to get away from. LDL (CVPR 2022) compares residuals
    with those of an averaged model in this way, for another loss; applying it to negatives is ours.

    Args:
        pred (Tensor): of shape (N, C, H, W) or (N, T, C, H, W).
        gt (Tensor): of the same shape.
    """

    def __init__(self, pred: Tensor, gt: Tensor) -> None:
        self._gt = gt
        self._error = self._of(pred)

    def __call__(self, negative: Tensor) -> Tensor:
        """Return the gate of a negative of the same shape: of shape (N, 1, H, W), N counting frames, 0 or 1."""
        return (self._error > self._of(negative)).to(self._error.dtype)

    @torch.no_grad()
    def _of(self, image: Tensor) -> Tensor:
        wide = torch.promote_types(image.dtype, torch.float32)
        error = (image.to(wide) - self._gt).abs().sum(-3, keepdim=True)
        return error.reshape(-1, *error.shape[-3:])
