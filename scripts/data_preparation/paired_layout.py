"""From the folder of a published set to its pairs; wrong layouts and wrong versions are refused by name."""
from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from new_folder import PreparationError
from paired_lists import PARTIAL, SHOWN, listed_pairs
from paired_sets import Layout, Part, PublishedSet

from mcir_plugin.data import Pair, PairError, form_pairs, image_key, list_images, read_rule
from mcir_plugin.data.listing import Listing, ListingError


@dataclass(frozen=True)
class FoundPart:
    """The pairs of a part as they lie on the disk.

    Args:
        part (Part): which part.
        layout (Layout): in which layout.
        lq (Listing): its inputs.
        gt (Listing): its ground truths.
        pairs (list[Pair]): names of inputs and of ground truths.
        version (str): the version that the counts belong to.
    """

    part: Part
    layout: Layout
    lq: Listing
    gt: Listing
    pairs: list[Pair]
    version: str

    @property
    def used_gt(self) -> list[str]:
        """The ground truths that some input needs, each once, in order."""
        return sorted({pair.gt for pair in self.pairs})


def find_parts(published: PublishedSet, root: Path, only: list[str], allow_partial: bool) -> list[FoundPart]:
    """The parts that lie in a folder, checked.

    Args:
        published (PublishedSet): the set.
        root (Path): the folder of the set; if one part is asked for, it may be the folder of that part.
        only (list[str]): parts to look for; empty for all that are there.
        allow_partial (bool): accept other numbers of images than published.

    Raises:
        PreparationError: nothing is there, a part that was asked for is missing, images without a partner, another
            version of the set, numbers that belong to no version.
    """
    if not root.is_dir():
        raise PreparationError(f'--input {root} is not a folder.')
    found = []
    for part in published.parts:
        if not only or part.name in only:
            place = _locate(part, root, only == [part.name])
            if place:
                found.append(_read(published, part, *place, allow_partial))
            elif only:
                raise PreparationError(_nothing(published, root, [part]))
    if not found:
        raise PreparationError(_nothing(published, root, list(published.parts)))
    return found


def _locate(part: Part, root: Path, root_may_be_part: bool) -> tuple[Path, Layout] | None:
    """The folder and the layout of a part, or None."""
    for folder in dict.fromkeys([*part.folders, *(['.'] if root_may_be_part else [])]):
        for layout in part.layouts:
            place = root / folder
            needed = [place / layout.lq, place / layout.gt]
            listed = layout.pair_list is None or (place / layout.pair_list).is_file()
            if listed and all(path.is_dir() for path in needed) and _has_files(place, layout):
                return place, layout
    return None


def _has_files(place: Path, layout: Layout) -> bool:
    """Whether a layout that is told by patterns, not by names of folders, is there."""
    return layout.lq_files == '*' or next((place / layout.lq).glob(layout.lq_files), None) is not None


def _nothing(published: PublishedSet, root: Path, parts: list[Part]) -> str:
    lines = [f'{root} does not hold {published.name} in a layout that is known. Expected below it:']
    for part in parts:
        places = ' or '.join(f'{folder}/' for folder in part.folders)
        layouts = '; or '.join(layout.words() for layout in part.layouts)
        lines.append(f'{part.name}: in {places} the folders {layouts}')
    there = sorted(path.name + '/' * path.is_dir() for path in root.iterdir() if not path.name.startswith('.'))
    more = f' and {len(there) - 2 * SHOWN} more' if len(there) > 2 * SHOWN else ''
    lines.append(f'Found: {", ".join(there[:2 * SHOWN]) or "nothing"}{more}. The set comes from {published.page}')
    return '\n  '.join(lines)


def _read(published: PublishedSet, part: Part, place: Path, layout: Layout, allow_partial: bool) -> FoundPart:
    lq = _listing(place / layout.lq, layout.lq_files)
    gt = lq if layout.halves else _listing(place / layout.gt, layout.gt_files)
    what = f'{published.name} {part.name}'
    if layout.pair_list:
        pairs = listed_pairs(place, layout, lq, gt, what, allow_partial)
    else:
        _refuse_other_versions(part, len(lq.places), len(gt.places), what)
        pairs = _ruled(layout, lq, gt, what, allow_partial)
    truths = len({pair.gt for pair in pairs})
    version = _version(published, part, len(pairs), truths, what, allow_partial)
    _refuse_equal_keys([pair.lq for pair in pairs])
    _refuse_equal_keys(sorted({pair.gt for pair in pairs}))
    return FoundPart(part, layout, lq, gt, pairs, version)


def _listing(folder: Path, files: str) -> Listing:
    try:
        listing = list_images(str(folder))
    except ListingError as error:
        raise PreparationError(f'{error}.') from error
    if files == '*':
        return listing
    return Listing(listing.folder, {name: path for name, path in listing.places.items() if fnmatch(path, files)})


def _ruled(layout: Layout, lq: Listing, gt: Listing, what: str, allow_partial: bool) -> list[Pair]:
    if layout.halves:  # one file holds both
        return [Pair(name, name) for name in lq.places]
    try:
        pairs = form_pairs(lq, gt, read_rule(layout.pair_by), where=what, allow_unused_gt=True)
    except PairError as error:
        raise PreparationError(f'{error}.') from error
    unused = sorted(set(gt.places) - {pair.gt for pair in pairs})
    if unused and not allow_partial:
        raise PreparationError(f'{what}: {len(unused)} of {len(gt.places)} ground truths in {gt.folder} belong to no '
                               f'input: {", ".join(unused[:SHOWN])}. Is the download complete? To leave them out, use '
                               f'{PARTIAL}.')
    return pairs


def _refuse_other_versions(part: Part, lq: int, gt: int, what: str) -> None:
    for counts, explanation in part.not_this:
        if counts.agrees(lq, gt):
            raise PreparationError(f'{what}: found {lq} inputs and {gt} ground truths, which is {counts.version}, '
                                   f'another set. {explanation}')


def _version(published: PublishedSet, part: Part, lq: int, gt: int, what: str, allow_partial: bool) -> str:
    """The name of the version that has these numbers."""
    _refuse_other_versions(part, lq, gt, what)
    for counts in part.versions:
        if counts.agrees(lq, gt):
            return counts.version
    if not part.versions:
        return 'numbers not on record'
    if allow_partial:
        return f'a part, {lq} inputs and {gt} ground truths'
    expected = '; '.join(counts.words() for counts in part.versions)
    raise PreparationError(f'{what}: found {lq} inputs and {gt} ground truths, but {expected}. Complete the download '
                           f'from {published.page}; if you mean to prepare these images only, use {PARTIAL}.')


def _refuse_equal_keys(names: list[str]) -> None:
    found: dict[str, str] = {}
    for name in names:
        other = found.setdefault(image_key(name), name)
        if other != name:
            raise PreparationError(f'{other} and {name} would get the same LMDB key {image_key(name)}: rename one.')


def reduced(found: FoundPart, count: int) -> FoundPart:
    """The first ``count`` inputs of a part. Raises PreparationError if that is no number of inputs."""
    if count < 1:
        raise PreparationError(f'--subset {count} must be 1 or more inputs.')
    return FoundPart(found.part, found.layout, found.lq, found.gt, found.pairs[:count],
                     f'the first {min(count, len(found.pairs))} inputs of {found.version}')

