"""All pairs of one data set, or one error about those that cannot be formed."""
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from mcir_plugin.config.errors import ConfigError
from mcir_plugin.data.listing import Listing, without_suffix
from mcir_plugin.data.rules import PairRule, read_rule
from mcir_plugin.errors import McirError

SHOWN = 5  # so many offenders are named
COMMON_RULES = ('same_name', 'prefix(_)', 'prefix(-)', '{}x2 -> {}', '{}x4 -> {}', 'rain-{} -> norain-{}',
                '{}_rain -> {}_clean')
ONE_FOLDER = ('Where inputs and ground truths lie in one folder, list the pairs in a pair_list, or sort them into two '
              'folders (scripts/data_preparation does it for published sets)')


class PairError(McirError, ValueError):
    """Images that form no pairs, do not fit each other, or cannot be read."""


class Pair(NamedTuple):
    """The names of one input and of its ground truth, without suffix. Many pairs may share a ground truth."""

    lq: str
    gt: str


def form_pairs(lq: Listing, gt: Listing, rule: PairRule | None, pair_list: str | None = None, where: str = 'pairs',
               allow_unused_gt: bool = False) -> list[Pair]:
    """Give every input its ground truth, in the order of the inputs.

    Args:
        lq (Listing): The inputs.
        gt (Listing): The ground truths.
        rule (PairRule | None): Name of an input -> name of its ground truth. Ignored if there is a list.
        pair_list (str | None): Text file with one pair per line, input first, separated by a tab or by blanks; names
            relative to the two folders, with or without suffix. Images that it does not name are left out. Empty
            lines are skipped.
        where (str): Name of the phase, for the error.
        allow_unused_gt (bool): Ground truths without an input are no error. Default: False.

    Raises:
        PairError: Inputs without a ground truth, ground truths without an input, inputs that the rule makes their own
            ground truth, or a line of the list that names no pair: one error with the counts, the folders and the
            first names.
    """
    if pair_list:
        return _listed_pairs(lq, gt, pair_list, where)
    wanted = {name: rule.partner(name) for name in lq.places}
    problems = list(_without_partner(lq, gt, rule, wanted)) or list(_with_themselves(lq, gt, rule, wanted))
    used = set(wanted.values())
    unused = [name for name in gt.places if name not in used]
    if unused and not (problems or allow_unused_gt):  # misread names leave ground truths over as well
        problems.append(f'{len(unused)} of {len(gt.places)} images in dataroot_gt ({gt.folder}) belong to no input: '
                        f'{_first(gt.places[name] for name in unused)}. If that is meant, use allow_unused_gt: true')
    if problems:
        raise PairError(f'{where}: {". ".join(problems)}')
    same = {name: name for name in gt.places}  # one text object per ground truth, however many pairs share it
    return [Pair(name, same[partner]) for name, partner in wanted.items()]


def _without_partner(lq: Listing, gt: Listing, rule: PairRule, wanted: dict[str, str | None]) -> Iterator[str]:
    misfits = [name for name, partner in wanted.items() if partner is None]
    missing = [name for name, partner in wanted.items() if partner is not None and partner not in gt.places]
    total = f'of {len(lq.places)} images in dataroot_lq ({lq.folder})'
    if misfits:
        yield f'{len(misfits)} {total} do not fit pair_by {rule.text}: {_first(lq.places[name] for name in misfits)}'
    if missing:
        names = _first(f'{lq.places[name]} (needs {wanted[name]})' for name in missing)
        yield (f'{len(missing)} {total} have no ground truth in dataroot_gt ({gt.folder}) by pair_by {rule.text}: '
               f'{names}')
    if misfits or missing:
        yield from _suggestions(lq, gt)


def _suggestions(lq: Listing, gt: Listing) -> Iterator[str]:
    """Name a common rule that gives every input a ground truth other than itself, if there is one."""
    for text in COMMON_RULES:
        rule = read_rule(text)
        wanted = {name: rule.partner(name) for name in lq.places}
        if all(partner in gt.places for partner in wanted.values()) and not _own_truths(lq, gt, wanted):
            yield f"With pair_by: '{text}' every input would have one"
            return
    if os.path.realpath(lq.folder) == os.path.realpath(gt.folder):
        yield ONE_FOLDER


def _with_themselves(lq: Listing, gt: Listing, rule: PairRule, wanted: dict[str, str]) -> Iterator[str]:
    own = _own_truths(lq, gt, wanted)
    if own:
        yield (f'pair_by {rule.text} makes {len(own)} of {len(lq.places)} images in dataroot_lq ({lq.folder}) their '
               f'own ground truth in dataroot_gt ({gt.folder}): {_first(lq.places[name] for name in own)}. '
               f'{ONE_FOLDER}')


def _own_truths(lq: Listing, gt: Listing, wanted: dict[str, str]) -> list[str]:
    """Return the inputs whose ground truth is the same file, which happens where one folder lies in the other."""
    roots = lq_root, gt_root = [os.path.realpath(listing.folder) for listing in (lq, gt)]
    if os.path.commonpath(roots) not in roots:
        return []
    return [name for name, partner in wanted.items()
            if os.path.join(lq_root, lq.places[name]) == os.path.join(gt_root, gt.places[partner])]


def _listed_pairs(lq: Listing, gt: Listing, pair_list: str, where: str) -> list[Pair]:
    pairs, wrong = [], []
    for number, line in enumerate(read_lines(pair_list, where), 1):
        if not line.strip():
            continue
        names = [name.strip() for name in (line.split('\t') if '\t' in line else line.split())]
        problem = _line_problem(names, lq, gt)
        if problem:
            wrong.append(f'line {number} {problem}')
        else:
            pairs.append(Pair(*map(listed_name, names)))
    if wrong:
        raise PairError(f'{where}: {len(wrong)} lines of pair_list {pair_list} name no pair: {_first(wrong)}. '
                        'A line holds the names of an input and of its ground truth, relative to dataroot_lq '
                        f'({lq.folder}) and dataroot_gt ({gt.folder}), separated by a tab or by blanks')
    if not pairs:
        raise PairError(f'{where}: pair_list {pair_list} holds no pair')
    same = {name: name for name in gt.places}
    return [Pair(pair.lq, same[pair.gt]) for pair in pairs]


def listed_name(text: str) -> str:
    """Return a name of a list as listings spell it: relative, without suffix."""
    return without_suffix(text.removeprefix('./').lstrip('/'))


def read_lines(pair_list: str, where: str) -> list[str]:
    """Return the lines of a list.

    Raises:
        ConfigError: If there is no such text file.
    """
    try:
        return Path(pair_list).read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f'{where}.pair_list: {pair_list} cannot be read ({error}). Give a text file with one pair of '
                          'names per line') from error


def _line_problem(names: list[str], lq: Listing, gt: Listing) -> str:
    if len(names) != 2:
        return f'holds {len(names)} name{"s" * (len(names) != 1)}'
    absent = [f'{name} is not in dataroot_{kind}' for name, kind, listing in zip(
        names, ('lq', 'gt'), (lq, gt), strict=True) if listed_name(name) not in listing.places]
    return f'({" and ".join(absent)})' if absent else ''


def _first(names: Iterable[str]) -> str:
    shown = list(names)
    return ', '.join(shown[:SHOWN]) + (f' and {len(shown) - SHOWN} more' if len(shown) > SHOWN else '')
