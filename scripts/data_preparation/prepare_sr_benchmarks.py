"""The test sets of super-resolution from their HR images: Set5, Set14, B100, Urban100, Manga109.

    python scripts/data_preparation/prepare_sr_benchmarks.py --input Set5/HR --output datasets/Set5

It makes ``OUTPUT/GTmod12`` and ``OUTPUT/LRbicx2``, ``LRbicx3``, ``LRbicx4`` as the toolbox's users know them: PNG files
of the same names, HR cropped at the right and lower edge to sides that are multiples of 12, LR by MATLAB's bicubic.

Expected in --input: the HR images. Where HR and LR lie in one folder (``img_001_SRF_4_HR.png``), those that end in
``_HR`` are taken. Of Urban100 the images for x4 (``SRF_4``) are the ground truth of every scale; those for x2 are
others and are refused. The set is known by the name of the output folder, or by --set; its number of images is checked.
"""
from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from image_pairs import basicsr_imresize, bicubic_lr, find_images, read_image
from new_folder import PreparationError, new_folder, refuse_existing
from tqdm import tqdm
from worker_pool import FEWER, raise_all, worker_pool

IMAGES = {'Set5': 5, 'Set14': 14, 'B100': 100, 'Urban100': 100, 'Manga109': 109}
SCALES = (2, 3, 4)
MULTIPLE = 12  # of all scales


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace; argparse itself exits with 2 on what it cannot read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--input', type=Path, required=True, help='folder of HR images')
    parser.add_argument('--output', type=Path, required=True, help='folder to make, such as datasets/Set5')
    parser.add_argument('--set', choices=IMAGES, help='which set it is (default: the name of --output)')
    parser.add_argument('--allow-partial', action='store_true', help='accept another number of images than published')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1, help='processes (default: all cores)')
    return parser.parse_args(arguments)


def images_of(arguments: argparse.Namespace) -> dict[str, Path]:
    """The HR images by their new name. Raises PreparationError for another set, version or number of images."""
    name = arguments.set or arguments.output.name
    if name not in IMAGES:
        raise PreparationError(f'--output {arguments.output} is named after none of {", ".join(IMAGES)}: say which set '
                               'it is by --set.')
    found = find_images(arguments.input, [], [])
    found = {key: path for key, path in found.items() if path.stem.endswith('_HR')} or found
    other = [path.name for path in found.values() if '_SRF_2_' in path.name or '_SRF_3_' in path.name]
    if name == 'Urban100' and other:
        raise PreparationError(f'{len(other)} images are those of Urban100 for another scale ({other[0]}), whose sides '
                               'differ. Take the folder image_SRF_4 for every scale.')
    if len(found) != IMAGES[name] and not arguments.allow_partial:
        raise PreparationError(f'--input {arguments.input} holds {len(found)} images, but {name} has {IMAGES[name]}. '
                               'Complete it; if you mean to prepare these images only, use --allow-partial.')
    return found


def work_on(entry: tuple[str, Path], folder: Path) -> str:
    """What one process does with one image: all scales. Returns what is wrong with it, or nothing."""
    key, path = entry
    try:
        image = read_image(path)
        height, width = (side - side % MULTIPLE for side in image.shape[:2])
        if not height or not width:
            return f'{path} is smaller ({image.shape[1]}x{image.shape[0]}) than {MULTIPLE} pixels'
        image = image[:height, :width]
        _save(folder / 'GTmod12', key, image)
        for scale in SCALES:
            _save(folder / f'LRbicx{scale}', key, bicubic_lr(image, scale))
    except PreparationError as error:
        return f'{path} {error}'
    return ''


def _save(folder: Path, key: str, image: np.ndarray) -> None:
    """Writes a PNG file and reads it back."""
    path = folder / f'{key}.png'
    if not cv2.imwrite(str(path), image) or not np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), image):
        raise OSError(f'{path} could not be written')


def main(arguments: list[str] | None = None) -> int:
    """Runs the command. Returns the exit code: 0, 2 for unfit input, 1 if a disk or a process failed, 130 by Ctrl-C."""
    parsed = parse_arguments(arguments)
    try:
        if parsed.workers < 1:
            raise PreparationError(f'--workers {parsed.workers} must be 1 or more.')
        refuse_existing(parsed.output)
        images = images_of(parsed)
        basicsr_imresize()  # if it is missing, say so before anything is started
        with new_folder(parsed.output) as building:
            for name in ('GTmod12', *(f'LRbicx{scale}' for scale in SCALES)):
                (building / name).mkdir()
            with worker_pool(min(parsed.workers, len(images)), with_torch=True) as pool:
                made = pool.map(partial(work_on, folder=building), images.items())
                problems = [text for text in tqdm(made, total=len(images), unit='image', desc='Preparing') if text]
            raise_all(problems, len(images), 'Repair or replace them.')
    except PreparationError as error:
        print(f'prepare_sr_benchmarks: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('prepare_sr_benchmarks: stopped. Nothing is kept: run the same command to begin again.', file=sys.stderr)
        return 130
    except BrokenProcessPool as error:
        print(f'prepare_sr_benchmarks: stopped: {error} Nothing is kept. {FEWER}', file=sys.stderr)
        return 1
    except OSError as error:
        print(f'prepare_sr_benchmarks: cannot write {parsed.output}: {error}', file=sys.stderr)
        return 1
    print(f'{parsed.output}: {len(images)} images in GTmod12 and in LRbicx2, LRbicx3, LRbicx4.')
    return 0


if __name__ == '__main__':
    sys.exit(main())
