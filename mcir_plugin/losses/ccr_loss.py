"""CCR: curricular contrastive regularisation of C2PNet, with the past of the network as negatives."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from itertools import chain

import torch
from torch import Tensor, nn

from mcir_plugin.losses.cr_loss import CR_LAYER_WEIGHTS, CRLoss
from mcir_plugin.losses.forms import Ratio, Reference
from mcir_plugin.losses.inputs import above_zero, images_like, like_output
from mcir_plugin.losses.psnr_loss import psnr_loss
from mcir_plugin.losses.vgg_weights import WeightsSource


class CCRLoss(CRLoss):
    r"""Curricular Contrastive Regularisation: CR with several negatives, the hard ones at less weight.

    With phi_l the features at layer l of a frozen VGG, d the criterion, lq the input of the network and neg_k the
    negatives::

        term = loss_weight * sum_l layer_weights[l] * d(phi_l(pred), phi_l(gt)) / (denominator_l + eps)
        denominator_l = (sum_k W_k d(phi_l(pred), phi_l(neg_k)) + lq_weight * d(phi_l(pred), phi_l(lq)))
                        / (sum_k W_k + lq_weight)
        W_k = 1 + gamma if PSNR(pred, gt) > PSNR(neg_k, gt), else 1 - gamma

    "Curricular Contrastive Regularization for Physics-aware Single Image Dehazing", Zheng, Zhan, He, Dong and Du, CVPR
    2023 (C2PNet), in the variant of the authors' release. The defaults are published: features and eps as in
    :class:`CRLoss`, gamma 0.25, lq_weight 6, total weight 0.2.

    It departs from the paper in what the negatives are. There, they are stored outputs of six other networks, with one
    PSNR each for the whole test set, and the model's best validation PSNR so far is compared. Here, they come from the
    history, and both PSNRs are those on the batch, the mean over its images, so that W_k can change with every step.
    In the release lq_weight is the number of those negatives; with another number of them here it stays 6.

    Nothing is read back from the GPU: W_k is a tensor. The term is not below 0; on its size see :class:`CRLoss`.

    Args:
        loss_weight (float): Zero or more; the attribute may be changed during training. Default: 0.2.
        layer_weights (Mapping[str, float]): As for :class:`CRLoss`.
        vgg_type (str): As for :class:`CRLoss`.
        vgg_weights (str | PathLike | None): As for :class:`CRLoss`.
        use_input_norm (bool): As for :class:`CRLoss`.
        range_norm (bool): As for :class:`CRLoss`.
        criterion (str): As for :class:`CRLoss`.
        eps (float): Added to the denominator, above zero. Default: 1e-7.
        gamma (float): How much harder negatives lose and easier ones gain, above zero and below 1. Default: 0.25.
        lq_weight (float): Weight of the input among the negatives, above zero. Default: 6.
        extractor (nn.Module | None): A network whose features are compared instead of a VGG's, see
            :class:`FeatureLoss`. Default: None.

    Raises:
        FeatureWeightsError: There are no usable weights.
        TypeError: ``layer_weights`` is no mapping, or a weight no number.
        ValueError: A value that is not allowed.

    Examples:
        >>> criterion = CCRLoss(layer_weights={'relu1_1': 1.}, vgg_weights='random:0')
        >>> lq, gt, *negatives = torch.rand(5, 2, 3, 32, 32)
        >>> bool(criterion(torch.rand(2, 3, 32, 32, requires_grad=True), negatives, gt=gt, lq=lq) > 0)
        True
    """

    needs = frozenset({'negatives', 'gt', 'lq'})

    def __init__(self,
                 loss_weight: float = 0.2,
                 layer_weights: Mapping[str, float] = CR_LAYER_WEIGHTS,
                 vgg_type: str = 'vgg19',
                 vgg_weights: WeightsSource = None,
                 use_input_norm: bool = False,
                 range_norm: bool = False,
                 criterion: str = 'l1',
                 eps: float = 1e-7,
                 gamma: float = 0.25,
                 lq_weight: float = 6.,
                 extractor: nn.Module | None = None) -> None:
        super().__init__(loss_weight, layer_weights, vgg_type, vgg_weights, use_input_norm, range_norm, criterion, eps,
                         extractor)
        self.gamma = above_zero('gamma', gamma)
        if self.gamma >= 1:
            raise ValueError(f'gamma is {gamma!r}; it must be below 1: a negative with weight 0 or less is none.')
        self.lq_weight = above_zero('lq_weight', lq_weight)

    def score(self, pred: Tensor, negatives: Tensor | Iterable[Tensor] | None = None, *, gt: Tensor | None = None,
              lq: Tensor | None = None, step: int | None = None) -> tuple[Tensor, Tensor]:
        """The term, and the distance of every negative of the history for the log. See :meth:`FeatureLoss.score`."""
        self.require(pred, negatives=negatives, gt=gt, lq=lq)
        form = Ratio(self.layer_weights.values(), self.eps)
        weigh = partial(self._reference, form, gt, _error(pred, gt))
        own = (form.negative(like_output(lq, pred), share=self.lq_weight), form.positive(gt))
        term, distances = self.contrast(pred, chain(map(weigh, images_like(pred, negatives)), own), form)
        if len(distances) == 1:
            raise ValueError('CCRLoss needs at least one negative besides lq, received none.')
        return term, distances[:-1]

    def formula(self) -> str:
        """Return what is added to the total loss in words, sign first."""
        return (f'+ {self.loss_weight:g} * distance to ground truth / distance to the negatives (weights 1 +- '
                f'{self.gamma:g} by PSNR) and the input (weight {self.lq_weight:g}), layer by layer')

    def _reference(self, form: Ratio, gt: Tensor, error: Tensor, image: Tensor) -> Reference:
        exceeds = error < _error(image, gt)  # of PSNRs, since this is minus the PSNR
        return form.negative(image, share=1 - self.gamma + 2 * self.gamma * exceeds.to(error.dtype))


@torch.no_grad()
def _error(image: Tensor, gt: Tensor) -> Tensor:
    """Return minus the mean PSNR of a batch; differences between two do not depend on the range of values."""
    return psnr_loss(image.detach().to(torch.promote_types(image.dtype, torch.float32)), gt)
