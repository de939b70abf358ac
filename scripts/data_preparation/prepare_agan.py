"""The raindrop set of the attentive GAN (AGAN-Data) into LMDBs: 861 pairs for training, and two test parts.

    python scripts/data_preparation/prepare_agan.py --input raindrop_data --output datasets/AGAN

Expected below --input: ``train/data/0_rain.png`` and ``train/gt/0_clean.png``, the same in ``test_a`` and ``test_b``;
or as IDT has it, ``train/input`` and ``train/groundtruth`` with the same names. The numbers of the test parts are not
checked.
"""
from __future__ import annotations

import sys

from paired_command import main
from paired_sets import Counts, Part, PublishedSet, either

LAYOUTS = either(('data', 'input'), ('gt', 'groundtruth'), '{}_rain -> {}_clean')
AGAN = PublishedSet('AGAN', 'https://github.com/rui1996/DeRaindrop', (
    Part('train', ('train', 'train/train'), LAYOUTS, versions=(Counts('AGAN', 861, 861), )),
    Part('test_a', ('test_a', 'test_a/test_a'), LAYOUTS),
    Part('test_b', ('test_b', 'test_b/test_b'), LAYOUTS)))

if __name__ == '__main__':
    sys.exit(main(AGAN, __doc__))
