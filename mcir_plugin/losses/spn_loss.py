"""The SPN loss: the output is pushed away from what earlier states of the same network make of the same input."""
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from mcir_plugin.losses.distances import check_choices, distance
from mcir_plugin.losses.features import VGGFeatures
from mcir_plugin.losses.vgg_weights import WeightsSource

DEFAULT_LAYER_WEIGHTS = MappingProxyType({'relu1_2': 0.2, 'relu2_2': 0.3, 'relu3_3': 0.5})


def spn_loss(pred_features: Sequence[Tensor],
             negative_features: Iterable[Sequence[Tensor]],
             weights: Sequence[float],
             criterion: str = 'l1',
             reduction: str = 'mean') -> tuple[Tensor, Tensor]:
    """Mean over the negatives of the weighted feature distance, 1/K sum_k sum_l w_l d(phi_l(pred), phi_l(neg_k)).

    The negatives are asked for one at a time, and nothing of one is kept when the next is asked for: the gradient of
    its distance is taken at once and added up, so memory does not grow with K. The result is differentiable once, with
    respect to ``pred_features`` only; a backward pass with ``create_graph=True`` raises a RuntimeError.

    Args:
        pred_features (Sequence[Tensor]): phi(pred): one tensor of any shape per layer.
        negative_features (Iterable[Sequence[Tensor]]): phi(neg_k) for k = 1..K: tensors of the same shapes.
        weights (Sequence[float]): w_l, one per layer.
        criterion (str): ``l1``, ``l2``, ``smooth_l1`` or ``charbonnier``. Default: ``l1``.
        reduction (str): ``mean`` or ``sum`` over the elements of a layer. Default: ``mean``.

    Returns:
        tuple[Tensor, Tensor]: The mean distance, a scalar with a positive sign; and the distance of every negative, of
        shape (K,), detached.

    Raises:
        ValueError: No negative, unknown criterion or reduction, or numbers of layers or shapes that differ.
    """
    check_choices(criterion, reduction)
    differentiable = torch.is_grad_enabled() and any(feature.requires_grad for feature in pred_features)
    total = _Accumulator(pred_features, weights, partial(distance, criterion=criterion, reduction=reduction),
                         differentiable)
    for features in negative_features:
        total.add(features)
        del features  # else it would live on while the iterator makes the next one
    if not total.distances:
        raise ValueError('The SPN loss needs at least one negative, received none.')
    distances = torch.stack(total.distances)
    mean = distances.mean()
    if differentiable:
        mean = _KnownGradient.apply(mean, total.gradients, 1 / len(distances), *pred_features)
    return mean, distances


class _Accumulator:
    """Distances from one prediction to negatives, and the sum of their gradients."""

    def __init__(self, pred_features: Sequence[Tensor], weights: Sequence[float],
                 measure: Callable[[Tensor, Tensor], Tensor], differentiable: bool) -> None:
        self.leaves = [feature.detach().requires_grad_(differentiable) for feature in pred_features]
        self.gradients = [torch.zeros_like(feature) for feature in pred_features] if differentiable else []
        self.weights = weights
        self.measure = measure
        self.distances: list[Tensor] = []

    def add(self, features: Sequence[Tensor]) -> None:
        """Take in phi of one more negative, without keeping it."""
        shapes, expected = ([tuple(tensor.shape) for tensor in group] for group in (features, self.leaves))
        if shapes != expected:
            raise ValueError(f'Features of a negative have the shapes {shapes}, those of the prediction {expected}.')
        self.distances.append(sum(self._layer(index, feature) for index, feature in enumerate(features)))

    def _layer(self, index: int, feature: Tensor) -> Tensor:
        leaf = self.leaves[index]
        # set here, because a generator that makes its negatives under no_grad leaves that on between two of them
        with torch.set_grad_enabled(leaf.requires_grad):
            value = self.weights[index] * self.measure(leaf, feature.detach())
        if leaf.requires_grad:
            self.gradients[index] += torch.autograd.grad(value, leaf)[0]
        return value.detach()


class _KnownGradient(torch.autograd.Function):
    """A value whose gradient with respect to some tensors has been computed already, up to a factor."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor], factor: float, *tensors: Tensor) -> Tensor:
        """Return the value; ``gradients[i] * factor`` is its gradient with respect to ``tensors[i]``."""
        ctx.save_for_backward(*gradients)
        ctx.factor = factor
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """Hand on the gradients that are already there."""
        if torch.is_grad_enabled():  # once_differentiable would miss it where the incoming gradient is a constant
            raise RuntimeError('The SPN loss can be differentiated only once: call backward() without create_graph, or '
                               'take derivatives of second order of the other terms alone.')
        scale = grad_output * ctx.factor
        needed = ctx.needs_input_grad[3:]
        return None, None, None, *(scale * grad if need else None
                                   for grad, need in zip(ctx.saved_tensors, needed, strict=True))


class SPNLoss(nn.Module):
    r"""Self-Prior guided Negative loss of model-contrastive training.

    With phi_l the features at layer l of a frozen VGG, neg_k the output of the k-th history model for the same input as
    ``pred``, and d the criterion::

        term  = -loss_weight * 1/K sum_k sum_l layer_weights[l] * d(phi_l(pred), phi_l(neg_k))
        total = reconstruction loss + term

    "Learning from History: Task-agnostic Model Contrastive Learning for Image Restoration", Wu, Jiang, Jiang and Liu,
    AAAI 2024, arXiv 2309.06023. The defaults are the published configuration (FFA-Net on RESIDE indoor): VGG16 after
    ReLU, L1, mean over elements, lambda 0.001.

    What to know about it:

    - The term is to be *added*: it carries its minus sign. The pseudo-code in the authors' README adds the distance,
      which would pull the output towards its past; a distance must be subtracted to push it away.
    - There is no ground-truth term in feature space. Ground truth enters through the reconstruction loss alone.
    - phi(pred) is computed once however many negatives there are; theirs without gradient, one at a time. The gradient
      is that of the formula, at less cost than one perceptual loss per negative. It is differentiable once: a backward
      pass with ``create_graph=True`` raises a RuntimeError.
    - It is unbounded below: with a large ``loss_weight`` it can outgrow the reconstruction loss.
    - It computes in the dtype of the extractor, float32 (float64 after ``.double()``), also under autocast.

    Args:
        loss_weight (float): lambda, zero or more; the attribute may be changed during training. Default: 1e-3.
        layer_weights (Mapping[str, float]): Layer name to a weight above zero; see :class:`VGGFeatures` for the names.
            Default: relu1_2 0.2, relu2_2 0.3, relu3_3 0.5.
        vgg_type (str): ``vgg11``, ``vgg13``, ``vgg16``, ``vgg19``, or one of these with ``_bn``. Default: ``vgg16``.
        vgg_weights (str | PathLike | None): A weight file, ``random:<seed>``, or None to search. Default: None.
        use_input_norm (bool): Normalise by the ImageNet mean and standard deviation. Default: True.
        range_norm (bool): Images are in [-1, 1] and are mapped to [0, 1]. Default: False.
        criterion (str): ``l1``, ``l2``, ``smooth_l1`` or ``charbonnier``. Default: ``l1``.
        reduction (str): ``mean`` or ``sum`` over the elements of a layer, the batch included. Default: ``mean``.

    Raises:
        FeatureWeightsError: There are no usable weights.
        TypeError: ``layer_weights`` is no mapping, or a weight no number.
        ValueError: A value that is not allowed.

    Examples:
        >>> criterion = SPNLoss(loss_weight=1e-3, vgg_weights='random:0')
        >>> pred = torch.rand(2, 3, 32, 32, requires_grad=True)
        >>> term = criterion(pred, [torch.rand(2, 3, 32, 32) for _ in range(4)])
        >>> bool(term < 0)
        True
    """

    def __init__(self,
                 loss_weight: float = 1e-3,
                 layer_weights: Mapping[str, float] = DEFAULT_LAYER_WEIGHTS,
                 vgg_type: str = 'vgg16',
                 vgg_weights: WeightsSource = None,
                 use_input_norm: bool = True,
                 range_norm: bool = False,
                 criterion: str = 'l1',
                 reduction: str = 'mean') -> None:
        super().__init__()
        check_choices(criterion, reduction)
        if not isinstance(layer_weights, Mapping):
            raise TypeError('layer_weights must map layer names to weights, for example {relu1_2: 0.2}; received '
                            f'{layer_weights!r}.')
        self.loss_weight = _number('loss_weight', loss_weight)
        self.layer_weights = {name: _number(f'layer_weights.{name}', weight) for name, weight in layer_weights.items()}
        if 0 in self.layer_weights.values():
            raise ValueError(f'layer_weights is {dict(layer_weights)}; a weight must be above 0: leave the layer out.')
        self.criterion = criterion
        self.reduction = reduction
        self.extractor = VGGFeatures(self.layer_weights, vgg_type, vgg_weights, use_input_norm, range_norm)

    def forward(self, pred: Tensor, negatives: Tensor | Iterable[Tensor]) -> Tensor:
        """The term to add to the total loss.

        Args:
            pred (Tensor): of shape (N, C, H, W) or (N, T, C, H, W), C being 1 or 3, in [0, 1] ([-1, 1] with
                ``range_norm``).
            negatives (Tensor | Iterable[Tensor]): One negative or several, each of the shape of ``pred``. An iterator
                is consumed one negative at a time. No gradient flows into them.

        Returns:
            Tensor: A scalar, zero or less.

        Raises:
            TypeError: Something is not a floating point tensor.
            ValueError: No negative, a negative of another shape, or images that the extractor does not take.
        """
        return self.score(pred, negatives)[0]

    def score(self, pred: Tensor, negatives: Tensor | Iterable[Tensor]) -> tuple[Tensor, Tensor]:
        """The term, and the distance of every negative for the log.

        Args:
            pred (Tensor): As for :meth:`forward`.
            negatives (Tensor | Iterable[Tensor]): As for :meth:`forward`.

        Returns:
            tuple[Tensor, Tensor]: The term of :meth:`forward`; and sum_l w_l d(phi_l(pred), phi_l(neg_k)) of shape
            (K,), detached, without lambda.
        """
        if not isinstance(pred, Tensor):
            raise TypeError(f'pred must be a tensor, received {type(pred).__name__}.')
        if isinstance(negatives, Tensor):
            negatives = (negatives,)
        # map keeps no reference to the negative that it has passed on
        features = map(partial(self._negative_features, shape=pred.shape), negatives)
        mean, distances = spn_loss(self.extractor(pred), features, list(self.layer_weights.values()), self.criterion,
                                   self.reduction)
        return -self.loss_weight * mean, distances

    @torch.no_grad()
    def _negative_features(self, negative: Tensor, shape: torch.Size) -> list[Tensor]:
        if not isinstance(negative, Tensor):
            raise TypeError(f'A negative must be a tensor, received {type(negative).__name__}.')
        if negative.shape != shape:
            raise ValueError(f'A negative has the shape {tuple(negative.shape)}, pred {tuple(shape)}: negatives are '
                             'outputs of the same network for the same input.')
        return self.extractor(negative)


def _number(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f'{name} must be a number, received {value!r}.')
    if not math.isfinite(value) or value < 0:
        raise ValueError(f'{name} is {value!r}; it must be finite and not negative.')
    return float(value)
