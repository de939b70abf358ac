"""Variants: names that stand for a pair of blocks ``train.spn_opt`` and ``train.history_opt``."""
from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from mcir_plugin.config import LOSS_BLOCKS, ConfigError, load_options, read_contrast
from mcir_plugin.config.contrast import HISTORY_KEY, SPN_KEY, WITHOUT_HISTORY
from mcir_plugin.config.errors import did_you_mean, raise_if_any, show
from mcir_plugin.config.presets import PRESETS, preset_values

Blocks = dict[str, Any]
NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9.+-]*(_[A-Za-z0-9.+-]+)*')
PLAIN = 'none'
RESERVED = re.compile(r'.*_seed\d+')


def resolve_variants(names: list[str], opt: Mapping[str, Any]) -> dict[str, Blocks]:
    """Return the two blocks of every variant, in the order given.

    ``none`` has no term. ``spn`` is the file's own term if that is an SPN loss, else the published one. ``random`` is
    ``spn`` with one negative drawn per iteration. Every other contrastive loss goes by its name in lower case without
    "Loss", such as ``cr``, and every preset of the history by the name of the preset. ``NAME=FILE.yml`` is a variant
    of one's own: a file with ``spn_opt`` and, if wanted, ``history_opt``.

    Losses without a history take from the file's ``history_opt`` when and how the term acts (``interval``,
    ``weight_schedule``, ...), so that all variants follow one schedule.

    What belongs to the data and not to the variant is taken from the file's own term where it has one:
    ``range_norm``, and an extractor with random weights.

    Args:
        names (list[str]): As given on the command line.
        opt (Mapping): The options of the whole run.

    Returns:
        dict[str, dict]: ``{'spn_opt': ..., 'history_opt': ...}`` by name; None where there is no such block.

    Raises:
        ConfigError: Unknown or repeated names, files that cannot be used, variants that are the same. All problems are
            reported at once.
    """
    known, found, problems = known_variants(opt), {}, []
    for entry in names:
        name, separator, path = entry.partition('=')
        try:
            _check_name(name, entry, found)
            found[name] = _from_file(path, name) if separator else _known(name, known)
        except ConfigError as error:
            problems += error.problems
    raise_if_any(problems)
    raise_if_any(_equal_ones(found, opt))
    return found


def known_variants(opt: Mapping[str, Any]) -> dict[str, Blocks]:
    """Return every variant that goes by name alone, for the options of a run."""
    train = opt['train']
    own, history = (dict(train.get(key) or {}) for key in (SPN_KEY, HISTORY_KEY))
    kept = _of_the_data(own)
    spn = _blocks(own, history) if own and own.get('type', 'SPNLoss') == 'SPNLoss' else _blocks(
        {'type': 'SPNLoss', **kept}, history if _reads_history(own) else {})
    variants = {PLAIN: _blocks(None, None), 'spn': spn,
                'random': _blocks(spn[SPN_KEY], {**(spn[HISTORY_KEY] or {}), 'negatives_per_iter': 1})}
    for kind, block in LOSS_BLOCKS.items():
        same = own.get('type') == kind
        variants.setdefault(kind.removesuffix('Loss').lower(), _blocks(
            own if same else {'type': kind, **kept}, history if same or block.uses_history else _schedule(history)))
    for preset in PRESETS:
        variants.setdefault(preset, _blocks(spn[SPN_KEY], {'preset': preset}))
    return variants


def _equal_ones(found: Mapping[str, Blocks], opt: Mapping[str, Any]) -> Iterator[str]:
    """Yield which variants would train the same, whatever way their blocks are written."""
    terms: dict[str, Any] = {}
    for name, blocks in found.items():
        with suppress(ConfigError):  # what is wrong with a block is said where every variant is examined
            train = {**opt['train'], SPN_KEY: None, HISTORY_KEY: None, **blocks}
            term = read_contrast({'train': train})
            terms[name] = term and (term.spn, replace(term.history, preset=None))
    for name, other in combinations(terms, 2):
        if terms[name] == terms[other]:
            yield (f'--variants {name} {other}: both are the same term with the same history, so nothing would be '
                   'compared. Remove one of them')


def _blocks(loss: Mapping[str, Any] | None, history: Mapping[str, Any] | None) -> Blocks:
    return {SPN_KEY: None if loss is None else dict(loss), HISTORY_KEY: dict(history) if history else None}


def _reads_history(own: Mapping[str, Any]) -> bool:
    block = LOSS_BLOCKS.get(own.get('type', 'SPNLoss'))
    return bool(own) and block is not None and block.uses_history


def _schedule(history: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a history says when and how a term acts: a loss without past copies follows it, too."""
    full = {**_of_preset(history.get('preset')), **history}
    return {name: value for name, value in full.items()
            if name in WITHOUT_HISTORY and (name != 'seed' or history.get('crop_size') is not None)}


def _of_preset(name: Any) -> dict[str, Any]:
    # that there is no such preset is said where the variant is examined
    return preset_values(name) if isinstance(name, str) and name in PRESETS else {}


def _of_the_data(own: Mapping[str, Any]) -> dict[str, Any]:
    kept = {'range_norm': own['range_norm']} if 'range_norm' in own else {}
    weights = own.get('vgg_weights')
    return {**kept, 'vgg_weights': weights} if str(weights).startswith('random:') else kept


def _check_name(name: str, entry: str, found: Mapping[str, Blocks]) -> None:
    if not NAME.fullmatch(name) or RESERVED.fullmatch(name):
        raise ConfigError(f'--variants {entry}: received the name {show(name)}. Names consist of letters, digits, '
                          '. + - and single _ between them, and do not end in _seed<number>')
    if name in found:
        raise ConfigError(f'--variants {entry}: {name} is given twice. Remove one, or choose another name')


def _known(name: str, known: Mapping[str, Blocks]) -> Blocks:
    if name not in known:
        raise ConfigError(f'--variants {name}: there is no variant of this name{did_you_mean(name, known)}. Known: '
                          f'{", ".join(known)}. For one of your own write {name}=FILE.yml')
    return known[name]


def _from_file(path: str, name: str) -> Blocks:
    where = f'--variants {name}={path}'
    if not Path(path).is_file():
        raise ConfigError(f'{where}: there is no file {path!r}. Give the path of a file with {SPN_KEY} and, if wanted, '
                          f'{HISTORY_KEY}')
    given, allowed = load_options(path), (SPN_KEY, HISTORY_KEY)
    raise_if_any(f'{where}: {key} cannot be part of a variant{did_you_mean(key, allowed)}. Allowed: '
                 f'{" and ".join(allowed)}, at the top of the file' for key in given if key not in allowed)
    raise_if_any(f'{where}: {key}: received {show(block)}, must be a mapping of options'
                 for key, block in given.items() if not isinstance(block, Mapping | None))
    if given.get(SPN_KEY) is None:
        raise ConfigError(f'{where}: there is no {SPN_KEY}. Add {SPN_KEY}: {{type: SPNLoss}}, or use the variant '
                          f'{PLAIN} for training without the term')
    return _blocks(given[SPN_KEY], given.get(HISTORY_KEY))
