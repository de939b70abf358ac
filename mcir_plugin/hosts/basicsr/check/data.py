"""Stage *data*: what lies in the folders of every phase."""
from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.data.realesrgan_paired_dataset import RealESRGANPairedDataset
from basicsr.utils.registry import DATASET_REGISTRY

from mcir_plugin.data.bad_images import read_bad_image_options
from mcir_plugin.hosts.basicsr.check.context import Context
from mcir_plugin.hosts.basicsr.check.findings import Section
from mcir_plugin.hosts.basicsr.check.pairs import Pairs, chosen, look_at
from mcir_plugin.hosts.basicsr.check.rule_pairs import RulePairs
from mcir_plugin.hosts.basicsr.check.sources import FolderImages, LmdbImages
from mcir_plugin.hosts.basicsr.lookup import lookup
from mcir_plugin.hosts.basicsr.paired_restoration_dataset import PairedRestorationDataset

ROOTS = ('dataroot_gt', 'dataroot_lq')


def check_data(context: Context, section: Section) -> None:
    """Look into the folders of every phase: keys, pairs, damaged images, sizes."""
    unseen = []
    for phase, block in context.opt['datasets'].items():
        where = f'datasets.{phase}'
        with section.guard(where), _tolerant(block, section):
            folders = {root: block[root] for root in ROOTS if isinstance(block.get(root), str)}
            if all(os.path.isdir(folder) for folder in folders.values()):
                _check_phase(block, where, folders, section)
            else:
                unseen.append(where)
    if len(unseen) == len(context.opt['datasets']):
        section.skipped = 'the folders are missing, see files above'
    elif unseen:
        section.say(f'{", ".join(unseen)}: not looked into, see files above')


@contextmanager
def _tolerant(block: Mapping[str, Any], section: Section) -> Iterator[None]:
    """Turn findings into warnings where training would get along with some bad images."""
    before = len(section.problems)
    yield
    if block.get('max_bad_images') and block['phase'] == 'train':
        found, section.problems[before:] = section.problems[before:], []
        for text in found:
            section.warn(f'{text}. Training takes others, up to max_bad_images ({block["max_bad_images"]})')


def _check_phase(block: Mapping[str, Any], where: str, folders: dict[str, str], section: Section) -> None:
    lmdb = (block.get('io_backend') or {}).get('type') == 'lmdb'
    if lmdb and not _whole_databases(block, where, folders, section):
        return
    cls = lookup(DATASET_REGISTRY, block.get('type'))
    if isinstance(cls, type) and issubclass(cls, PairedRestorationDataset):
        with section.guard():
            RulePairs(block, where, section).check(lmdb)
        return
    paired = isinstance(cls, type) and issubclass(cls, (PairedImageDataset, RealESRGANPairedDataset))
    if 'num_frame' in block or not (paired or lmdb) or (paired and not lmdb and block.get('meta_info')):
        section.say(f'{where}: {block.get("type")} has a layout of its own; its first sample is read below')
        return
    images = {root: (LmdbImages if lmdb else FolderImages)(folder) for root, folder in folders.items()}
    if paired:
        absent = [root for root in ROOTS if root not in images]
        for root in absent:
            section.problem(f'{where}.{root}: {block["type"]} needs this folder')
        if not absent:
            Pairs(block, where, images['dataroot_gt'], images['dataroot_lq'], section).check(lmdb)
        return
    taken = read_bad_image_options(block, where, block['phase'] == 'train')
    for root, source in images.items():
        look_at(source, chosen(list(source.names())), f'{where}.{root} ({source.folder})', section, taken)


def _whole_databases(block: Mapping[str, Any], where: str, folders: dict[str, str], section: Section) -> bool:
    """Report folders that BasicSR would not take for an LMDB; video data sets keep their keys elsewhere."""
    before = len(section.problems)
    for root, folder in folders.items():
        if not folder.endswith('.lmdb'):
            section.problem(f'{where}.{root}: {folder} does not end in .lmdb, by which BasicSR knows an LMDB. '
                            'Rename it, or use io_backend: {type: disk}')
        needed = ['data.mdb'] if 'num_frame' in block else ['data.mdb', 'meta_info.txt']
        absent = [name for name in needed if not os.path.isfile(os.path.join(folder, name))]
        if absent:
            section.problem(f'{where}.{root}: {folder} is no LMDB of BasicSR, it lacks {" and ".join(absent)}')
    return len(section.problems) == before
