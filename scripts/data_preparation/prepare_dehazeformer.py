"""RESIDE-6K, RESIDE-IN or RESIDE-OUT as DehazeFormer's authors distribute them, into LMDBs.

    python scripts/data_preparation/prepare_dehazeformer.py --input data/RESIDE-6K --output datasets/RESIDE-6K

Expected below --input: ``train/hazy/NAME`` and ``train/GT/NAME``, the same in ``test``: same names, one ground truth
per hazy image. Which of the sets it is shows in the numbers: 6,000 for training and 1,000 for testing are RESIDE-6K;
13,990 and 500 are RESIDE-IN. How many training images RESIDE-OUT has is not on record here: use --allow-partial for
it.
"""
from __future__ import annotations

import sys

from paired_command import main
from paired_sets import Counts, Part, PublishedSet, either

LAYOUTS = either(('hazy', ), ('GT', 'gt', 'clear'))
RESIDE = PublishedSet('RESIDE', 'https://github.com/IDKiro/DehazeFormer', (
    Part('train', ('train', ), LAYOUTS,
         versions=(Counts('RESIDE-6K', 6000, 6000), Counts('RESIDE-IN', 13990, 13990)),
         not_this=((Counts('ITS-v2', 110000), 'RESIDE-IN is made of ITS, which has 13,990 hazy images.'), )),
    Part('test', ('test', ), LAYOUTS,
         versions=(Counts('RESIDE-6K', 1000, 1000), Counts('RESIDE-IN or RESIDE-OUT', 500, 500)))))

if __name__ == '__main__':
    sys.exit(main(RESIDE, __doc__))
