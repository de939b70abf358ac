"""The two blocks that this package adds to an option file: ``train.spn_opt`` and ``train.history_opt``."""
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any

from mcir_plugin.config.errors import did_you_mean
from mcir_plugin.config.kinds import Choice, Flag, Many, MappingOf, Maybe, NameOr, Number, Text
from mcir_plugin.config.refresh import Refresh
from mcir_plugin.config.schema import default_of, option
from mcir_plugin.config.vgg_names import VGG_TYPES, layer_names

LAYER_WEIGHTS = {'relu1_2': 0.2, 'relu2_2': 0.3, 'relu3_3': 0.5}
_COUNT = Number(1, integer=True)
_ITERATIONS = Number(0, integer=True)


@dataclass(frozen=True)
class SPNOptions:
    """``train.spn_opt``: the contrastive loss. Defaults are the published configuration (FFA-Net, RESIDE indoor)."""

    type: str = option('SPNLoss', 'Name of the loss.', Choice(('SPNLoss', )))
    loss_weight: float = option(1e-3, 'Weight lambda of the term that is subtracted from the reconstruction loss.',
                                Number(minimum=0))
    layer_weights: dict[str, float] = option(
        LAYER_WEIGHTS, 'Layers of the feature extractor and their weights. Names are conv, bn, relu or pool with '
        'block and index, such as relu3_3 or pool2.', MappingOf(Number(above=0), '{relu1_2: 0.2, relu2_2: 0.8}'))
    vgg_type: str = option('vgg16', 'Feature extractor.', Choice(VGG_TYPES))
    vgg_weights: str | None = option(None, 'Its weights: ~ looks for the published ImageNet file, then downloads it.',
                                     Maybe(Text('path of a weight file or random:<seed>')))
    use_input_norm: bool = option(True, 'Normalise images by the mean and std of ImageNet first.', Flag())
    range_norm: bool = option(False, 'Images are in [-1, 1] and are brought to [0, 1] first.', Flag())
    criterion: str = option('l1', 'Distance between features.', Choice(('l1', 'l2', 'smooth_l1', 'charbonnier')))
    reduction: str = option('mean', 'How a distance is reduced over elements.', Choice(('mean', 'sum')))

    @staticmethod
    def check(given: dict[str, Any], where: str) -> Iterator[str]:
        """Yield what is wrong between options."""
        if given.get('loss_weight') == 0:
            yield (f'{where}.loss_weight: received 0, so the term would cost time and do nothing. '
                   'Use a number > 0 (published: 0.001), or remove spn_opt to train without it')
        yield from _weights_problems(given.get('vgg_weights'), where)
        yield from _layer_problems(given.get('vgg_type', 'vgg16'), given.get('layer_weights'), where)

    def kwargs(self) -> dict[str, Any]:
        """Return the constructor arguments of SPNLoss."""
        arguments = asdict(self)
        del arguments['type']
        return arguments


@dataclass(frozen=True)
class HistoryOptions:
    """``train.history_opt``: the negatives, past copies of the network. All optional; defaults are the published ones.

    An instance holds normal forms: ``update_iter`` and ``decay`` are tuples with one entry per negative
    (``update_iter`` is empty for residual_std, which has no intervals), ``refresh`` is a mapping with all options of
    the rule.
    """

    update_iter: tuple[int, ...] = option(
        (100, 200, 500, 1000), 'Iterations between two refreshes; one negative per entry.', Many(_COUNT))
    decay: tuple[float, ...] = option(
        (0.1, ) * 4, 'Share of itself that a negative keeps at a refresh: one number, or one per negative. '
        'Default with residual_std: 0.001.', Many(Number(minimum=0, below=1)), shown='0.1')
    init_noise: float = option(0.1, 'Share of a fresh random initialisation in the negatives at the start.',
                               Number(0, 1))
    refresh: dict[str, Any] = option({'type': 'periodic'}, 'When negatives are refreshed.', Refresh(), shown='periodic')
    num_negatives: int = option(4, 'Number of negatives, only with residual_std (default there: 4). '
                                'Otherwise it is the length of update_iter.', Maybe(_COUNT), shown='~')
    negatives_per_iter: str | int = option('all', 'Negatives that take part in an iteration, drawn at random.',
                                           NameOr('all', _COUNT))
    interval: int = option(1, 'The term acts at every S-th iteration only, with S times the weight.', _COUNT)
    start_iter: int = option(0, 'The term acts after this iteration.', _ITERATIONS)
    warmup_iter: int = option(0, 'Iterations after start_iter over which the weight grows linearly to its full value.',
                              _ITERATIONS)
    max_ratio: float | None = option(None, 'Bound the size of the term to this multiple of the criterion it joins.',
                                     Maybe(Number(above=0)))
    warn_ratio: float = option(0.5, 'Warn once when the term exceeds this multiple of the criterion it joins.',
                               Number(above=0))
    seed: int | None = option(None, 'Seed of draws and random initialisations. ~ is manual_seed.',
                              Maybe(Number(0, 2**32 - 1, integer=True)))
    dtype: str | None = option(None, 'Precision in which negatives are stored. ~ is that of the network.',
                               Maybe(Choice(('float32', 'bfloat16', 'float16'))))
    device: str | None = option(None, 'cpu keeps the negatives off the GPU. ~ is the device of the network.',
                                Maybe(Choice(('cpu', ))))

    @staticmethod
    def check(given: dict[str, Any], where: str) -> Iterator[str]:
        """Yield what is wrong between options."""
        full = HistoryOptions.complete(given)
        yield from _rule_problems(given, full, where)
        count, picked = full['num_negatives'], full['negatives_per_iter']
        if len(full['decay']) != count:
            yield (f'{where}.decay: received {len(full["decay"])} numbers for {count} negatives. '
                   'Give one number, or exactly one per negative')
        if picked != 'all' and picked > count:
            yield (f'{where}.negatives_per_iter: received {picked}, but there are {count} negatives. '
                   f'Use all or an integer from 1 to {count}')
        bound = full['max_ratio']
        if bound is not None and 'warn_ratio' in given and given['warn_ratio'] >= bound:
            yield (f'{where}.warn_ratio: received {given["warn_ratio"]}, which the term never exceeds, since max_ratio '
                   f'bounds it to {bound}. Use a smaller warn_ratio, or remove one of the two')

    @staticmethod
    def complete(given: dict[str, Any]) -> dict[str, Any]:
        """Return all constructor arguments in normal form, with the defaults that depend on the refresh rule."""
        full = {**{definition.name: default_of(definition) for definition in fields(HistoryOptions)}, **given}
        adaptive = full['refresh']['type'] == 'residual_std'
        full['update_iter'] = () if adaptive else _as_tuple(full['update_iter'], 1)
        count = (given.get('num_negatives') or 4) if adaptive else len(full['update_iter'])
        full['num_negatives'] = count
        full['decay'] = _as_tuple(given.get('decay', 0.001 if adaptive else 0.1), count)
        return full


def _as_tuple(value: Any, count: int) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value, ) * count


def _layer_problems(vgg_type: str, layer_weights: dict[str, float] | None, where: str) -> Iterator[str]:
    exists = layer_names(vgg_type)
    missing = [name for name in layer_weights or LAYER_WEIGHTS if name not in exists]
    if missing:
        hints = ', '.join(f'{name}{did_you_mean(name, exists)}' for name in missing)
        default = '' if layer_weights else ', which the default names. Give layer_weights yourself'
        yield f'{where}.layer_weights: {vgg_type} has no layer {hints}{default}. Layers: {", ".join(exists)}'


def _weights_problems(weights: str | None, where: str) -> Iterator[str]:
    name, _, seed = (weights or '').partition(':')
    if name == 'random' and not (seed.isascii() and seed.isdigit()):
        yield (f'{where}.vgg_weights: received {weights!r}, must be random:<seed> with an integer seed >= 0, '
               'such as random:0. For a file of this name, write ./random')


def _rule_problems(given: dict[str, Any], full: dict[str, Any], where: str) -> Iterator[str]:
    """Yield options that the chosen refresh rule does not read, or that keep it from acting."""
    rule, intervals = full['refresh'], full['update_iter']
    if rule['type'] == 'residual_std':
        if 'update_iter' in given:
            yield (f'{where}.update_iter: has no effect, since refresh residual_std has no intervals. '
                   'Remove it, and set the number of negatives by num_negatives')
    elif given.get('num_negatives') is not None:
        yield (f'{where}.num_negatives: has no effect, since refresh {rule["type"]} has one negative per entry of '
               f'update_iter ({len(intervals)}). Remove it, and give update_iter as many entries as negatives')
    if rule['type'] == 'growing' and (max(intervals) > rule['max_iter'] or min(intervals) == rule['max_iter']):
        yield (f'{where}.refresh.max_iter: received {rule["max_iter"]}, but the intervals start at update_iter '
               f'{list(intervals)} and could not grow. Use a larger max_iter, or refresh periodic')
