"""RESIDE's test sets SOTS indoor and outdoor into LMDBs for validation.

    python scripts/data_preparation/prepare_sots.py --input SOTS --output datasets/SOTS

Expected below --input: ``indoor/hazy/1400_1.png`` and ``indoor/clear/1400.png``; ``outdoor/hazy/0001_0.8_0.2.jpg`` and
``outdoor/clear/0001.png`` (``gt`` will do for ``clear``, and ``nyuhaze500`` for ``indoor``). The indoor clear images
are larger than the hazy ones by 10 pixels at each side; they are stored as they are, and cut to their centre when they
are read (``max_center_crop``).
"""
from __future__ import annotations

import sys

from paired_command import main
from paired_sets import Counts, Part, PublishedSet, either

CLEAR = ('clear', 'gt', 'GT')
SOTS = PublishedSet('SOTS', 'https://sites.google.com/view/reside-dehaze-datasets/reside-standard', (
    Part('indoor', ('indoor', 'indoor/nyuhaze500', 'nyuhaze500', 'SOTS/indoor', 'SOTS/indoor/nyuhaze500'),
         either(('hazy', ), CLEAR, 'prefix(_)'),
         versions=(Counts('SOTS indoor', 500, 50), ), max_center_crop=10),
    Part('outdoor', ('outdoor', 'SOTS/outdoor'), either(('hazy', ), CLEAR, 'prefix(_)'),
         versions=(Counts('SOTS outdoor', 500, 492), ))))

if __name__ == '__main__':
    sys.exit(main(SOTS, __doc__))
