"""Options that BasicSR reads without checking: shape of the blocks, names of files, values of its own options.

All problems of a file are found at once and before anything is written; ``train``, ``test`` and ``check`` say the same.
"""
from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any

from mcir_plugin.config import ConfigError
from mcir_plugin.config.errors import show
from mcir_plugin.config.path_kinds import FileName
from mcir_plugin.hosts.basicsr import host_options as known

LARGEST = 10**7  # of whole numbers that a network takes: more would build it for hours
OWN_BLOCKS = ('train.spn_opt.', 'train.history_opt.')  # read strictly by their own definitions
FOR_TESTING = ('option file: it is one of `basicsr test`, without a train block and with data sets for testing only, '
               'but `basicsr train` and `basicsr check` take those of a training. Give one with train, logger and '
               'datasets.train; or run `basicsr test -opt` with this one, which looks at its options and its data '
               'first and says what of the weights does not fit network_g')
ROOTS = ('experiments_root', 'results_root')


def shape_problems(opt: Mapping[str, Any], is_train: bool = True) -> list[str]:
    """Return which blocks are missing or no mappings, and which names are no names.

    Args:
        opt (Mapping): The options of the whole run.
        is_train (bool): Training or testing. Default: True.
    """
    if is_train and _is_for_testing(opt):
        return [FOR_TESTING]
    return list(chain(_nameless(opt), _absent(opt, is_train), _no_mappings(opt), _unusable_labels(opt)))


def value_problems(opt: Mapping[str, Any], is_train: bool = True, said: Collection[str] = ()) -> list[str]:
    """Return which options are missing, or have values that BasicSR could not use. The blocks must be mappings.

    Args:
        opt (Mapping): The options of the whole run.
        is_train (bool): Training or testing. Default: True.
        said (Collection[str]): Options of ``path`` that were given on the command line. Default: none.
    """
    return list(chain(_missing(opt, is_train), _phases(opt, is_train), _values(opt), _huge(opt), _outside(opt, said)))


def find(opt: Any, pattern: str, where: str = '') -> Iterator[tuple[str, Any]]:
    """Yield path and value of everything that a pattern such as ``train.optim_*.lr`` meets."""
    first, _, rest = pattern.partition('.')
    for key, value in opt.items() if isinstance(opt, Mapping) else ():
        if fnmatchcase(str(key), first):
            path = f'{where}.{key}' if where else str(key)
            if rest:
                yield from find(value, rest, path)
            else:
                yield path, value


def _nameless(value: Any, where: str = '') -> Iterator[str]:
    """Yield keys that are no text, on which BasicSR's log fails."""
    for key, item in value.items() if isinstance(value, Mapping) else ():
        if not isinstance(key, str):
            yield (f'{where or "option file"}: {show(key)} is used as the name of an option, but names are text. '
                   'Correct it, or put it in quotes')
        yield from _nameless(item, f'{where}.{key}' if where else str(key))


def _is_for_testing(opt: Mapping[str, Any]) -> bool:
    phases = opt.get('datasets')
    return (opt.get('train') is None and isinstance(phases, Mapping) and len(phases) > 0
            and all(str(phase).startswith(('test', 'val')) for phase in phases))


def _absent(opt: Mapping[str, Any], is_train: bool) -> Iterator[str]:
    for key in known.BLOCKS_NEEDED + (known.BLOCKS_NEEDED_IN_TRAINING if is_train else ()):
        if opt.get(key) is None:
            yield f'{key}: the block is missing from the option file (or empty).'
    for key in known.NAMES_NEEDED:
        if opt.get(key) is None:
            yield f'{key}: the option file must give it.'


def _no_mappings(opt: Mapping[str, Any]) -> Iterator[str]:
    for pattern in (*known.FILLED_BLOCKS, *known.BLOCKS):
        for where, value in find(opt, pattern):
            filled = pattern in known.FILLED_BLOCKS and where not in known.BLOCKS_NEEDED  # those are said to be missing
            if not isinstance(value, Mapping) and (value is not None or filled):
                yield f'{where}: must be a mapping of options, received {"~" if value is None else show(value)}'


def _unusable_labels(opt: Mapping[str, Any]) -> Iterator[str]:
    """Yield labels of networks and metrics that would lead out of the folder in which files are called after them."""
    labels = [*find(opt, 'network_*'), *find(opt, 'datasets.*'), *find(opt, 'val.metrics.*')]
    for where, _ in labels:
        label = where.removeprefix('val.metrics.').removeprefix('datasets.').removeprefix('network_')
        yield from _refusals(FileName(), label, show(where) if not where.isprintable() else where)


def _missing(opt: Mapping[str, Any], is_train: bool) -> Iterator[str]:
    for block, option in known.REQUIRED + (known.REQUIRED_IN_TRAINING if is_train else ()):
        for where, value in find(opt, block):
            if value is not None and option not in value:
                yield f'{where}.{option}: the option file must give it'


def _phases(opt: Mapping[str, Any], is_train: bool) -> Iterator[str]:
    allowed, what = (known.TRAINING, 'training is named train') if is_train else (known.TEST, 'testing is named test_1')
    for phase in opt['datasets']:
        if phase.split('_')[0] not in allowed or (phase.startswith('train') and phase != 'train'):
            yield f'datasets.{phase}: a data set for {what}, or val, val_1, val_2, ...'


def _values(opt: Mapping[str, Any]) -> Iterator[str]:
    for pattern, kind in known.VALUES:
        for where, value in find(opt, pattern):
            if not where.startswith(OWN_BLOCKS):
                yield from _refusals(kind, value, where)


def _huge(value: Any, where: str = '') -> Iterator[str]:
    """Yield whole numbers in the blocks of networks that no machine could build."""
    for key, item in value.items() if isinstance(value, Mapping) else ():
        path = f'{where}.{key}' if where else key
        for number in item if isinstance(item, list) else [item]:
            if path.startswith('network_') and isinstance(number, int) and abs(number) > LARGEST:
                yield f'{path}: received {show(number)}, must be at most {LARGEST}'
        if path.startswith('network_'):
            yield from _huge(item, path)


def _outside(opt: Mapping[str, Any], said: Collection[str]) -> Iterator[str]:
    """Yield folders for results that lie above the current one without anybody having said so in so many words."""
    for key in ROOTS:
        folder = opt['path'].get(key)
        if not isinstance(folder, str) or key in said:
            continue
        place = os.path.normpath(os.path.expanduser(folder))
        if not os.path.isabs(place) and place.split(os.sep)[0] == os.pardir:
            yield (f'path.{key}: received {show(folder)}, which leads out of the folder that the command is started '
                   f'in. Give an absolute path, or say it on the command line: --force_yml path:{key}={folder}')


def _refusals(kind: Any, value: Any, where: str) -> list[str]:
    try:
        kind.parse(value, where)
    except ConfigError as error:
        return error.problems
    return []
