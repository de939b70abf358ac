"""Pairs of a degraded image (lq) and its ground truth (gt), many to one or renamed. Knows no toolbox, imports no torch.

    rules.py      which ground truth belongs to which input: the option ``pair_by``
    listing.py    the images of a folder or of an LMDB by name
    pairs.py      all pairs of one data set, or one error about those that cannot be formed
    geometry.py   sizes that fit, centre crops, crops at the border
    options.py    the typed option block of ``PairedRestorationDataset``
    block.py      from the block to its pairs
"""
from mcir_plugin.data.block import find_pairs, pair_rule, size_problem
from mcir_plugin.data.listing import IMAGE_SUFFIXES, image_key, list_images
from mcir_plugin.data.options import PairedRestorationOptions, read_dataset_options
from mcir_plugin.data.pairs import Pair, PairError, form_pairs
from mcir_plugin.data.rules import PairRule, read_rule

__all__ = [
    'IMAGE_SUFFIXES',
    'Pair',
    'PairError',
    'PairRule',
    'PairedRestorationOptions',
    'find_pairs',
    'form_pairs',
    'image_key',
    'list_images',
    'pair_rule',
    'read_dataset_options',
    'read_rule',
    'size_problem',
]
