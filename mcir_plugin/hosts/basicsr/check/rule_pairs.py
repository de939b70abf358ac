"""Pairs of `PairedRestorationDataset`: formed by its rule or list, looked at like all others."""
from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from mcir_plugin.data import find_pairs, read_dataset_options, size_problem
from mcir_plugin.hosts.basicsr.check.findings import Section
from mcir_plugin.hosts.basicsr.check.pairs import Pair, Pairs
from mcir_plugin.hosts.basicsr.check.sources import FolderImages, LmdbImages, Size


class RulePairs(Pairs):
    """The pairs of one phase, as PairedRestorationDataset forms them.

    Args:
        block (Mapping): The phase's options.
        where (str): Option path of the phase.
        section (Section): Takes the findings.

    Raises:
        ConfigError: If the block is wrong.
        PairError: If an image has no partner.
    """

    def __init__(self, block: Mapping[str, Any], where: str, section: Section) -> None:
        self.options = read_dataset_options(block)
        self.listed_lq, self.listed_gt, self.named = find_pairs(self.options, where)
        images = LmdbImages if self.options.io_backend == 'lmdb' else FolderImages
        super().__init__(block, where, images(self.options.dataroot_gt), images(self.options.dataroot_lq), section)

    def _formed(self, gt: Collection[str], lq: Collection[str], lmdb: bool) -> list[Pair]:
        return [(self.listed_gt.places[pair.gt], self.listed_lq.places[pair.lq]) for pair in self.named]

    def _misfit(self, gt: Size, lq: Size) -> str:
        return size_problem(gt, lq, self.options, self.block['phase'])
