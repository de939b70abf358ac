"""From the options of a whole training run to the typed options of its contrastive term."""
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from mcir_plugin.config.errors import ConfigError, raise_if_any, show
from mcir_plugin.config.loss_options import LOSS_BLOCKS, LossOptions, parse_loss
from mcir_plugin.config.options import HistoryOptions
from mcir_plugin.config.schema import parse_block

SPN_KEY = 'spn_opt'
HISTORY_KEY = 'history_opt'
# options of the block that say when and how the term acts, and act without any history
WITHOUT_HISTORY = ('interval', 'start_iter', 'warmup_iter', 'weight_schedule', 'max_ratio', 'warn_ratio', 'precision',
                   'crop_size', 'seed')
FLAT_NAMES = {'neg_iter': 'update_iter', 'neg_decay': 'decay', 'neg_start': 'start_iter'}  # of the authors' release


@dataclass(frozen=True)
class ContrastConfig:
    """What an option file asks for.

    Attributes:
        spn (LossOptions): The loss.
        history (HistoryOptions): The negatives.
        notes (tuple[str, ...]): What the user should know, to be logged once.
    """

    spn: LossOptions
    history: HistoryOptions
    notes: tuple[str, ...] = ()


def read_contrast(opt: Mapping[str, Any]) -> ContrastConfig | None:
    """Read ``train.spn_opt`` and ``train.history_opt``. The options are not modified.

    The authors' flat names neg_iter, neg_decay and neg_start are understood in ``train`` and in both blocks, with a
    note. ``spn_opt: ~`` is the same as no spn_opt; an empty mapping is all defaults.

    Args:
        opt (Mapping): The options of the whole run.

    Returns:
        ContrastConfig | None: None if there is no spn_opt.

    Raises:
        ConfigError: If something in the two blocks is wrong or would have no effect. All problems are reported at once.
    """
    train = opt.get('train')
    if train is None:
        return None
    blocks = {'train': train}
    for key in (SPN_KEY, HISTORY_KEY):
        blocks[f'train.{key}'] = train.get(key) if isinstance(train, Mapping) else None
    raise_if_any(f'{where}: received {show(block)}, must be a mapping of options'
                 for where, block in blocks.items() if not isinstance(block, Mapping | None))
    flat = {f'{where}.{name}': block[name]
            for where, block in blocks.items() if block for name in FLAT_NAMES if name in block}
    if train.get(SPN_KEY) is None:
        raise_if_any(_orphans(train, flat))
        return None
    config = _parse(train, flat)
    return replace(config, notes=(*config.notes, *_normalised(config.history, opt.get('datasets'))))


def _orphans(train: Mapping[str, Any], flat: Mapping[str, Any]) -> Iterator[str]:
    lost = [*([f'train.{HISTORY_KEY}'] if train.get(HISTORY_KEY) is not None else []), *flat]
    for path in lost:
        yield (f'{path}: has no effect without train.{SPN_KEY}. Add train.{SPN_KEY}: {{type: SPNLoss}} to train with '
               'the contrastive term, or remove this')


def _parse(train: Mapping[str, Any], flat: Mapping[str, Any]) -> ContrastConfig:
    problems, notes = [], []
    history = _without_flat(train.get(HISTORY_KEY) or {})
    for path, value in flat.items():
        name = FLAT_NAMES[path.rpartition('.')[2]]
        if name in history:
            problems.append(f'{path}: received {show(value)}, but it is another name of train.{HISTORY_KEY}.{name}, '
                            f'which is given as well ({show(history[name])}). Keep train.{HISTORY_KEY}.{name} only')
        history[name] = value
        notes.append(f'{path} is read as train.{HISTORY_KEY}.{name}')
    parsed = []
    blocks = ((parse_loss, _without_flat(train[SPN_KEY]), SPN_KEY),
              (partial(parse_block, HistoryOptions), history, HISTORY_KEY))
    for parse, block, key in blocks:
        try:
            parsed.append(parse(block, f'train.{key}'))
        except ConfigError as error:
            problems += error.problems
    raise_if_any(problems)
    raise_if_any(unused_history(parsed[0], history, f'train.{HISTORY_KEY}'))
    loss, total = parsed[0], train.get('total_iter')
    raise_if_any(never_acts(loss, parsed[1], total))
    history = parsed[1].within(total, f'train.{HISTORY_KEY}')
    return ContrastConfig(loss, history, notes=(*notes, *_late(loss, history, total)))


def unused_history(loss: LossOptions, given: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield the options of the history that do nothing for a loss without history negatives.

    Args:
        loss (LossOptions): The options of the loss.
        given (Mapping): The block of the history as written.
        where (str): Its option path, such as ``train.history_opt``.
    """
    for name in [] if loss.uses_history else given:
        if name == 'seed' and given.get('crop_size') is None:
            yield f'{where}.seed: has no effect with {loss.type} without crop_size, since nothing is drawn. Remove it'
        elif name not in WITHOUT_HISTORY:
            users = ' or '.join(kind for kind, block in LOSS_BLOCKS.items() if block.uses_history)
            yield (f'{where}.{name}: has no effect with {loss.type}, which compares with ground truth and input, not '
                   f'with past copies of the network. Remove it, or use {users}. What it reads here: '
                   f'{", ".join(WITHOUT_HISTORY)}')


def _without_flat(block: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in block.items() if name not in FLAT_NAMES}


def never_acts(loss: LossOptions, history: HistoryOptions, total: Any, spn: str = f'train.{SPN_KEY}',
               block: str = f'train.{HISTORY_KEY}', end: str = 'train.total_iter') -> Iterator[str]:
    """Yield why the term would not act, or be 0, in every iteration of the run.

    Args:
        loss (LossOptions): Of the term.
        history (HistoryOptions): When it acts.
        total (Any): Iterations of the run; what is no integer is left to the toolbox.
        spn (str): Option path of the loss. Default: that of BasicSR's option files, as the following ones.
        block (str): Option path of the history.
        end (str): What the length of the run is called.
    """
    first = (history.start_iter // history.interval + 1) * history.interval
    if isinstance(total, int) and history.start_iter >= total:
        yield (f'{block}.start_iter: received {history.start_iter}, but training ends at {end} {total}, so the term '
               f'would never act. Use a smaller start_iter, or remove {spn}')
    elif isinstance(total, int) and first > total:
        yield (f'{block}.interval: received {history.interval}, so the term would act at iteration {first} first, but '
               f'training ends at {end} {total}. Use a smaller interval')
    over = getattr(loss, 'margin_decay_iter', None)
    if over is not None and over <= first and history.uncertainty is None:
        yield (f'{spn}.margin_decay_iter: received {over}, counted from the beginning of training, but the term acts '
               f'at iteration {first} first (start_iter {history.start_iter}, interval {history.interval}), where the '
               f'margin is 0 already. Give more than {first}, or a smaller {block}.start_iter')


def _normalised(history: HistoryOptions, datasets: Any) -> Iterator[str]:
    """Yield a note if degraded inputs would be clipped to a range that they are not in."""
    train = datasets.get('train') if isinstance(datasets, Mapping) else None
    names = [name for name in ('mean', 'std') if isinstance(train, Mapping) and train.get(name) is not None]
    if names and history.degrade is not None and history.degrade['clip']:
        yield (f'train.{HISTORY_KEY}.degrade clips to [0, 1], but datasets.train normalises inputs '
               f'({" and ".join(names)}): set degrade.clip: false, and divide noise_sigma by std')


def _late(loss: LossOptions, history: HistoryOptions, total_iter: Any) -> Iterator[str]:
    """Yield what would not happen, or not completely, within the run."""
    if not isinstance(total_iter, int):
        return
    for position, interval in enumerate(history.update_iter if loss.uses_history else ()):
        if interval > total_iter:
            yield (f'train.{HISTORY_KEY}.update_iter[{position}] is {interval}, beyond train.total_iter {total_iter}: '
                   'this negative is never refreshed')
    decay = getattr(loss, 'margin_decay_iter', None)
    if decay is not None and decay > total_iter:
        yield (f'train.{SPN_KEY}.margin_decay_iter is {decay}: the margin has not fallen to 0 within train.total_iter '
               f'{total_iter}')
    end = history.weight_schedule['end_iter']
    if end is not None and end > total_iter:
        yield (f'train.{HISTORY_KEY}.weight_schedule.end_iter is {end}: the weight has not decayed within '
               f'train.total_iter {total_iter}')
    if history.start_iter + history.warmup_iter > total_iter:
        yield (f'train.{HISTORY_KEY}.warmup_iter is {history.warmup_iter}: the weight does not reach its full value '
               f'within train.total_iter {total_iter}')
