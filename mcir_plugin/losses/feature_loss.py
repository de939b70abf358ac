"""What all contrastive losses share: images in, features of a VGG or another network, distances, one term."""
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mcir_plugin.losses.distance_table import DistanceTable
from mcir_plugin.losses.distances import check_choices
from mcir_plugin.losses.features import VGGFeatures
from mcir_plugin.losses.forms import NEGATIVES, NO_NEGATIVE, Form, Reference
from mcir_plugin.losses.inputs import LossInputError, not_negative, require
from mcir_plugin.losses.known_gradient import pull_back, with_gradient
from mcir_plugin.losses.network_features import NetworkFeatures
from mcir_plugin.losses.vgg_weights import WeightsSource

DEFAULT_LAYER_WEIGHTS = MappingProxyType({'relu1_2': 0.2, 'relu2_2': 0.3, 'relu3_3': 0.5})


class FeatureLoss(nn.Module):
    """Base of the losses that compare an output with reference images in the feature space of a frozen VGG, or of
    another network.

    A subclass implements :meth:`score`: it names its references and the form that makes one term of their distances.
    References are asked for one at a time, and nothing of one is kept when the next is asked for. All are called alike,
    ``loss(pred, negatives, gt=gt, lq=lq, step=step)``, and read what ``needs`` names.

    Attributes:
        needs (frozenset[str]): What the loss compares with: ``negatives`` (of a history), ``gt``, ``lq``; and ``step``
            if it changes during training.
        lower_bound (float | None): No value of the term is below this; None if it has no bound.
        own_images (int): Images that go through the extractor besides the output and the negatives of a history.
        end_iter (int | None): From this iteration on the term is 0, whatever the images; None if it does not end.

    Args:
        loss_weight (float): Weight of the term, zero or more; the attribute may be changed during training.
        layer_weights (Mapping[str, float]): Layer name to a weight above zero; see :class:`VGGFeatures` for the names.
        vgg_type (str): See :class:`VGGFeatures`.
        vgg_weights (str | PathLike | None): See :class:`VGGFeatures`.
        use_input_norm (bool): Normalise by the ImageNet mean and standard deviation.
        range_norm (bool): Images are in [-1, 1] and are mapped to [0, 1].
        criterion (str): ``l1``, ``l2``, ``smooth_l1`` or ``charbonnier``.
        reduction (str): ``mean`` or ``sum`` over the elements of a layer, the batch included.
        extractor (nn.Module | None): A network whose features are compared instead of a VGG's, such as a discriminator:
            ``layer_weights`` then names its modules, and the options of the VGG are not read but for ``range_norm``,
            which says in which range images are. It is frozen; wrap it in :class:`NetworkFeatures` yourself to leave
            it as it is. Default: None.

    Raises:
        FeatureWeightsError: There are no usable weights.
        TypeError: ``layer_weights`` is no mapping, or a weight no number.
        ValueError: A value that is not allowed.
    """

    needs: frozenset[str] = frozenset()
    lower_bound: float | None = 0.
    own_images = 0
    end_iter: int | None = None

    def __init__(self, loss_weight: float, layer_weights: Mapping[str, float], vgg_type: str,
                 vgg_weights: WeightsSource, use_input_norm: bool, range_norm: bool, criterion: str,
                 reduction: str, extractor: nn.Module | None = None) -> None:
        super().__init__()
        check_choices(criterion, reduction)
        if not isinstance(layer_weights, Mapping):
            raise TypeError('layer_weights must map layer names to weights, for example {relu1_2: 0.2}; received '
                            f'{layer_weights!r}.')
        self.loss_weight = not_negative('loss_weight', loss_weight)
        self.layer_weights = {name: not_negative(f'layer_weights.{name}', weight)
                              for name, weight in layer_weights.items()}
        if 0 in self.layer_weights.values():
            raise ValueError(f'layer_weights is {dict(layer_weights)}; a weight must be above 0: leave the layer out.')
        self.criterion = criterion
        self.reduction = reduction
        if extractor is None:
            extractor = VGGFeatures(self.layer_weights, vgg_type, vgg_weights, use_input_norm, range_norm)
        elif not isinstance(extractor, NetworkFeatures):
            extractor = NetworkFeatures(extractor, self.layer_weights, range_norm)
        self.extractor: VGGFeatures | NetworkFeatures = extractor

    def forward(self, pred: Tensor, negatives: Tensor | Iterable[Tensor] | None = None, *, gt: Tensor | None = None,
                lq: Tensor | None = None, step: int | None = None) -> Tensor:
        """The term to add to the total loss.

        Args:
            pred (Tensor): The output, of shape (N, C, H, W) or (N, T, C, H, W), C being 1 or 3, in [0, 1] ([-1, 1] with
                ``range_norm``).
            negatives (Tensor | Iterable[Tensor] | None): One negative or several, each of the shape of ``pred``. An
                iterator is consumed one negative at a time. No gradient flows into them. Read if ``needs`` names it, as
                the following ones. Default: None.
            gt (Tensor | None): Ground truth, of the shape of ``pred``. Default: None.
            lq (Tensor | None): Input of the network, of the shape of ``pred`` but for height and width; it is brought
                to those by bicubic interpolation. Default: None.
            step (int | None): Iteration, counted from 1. Default: None.

        Returns:
            Tensor: A scalar.

        Raises:
            TypeError: Something is not a floating point tensor.
            ValueError: Something that the loss needs is missing or has another shape, there is no negative, or the
                extractor does not take such images.
        """
        return self.score(pred, negatives, gt=gt, lq=lq, step=step)[0]

    def score(self, pred: Tensor, negatives: Tensor | Iterable[Tensor] | None = None, *, gt: Tensor | None = None,
              lq: Tensor | None = None, step: int | None = None) -> tuple[Tensor, Tensor]:
        """The term, and the distance of every negative for the log.

        Args:
            pred (Tensor): As for :meth:`forward`.
            negatives (Tensor | Iterable[Tensor] | None): As for :meth:`forward`.
            gt (Tensor | None): As for :meth:`forward`.
            lq (Tensor | None): As for :meth:`forward`.
            step (int | None): As for :meth:`forward`.

        Returns:
            tuple[Tensor, Tensor]: The term of :meth:`forward`; and sum_l w_l d(phi_l(pred), phi_l(neg_k)) of shape
            (K,), detached, without ``loss_weight``.
        """
        raise NotImplementedError

    def formula(self) -> str:
        """Return what is added to the total loss in words, sign first, for the log."""
        raise NotImplementedError

    def contrast(self, pred: Tensor, references: Iterable[Reference], form: Form) -> tuple[Tensor, Tensor]:
        """Compare ``pred`` with references and combine their distances into a term that knows its gradient.

        The gradient with respect to ``pred`` is computed here, so that the activations of the extractor are gone before
        the backward pass of the network begins; inside the extractor it is kept at a size of about one, which float16
        holds.

        Args:
            pred (Tensor): of shape (N, C, H, W) or (N, T, C, H, W).
            references (Iterable[Reference]): Positives and negatives of this form; images of the shape of ``pred``.
            form (Form): Makes the value of the sums of their distances; ``loss_weight`` times it is the term.

        Returns:
            tuple[Tensor, Tensor]: The term; and the distances of the negatives, as :meth:`score` returns them.

        Raises:
            TypeError: Something is not a floating point tensor.
            ValueError: No negative, one of another shape, or images that the extractor does not take.
        """
        differentiable = torch.is_grad_enabled() and pred.requires_grad
        image = pred.detach()
        if differentiable:
            image = image.to(torch.promote_types(image.dtype, torch.float32)).requires_grad_()
        features = self.embed(image)
        table = DistanceTable(features, self.criterion, self.reduction, differentiable)
        distances = form.weighted(torch.stack(self._measure(table, references, features)))
        totals = table.totals.requires_grad_(differentiable)
        with torch.set_grad_enabled(differentiable):
            term = self.loss_weight * form.combine(totals)
        if differentiable:
            coefficients, = torch.autograd.grad(term, totals)
            gradients, factor = table.gradients(coefficients)
            gradient = pull_back(gradients, features, image)
            term = with_gradient(term.detach(), gradient.mul_(factor), pred)
        return term, distances

    def embed(self, image: Tensor) -> list[Tensor]:
        """Return the features in which images are compared, one tensor per layer."""
        return self.extractor(image)

    def require(self, pred: Tensor, **given: Any) -> None:
        """Check the output and what this loss needs, see :func:`mcir_plugin.losses.inputs.require`."""
        require(type(self).__name__, self.needs, pred, given)

    def _measure(self, table: DistanceTable, references: Iterable[Reference],
                 features: Sequence[Tensor]) -> list[Tensor]:
        distances = []
        for reference in references:
            weights = None if reference.gate is None else [_pooled(reference.gate, feature) for feature in features]
            measured = table.add(self._features(reference.image), reference.group, reference.blend, weights)
            if reference.group == NEGATIVES:
                distances.append(measured)
            del reference, weights  # else the image would live on while the iterator makes the next one
        if not distances:
            raise ValueError(NO_NEGATIVE)
        return distances

    @torch.no_grad()
    def _features(self, image: Tensor) -> list[Tensor]:
        return self.embed(image)


def _pooled(gate: Tensor, feature: Tensor) -> Tensor:
    """Bring the weights of pixels to the size of a feature map: the mean over the pixels that an element covers."""
    if feature.dim() != 4:
        raise LossInputError(f'gate: a layer with features of shape {tuple(feature.shape)} has no pixels. Leave it out '
                             'of layer_weights, or leave gate out.')
    return functional.adaptive_avg_pool2d(gate, feature.shape[-2:]).to(feature.dtype)
