"""CR: contrastive regularisation of AECR-Net, from the degraded input to the ground truth."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from torch import Tensor, nn

from mcir_plugin.losses.feature_loss import FeatureLoss
from mcir_plugin.losses.forms import Ratio
from mcir_plugin.losses.inputs import above_zero, like_output
from mcir_plugin.losses.vgg_weights import WeightsSource

CR_LAYER_WEIGHTS = MappingProxyType(
    {'relu1_1': 1 / 32, 'relu2_1': 1 / 16, 'relu3_1': 1 / 8, 'relu4_1': 1 / 4, 'relu5_1': 1.})


class CRLoss(FeatureLoss):
    r"""Contrastive Regularisation: near the ground truth and far from the input, as a ratio.

    With phi_l the features at layer l of a frozen VGG, d the criterion and lq the input of the network::

        term = loss_weight * sum_l layer_weights[l] * d(phi_l(pred), phi_l(gt)) / (d(phi_l(pred), phi_l(lq)) + eps)

    "Contrastive Learning for Compact Single Image Dehazing", Wu, Qu, Lin, Zhou, Qiao, Zhang, Xie and Ma, CVPR 2021
    (AECR-Net), in the variant of the authors' release. The defaults are published: VGG19 after ReLU, weights 1/32,
    1/16, 1/8, 1/4, 1, no normalisation by ImageNet's mean, L1, eps 1e-7, total weight 0.1. No gradient flows into the
    features of gt and lq. Distances are means over the batch.

    It needs no history. The term is not below 0; it is a ratio, so its size does not follow that of the reconstruction
    loss: as the output improves, it may become the larger part of the total. Ours: for super-resolution lq is brought
    to the size of the output by bicubic interpolation, see :func:`mcir_plugin.losses.inputs.like_output`.

    Args:
        loss_weight (float): Zero or more; the attribute may be changed during training. Default: 0.1.
        layer_weights (Mapping[str, float]): Layer name to a weight above zero. Default: as above.
        vgg_type (str): See :class:`VGGFeatures`. Default: ``vgg19``.
        vgg_weights (str | PathLike | None): A weight file, ``random:<seed>``, or None to search. Default: None.
        use_input_norm (bool): Normalise by the ImageNet mean and standard deviation. Default: False.
        range_norm (bool): Images are in [-1, 1] and are mapped to [0, 1]. Default: False.
        criterion (str): ``l1``, ``l2``, ``smooth_l1`` or ``charbonnier``. Default: ``l1``.
        eps (float): Added to the denominator, above zero. Default: 1e-7.
        extractor (nn.Module | None): A network whose features are compared instead of a VGG's, see
            :class:`FeatureLoss`. Default: None.

    Raises:
        FeatureWeightsError: There are no usable weights.
        TypeError: ``layer_weights`` is no mapping, or a weight no number.
        ValueError: A value that is not allowed.

    Examples:
        >>> criterion = CRLoss(layer_weights={'relu1_1': 1.}, vgg_weights='random:0')
        >>> lq, gt = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 32, 32)
        >>> bool(criterion(torch.rand(2, 3, 32, 32, requires_grad=True), gt=gt, lq=lq) > 0)
        True
    """

    needs = frozenset({'gt', 'lq'})
    own_images = 2

    def __init__(self,
                 loss_weight: float = 0.1,
                 layer_weights: Mapping[str, float] = CR_LAYER_WEIGHTS,
                 vgg_type: str = 'vgg19',
                 vgg_weights: WeightsSource = None,
                 use_input_norm: bool = False,
                 range_norm: bool = False,
                 criterion: str = 'l1',
                 eps: float = 1e-7,
                 extractor: nn.Module | None = None) -> None:
        super().__init__(loss_weight, layer_weights, vgg_type, vgg_weights, use_input_norm, range_norm, criterion,
                         'mean', extractor)
        self.eps = above_zero('eps', eps)

    def score(self, pred: Tensor, negatives: Tensor | Iterable[Tensor] | None = None, *, gt: Tensor | None = None,
              lq: Tensor | None = None, step: int | None = None) -> tuple[Tensor, Tensor]:
        """The term, and the distance to lq for the log, of shape (1,). See :meth:`FeatureLoss.score`."""
        self.require(pred, gt=gt, lq=lq)
        form = Ratio(self.layer_weights.values(), self.eps)
        return self.contrast(pred, (form.negative(like_output(lq, pred)), form.positive(gt)), form)

    def formula(self) -> str:
        """Return what is added to the total loss in words, sign first."""
        return f'+ {self.loss_weight:g} * distance to ground truth / distance to the input, layer by layer'
