"""GoPro (GOPRO_Large), blurry and sharp frames, into LMDBs: training frames in squares of 512, test frames whole.

    python scripts/data_preparation/prepare_gopro.py --input GOPRO_Large --output datasets/GoPro

Expected below --input: ``train/GOPR0372_07_00/blur/000047.png`` and ``.../sharp/000047.png``, the same in ``test``; or
as NAFNet has it, the same names in ``train/input`` and ``train/target``. As in NAFNet's recipe, the training frames
are cut into squares of 512 pixels, 256 apart: 8 from a frame of 720 x 1280, 16,824 in all. The blurry images are those
without gamma correction (``blur``, not ``blur_gamma``).
"""
from __future__ import annotations

import sys

from image_pairs import PairPlan
from paired_command import main
from paired_sets import Counts, Layout, Part, PublishedSet, either

LAYOUTS = (*either(('input', ), ('target', )), *either(('blur', ), ('sharp', )),
           Layout('.', '.', '{scene}/blur/{frame} -> {scene}/sharp/{frame}', lq_files='*/blur/*', gt_files='*/sharp/*'))
WHOLE = (Counts('training and test part in one folder', 3214, 3214), 'Keep them apart: 2,103 and 1,111.')
GOPRO = PublishedSet('GoPro', 'https://seungjunnah.github.io/Datasets/gopro', (
    Part('train', ('train', ), LAYOUTS, versions=(Counts('GoPro', 2103, 2103), ), not_this=(WHOLE, ),
         crop=PairPlan(1, 512, 256)),
    Part('test', ('test', ), LAYOUTS, versions=(Counts('GoPro', 1111, 1111), ), not_this=(WHOLE, ))))

if __name__ == '__main__':
    sys.exit(main(GOPRO, __doc__))
