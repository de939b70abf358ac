r"""Where the past copies disagree: a pixel weight for the reconstruction loss.

The later abstract of MCIR (arXiv 2309.06023) announces an uncertainty map from the statistics of the negatives and an
uncertainty-aware reconstruction loss; the formula is not published. What follows is **ours**.

With n_k, k = 1..K, the negatives of a step, c the channel and p the pixel, the spread is

    s(p) = sqrt(mean_c var_k n_k(c, p)),        var with 1/K

and t(p) = s(p) / mean_p s(p) is its size relative to the image. The weight is the one that puts most of the loss on
spread pixels while it stays near the plain loss: among all w with mean 1 it maximises

    sum_p w(p) t(p) - 1 / (2 b) sum_p (w(p) - 1)^2

Setting the derivative t(p) - (w(p) - 1) / b - m to zero, m being the multiplier of mean w = 1, gives w = 1 + b (t - m),
and the mean of both sides gives m = mean t. So

    w(p) = 1 + b (t(p) - mean_p t)

and the loss is mean_p w(p) |out - gt|(p), with w constant (no gradient flows into it). Hence: equal negatives (s = 0)
or a constant spread give w = 1, the plain loss; multiplying all negatives by a number changes nothing; the mean of w is
1 for every image, so the size of the loss is kept; and w >= 1 - b >= 0 for b in [0, 1], since t >= 0 and mean t <= 1.
Single pixels are held back by cutting t at a limit, before its mean is taken, so that the mean of w stays 1.

Related: UDL (NeurIPS 2021) also weights uncertain pixels up, by s - min s + 1 with a learnt s; LDL (CVPR 2022) weights
by local variance of the residual.
"""
from __future__ import annotations

import torch
from torch import Tensor


class Moments:
    """Running mean and squared deviations over images (Welford 1962): two images of memory, however many there are.

    Images have a shape (..., C, H, W); sums are kept in float32, or float64 for such images.
    """

    def __init__(self) -> None:
        self.count = 0

    @torch.no_grad()
    def taken(self, image: Tensor) -> Tensor:
        """Take an image in and return it."""
        self.count += 1
        if self.count == 1:
            self._mean = image.to(torch.promote_types(image.dtype, torch.float32), copy=True)
            self._squares = torch.zeros_like(self._mean)
        else:
            delta = image - self._mean
            self._mean += delta / self.count
            self._squares.addcmul_(delta, image - self._mean)
        return image

    def spread(self) -> Tensor:
        """Return s, of shape (..., 1, H, W): the standard deviation over the images, quadratic mean over channels."""
        return (self._squares / self.count).mean(-3, keepdim=True).clamp_min(0).sqrt()


class Uncertainty:
    """Turns the spread of the negatives into a pixel weight; see the head of this module.

    Args:
        strength (float): b, in (0, 1]. 1 takes all weight from pixels without spread. Default: 0.5.
        limit (float): t is cut here, > 1. Default: 10.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(self, strength: float = 0.5, limit: float = 10.0) -> None:
        if not 0 < strength <= 1:
            raise ValueError(f'strength must be in (0, 1]; received {strength}.')
        if not limit > 1:
            raise ValueError(f'limit must be > 1, the mean of what it cuts; received {limit}.')
        self.strength, self.limit = float(strength), float(limit)

    @torch.no_grad()
    def weight(self, spread: Tensor, share: float = 1.0) -> Tensor:
        """Return w, of the shape of ``spread``, with mean 1 over each image.

        Args:
            spread (Tensor): s, of shape (N, 1, H, W) or (N, T, 1, H, W).
            share (float): Of the strength, from 0 to 1: the schedule's warm-up and decay. Default: 1.
        """
        inside = tuple(range(1, spread.dim()))
        mean = spread.mean(inside, keepdim=True)
        relative = torch.where(mean > 0, spread / mean, 1.0).clamp(max=self.limit)
        return 1 + self.strength * min(1.0, share) * (relative - relative.mean(inside, keepdim=True))
