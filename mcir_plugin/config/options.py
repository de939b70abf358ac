"""``train.history_opt``: the negatives, when the term acts, with which weight. ``spn_opt`` is in `loss_options`."""
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from mcir_plugin.config.kinds import Choice, Flag, Many, Maybe, NameOr, Number
from mcir_plugin.config.negatives import DEGRADE_BLOCKS, UncertaintyOptions
from mcir_plugin.config.presets import PRESETS, preset_values
from mcir_plugin.config.refresh import REFRESH
from mcir_plugin.config.schema import default_of, option
from mcir_plugin.config.variants import Block, Variant
from mcir_plugin.config.weight_schedule import WEIGHT_BLOCKS, schedule_problems, within

WITH_INTERVALS = ('periodic', 'growing')  # rules that read update_iter
_COUNT = Number(1, integer=True)
_ITERATIONS = Number(0, integer=True)


@dataclass(frozen=True)
class HistoryOptions:
    """``train.history_opt``: the negatives, past copies of the network. All optional; defaults are the published ones.

    An instance holds normal forms: ``update_iter`` and ``decay`` are tuples with one entry per past copy
    (``update_iter`` is empty for rules that do not read it), ``num_negatives`` is a number, and ``refresh``,
    ``weight_schedule``, ``degrade`` and ``uncertainty`` are mappings with all their options (the last two may be None).
    """

    preset: str | None = option(None, 'Fills in what is not given here, see the table of presets.',
                                Maybe(Choice(tuple(PRESETS))))
    update_iter: tuple[int, ...] = option(
        (100, 200, 500, 1000), 'Iterations between two refreshes; one negative per entry. Default with degrade: 1000.',
        Many(_COUNT))
    decay: tuple[float, ...] = option(
        (0.1, ) * 4, 'Share of itself that a negative keeps at a refresh: one number, or one per negative. '
        'Default with residual_std: 0.001.', Many(Number(minimum=0, below=1)), shown='0.1')
    init_noise: float = option(0.1, 'Share of a fresh random initialisation in the negatives at the start.',
                               Number(0, 1))
    refresh: dict[str, Any] = option({'type': 'periodic'}, 'When negatives are refreshed.', REFRESH, shown='periodic')
    num_negatives: int = option(4, 'Number of negatives, only with residual_std or diversity (default there: 4) and '
                                'with degrade (5). Otherwise it is the length of update_iter.', Maybe(_COUNT),
                                shown='~')
    degrade: dict[str, Any] | None = option(None, 'One past copy makes all negatives, from degraded copies of the '
                                            'input. ~ is several past copies and the input as it is.',
                                            Maybe(Variant(DEGRADE_BLOCKS, 'degradation')))
    negatives_per_iter: str | int = option('all', 'Negatives that take part in an iteration, drawn at random.',
                                           NameOr('all', _COUNT))
    interval: int = option(1, 'The term acts at every S-th iteration only, with S times the weight.', _COUNT)
    start_iter: int = option(0, 'The term acts after this iteration.', _ITERATIONS)
    warmup_iter: int = option(0, 'Iterations after start_iter over which the weight grows linearly to its full value.',
                              _ITERATIONS)
    weight_schedule: dict[str, Any] = option({'type': 'constant', 'end_iter': None}, 'The weight after the warm-up, '
                                             'and its end.', Variant(WEIGHT_BLOCKS, 'shape'), shown='constant')
    uncertainty: dict[str, Any] | None = option(None, 'Weight the pixel criterion by the spread of the negatives. ~ is '
                                                'the plain criterion.', Maybe(Block(UncertaintyOptions)))
    max_ratio: float | None = option(None, 'Bound the gradient of the term at the output to this multiple of that '
                                     'of the criterion it joins. 0.1 is safe.', Maybe(Number(above=0)))
    warn_ratio: float = option(0.5, 'Warn once when the gradient of the term at the output exceeds this multiple of '
                               'that of the criterion it joins.', Number(above=0))
    seed: int | None = option(None, 'Seed of draws and random initialisations. ~ is manual_seed.',
                              Maybe(Number(0, 2**32 - 1, integer=True)))
    dtype: str | None = option(None, 'Precision in which negatives are stored. ~ is that of the network.',
                               Maybe(Choice(('float32', 'bfloat16', 'float16'))))
    device: str | None = option(None, 'cpu keeps the negatives off the GPU. ~ is the device of the network.',
                                Maybe(Choice(('cpu', ))))
    precision: str | None = option(None, 'Precision in which negatives and feature extractor run; distances are summed '
                                   'in float32. ~ is full precision.', Maybe(Choice(('bfloat16', 'float16'))))
    channels_last: bool = option(False, 'Run the negatives in the memory layout (N, H, W, C), faster for some '
                                 'convolutional networks.', Flag())
    crop_size: int | None = option(None, 'Score a random window of this many pixels of the output. ~ is all of it.',
                                   Maybe(_COUNT))

    def within(self, total_iter: Any, where: str) -> 'HistoryOptions':
        """Return the options for a training of so many iterations: the end of a decay is known then.

        Args:
            total_iter (Any): Number of iterations.
            where (str): Option path of the block.

        Raises:
            ConfigError: If the weight's end has no effect, leaves nothing, or is needed and unknown.
        """
        schedule = within(self.weight_schedule, total_iter, self.start_iter + self.warmup_iter,
                          f'{where}.weight_schedule')
        return replace(self, weight_schedule=schedule)

    @staticmethod
    def check(given: dict[str, Any], where: str) -> Iterator[str]:
        """Yield what is wrong between options."""
        full = HistoryOptions.complete(given)
        yield from _rule_problems(given, full, where)
        yield from _count_problems(given, full, where)
        yield from _degrade_problems(given, full, where)
        yield from schedule_problems(full, where)
        bound = full['max_ratio']
        if bound is not None and 'warn_ratio' in given and given['warn_ratio'] >= bound:
            yield (f'{where}.warn_ratio: received {given["warn_ratio"]}, which the term never exceeds, since max_ratio '
                   f'bounds it to {bound}. Use a smaller warn_ratio, or remove one of the two')

    @staticmethod
    def complete(given: dict[str, Any]) -> dict[str, Any]:
        """Return all constructor arguments in normal form, with preset and defaults that depend on other options."""
        chosen = {**preset_values(given.get('preset')), **given}
        full = {**{definition.name: default_of(definition) for definition in fields(HistoryOptions)}, **chosen}
        rule, one_copy = full['refresh']['type'], full['degrade'] is not None
        full['update_iter'] = _intervals(given, full, one_copy) if rule in WITH_INTERVALS else ()
        number = chosen.get('num_negatives')
        copies = len(full['update_iter']) or (1 if one_copy or rule == 'staged' else number or 4)
        full['num_negatives'] = (number or 5) if one_copy else copies
        full['decay'] = _as_tuple(chosen.get('decay', 0.001 if rule == 'residual_std' else 0.1), copies)
        return full


def _intervals(given: dict[str, Any], full: dict[str, Any], one_copy: bool) -> tuple[int, ...]:
    """Return one interval per past copy; where there is to be one copy, a list of several must be the user's own."""
    intervals = _as_tuple(full['update_iter'], 1)
    return (1000, ) if one_copy and 'update_iter' not in given and len(intervals) > 1 else intervals


def _as_tuple(value: Any, count: int) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value, ) * count


def _rule_problems(given: dict[str, Any], full: dict[str, Any], where: str) -> Iterator[str]:
    """Yield options that the chosen refresh rule does not read, or that keep it from acting."""
    rule, intervals = full['refresh'], full['update_iter']
    if rule['type'] not in WITH_INTERVALS:
        if 'update_iter' in given:
            yield (f'{where}.update_iter: has no effect, since refresh {rule["type"]} has no intervals of single '
                   'negatives. Remove it, and set the number of negatives by num_negatives')
    elif given.get('num_negatives') is not None and full['degrade'] is None:
        yield (f'{where}.num_negatives: has no effect, since refresh {rule["type"]} has one negative per entry of '
               f'update_iter ({len(intervals)}). Remove it, and give update_iter as many entries as negatives')
    if rule['type'] == 'growing' and (max(intervals) > rule['max_iter'] or min(intervals) == rule['max_iter']):
        yield (f'{where}.refresh.max_iter: received {rule["max_iter"]}, but the intervals start at update_iter '
               f'{list(intervals)} and could not grow. Use a larger max_iter, or refresh periodic')
    if rule['type'] == 'staged' and given.get('num_negatives') is not None and full['degrade'] is None:
        yield (f'{where}.num_negatives: has no effect, since copies that are refreshed together are equal: refresh '
               'staged has one. Remove it, or add degrade, which makes several negatives of one copy')
    if rule['type'] == 'diversity':
        yield from _diversity_problems(full, where)


def _diversity_problems(full: dict[str, Any], where: str) -> Iterator[str]:
    rule, span = full['refresh'], full['refresh']['window'] * full['interval']
    if full['degrade'] is None and full['num_negatives'] < 2:
        yield (f'{where}.num_negatives: received {full["num_negatives"]}, but refresh diversity compares past copies. '
               'Use 2 or more, or another rule')
    if span >= rule['max_iter']:
        yield (f'{where}.refresh.window: {rule["window"]} scored iterations take {span} with interval '
               f'{full["interval"]}, but a refresh is made after max_iter {rule["max_iter"]} at the latest, so '
               'diversity would never be looked at. Use a smaller window or a larger max_iter')


def _count_problems(given: dict[str, Any], full: dict[str, Any], where: str) -> Iterator[str]:
    """Yield numbers of negatives that do not fit together."""
    count, picked, copies = full['num_negatives'], full['negatives_per_iter'], len(full['decay'])
    expected = count if full['degrade'] is None else max(1, len(full['update_iter']))
    if copies != expected:
        yield (f'{where}.decay: received {copies} numbers for {expected} negatives. '
               'Give one number, or exactly one per negative')
    if picked != 'all' and picked > count:
        yield (f'{where}.negatives_per_iter: received {picked}, but there are {count} negatives. '
               f'Use all or an integer from 1 to {count}')
    if full['uncertainty'] is not None and (count if picked == 'all' else picked) < 2:
        yield (f'{where}.uncertainty: it is the spread of the negatives of an iteration, but only one takes part. Use '
               'more negatives (update_iter), or a larger negatives_per_iter')


def _degrade_problems(given: dict[str, Any], full: dict[str, Any], where: str) -> Iterator[str]:
    """Yield what does not go with one past copy and degraded inputs."""
    if full['degrade'] is None:
        return
    if len(full['update_iter']) > 1:
        yield (f'{where}.update_iter: received {list(full["update_iter"])}, but with degrade there is one past copy. '
               'Give one number; num_negatives says how many negatives it makes')
    if full['refresh']['type'] == 'diversity':
        yield f'{where}.refresh: diversity compares past copies, but with degrade there is one. Use another rule'
    if full['negatives_per_iter'] != 'all':
        yield (f'{where}.negatives_per_iter: received {full["negatives_per_iter"]}, but the inputs of degrade are '
               'drawn anew in each iteration anyway. Use a smaller num_negatives instead')
    if full['num_negatives'] < 1 + full['degrade']['with_input']:
        yield (f'{where}.num_negatives: received {full["num_negatives"]}, which leaves nothing to degrade, since the '
               'first negative is made from the input itself. Use 2 or more, or degrade.with_input: false')
