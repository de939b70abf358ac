"""PCL: contrastive learning of PCL-SR, between sharpened and degraded versions of the ground truth."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType

import torch
from torch import Tensor, nn

from mcir_plugin.losses.augment import blurred, haar_details, sharpened
from mcir_plugin.losses.feature_loss import FeatureLoss
from mcir_plugin.losses.forms import Form, InfoNCE, Ratio, Reference
from mcir_plugin.losses.inputs import above_zero, like_output
from mcir_plugin.losses.vgg_weights import WeightsSource

PCL_LAYER_WEIGHTS = MappingProxyType(
    {'relu1_1': 0.25, 'relu2_1': 0.25, 'relu3_1': 0.25, 'relu4_1': 0.25})
FORMS = ('infonce', 'ratio')
DOMAINS = ('pixel', 'frequency')


class PCLLoss(FeatureLoss):
    r"""Practical Contrastive Learning: near sharp versions of the ground truth, far from blurred ones and the input.

    Positives pos_j, j = 1..J, are the ground truth sharpened by the factors ``sharpness``, negatives neg_k, k = 1..K,
    the ground truth blurred with the deviations ``blur_sigma`` and the input in the size of the output. With d the
    criterion between features phi_l of a frozen network, and p_jl, n_kl the distances of pred to them::

        infonce  term = loss_weight * 1/J sum_j sum_l w_l (-log(e^(-p_jl/tau) / (e^(-p_jl/tau) + sum_k e^(-n_kl/tau))))
        ratio    term = loss_weight * sum_l w_l (1/J sum_j p_jl) / (1/K sum_k n_kl + eps)

    With the criterion ``cosine``, d is 1 minus the cosine between the channels, averaged over positions; then infonce
    is the cross-entropy over cosines.

    "A Practical Contrastive Learning Framework for Single-Image Super-Resolution", Wu, Jiang and Liu, TNNLS 2023,
    arXiv 2111.13924. Published, in the paper or the authors' release: positives and negatives of this kind, 4 and 3 of
    them; InfoNCE over cosines without temperature (tau 1), and the ratio with eps 3e-7; sharpening as in Pillow;
    Gaussian kernels of up to 11 pixels; values clamped to the range of images; the bicubic input (there with
    ``align_corners=True``); total weights of 3 to 5 for images in [0, 255]. The default 0.02 is 5/255: the same weight
    relative to L1 for images in [0, 1].

    Ours:

    - By default features come from a VGG19 without ImageNet normalisation, at four layers with equal weights: it is
      the other choice in the release, and no model needs another network. The paper trains a discriminator for this:
      give it as ``extractor``.
    - Strengths are fixed lists, from the ranges in which the release draws them at random for every batch (sharpness
      0.5 to 3, sigma 0.1 to 2): a run needs no random state for them. Sharpness 1 is the ground truth itself.
    - Distances are means over the batch; the release compares image by image and averages afterwards.
    - ``domain: frequency`` compares details only: the three bands of a Haar wavelet, mapped to the range of images, as
      three images. The release stacks these bands as channels for its discriminator. So it is here where the first
      convolution of ``extractor`` takes three times as many channels as the images have; a VGG takes three.

    It needs no history. The term is not below 0. One positive or negative is held at a time.

    Args:
        loss_weight (float): Zero or more; the attribute may be changed during training. Default: 0.02.
        layer_weights (Mapping[str, float]): Layer name to a weight above zero. Default: relu1_1, relu2_1, relu3_1 and
            relu4_1, 0.25 each.
        vgg_type (str): See :class:`VGGFeatures`. Default: ``vgg19``.
        vgg_weights (str | PathLike | None): A weight file, ``random:<seed>``, or None to search. Default: None.
        use_input_norm (bool): Normalise by the ImageNet mean and standard deviation. Default: False.
        range_norm (bool): Images are in [-1, 1] and are mapped to [0, 1]. Default: False.
        criterion (str): ``cosine``, ``l1``, ``l2``, ``smooth_l1`` or ``charbonnier``. Default: ``cosine``.
        form (str): ``infonce`` or ``ratio``. Default: ``infonce``.
        domain (str): ``pixel`` or ``frequency``. Default: ``pixel``.
        sharpness (float | Sequence[float]): Factors of the positives, 1 or more. Default: (1, 1.5, 2, 2.5).
        blur_sigma (float | Sequence[float]): Deviations in pixels, above zero. Default: (1, 2).
        blur_kernel_size (int): Odd, in pixels, 3 or more. Default: 11.
        tau (float): Temperature of ``infonce``, above zero. Default: 1.
        eps (float): Added to the denominator of ``ratio``, above zero. Default: 3e-7.
        extractor (nn.Module | None): A network whose features are compared instead of a VGG's, see
            :class:`FeatureLoss`. Default: None.

    Raises:
        FeatureWeightsError: There are no usable weights.
        TypeError: ``layer_weights`` is no mapping, or a weight no number.
        ValueError: A value that is not allowed.

    Examples:
        >>> criterion = PCLLoss(layer_weights={'relu1_1': 1.}, vgg_weights='random:0')
        >>> lq, gt = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 32, 32)
        >>> bool(criterion(torch.rand(2, 3, 32, 32, requires_grad=True), gt=gt, lq=lq) > 0)
        True
    """

    needs = frozenset({'gt', 'lq'})

    def __init__(self,
                 loss_weight: float = 0.02,
                 layer_weights: Mapping[str, float] = PCL_LAYER_WEIGHTS,
                 vgg_type: str = 'vgg19',
                 vgg_weights: WeightsSource = None,
                 use_input_norm: bool = False,
                 range_norm: bool = False,
                 criterion: str = 'cosine',
                 form: str = 'infonce',
                 domain: str = 'pixel',
                 sharpness: float | Sequence[float] = (1., 1.5, 2., 2.5),
                 blur_sigma: float | Sequence[float] = (1., 2.),
                 blur_kernel_size: int = 11,
                 tau: float = 1.,
                 eps: float = 3e-7,
                 extractor: nn.Module | None = None) -> None:
        for name, value, allowed in (('form', form, FORMS), ('domain', domain, DOMAINS)):
            if value not in allowed:
                raise ValueError(f'{name} is {value!r}; it must be one of {", ".join(allowed)}.')
        self._cosine = criterion == 'cosine'
        super().__init__(loss_weight, layer_weights, vgg_type, vgg_weights, use_input_norm, range_norm,
                         'l2' if self._cosine else criterion, 'mean', extractor)
        self.form = form
        self.domain = domain
        self.sharpness = _numbers('sharpness', sharpness, 1)
        self.blur_sigma = _numbers('blur_sigma', blur_sigma, 0)
        if isinstance(blur_kernel_size, bool) or blur_kernel_size not in range(3, 1000, 2):
            raise ValueError(f'blur_kernel_size is {blur_kernel_size!r}; it must be an odd integer from 3 on.')
        self.blur_kernel_size = blur_kernel_size
        self.tau = above_zero('tau', tau)
        self.eps = above_zero('eps', eps)
        self.own_images = len(self.sharpness) + len(self.blur_sigma) + 1

    def score(self, pred: Tensor, negatives: Tensor | Iterable[Tensor] | None = None, *, gt: Tensor | None = None,
              lq: Tensor | None = None, step: int | None = None) -> tuple[Tensor, Tensor]:
        """The term, and the distances to the blurred images and the input for the log, of shape (K,)."""
        self.require(pred, gt=gt, lq=lq)
        weights = self.layer_weights.values()
        form = Ratio(weights, self.eps) if self.form == 'ratio' else InfoNCE(weights, self.tau)
        return self.contrast(pred, self._references(form, pred, gt, lq), form)

    def formula(self) -> str:
        """Return what is added to the total loss in words, sign first."""
        positives, negatives = len(self.sharpness), len(self.blur_sigma) + 1
        what = (f'mean distance to {positives} sharpened / to {negatives} degraded versions of ground truth'
                if self.form == 'ratio' else
                f'InfoNCE of {positives} sharpened among {negatives} degraded versions of ground truth '
                f'(tau {self.tau:g})')
        return f'+ {self.loss_weight:g} * {what}{", of details by wavelet" if self.domain == "frequency" else ""}'

    def embed(self, image: Tensor) -> list[Tensor]:
        """Return the features: of the image or its details, as they are or with channels of unit length."""
        if self.domain == 'frequency':
            image = self._stacked(haar_details(image.reshape(-1, *image.shape[-3:])))
            image = image / 2 if self.extractor.range_norm else (image + 1) / 2
        features = super().embed(image)
        return [_unit(feature) for feature in features] if self._cosine else features

    def _references(self, form: Form, pred: Tensor, gt: Tensor, lq: Tensor) -> Iterator[Reference]:
        """Yield the negatives, then the positives, each made when it is asked for."""
        gt = gt.detach().to(torch.promote_types(gt.dtype, torch.float32))
        blurs = (blurred(gt, sigma, self.blur_kernel_size) for sigma in self.blur_sigma)
        sharps = (sharpened(gt, factor) for factor in self.sharpness)
        return chain(map(form.negative, map(self._clamped, chain(blurs, [like_output(lq, pred)]))),
                     map(form.positive, map(self._clamped, sharps)))

    def _stacked(self, bands: Tensor) -> Tensor:
        """Return three bands as images, or as channels of one image where the extractor takes so many."""
        channels = getattr(self.extractor, 'in_channels', None)
        return torch.cat(bands.chunk(3), 1) if channels == 3 * bands.shape[1] else bands

    def _clamped(self, image: Tensor) -> Tensor:
        return image.clamp(-1 if self.extractor.range_norm else 0, 1)


def _unit(feature: Tensor) -> Tensor:
    """Scale the channels of every position so that the mean square of a difference is 1 minus the mean cosine.

    Vectors a and b of unit length with C channels have |a - b|^2 = 2 - 2 cos, and the mean over channels divides by C.
    Positions without any signal, as after ReLU, stay zero.
    """
    wide = torch.promote_types(feature.dtype, torch.float32)  # squares overflow in float16
    length = torch.sqrt(feature.to(wide).square().sum(1, keepdim=True) + 1e-6)
    return feature * ((feature.shape[1] / 2)**0.5 / length).to(feature.dtype)


def _numbers(name: str, values: float | Sequence[float], minimum: float) -> tuple[float, ...]:
    values = values if isinstance(values, (list, tuple)) else (values, )
    numbers = tuple(above_zero(f'{name}[{i}]', value) for i, value in enumerate(values))
    if not numbers or min(numbers) < minimum:
        raise ValueError(f'{name} is {values!r}; it must be one number or several, each {minimum or "above 0"}'
                         f'{" or more" if minimum else ""}.')
    return numbers
