"""From an option block to its pairs."""
from __future__ import annotations

from mcir_plugin.data.geometry import misfit
from mcir_plugin.data.listing import Listing, ListingError, Size, list_images
from mcir_plugin.data.options import PairedRestorationOptions
from mcir_plugin.data.pairs import Pair, PairError, form_pairs
from mcir_plugin.data.rules import PairRule, read_rule


def find_pairs(options: PairedRestorationOptions, where: str) -> tuple[Listing, Listing, list[Pair]]:
    """List both folders and form the pairs.

    Args:
        options (PairedRestorationOptions): The block.
        where (str): How errors name it.

    Returns:
        tuple[Listing, Listing, list[Pair]]: Inputs, ground truths, pairs.

    Raises:
        PairError: If a folder cannot be listed or an image has no partner.
    """
    lmdb = options.io_backend == 'lmdb'
    listings = []
    for root in ('dataroot_lq', 'dataroot_gt'):
        try:
            listings.append(list_images(getattr(options, root), lmdb))
        except ListingError as error:
            raise PairError(f'{where}.{root}: {error}') from error
    lq, gt = listings
    rule = None if options.pair_list else pair_rule(options)
    return lq, gt, form_pairs(lq, gt, rule, options.pair_list, where, options.allow_unused_gt)


def pair_rule(options: PairedRestorationOptions) -> PairRule:
    """Return the rule of the block; BasicSR's ``filename_tmpl`` is one from the other side."""
    return read_rule(f'{options.filename_tmpl} -> {{}}' if options.filename_tmpl else options.pair_by)


def size_problem(gt: Size, lq: Size, options: PairedRestorationOptions, phase: str) -> str:
    """Say why two images cannot be used as a pair; empty if they can.

    Args:
        gt (tuple[int, int]): Height and width of the ground truth.
        lq (tuple[int, int]): Height and width of the input.
        options (PairedRestorationOptions): The block.
        phase (str): ``train``, in which a crop must fit, or another.
    """
    patch = (options.gt_size or 1) // options.scale
    if phase == 'train' and min(lq) < patch:
        return f'the input is smaller than gt_size {options.gt_size}' + f' / scale {options.scale}' * (
            options.scale > 1)
    return misfit(gt, lq, options.scale, options.max_center_crop)
