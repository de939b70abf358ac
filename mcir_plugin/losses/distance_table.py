"""Distances from the features of a prediction to those of reference images, and their gradient, image by image."""
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mcir_plugin.losses.distances import CRITERIA, check_choices

Blend = Callable[[Tensor], tuple[Tensor | float, Tensor | float]]
SUM_OF_SIGNS = torch.int16  # half the memory of float32, exact up to 32,767 references


class DistanceTable:
    """Adds up, per group and layer, the distances d(phi_l(pred), phi_l(reference)) of reference images.

    Losses differ in what they make of a few sums: the SPN loss takes that over its negatives, a ratio needs one sum
    over positives and one over negatives. Such a sum is a group. Of a reference nothing is kept but its distances and
    its share of the gradient of its group, so memory grows with the number of groups, not of references. Plain sums of
    L1 distances, whose derivatives are signs, are kept as integers.

    Args:
        features (Sequence[Tensor]): phi(pred): one tensor of any shape per layer.
        criterion (str): One of :data:`mcir_plugin.losses.distances.CRITERIA`. Default: ``l1``.
        reduction (str): ``mean`` or ``sum`` over the elements of a layer. Default: ``mean``.
        with_gradient (bool): Keep what :meth:`gradients` needs. Default: True.

    Raises:
        ValueError: Unknown criterion or reduction.
    """

    def __init__(self, features: Sequence[Tensor], criterion: str = 'l1', reduction: str = 'mean',
                 with_gradient: bool = True) -> None:
        check_choices(criterion, reduction)
        self._features = [feature.detach() for feature in features]
        self._criterion = CRITERIA[criterion]
        self._signs = criterion == 'l1'
        self._scales = [1 / feature.numel() if reduction == 'mean' else 1. for feature in features]
        self._with_gradient = with_gradient
        self._totals: dict[int, Tensor] = {}
        self._slopes: dict[int, list[Tensor]] = {}

    @torch.no_grad()
    def add(self, features: Sequence[Tensor], group: int = 0, blend: Blend | None = None,
            weights: Sequence[Tensor] | None = None) -> Tensor:
        """Take in one reference image.

        Args:
            features (Sequence[Tensor]): phi(reference), of the shapes of phi(pred). They are used up: overwritten.
            group (int): The group that it belongs to, counted from 0. Default: 0.
            blend (Callable | None): From its distances, of shape (L,), to two factors, each a number or a tensor, 0-d
                or of shape (L,): that of what the group holds so far, and that with which the reference joins it. They
                count as constants in :meth:`gradients`. Default: 1 and 1, a sum.
            weights (Sequence[Tensor] | None): Weights of the elements of each layer, zero or more, in shapes that
                broadcast: the sum over elements becomes a weighted one, the mean still divides by their number.
                Default: all 1.

        Returns:
            Tensor: Its distance at every layer, of shape (L,), zero or more, in float32 or float64.

        Raises:
            ValueError: The number of layers or a shape differs from the prediction's.
        """
        shapes, expected = ([tuple(tensor.shape) for tensor in tensors] for tensors in (features, self._features))
        if shapes != expected:
            raise ValueError(f'Features of a reference have the shapes {shapes}, those of the prediction {expected}.')
        slopes = [feature.detach().sub_(own) for feature, own in zip(features, self._features, strict=True)]
        distances = torch.stack([self._criterion(slope, weight) * scale for slope, weight, scale in
                                 zip(slopes, weights or [None] * len(slopes), self._scales, strict=True)])
        for slope, weight in zip(slopes, weights or (), strict=False):
            slope.mul_(weight)
        if self._signs and blend is None and weights is None:
            slopes = [_as_integers(slope) for slope in slopes]
        self._join(group, distances, slopes, *(blend(distances) if blend else (1, 1)))
        return distances

    @property
    def totals(self) -> Tensor:
        """Sums of the distances, of shape (groups, L)."""
        return torch.stack([self._totals[group] for group in sorted(self._totals)])

    @torch.no_grad()
    def gradients(self, coefficients: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the gradient of ``sum(coefficients * totals)`` with respect to phi(pred). To be called once.

        Args:
            coefficients (Tensor): of shape (groups, L).

        Returns:
            tuple[list[Tensor], Tensor]: One tensor per layer, in the shapes and the dtype of the features; and the
            factor that they are still to be multiplied with, a 0-d tensor. Without it they are of a size that float16
            holds, however many elements a mean is over.
        """
        # Python numbers: a tensor of them would have to be copied to the GPU, which waits
        per_element = torch.stack([layer * scale for layer, scale in
                                   zip(coefficients.unbind(1), self._scales, strict=True)], dim=1)
        factor = per_element.abs().max().clamp_min(torch.finfo(per_element.dtype).tiny)
        per_element = per_element / factor
        rows = [self._slopes.pop(group) for group in sorted(self._totals)]
        return [self._weighted(per_element[:, layer], [slopes[layer].to(feature.dtype) for slopes in rows])
                for layer, feature in enumerate(self._features)], factor

    def _join(self, group: int, distances: Tensor, slopes: list[Tensor], keep: Tensor | float,
              share: Tensor | float) -> None:
        new = group not in self._totals
        joining = distances * share
        self._totals[group] = joining if new else self._totals[group] * keep + joining
        if not self._with_gradient:
            return
        _scale(slopes, share)
        if new:
            self._slopes[group] = slopes
            return
        held = [total if total.is_floating_point() else total.to(slope.dtype)
                for total, slope in zip(self._slopes[group], slopes, strict=True)]
        _scale(held, keep)
        self._slopes[group] = [total.add_(slope) for total, slope in zip(held, slopes, strict=True)]

    @staticmethod
    def _weighted(coefficients: Tensor, slopes: list[Tensor]) -> Tensor:
        """Sum up coefficient * slope; slopes are derivatives by the reference, of which pred has the opposite sign."""
        total, *others = (slope.mul_(-coefficient) for coefficient, slope in
                          zip(coefficients.unbind(), slopes, strict=True))
        for other in others:
            total.add_(other)
        return total


def _as_integers(signs: Tensor) -> Tensor:
    return signs if signs.dtype.itemsize <= SUM_OF_SIGNS.itemsize else signs.to(SUM_OF_SIGNS)


def _scale(slopes: list[Tensor], factor: Tensor | float) -> None:
    """Multiply in place; one factor for all layers, or one each."""
    if isinstance(factor, Tensor):
        for slope, own in zip(slopes, factor.expand(len(slopes)), strict=True):
            slope.mul_(own)
    elif factor != 1:
        for slope in slopes:
            slope.mul_(factor)
