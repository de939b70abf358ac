"""The SPN loss: the output is pushed away from what earlier states of the same network make of the same input."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain

from torch import Tensor, nn

from mcir_plugin.losses.feature_loss import DEFAULT_LAYER_WEIGHTS, FeatureLoss
from mcir_plugin.losses.forms import Difference, Form, Hinge, InfoNCE, Ratio, Reference
from mcir_plugin.losses.gate import GroundTruthGate
from mcir_plugin.losses.inputs import above_zero, images_like
from mcir_plugin.losses.vgg_weights import WeightsSource

FORMS = ('difference', 'ratio', 'hinge', 'infonce')
WITH_POSITIVE = ('ratio', 'infonce')
GATED = ('difference', 'hinge')


class SPNLoss(FeatureLoss):
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

    ``form`` replaces the subtracted distance by another use of the same negatives; :mod:`mcir_plugin.losses.forms` has
    the formulas and bounds. For ``ratio`` and ``infonce`` ground truth is the positive, in feature space. These forms
    are published for other negatives (hazy images, other networks, degraded copies); with those of a history a ratio
    has a small denominator, and its gradient is large. The defaults of ``eps`` (AECR-Net) and ``tau`` (PNE-Net) are
    published. ``loss_weight`` was published for ``difference``; for their own terms PNE-Net has 0.01 (InfoNCE), and
    DCKD 0.1 for a ratio to the sum over 5 negatives, which is 0.02 for one to their mean, as here. ``margin`` is ours:
    it is in units of ``spn/dist_k`` of the log, which depend on network, extractor and task, so read them there and
    choose a margin of their size (with ImageNet weights, a photograph is 0.1 away from itself with noise of 0.7 % of
    its range). SEC-Depth lets its margin decay; that it does so linearly is ours.

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
        form (str): ``difference``, ``ratio``, ``hinge`` or ``infonce``. Default: ``difference``, as published.
        gate (str | None): ``ground_truth`` compares features only where the output is worse than the negative: the
            elements of layer l are weighted by the share of such pixels among those that they cover, see
            :class:`mcir_plugin.losses.gate.GroundTruthGate`; the mean is still over all elements, and the margin of
            ``hinge`` is multiplied with the share of such pixels. For ``difference`` and ``hinge``. Default: None, as
            published.
        margin (float): Of ``hinge``, above zero. Default: 0.1.
        margin_decay_iter (int | None): The margin falls linearly to 0 from iteration 0 to this one, and the term ends
            with it. Default: None, constant.
        tau (float): Temperature of ``infonce``, above zero. Default: 2.
        eps (float): Added to the denominator of ``ratio``, above zero. Default: 1e-7.
        extractor (nn.Module | None): A network whose features are compared instead of a VGG's, see
            :class:`FeatureLoss`. Default: None.

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
                 reduction: str = 'mean',
                 form: str = 'difference',
                 gate: str | None = None,
                 margin: float = 0.1,
                 margin_decay_iter: int | None = None,
                 tau: float = 2.,
                 eps: float = 1e-7,
                 extractor: nn.Module | None = None) -> None:
        if form not in FORMS:
            raise ValueError(f'form is {form!r}; it must be one of {", ".join(FORMS)}.')
        if gate not in (None, 'ground_truth') or (gate and form not in GATED):
            raise ValueError(f'gate is {gate!r} with form {form!r}; it must be None, or ground_truth with form '
                             f'{" or ".join(GATED)}.')
        super().__init__(loss_weight, layer_weights, vgg_type, vgg_weights, use_input_norm, range_norm, criterion,
                         reduction, extractor)
        self.form = form
        self.gate = gate
        self.margin = above_zero('margin', margin)
        self.margin_decay_iter = None if margin_decay_iter is None else above_zero('margin_decay_iter',
                                                                                   margin_decay_iter)
        self.tau = above_zero('tau', tau)
        self.eps = above_zero('eps', eps)
        positive = form in WITH_POSITIVE
        decays = form == 'hinge' and margin_decay_iter is not None
        self.needs = frozenset({'negatives', *(['gt'] if positive or gate else []), *(['step'] if decays else [])})
        self.lower_bound = None if form == 'difference' else 0.
        self.own_images = int(positive)
        self.end_iter = self.margin_decay_iter if decays else None

    def score(self, pred: Tensor, negatives: Tensor | Iterable[Tensor] | None = None, *, gt: Tensor | None = None,
              lq: Tensor | None = None, step: int | None = None) -> tuple[Tensor, Tensor]:
        """The term, and the distance of every negative for the log. See :meth:`FeatureLoss.score`."""
        self.require(pred, negatives=negatives, gt=gt, step=step)
        form = self._form(step)
        return self.contrast(pred, self._references(form, pred, negatives, gt), form)

    def formula(self) -> str:
        """Return what is added to the total loss in words, sign first."""
        what = {'difference': 'mean distance to the negatives',
                'ratio': 'distance to ground truth / mean distance to the negatives',
                'hinge': f'mean of max({self.margin:g} - distance to a negative, 0)',
                'infonce': f'InfoNCE of ground truth among the negatives (tau {self.tau:g})'}[self.form]
        where = ', where the output is worse than the negative' if self.gate else ''
        decay = (f', the margin falls to 0 over {self.margin_decay_iter:g} iterations' if 'step' in self.needs else '')
        return f'{"-" if self.form == "difference" else "+"} {self.loss_weight:g} * {what}{where}{decay}'

    def _form(self, step: int | None) -> Form:
        weights = self.layer_weights.values()
        forms: dict[str, Callable[[], Form]] = {
            'difference': lambda: Difference(weights),
            'ratio': lambda: Ratio(weights, self.eps),
            'hinge': lambda: Hinge(weights, self._margin(step)),
            'infonce': lambda: InfoNCE(weights, self.tau),
        }
        return forms[self.form]()

    def _margin(self, step: int | None) -> float:
        return self.margin * (max(0., 1 - step / self.margin_decay_iter) if 'step' in self.needs else 1)

    def _references(self, form: Form, pred: Tensor, negatives: Tensor | Iterable[Tensor],
                    gt: Tensor | None) -> Iterator[Reference]:
        negative = partial(_gated, form, GroundTruthGate(pred.detach(), gt)) if self.gate else form.negative
        # map keeps no reference to what it has passed on; negatives come first, as InfoNCE asks for
        return chain(map(negative, images_like(pred, negatives)), map(form.positive, [gt] if self.own_images else []))


def _gated(form: Form, gate: GroundTruthGate, image: Tensor) -> Reference:
    return form.negative(image, gate(image))
