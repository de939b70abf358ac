"""Forms: what becomes of the distances to positive and negative images, in one step and of bounded memory.

Per layer l, p_j is the distance from the output to positive j (of J) and n_k that to negative k (of K). A form sums
distances into one group for each kind and weights them while they come in, so that no image has to be kept:

- difference, of MCIR (AAAI 2024): -1/K sum_k sum_l w_l n_k. No lower bound.
- ratio, of AECR-Net (CVPR 2021), C2PNet (CVPR 2023), DCKD (AAAI 2025): sum_l w_l mean_j p_j / (mean_k n_k + eps). Not
  below 0. Its gradient grows as 1 / n_k where negatives are close to the output, as those of a history are. DCKD
  divides by the sum over its K negatives instead of their mean, so its value is a K-th of this one.
- hinge, after SEC-Depth (AAAI 2026): 1/K sum_k max(margin - sum_l w_l n_k, 0). From 0 to margin. A negative that is
  further away than the margin no longer matters, so nothing is pushed without end. With a gate the distance is the
  part of the gated pixels, so the margin is multiplied with their share, too: a negative counts if the mean distance
  where the gate is open is below the margin.
- infonce, of PNE-Net (TMM 2024): 1/J sum_j sum_l w_l (-log(e^(-p_j/tau) / (e^(-p_j/tau) + sum_k e^(-n_k/tau)))). Not
  below 0, and its gradient is bounded: each distance enters with a factor of w_l / tau at most. The sum over negatives
  is kept relative to its largest summand and rescaled when a larger one comes, so one group is enough for all K.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mcir_plugin.losses.distance_table import Blend

NEGATIVES, POSITIVES = 0, 1  # groups of a distance table
NO_NEGATIVE = 'A contrastive loss needs at least one negative, received none.'

Factor = Tensor | float


class Reference(NamedTuple):
    """An image that the output is compared with.

    Attributes:
        group (int): NEGATIVES or POSITIVES.
        image (Tensor): of the shape of the output.
        blend (Callable | None): See :meth:`DistanceTable.add`.
        gate (Tensor | None): Weight of every pixel, of shape (N, 1, H, W), zero or more. None is 1.
    """

    group: int
    image: Tensor
    blend: Blend | None = None
    gate: Tensor | None = None


class Form:
    """Base: one object per step, which is told of every reference before it is measured.

    Args:
        weights (Sequence[float]): w_l, one per layer.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        self.weights = tuple(weights)
        self.negatives = self.positives = 0

    def negative(self, image: Tensor, gate: Tensor | None = None) -> Reference:
        """Return the reference of a negative."""
        self.negatives += 1
        return Reference(NEGATIVES, image, gate=gate)

    def positive(self, image: Tensor) -> Reference:
        """Return the reference of a positive."""
        self.positives += 1
        return Reference(POSITIVES, image)

    def combine(self, totals: Tensor) -> Tensor:
        """Return the value of the form.

        Args:
            totals (Tensor): Sums of the distances, of shape (groups, L); the value is differentiable with respect to
                them.
        """
        raise NotImplementedError

    def weighted(self, layers: Tensor) -> Tensor:
        """Sum over the layers, the last dimension, with their weights."""
        return sum(weight * layer for weight, layer in zip(self.weights, layers.unbind(-1), strict=True))


class Difference(Form):
    """The mean distance to the negatives, subtracted."""

    def combine(self, totals: Tensor) -> Tensor:
        """Return the value; see the module."""
        return -self.weighted(totals[NEGATIVES]) / self.negatives


class Ratio(Form):
    """The distance to the positives over that to the negatives, layer by layer.

    Args:
        weights (Sequence[float]): As for :class:`Form`.
        eps (float): Added to the mean distance to the negatives, above zero.
    """

    def __init__(self, weights: Sequence[float], eps: float) -> None:
        super().__init__(weights)
        self.eps = eps
        self._shares: Factor = 0

    def negative(self, image: Tensor, gate: Tensor | None = None, share: Factor = 1) -> Reference:
        """Return the reference of a negative that enters the mean with ``share``, a number or a 0-d tensor."""
        self._shares = self._shares + share
        return super().negative(image, gate)._replace(blend=lambda distances: (1, share))

    def combine(self, totals: Tensor) -> Tensor:
        """Return the value; see the module."""
        positive, negative = totals[POSITIVES] / self.positives, totals[NEGATIVES] / self._shares
        return self.weighted(positive / (negative + self.eps))


class Hinge(Form):
    """The mean of what the negatives lack to a margin.

    Args:
        weights (Sequence[float]): As for :class:`Form`.
        margin (float): In units of the weighted distance, zero or more.
    """

    def __init__(self, weights: Sequence[float], margin: float) -> None:
        super().__init__(weights)
        self.margin = margin
        self._close: Factor = 0  # how many negatives are within the margin, each by its share of pixels

    def negative(self, image: Tensor, gate: Tensor | None = None) -> Reference:
        """Return the reference of a negative, which counts only within the margin."""
        share = 1 if gate is None else gate.mean()
        return super().negative(image, gate)._replace(blend=partial(self._if_close, share))

    def combine(self, totals: Tensor) -> Tensor:
        """Return the value; see the module."""
        return (self.margin * self._close - self.weighted(totals[NEGATIVES])) / self.negatives

    def _if_close(self, share: Factor, distances: Tensor) -> tuple[Factor, Factor]:
        close = (self.weighted(distances) < self.margin * share).to(distances.dtype)
        self._close = self._close + share * close
        return 1, close


class InfoNCE(Form):
    """Cross-entropy of finding the positive among the negatives, from distances over a temperature.

    Negatives must come before positives: what a positive contributes to the gradient depends on all of them.

    Args:
        weights (Sequence[float]): As for :class:`Form`.
        tau (float): Temperature in units of the distance, above zero.
    """

    def __init__(self, weights: Sequence[float], tau: float) -> None:
        super().__init__(weights)
        self.tau = tau
        self._largest: Tensor | None = None  # of shape (L,), as those that follow
        self._mass: Factor = 0
        self._value: Factor = 0
        self._missed: Factor = 0

    def negative(self, image: Tensor, gate: Tensor | None = None) -> Reference:
        """Return the reference of a negative."""
        return super().negative(image, gate)._replace(blend=self._among_negatives)

    def positive(self, image: Tensor) -> Reference:
        """Return the reference of a positive."""
        return super().positive(image)._replace(blend=self._against_negatives)

    def combine(self, totals: Tensor) -> Tensor:
        """Return the value; see the module.

        The totals are weighted by numbers that depend on the distances themselves. So the value does not come from
        them but from what was noted on the way; only the gradient goes through them.
        """
        push = totals[NEGATIVES] * (self._missed / self._mass)
        slope = self.weighted(totals[POSITIVES] - push) / self.tau
        return (self.weighted(self._value) + slope - slope.detach()) / self.positives

    def _among_negatives(self, distances: Tensor) -> tuple[Factor, Factor]:
        """Add e^(-n_k/tau) to the sum over the negatives, which is kept as mass * e^largest."""
        logits = distances / -self.tau
        former = logits if self._largest is None else self._largest
        self._largest = torch.maximum(former, logits)
        keep, share = torch.exp(former - self._largest), torch.exp(logits - self._largest)
        self._mass = self._mass * keep + share
        return keep, share

    def _against_negatives(self, distances: Tensor) -> tuple[Factor, Factor]:
        """Note the cross-entropy of a positive, and the share of the negatives in the softmax, its derivative."""
        if self._largest is None:
            raise ValueError(NO_NEGATIVE)
        excess = distances / self.tau + self._largest + torch.log(self._mass)
        missed = torch.sigmoid(excess)
        self._value = self._value + functional.softplus(excess)
        self._missed = self._missed + missed
        return 1, missed
