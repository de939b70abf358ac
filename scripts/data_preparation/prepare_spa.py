"""SPA-Data, real rain, into LMDBs: several rainy patches per clean one.

    python scripts/data_preparation/prepare_spa.py --input SPA-Data --output datasets/SPA

Expected below --input for training: ``real_world/``, ``real_world_gt/`` and the list ``real_world.txt`` with one pair
of paths per line; for testing ``real_test_1000/`` and ``real_test_1000.txt``. Or as IDT and DRSformer have it, the
same names in ``train/input`` and ``train/groundtruth`` (or ``target``). Some lines of the list name files that are not
in the archive: the command names them, and --allow-partial leaves them out. A list of the pairs is written beside the
LMDBs.
"""
from __future__ import annotations

import sys

from paired_command import main
from paired_sets import Counts, Layout, Part, PublishedSet, either

PAIRED = either(('input', ), ('groundtruth', 'target'))
SPA = PublishedSet('SPA', 'https://stevewongv.github.io/derain-project.html', (
    Part('train', ('.', 'train', 'training', 'real_world'), (Layout('.', '.', pair_list='real_world.txt'), *PAIRED),
         versions=(Counts('SPA-Data, 638,492 lines', 638492), Counts('SPA-Data, 638,493 lines', 638493),
                   Counts('SPA-Data of IDT', 638464, 638464), Counts('SPA-Data, a ground truth each', 638492, 638492))),
    Part('test', ('.', 'testing'), (Layout('real_test_1000', 'real_test_1000', pair_list='real_test_1000.txt'),
                                       *either(('test/input', ), ('test/groundtruth', 'test/target'))),
         versions=(Counts('SPA-Data', 1000, 1000), ))))

if __name__ == '__main__':
    sys.exit(main(SPA, __doc__))
