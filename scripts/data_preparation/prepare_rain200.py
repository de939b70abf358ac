"""Rain200L or Rain200H into LMDBs: 1,800 pairs for training, 200 for testing, in each of the two.

    python scripts/data_preparation/prepare_rain200.py --input Rain200H --output datasets/Rain200H

Expected below --input: ``rain_data_train_Heavy/rain/X2/norain-1x2.png`` and
``rain_data_train_Heavy/norain/norain-1.png`` (or ``Light``, or ``train`` for the folder; or the rainy images in
``rain``, with the same names or with ``x2``); or as IDT has it, ``train/input/rain-1.png`` and
``train/groundtruth/norain-1.png``; or as DRSformer has it, the same names in ``train/input`` and ``train/target``. The
same in ``test``.
"""
from __future__ import annotations

import sys

from paired_command import main
from paired_sets import Counts, Layout, Part, PublishedSet

LAYOUTS = (Layout('rain/X2', 'norain', '{}x2 -> {}'), Layout('rain', 'norain', '{}x2 -> {}', lq_files='*x2.png'),
           Layout('rain', 'norain'), Layout('input', 'groundtruth', 'rain-{} -> norain-{}'), Layout('input', 'target'))
OLDER = 'Rain200L and Rain200H are their successors with other images: 1,800 pairs for training, 200 for testing.'
RAIN200 = PublishedSet('Rain200', 'https://www.icst.pku.edu.cn/struct/Projects/joint_rain_removal.html', (
    Part('train', ('train', 'rain_data_train_Heavy', 'rain_data_train_Light'), LAYOUTS,
         versions=(Counts('Rain200', 1800, 1800), ),
         not_this=((Counts('the training part of Rain100L', 200, 200), OLDER), )),
    Part('test', ('test', 'rain_data_test_Heavy', 'rain_data_test_Light'), LAYOUTS,
         versions=(Counts('Rain200', 200, 200), ),
         not_this=((Counts('the test part of Rain100L or Rain100H', 100, 100), OLDER), ))))

if __name__ == '__main__':
    sys.exit(main(RAIN200, __doc__))
