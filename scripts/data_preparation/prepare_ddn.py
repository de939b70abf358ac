"""The rain set of the deep detail network (DDN-Data, Rain1400), 14 rainy images per clean one, into LMDBs.

    python scripts/data_preparation/prepare_ddn.py --input rainy_image_dataset --output datasets/DDN

Expected below --input: ``training/rainy_image/1_1.jpg`` and ``training/ground_truth/1.jpg``, the same in ``testing``;
or as IDT has it, ``train/input/1_1.jpg`` and ``train/groundtruth/1.jpg``. The clean image is named by the text before
``_``.
"""
from __future__ import annotations

import sys

from paired_command import main
from paired_sets import Counts, Layout, Part, PublishedSet, either

LAYOUTS = (*either(('rainy_image', 'rainy image'), ('ground_truth', 'ground truth'), 'prefix(_)'),
           Layout('input', 'groundtruth', 'prefix(_)'), Layout('input', 'target'))
FIRST_RELEASE = 'Its authors replaced it by 12,600 images for training and 1,400 for testing: take those.'
DDN = PublishedSet('DDN', 'https://xueyangfu.github.io/projects/cvpr2017.html', (
    Part('train', ('training', 'train'), LAYOUTS,
         versions=(Counts('DDN', 12600, 900), Counts('DDN with a ground truth per input', 12600, 12600)),
         not_this=((Counts('the first release', 9100), FIRST_RELEASE), )),
    Part('test', ('testing', 'test'), LAYOUTS,
         versions=(Counts('DDN', 1400, 100), Counts('DDN with a ground truth per input', 1400, 1400)),
         not_this=((Counts('the first release', 4900), FIRST_RELEASE), ))))

if __name__ == '__main__':
    sys.exit(main(DDN, __doc__))
