"""Options of the weight over time: ``train.history_opt.weight_schedule``."""
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mcir_plugin.config.errors import ConfigError, raise_if_any, show
from mcir_plugin.config.kinds import Choice, Maybe, Number
from mcir_plugin.config.schema import option

_NAME = 'Name of the shape.'
_END = 'The term is silent after this iteration. ~ is the end of training.'
_DECAYED = 'The weight has decayed at this iteration, and the term is silent after it. ~ is the end of training.'
_FACTOR = 'Share of the weight that is left at end_iter.'
_ITERATION = Maybe(Number(1, integer=True))
_SHARE = Number(minimum=0, below=1)


@dataclass(frozen=True)
class ConstantOptions:
    """The full weight after the warm-up: as published."""

    type: str = option('constant', _NAME, Choice(('constant', )))
    end_iter: int | None = option(None, _END, _ITERATION)


@dataclass(frozen=True)
class LinearOptions:
    """The weight falls along a straight line from the end of the warm-up to `end_iter`."""

    type: str = option('linear', _NAME, Choice(('linear', )))
    end_iter: int | None = option(None, _DECAYED, _ITERATION)
    end_factor: float = option(0., _FACTOR, _SHARE)


@dataclass(frozen=True)
class CosineOptions:
    """The weight falls along half a cosine from the end of the warm-up to `end_iter`."""

    type: str = option('cosine', _NAME, Choice(('cosine', )))
    end_iter: int | None = option(None, _DECAYED, _ITERATION)
    end_factor: float = option(0., _FACTOR, _SHARE)


@dataclass(frozen=True)
class LearningRateOptions:
    """The weight follows the learning rate of the network: it is multiplied with lr / initial lr."""

    type: str = option('lr', _NAME, Choice(('lr', )))
    end_iter: int | None = option(None, _END, _ITERATION)


WEIGHT_BLOCKS: dict[str, type] = {
    'constant': ConstantOptions,
    'linear': LinearOptions,
    'cosine': CosineOptions,
    'lr': LearningRateOptions,
}


def schedule_problems(full: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield why a term could not act with these options of a history.

    Args:
        full (Mapping): All options of the history.
        where (str): Their option path.
    """
    end, full_at = full['weight_schedule']['end_iter'], full['start_iter'] + full['warmup_iter']
    first = (full['start_iter'] // full['interval'] + 1) * full['interval']
    if end is not None and end <= full_at:
        yield (f'{where}.weight_schedule.end_iter: received {end}, must be more than start_iter + warmup_iter '
               f'({full_at}), where the weight is full')
    elif end is not None and end < first:
        yield (f'{where}.weight_schedule.end_iter: received {end}, but with interval {full["interval"]} the term would '
               f'act at iteration {first} first. Use a larger end_iter or a smaller interval')


def within(schedule: Mapping[str, Any], total: Any, full_at: int, where: str) -> dict[str, Any]:
    """Return the options of a weight with an end that is known, for a run of ``total`` iterations.

    Args:
        schedule (Mapping): Options of the weight.
        total (Any): Iterations of the run; anything but a whole number leaves them unknown.
        full_at (int): Iteration at which the warm-up ends.
        where (str): Option path of the schedule.

    Raises:
        ConfigError: If the end has no effect, leaves nothing, or is needed and unknown.
    """
    end, decays = schedule['end_iter'], 'end_factor' in schedule
    known = isinstance(total, int | float) and not isinstance(total, bool) and total == total // 1
    if known:
        raise_if_any(_end_problems(schedule, int(total), full_at, where))
    elif decays and end is None:
        raise ConfigError(f'{where}.end_iter: {schedule["type"]} needs it where the length of the training is not a '
                          f'whole number of iterations (train.total_iter is {show(total)})')
    return {**schedule, 'end_iter': int(total) if decays and end is None else end}


def _end_problems(schedule: Mapping[str, Any], total: int, full_at: int, where: str) -> Iterator[str]:
    end = schedule['end_iter']
    if 'end_factor' not in schedule:
        if end is not None and end >= total:
            yield (f'{where}.end_iter: received {end}, but training ends at {total}, so it has no effect. Remove it, '
                   'or use a smaller one')
    elif end is None and total <= full_at:
        yield (f'{where}: {schedule["type"]} would decay from the end of the warm-up ({full_at}) to the end of '
               f'training ({total}), which leaves nothing. Use a smaller start_iter or warmup_iter')
