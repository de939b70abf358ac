"""Pairs of a ground truth and an input: do they belong together, are they whole, do their sizes fit?"""
from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any, TypeVar

from mcir_plugin.config.errors import listed
from mcir_plugin.config.kinds import Number
from mcir_plugin.data.bad_images import BadImageOptions, read_bad_image_options
from mcir_plugin.data.encoded import is_cut_off
from mcir_plugin.hosts.basicsr.check.findings import Section
from mcir_plugin.hosts.basicsr.check.sources import Images, Peek, Size, decoded_size

ALL_BELOW, SAMPLE, DECODED = 2000, 500, 8
SAYINGS = {
    'missing': 'cannot be found',
    'empty': 'are empty',
    'unended': 'are truncated, their end is missing',
    'foreign': 'are no images that can be decoded',
    '16bit': 'have more than 8 bits per channel, of which BasicSR keeps the upper 8 (allow_16bit)',
    'grey': 'are grey and would get three equal channels (allow_grey)',
}
ItemT = TypeVar('ItemT')
Pair = tuple[str, str]  # names of the ground truth and of the input


class Pairs:
    """The pairs of one phase, as PairedImageDataset forms them.

    Args:
        block (Mapping): The phase's options.
        where (str): Option path of the phase.
        gt (Images): Ground truths.
        lq (Images): Inputs.
        section (Section): Takes the findings.

    Raises:
        ConfigError: If the scale is no number.
    """

    def __init__(self, block: Mapping[str, Any], where: str, gt: Images, lq: Images, section: Section) -> None:
        self.block, self.where, self.gt, self.lq, self.section = block, where, gt, lq, section
        self.scale = Number(above=0).parse(block.get('scale', 1), 'scale')
        is_train = block['phase'] == 'train'
        self.patch = block.get('gt_size') if is_train else None
        self.taken = read_bad_image_options(block, where, is_train)

    def check(self, lmdb: bool) -> None:
        """Form the pairs, look at all or many of them, decode a few."""
        gt, lq = self.gt.names(), self.lq.names()
        pairs = self._formed(gt, lq, lmdb)
        suspects = [pair for pair in pairs if gt.get(pair[0]) and lq.get(pair[1])
                    and self._misfit(gt[pair[0]], lq[pair[1]])]
        looked = chosen(pairs, suspects)
        gt_peeks = look_at(self.gt, list(dict.fromkeys(pair[0] for pair in looked)), self._label('gt'), self.section,
                           self.taken)
        lq_peeks = look_at(self.lq, [pair[1] for pair in looked], self._label('lq'), self.section, self.taken)
        sizes = {pair: (gt_peeks[pair[0]].size, lq_peeks[pair[1]].size) for pair in looked
                 if gt_peeks[pair[0]].state == lq_peeks[pair[1]].state == 'fine'}
        decoded = random.Random(0).sample(sorted(sizes), min(DECODED, len(sizes)))
        sizes.update((pair, (self._size('gt', pair[0]), self._size('lq', pair[1]))) for pair in decoded)
        self._report_sizes({pair: both for pair, both in sizes.items() if None not in both})
        self.section.say(f'{self.where}: {len(pairs)} pairs, {len(looked)} looked at, {len(decoded)} decoded')

    def _formed(self, gt: Collection[str], lq: Collection[str], lmdb: bool) -> list[Pair]:
        return self._by_key(gt, lq) if lmdb else self._by_name(gt, lq)

    def _by_key(self, gt: Collection[str], lq: Collection[str]) -> list[Pair]:
        self._unpaired('gt', 'keys', [key for key in gt if key not in lq])
        self._unpaired('lq', 'keys', [key for key in lq if key not in gt])
        return [(key, key) for key in gt if key in lq]

    def _by_name(self, gt: Collection[str], lq: Collection[str]) -> list[Pair]:
        listing = self.block.get('meta_info_file')
        if listing:
            names = [line.split(' ')[0] for line in Path(listing).read_text().splitlines()]
            return [(name, self._partner(name)) for name in names]
        partners = {name: self._partner(name) for name in gt}
        self._unpaired('gt', 'images', [name for name, partner in partners.items() if partner not in lq])
        known = set(partners.values())
        self._unpaired('lq', 'images', [name for name in lq if name not in known])
        return [(name, partner) for name, partner in partners.items() if partner in lq]

    def _partner(self, name: str) -> str:
        path = PurePath(name)
        return self.block.get('filename_tmpl', '{}').format(path.stem) + path.suffix

    def _unpaired(self, kind: str, what: str, names: list[str]) -> None:
        if names:
            other = 'lq' if kind == 'gt' else 'gt'
            self.section.problem(f'{self._label(kind)}: {len(names)} {what} without a partner in dataroot_{other} '
                                 f'({getattr(self, other).folder}): {listed(names)}')

    def _size(self, kind: str, name: str) -> Size | None:
        size = decoded_size(getattr(self, kind).read(name))
        if size is None:
            self.section.problem(f'{self._label(kind)}: {name} cannot be decoded')
        return size

    def _misfit(self, gt: Size, lq: Size) -> str:
        """Return what training, or the metrics of a validation, would stumble over."""
        wanted = tuple(side * self.scale for side in lq)
        if gt != wanted if self.block['phase'] == 'train' else min(g - w for g, w in zip(gt, wanted, strict=True)) < 0:
            return f'dataroot_gt is not {self.scale:g} times as large as dataroot_lq (scale)'
        if isinstance(self.patch, int) and min(lq) < self.patch // self.scale:
            return f'the images are smaller than gt_size {self.patch}'
        return ''

    def _report_sizes(self, sizes: Mapping[Pair, tuple[Size, Size]]) -> None:
        found: dict[str, list[str]] = {}
        for (name, _), (gt, lq) in sizes.items():
            reason = self._misfit(gt, lq)
            if reason:
                found.setdefault(reason, []).append(f'{name} (gt {gt[0]} x {gt[1]}, lq {lq[0]} x {lq[1]})')
        for reason, names in found.items():
            self.section.problem(f'{self.where}: in {len(names)} of {len(sizes)} pairs {reason}: {listed(names, 3)}')

    def _label(self, kind: str) -> str:
        return f'{self.where}.dataroot_{kind} ({getattr(self, kind).folder})'


def look_at(source: Images, names: list[str], label: str, section: Section,
            options: BadImageOptions | None = None) -> dict[str, Peek]:
    """Look at the beginning and the end of some images and report what is wrong with them.

    Args:
        source (Images): Where they lie.
        names (list[str]): Which ones.
        label (str): Option path and folder, for the report.
        section (Section): Takes the findings.
        options (BadImageOptions | None): Sorts of images that are taken. Default: those of a training set.
    """
    if not names:
        section.problem(f'{label}: there are no images')
    options = options or BadImageOptions()
    allowed = {'grey': options.allow_grey, '16bit': options.allow_16bit, '': True}
    peeks = {name: _second_look(source, name, source.peek(name)) for name in names}
    states = {name: peek.oddity if peek.state == 'fine' and not allowed[peek.oddity] else peek.state
              for name, peek in peeks.items()}
    for state, saying in SAYINGS.items():
        bad = [name for name, found in states.items() if found == state]
        if bad:
            section.problem(f'{label}: {len(bad)} of {len(peeks)} {saying}: '
                            f'{listed(name or "(blank line)" for name in bad)}')
    return peeks


def _second_look(source: Images, name: str, peek: Peek) -> Peek:
    """Clear an image of a suspicion that its first and last bytes raised, if all of it does."""
    if peek.state == 'unended':
        return peek if is_cut_off(source.read(name)) else peek._replace(state='fine')
    if peek.state == 'foreign':
        size = decoded_size(source.read(name))
        return Peek('fine', size) if size else peek
    return peek


def chosen(items: list[ItemT], suspects: Iterable[ItemT] = ()) -> list[ItemT]:
    """Return all items if they are few, otherwise the suspects and a sample that is the same every time."""
    if len(items) < ALL_BELOW:
        return items
    return list(dict.fromkeys([*list(suspects)[:SAMPLE], *random.Random(0).sample(items, SAMPLE)]))
