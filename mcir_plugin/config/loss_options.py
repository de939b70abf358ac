"""``train.spn_opt``: one typed block per contrastive loss, and the table of them that everything else follows.

A new loss of `mcir_plugin.losses` gets one block here and one entry in ``LOSS_BLOCKS`` under the name of its class; the
registries of the hosts, the option reading and the option reference take it from there.
"""
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from mcir_plugin.config.errors import ConfigError, did_you_mean, show
from mcir_plugin.config.extractors import EXTRACTOR_BLOCKS, extractor_problems, seed_problems
from mcir_plugin.config.kinds import Choice, Flag, Many, MappingOf, Maybe, Number, Text
from mcir_plugin.config.schema import default_of, option, parse_block
from mcir_plugin.config.variants import Variant
from mcir_plugin.config.vgg_names import VGG_TYPES, layer_names

LAYER_WEIGHTS = {'relu1_2': 0.2, 'relu2_2': 0.3, 'relu3_3': 0.5}
CR_LAYER_WEIGHTS = {'relu1_1': 0.03125, 'relu2_1': 0.0625, 'relu3_1': 0.125, 'relu4_1': 0.25, 'relu5_1': 1.0}

PCL_LAYER_WEIGHTS = {'relu1_1': 0.25, 'relu2_1': 0.25, 'relu3_1': 0.25, 'relu4_1': 0.25}

_NAME = 'Name of the loss.'
_CRITERION = 'Distance between features.'
_CRITERIA = ('l1', 'l2', 'smooth_l1', 'charbonnier')
_POSITIVE = Number(above=0)


def _layers(default: dict[str, float]) -> Any:
    return option(default, 'Layers of the feature extractor and their weights. Names are conv, bn, relu or pool with '
                  'block and index, such as relu3_3 or pool2.', MappingOf(_POSITIVE, '{relu1_2: 0.2, relu2_2: 0.8}'))


def _weight(default: float, doc: str) -> Any:
    return option(default, doc, Number(minimum=0))


@dataclass(frozen=True)
class LossOptions:
    """What all contrastive losses have: a weight and a feature extractor.

    Attributes:
        uses_history (bool): Whether the loss reads history negatives.
    """

    uses_history: ClassVar[bool] = True

    type: str = option('SPNLoss', _NAME, Choice(('SPNLoss', )))
    loss_weight: float = _weight(1e-3, 'Weight of the term.')
    layer_weights: dict[str, float] = _layers(LAYER_WEIGHTS)
    vgg_type: str = option('vgg16', 'Feature extractor.', Choice(VGG_TYPES))
    vgg_weights: str | None = option(None, 'Its weights: ~ looks for the published ImageNet file, then downloads it.',
                                     Maybe(Text('path of a weight file or random:<seed>')))
    use_input_norm: bool = option(True, 'Normalise images by the mean and std of ImageNet first.', Flag())
    range_norm: bool = option(False, 'Images are in [-1, 1] and are brought to [0, 1] first.', Flag())
    criterion: str = option('l1', _CRITERION, Choice(_CRITERIA))
    extractor: dict[str, Any] | None = option(None, 'A network such as a discriminator instead of the VGG; '
                                              'layer_weights then names its modules.',
                                              Maybe(Variant(EXTRACTOR_BLOCKS, 'extractor')))

    @classmethod
    def check(cls, given: dict[str, Any], where: str) -> Iterator[str]:
        """Yield what is wrong between options."""
        defaults = {definition.name: default_of(definition) for definition in fields(cls)}
        if given.get('loss_weight') == 0:
            yield (f'{where}.loss_weight: received 0, so the term would cost time and do nothing. Use a number > 0 '
                   f'(published: {defaults["loss_weight"]:g}), or remove spn_opt to train without it')
        if given.get('extractor') is not None:
            yield from extractor_problems(given, where)
            return
        yield from seed_problems(given.get('vgg_weights'), f'{where}.vgg_weights')
        yield from _layer_problems(given.get('vgg_type', defaults['vgg_type']), given.get('layer_weights'),
                                   defaults['layer_weights'], where)

    def kwargs(self, extractor: Any = None) -> dict[str, Any]:
        """Return the constructor arguments of the loss.

        Args:
            extractor (Any): What the host has built from the option of this name. Default: None, a VGG.
        """
        arguments = asdict(self)
        del arguments['type']
        return {**arguments, 'extractor': extractor}


@dataclass(frozen=True)
class SPNOptions(LossOptions):
    """Away from the outputs of the network's own past (MCIR, AAAI 2024). Defaults: FFA-Net on RESIDE, as published."""

    loss_weight: float = _weight(1e-3, 'Weight lambda of the term that is subtracted from the reconstruction loss.')
    reduction: str = option('mean', 'How a distance is reduced over elements.', Choice(('mean', 'sum')))
    form: str = option('difference', 'What becomes of the distances: difference (the paper), ratio (ground truth over '
                       'negatives), hinge (up to a margin) or infonce (ground truth among negatives).',
                       Choice(('difference', 'ratio', 'hinge', 'infonce')))
    gate: str | None = option(None, 'ground_truth pushes only where the output is worse than the negative; for '
                              'difference and hinge.', Maybe(Choice(('ground_truth', ))))
    margin: float = option(0.1, 'Only hinge: distance from which a negative no longer matters, in units of spn/dist_k '
                           'in the log (with gate: over the share of gated pixels).', _POSITIVE)
    margin_decay_iter: int | None = option(None, 'Only hinge: the iteration, from the beginning of training, at which '
                                           'the margin has fallen to 0 and the term ends. ~ is constant.',
                                           Maybe(Number(1, integer=True)))
    tau: float = option(2.0, 'Only infonce: temperature, in units of a distance at one layer.', _POSITIVE)
    eps: float = option(1e-7, 'Only ratio: added to the mean distance to the negatives.', _POSITIVE)

    @classmethod
    def check(cls, given: dict[str, Any], where: str) -> Iterator[str]:
        """Yield what is wrong between options."""
        yield from super().check(given, where)
        yield from _unread(given, where, 'form', given.get('form', 'difference'), {
            'gate': ('difference', 'hinge'), 'margin': ('hinge', ), 'margin_decay_iter': ('hinge', ),
            'tau': ('infonce', ), 'eps': ('ratio', )})


@dataclass(frozen=True)
class CROptions(LossOptions):
    """Near the ground truth and far from the network's input, as a ratio (AECR-Net, CVPR 2021). No history."""

    uses_history: ClassVar[bool] = False

    type: str = option('CRLoss', _NAME, Choice(('CRLoss', )))
    loss_weight: float = _weight(0.1, 'Weight of the term, which is added.')
    layer_weights: dict[str, float] = _layers(CR_LAYER_WEIGHTS)
    vgg_type: str = option('vgg19', 'Feature extractor.', Choice(VGG_TYPES))
    use_input_norm: bool = option(False, 'Normalise images by the mean and std of ImageNet first.', Flag())
    eps: float = option(1e-7, 'Added to the distance to the input.', _POSITIVE)


@dataclass(frozen=True)
class CCROptions(CROptions):
    """As CRLoss, with history negatives beside the input, weighted by their PSNR (C2PNet, CVPR 2023)."""

    uses_history: ClassVar[bool] = True

    type: str = option('CCRLoss', _NAME, Choice(('CCRLoss', )))
    loss_weight: float = _weight(0.2, 'Weight of the term, which is added.')
    eps: float = option(1e-7, 'Added to the weighted mean distance to negatives and input.', _POSITIVE)
    gamma: float = option(0.25, 'A negative has the weight 1 + gamma where the output has the higher PSNR, else '
                          '1 - gamma.', Number(above=0, below=1))
    lq_weight: float = option(6.0, 'Weight of the input among the negatives.', _POSITIVE)


@dataclass(frozen=True)
class PCLOptions(LossOptions):
    """Near sharpened ground truth, far from blurred ground truth and the input (PCL-SR, TNNLS 2023). No history."""

    uses_history: ClassVar[bool] = False

    type: str = option('PCLLoss', _NAME, Choice(('PCLLoss', )))
    loss_weight: float = _weight(0.02, 'Weight of the term, which is added.')
    layer_weights: dict[str, float] = _layers(PCL_LAYER_WEIGHTS)
    vgg_type: str = option('vgg19', 'Feature extractor.', Choice(VGG_TYPES))
    use_input_norm: bool = option(False, 'Normalise images by the mean and std of ImageNet first.', Flag())
    criterion: str = option('cosine', _CRITERION, Choice(('cosine', *_CRITERIA)))
    form: str = option('infonce', 'infonce (positives among negatives) or ratio (positives over negatives).',
                       Choice(('infonce', 'ratio')))
    domain: str = option('pixel', 'Compare images, or frequency: their details by a Haar wavelet.',
                         Choice(('pixel', 'frequency')))
    sharpness: tuple[float, ...] = option((1.0, 1.5, 2.0, 2.5), 'Sharpening factors of the positives; 1 is ground '
                                          'truth.', Many(Number(minimum=1)))
    blur_sigma: tuple[float, ...] = option((1.0, 2.0), 'Standard deviations of the Gaussians that make the negatives '
                                           'beside the input, in pixels.', Many(_POSITIVE))
    blur_kernel_size: int = option(11, 'Size of the Gaussians in pixels, odd.', Number(3, 999, integer=True))
    tau: float = option(1.0, 'Only infonce: temperature, in units of a distance at one layer.', _POSITIVE)
    eps: float = option(3e-7, 'Only ratio: added to the mean distance to the negatives.', _POSITIVE)

    @classmethod
    def check(cls, given: dict[str, Any], where: str) -> Iterator[str]:
        """Yield what is wrong between options."""
        yield from super().check(given, where)
        size = given.get('blur_kernel_size', 11)
        if size % 2 == 0:
            yield f'{where}.blur_kernel_size: received {size}, must be odd. Use {size + 1}'
        yield from _unread(given, where, 'form', given.get('form', 'infonce'),
                           {'tau': ('infonce', ), 'eps': ('ratio', )})

    @classmethod
    def complete(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Return the constructor arguments, with single strengths as tuples."""
        lists = ('sharpness', 'blur_sigma')
        return {name: (value, ) if name in lists and not isinstance(value, tuple) else value
                for name, value in given.items()}


LOSS_BLOCKS: dict[str, type[LossOptions]] = {
    'SPNLoss': SPNOptions,
    'CRLoss': CROptions,
    'CCRLoss': CCROptions,
    'PCLLoss': PCLOptions,
}


def parse_loss(mapping: Mapping[str, Any] | None, where: str) -> LossOptions:
    """Read the block of a loss; its ``type`` says which options there are. Without one it is the SPN loss.

    Args:
        mapping (Mapping | None): The block as written; None stands for an empty one.
        where (str): Option path of the block, such as ``train.spn_opt``.

    Raises:
        ConfigError: For everything that is wrong, at once.
    """
    if not isinstance(mapping, Mapping | None):
        raise ConfigError(f'{where}: received {show(mapping)}, must be a mapping with options such as type: ...')
    name = Choice(tuple(LOSS_BLOCKS)).parse((mapping or {}).get('type', 'SPNLoss'), f'{where}.type')
    return parse_block(LOSS_BLOCKS[name], mapping, where)


def _layer_problems(vgg_type: str, layer_weights: dict[str, float] | None, default: dict[str, float],
                    where: str) -> Iterator[str]:
    exists = layer_names(vgg_type)
    missing = [name for name in layer_weights or default if name not in exists]
    if missing:
        hints = ', '.join(f'{name}{did_you_mean(name, exists)}' for name in missing)
        default = '' if layer_weights else ', which the default names. Give layer_weights yourself'
        yield f'{where}.layer_weights: {vgg_type} has no layer {hints}{default}. Layers: {", ".join(exists)}'


def _unread(given: dict[str, Any], where: str, selector: str, chosen: str,
            readers: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    """Yield the options that the chosen variant does not read; ``readers`` names the variants that do."""
    for name, variants in readers.items():
        if given.get(name) is not None and chosen not in variants:
            yield (f'{where}.{name}: received {show(given[name])}, but has no effect with {selector}: {chosen}. Remove '
                   f'it, or use {selector}: {" or ".join(variants)}')
