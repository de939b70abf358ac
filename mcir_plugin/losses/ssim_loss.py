"""The loss of IDT: the negative SSIM, with a guard against its flat region."""
from __future__ import annotations

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from mcir_plugin.config.errors import ConfigError
from mcir_plugin.metrics.ssim import gaussian_window, plane_mean, ssim_map


class SSIMLoss(nn.Module):
    """-SSIM, and on request a multiple of the L1 distance::

        loss_weight * (l1_weight * mean|pred - target| - mean SSIM(pred, target))

    "Image De-raining Transformer", Xiao, Fu, Liu, Wu and Zha, TPAMI 2022 (IDT), trains on -SSIM alone: all channels, a
    Gaussian window of 11x11 pixels with sigma 1.5, zero padding, images in [0, 1].

    Why ``l1_weight``: far away from the target SSIM is near 0 and flat, since its denominator grows with the square of
    the output. A run that gets there has next to no gradient to come back with; with the published settings -SSIM was
    seen to stay at 0 on SPA-Data, half-way through the first epoch. L1 has the same gradient at any distance. The
    default is the published loss; 0.1 to 1 is a guard that hardly acts near the target. ``train.grad_clip`` and
    ``train.warmup_iter`` make the way there less likely.

    Args:
        loss_weight (float): Weight of the whole loss. Default: 1.0.
        l1_weight (float): Weight of the L1 distance beside the SSIM, zero or more. Default: 0.

    Raises:
        ConfigError: A negative ``l1_weight``.
    """

    def __init__(self, loss_weight: float = 1.0, l1_weight: float = 0.) -> None:
        super().__init__()
        if not l1_weight >= 0:
            raise ConfigError(f'SSIMLoss: l1_weight is {l1_weight!r}; it must be 0 or more.')
        self.loss_weight = loss_weight
        self.l1_weight = l1_weight
        self.mean = partial(plane_mean, window=gaussian_window(11, 1.5), padding='zeros')

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            pred (Tensor): of shape (N, C, H, W), in [0, 1], at least 11 pixels a side.
            target (Tensor): of the same shape.

        Returns:
            Tensor: A scalar; -loss_weight where the two are equal.

        Raises:
            ValueError: Shapes that differ, or images smaller than the window.
        """
        if pred.shape != target.shape:
            raise ValueError(f'pred has the shape {tuple(pred.shape)}, target {tuple(target.shape)}; they must be '
                             'equal.')
        loss = -ssim_map(pred, target, self.mean).mean()
        if self.l1_weight > 0:
            loss = loss + self.l1_weight * F.l1_loss(pred, target)
        return self.loss_weight * loss
