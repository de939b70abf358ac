"""How the keys of two LMDBs pair: the lines for the option file, tried on what was made."""
from __future__ import annotations

import re
from itertools import count, takewhile
from pathlib import Path

from image_pairs import image_size
from new_folder import PreparationError
from paired_layout import FoundPart
from paired_sets import PublishedSet
from tqdm import tqdm

from mcir_plugin.data import Pair, PairError, form_pairs, image_key, list_images, read_rule
from mcir_plugin.data.geometry import misfit
from mcir_plugin.data.listing import ListingError

PAIR_LIST = 'pairs.txt'
SHOWN = 5


def refuse_misfits(found: FoundPart) -> None:
    """Compares the sizes of all pairs, read from the headers of the files.

    Raises:
        PreparationError: for pairs whose sizes do not fit, and for files that are no images.
    """
    if found.layout.halves:
        return
    problems, sizes = [], {}
    for pair in tqdm(found.pairs, unit='pair', desc='Sizes'):
        lq, gt = (Path(listing.folder, listing.places[name]) for listing, name in (
            (found.lq, pair.lq), (found.gt, pair.gt)))
        try:
            sizes[gt] = sizes.get(gt) or image_size(gt)
            lq_size = image_size(lq)
            reason = misfit(sizes[gt], lq_size, 1, found.part.max_center_crop)
            if reason:
                problems.append(f'{gt} {_words(sizes[gt])} and {lq} {_words(lq_size)}: {reason}')
        except PreparationError as error:
            problems.append(f'{lq} or {gt} {error}')
    if problems:
        more = [f'... and {len(problems) - SHOWN} more'] if len(problems) > SHOWN else []
        raise PreparationError('\n  '.join([f'{len(problems)} of {len(found.pairs)} pairs cannot be used:',
                                            *problems[:SHOWN], *more]))


def _words(size: tuple[int, int]) -> str:
    return f'({size[0]} x {size[1]})'


def key_pairs(found: FoundPart, lines: dict[str, dict[str, str]]) -> list[Pair]:
    """The pairs of LMDB keys, sorted; a pair of files that was cut gives one pair per square.

    Args:
        found (FoundPart): the part.
        lines (dict[str, dict[str, str]]): per kind, key -> line of ``meta_info.txt``.
    """
    pairs = []
    for lq, gt in ((image_key(pair.lq), image_key(pair.gt)) for pair in found.pairs):
        endings = [''] if found.part.crop is None else list(takewhile(
            lambda ending, lq=lq: f'{lq}{ending}' in lines['lq'], (f'_s{number:03d}' for number in count(1))))
        pairs += [Pair(f'{lq}{ending}', f'{gt}{ending}') for ending in endings]
    return sorted(pairs)


def pairing_options(found: FoundPart, pairs: list[Pair], folder: Path) -> dict[str, str]:
    """The options by which the data set finds the pairs again; a list is written if no rule does.

    Args:
        found (FoundPart): the part.
        pairs (list[Pair]): the pairs of keys.
        folder (Path): where the LMDBs are.
    """
    text = re.sub('[./]', '_', found.layout.pair_by)  # keys hold neither dots nor slashes
    rule = read_rule(text)
    if found.layout.pair_list is None and all(rule.partner(pair.lq) == pair.gt for pair in pairs):
        return {'pair_by': text}
    building = folder / f'.{PAIR_LIST}.building'
    building.write_text(''.join(f'{pair.lq}\t{pair.gt}\n' for pair in pairs), encoding='ascii')
    building.replace(folder / PAIR_LIST)
    return {'pair_list': str(folder / PAIR_LIST)}


def check_pairing(found: FoundPart, pairs: list[Pair], options: dict[str, str], folder: Path) -> None:
    """Forms the pairs from the finished LMDBs as the data set will.

    Raises:
        PreparationError: if other pairs come out, or pairs whose recorded sizes do not fit.
    """
    rule = read_rule(options['pair_by']) if 'pair_by' in options else None
    try:
        lq, gt = (list_images(str(folder / f'{kind}.lmdb'), lmdb=True) for kind in ('lq', 'gt'))
        formed = form_pairs(lq, gt, rule, options.get('pair_list'))
    except (ListingError, PairError) as error:
        raise PreparationError(f'{folder} is damaged ({error}): remove it and run the command again.') from error
    wrong = [pair for pair in formed if misfit(gt.sizes[pair.gt], lq.sizes[pair.lq], 1, found.part.max_center_crop)]
    if sorted(formed) != pairs or wrong:
        raise PreparationError(f'{folder} does not hold the pairs of {found.lq.folder}'
                               f'{f", such as {wrong[0]}" if wrong else ""}: remove it and run the command again.')


def option_block(published: PublishedSet, found: FoundPart, options: dict[str, str], folder: Path) -> str:
    """The block of a data set for the option file."""
    phase = 'train' if found.part.name == 'train' else 'val'
    rows = {'name': f'{published.name}_{found.part.name}', 'type': 'PairedRestorationDataset',
            'dataroot_gt': folder / 'gt.lmdb', 'dataroot_lq': folder / 'lq.lmdb',
            **{name: f"'{text}'" if '{' in text else text for name, text in options.items()}}
    if found.part.max_center_crop:
        rows['max_center_crop'] = found.part.max_center_crop
    lines = [f'  {phase}:', *(f'    {name}: {value}' for name, value in rows.items()), '    io_backend:',
             '      type: lmdb']
    return '\n'.join(lines)
