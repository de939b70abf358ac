"""RESIDE's indoor training set (ITS), 13,990 hazy images of 1,399 clear ones, into LMDBs for training.

    python scripts/data_preparation/prepare_its.py --input ITS --output datasets/ITS

Expected below --input: ``hazy/1_1_0.90179.png`` and ``clear/1.png``. The clear image is the one named by the text
before the first ``_``.
"""
from __future__ import annotations

import sys

from paired_command import main
from paired_sets import Counts, Part, PublishedSet, either

CLEAR = ('clear', 'gt', 'GT')
ITS = PublishedSet('ITS', 'https://sites.google.com/view/reside-dehaze-datasets/reside-standard', (
    Part('train', ('.', 'ITS', 'train'), either(('hazy', ), CLEAR, 'prefix(_)'),
         versions=(Counts('ITS', 13990, 1399), ),
         not_this=((Counts('ITS-v2', 110000), 'ITS as it is trained on in the literature has 13,990 hazy images of '
                    '1,399 clear ones: take it from the RESIDE-Standard page.'), ),
         max_center_crop=10), ))

if __name__ == '__main__':
    sys.exit(main(ITS, __doc__))
