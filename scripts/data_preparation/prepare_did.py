"""The rain set of DID-MDN (DID-Data, Rain1200) into LMDBs.

    python scripts/data_preparation/prepare_did.py --input DID-MDN-training --output datasets/DID

Expected below --input for training: ``Rain_Heavy/train2018new/1.jpg``, ``Rain_Medium`` and ``Rain_Light``, in which
every file holds the rainy image on the left and the clean one on the right; or as IDT has it, ``train/input/1.jpg``
and ``train/groundtruth/1.jpg``, the same in ``test``. Side by side files are cut and stored as PNG.
"""
from __future__ import annotations

import sys

from paired_command import main
from paired_sets import Counts, Layout, Part, PublishedSet, either

PAIRED = either(('input', ), ('groundtruth', 'target'))
DID = PublishedSet('DID', 'https://github.com/hezhangsprinter/DID-MDN', (
    Part('train', ('train', '.', 'DID-MDN-training'),
         (*PAIRED, Layout('.', '.', lq_files='Rain_*/train2018new/*', halves=True)),
         versions=(Counts('DID', 12000, 12000), )),
    Part('test', ('test', ), PAIRED, versions=(Counts('DID', 1200, 1200), ))))

if __name__ == '__main__':
    sys.exit(main(DID, __doc__))
