"""RESIDE's outdoor training set (OTS), 35 hazy images per clear one, into LMDBs for training.

    python scripts/data_preparation/prepare_ots.py --input OTS --output datasets/OTS

Expected below --input: ``hazy/0025_0.8_0.04.jpg`` and ``clear/0025.jpg``. The clear image is the one named by the text
before the first ``_``. Two versions are known by their numbers: v0 with 313,950 hazy images of 8,970 clear ones, and
beta with 72,135 of 2,061. Scenes of SOTS outdoor occur in both.
"""
from __future__ import annotations

import sys

from paired_command import main
from paired_sets import Counts, Part, PublishedSet, either

OTS = PublishedSet('OTS', 'https://sites.google.com/view/reside-dehaze-datasets', (
    Part('train', ('.', 'OTS', 'train'), either(('hazy', 'haze'), ('clear', 'gt', 'GT'), 'prefix(_)'),
         versions=(Counts('OTS v0', 313950, 8970), Counts('OTS beta', 72135, 2061)),
         max_center_crop=10), ))

if __name__ == '__main__':
    sys.exit(main(OTS, __doc__))
