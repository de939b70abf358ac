"""A folder of inputs and one of ground truths -> squares to train on and whole images to validate on, apart by scene.

    python scripts/evidence/split_pairs.py --lq SOTS/hazy --gt SOTS/clear --pair-by 'prefix(_)' \
        --val 1410 1420 --val-only '*_1' '*_5' --output datasets/evidence/SOTS

A scene is a ground truth: all inputs of the scenes named by --val are kept out of training. It makes
``OUTPUT/train/{lq,gt}.lmdb`` (squares of --size pixels) and ``OUTPUT/val/{lq,gt}.lmdb`` (whole images) with the same
keys in both. The output folder appears when everything is written; nothing is overwritten.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / 'data_preparation'))
from image_pairs import PairPlan, encode, read_image, starts  # noqa: E402
from lmdb_writer import EncodedImage, LmdbWriter  # noqa: E402
from new_folder import PreparationError, new_folder, refuse_existing  # noqa: E402

from mcir_plugin.data import Pair, form_pairs, list_images, read_rule  # noqa: E402
from mcir_plugin.data.listing import Listing  # noqa: E402
from mcir_plugin.errors import McirError  # noqa: E402

Encoded = tuple[EncodedImage, EncodedImage]
Part = Callable[[Pair, Listing, Listing, int], Iterator[Encoded]]


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--lq', type=Path, required=True, help='folder of inputs')
    parser.add_argument('--gt', type=Path, required=True, help='folder of ground truths')
    parser.add_argument('--pair-by', default='same_name', help='as in an option file (default: same_name)')
    parser.add_argument('--val', nargs='+', required=True, metavar='SCENE', help='ground truths to validate on')
    parser.add_argument('--val-only', nargs='+', default=['*'], metavar='PATTERN', help='of their inputs only these')
    parser.add_argument('--output', type=Path, required=True, help='folder to make')
    parser.add_argument('--size', type=int, default=96, help='side of the training squares, in pixels (default: 96)')
    return parser.parse_args(arguments)


def squares(pair: Pair, lq: Listing, gt: Listing, size: int) -> Iterator[Encoded]:
    """The squares of one pair, side by side, as PNG."""
    images = read_both(pair, lq, gt)
    plan = PairPlan(1, size, size, size // 2)
    corners = [(top, left) for top in starts(images[0].shape[0], plan) for left in starts(images[0].shape[1], plan)]
    for number, (top, left) in enumerate(corners, 1):
        yield tuple(encode(f'{pair.lq}_s{number:03d}', image[top:top + size, left:left + size]) for image in images)


def whole(pair: Pair, lq: Listing, gt: Listing, size: int) -> Iterator[Encoded]:
    """One pair as PNG."""
    yield tuple(encode(pair.lq, image) for image in read_both(pair, lq, gt))


def read_both(pair: Pair, lq: Listing, gt: Listing) -> list[np.ndarray]:
    """Input and ground truth. Raises PreparationError if they differ in size."""
    images = [read_image(Path(images.folder, images.places[name])) for images, name in ((lq, pair.lq), (gt, pair.gt))]
    if images[0].shape != images[1].shape:
        raise PreparationError(f'{pair.lq} has the shape {images[0].shape}, its ground truth {images[1].shape}')
    return images


def write(folder: Path, pairs: list[Pair], lq: Listing, gt: Listing, size: int, part: Part) -> int:
    """Write the LMDBs of one part, made of its images by ``squares`` or ``whole``. Returns the number of pairs."""
    folder.mkdir()
    count = 0
    with LmdbWriter(folder / 'lq.lmdb') as lq_writer, LmdbWriter(folder / 'gt.lmdb') as gt_writer:
        for pair in pairs:
            encoded = list(part(pair, lq, gt, size))
            lq_writer.put(one for one, _ in encoded)
            gt_writer.put(one for _, one in encoded)
            count += len(encoded)
    return count


def main(arguments: list[str] | None = None) -> int:
    """Runs the command. Returns the exit code: 0, or 2 for unfit input."""
    args = parse_arguments(arguments)
    try:
        refuse_existing(args.output)
        lq, gt = list_images(str(args.lq)), list_images(str(args.gt))
        pairs = form_pairs(lq, gt, read_rule(args.pair_by), where='--pair-by')
        missing = set(args.val) - {pair.gt for pair in pairs}
        if missing:
            raise PreparationError(f'--val: there is no ground truth {", ".join(sorted(missing))} in {args.gt}')
        train = [pair for pair in pairs if pair.gt not in args.val]
        val = [pair for pair in pairs if pair.gt in args.val and any(fnmatch(pair.lq, one) for one in args.val_only)]
        with new_folder(args.output) as building:
            counts = [write(building / name, chosen, lq, gt, args.size, part)
                      for name, chosen, part in (('train', train, squares), ('val', val, whole))]
    except (McirError, PreparationError) as error:
        print(f'split_pairs: {error}', file=sys.stderr)
        return 2
    print(f'{args.output}: {counts[0]} squares of {len(train)} images, {counts[1]} images to validate on')
    return 0


if __name__ == '__main__':
    sys.exit(main())
