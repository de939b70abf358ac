"""The loss of NAFNet: the negative PSNR."""
from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mcir_plugin.config.errors import ConfigError
from mcir_plugin.losses.distances import REDUCTIONS

EPS = 1e-8  # of the published loss; it bounds the value at -80 dB


def psnr_loss(pred: Tensor, target: Tensor, reduction: str = 'mean') -> Tensor:
    """10 / ln(10) * mean_n ln(MSE_n + 1e-8): minus the PSNR in dB of images in [0, 1], averaged over the batch.

    Args:
        pred (Tensor): of shape (N, ...), in [0, 1].
        target (Tensor): of the same shape.
        reduction (str): ``mean`` or ``sum`` over the samples. Default: ``mean``.

    Returns:
        Tensor: A scalar, -80 or more.

    Raises:
        ValueError: Unknown reduction, or shapes that differ.
    """
    _check_reduction(reduction)
    if pred.shape != target.shape:
        raise ValueError(f'pred has the shape {tuple(pred.shape)}, target {tuple(target.shape)}; they must be equal.')
    errors = (pred - target).square().flatten(1).mean(1)
    decibels = 10 / math.log(10) * torch.log(errors + EPS)
    return decibels.mean() if reduction == 'mean' else decibels.sum()


class PSNRLoss(nn.Module):
    """Negative PSNR as a loss, on RGB.

    "Simple Baselines for Image Restoration", Chen, Chu, Zhang and Sun, ECCV 2022 (NAFNet), whose recipe also clips the
    norm of the gradient at 0.01. See :func:`psnr_loss` for the formula.

    Args:
        loss_weight (float): Weight of the loss. Default: 1.0.
        reduction (str): ``mean`` or ``sum`` over the samples of the batch. Default: ``mean``.

    Raises:
        ConfigError: Unknown reduction.

    Examples:
        >>> gt = torch.zeros(2, 3, 8, 8)
        >>> round(PSNRLoss()(gt + 0.1, gt).item(), 3)
        -20.0
    """

    def __init__(self, loss_weight: float = 1.0, reduction: str = 'mean') -> None:
        super().__init__()
        _check_reduction(reduction)
        self.loss_weight = loss_weight
        self.reduction = reduction

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            pred (Tensor): of shape (N, C, H, W) or (N, T, C, H, W), in [0, 1].
            target (Tensor): of the same shape.

        Returns:
            Tensor: A scalar.
        """
        return self.loss_weight * psnr_loss(pred, target, self.reduction)


def _check_reduction(reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise ConfigError(f'PSNRLoss: reduction is {reduction!r}; it must be one of {", ".join(REDUCTIONS)}.')
