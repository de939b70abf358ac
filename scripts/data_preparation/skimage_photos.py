"""The photographs that lie inside the scikit-image wheel as a small training and validation set. Nothing is downloaded.

    python scripts/data_preparation/skimage_photos.py --output datasets/photos

It copies them to ``OUTPUT/train`` and ``OUTPUT/val``. Left out are drawings, scans, microscopy and astronomy, which are
no everyday photographs, and blurred ones. The two views of the motorcycle are one scene and stay on the same side.
"""
from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
from pathlib import Path

from new_folder import PreparationError, new_folder

TRAIN = ('brick.png', 'camera.png', 'coins.png', 'grass.png', 'gravel.png', 'motorcycle_left.png',
         'motorcycle_right.png', 'rocket.jpg')
VAL = ('astronaut.png', 'chelsea.png', 'coffee.png')


def wheel_folder() -> Path:
    """Where scikit-image keeps its own images; found without importing it, so that it cannot fetch anything."""
    found = importlib.util.find_spec('skimage')
    if found is None:
        raise PreparationError('scikit-image is not installed: pip install scikit-image')
    return Path(found.origin).parent / 'data'


def copy_photos(source: Path, output: Path) -> None:
    """Copies both lists. Raises PreparationError if one is missing there or ``output`` is not empty."""
    missing = [name for name in TRAIN + VAL if not (source / name).is_file()]
    if missing:
        raise PreparationError(f'this version of scikit-image has no {", ".join(missing)} in {source}: '
                               'install scikit-image 0.20 or later.')
    with new_folder(output) as building:
        for part, names in (('train', TRAIN), ('val', VAL)):
            (building / part).mkdir()
            for name in names:
                shutil.copyfile(source / name, building / part / name)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command. Returns the exit code: 0, or 2 if the photographs cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--output', type=Path, required=True, help='folder to make')
    output = parser.parse_args(arguments).output
    try:
        copy_photos(wheel_folder(), output)
    except PreparationError as error:
        print(f'skimage_photos: {error}', file=sys.stderr)
        return 2
    print(f'{len(TRAIN)} photographs to train on and {len(VAL)} to validate on in {output}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
