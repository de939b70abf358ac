"""Your own folder of HR images -> MATLAB-compatible bicubic LR -> sub-images -> LMDB pairs that BasicSR trains on.

    python scripts/data_preparation/prepare_sr.py --input photos/train --output datasets/mine/train --scale 2
    python scripts/data_preparation/prepare_sr.py --input photos/val --output datasets/mine/val --scale 2 --full

It makes ``OUTPUT/HR_sub.lmdb`` and ``OUTPUT/LR_bicubic_X2_sub.lmdb`` (with --full: ``HR.lmdb``, ``LR_bicubic_X2.lmdb``)
with the same keys in both. The LR of a whole image is made first and cut afterwards, so that sub-images have no edges
of their own; images are cut to a multiple of the scale at the right and lower edge. The output folder appears when
everything is written; nothing is ever overwritten. Exit code 2 with a message if the input is not fit.
"""
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import lmdb
from image_pairs import PairPlan, basicsr_imresize, find_images, image_size, make_pairs
from lmdb_writer import EncodedImage, LmdbWriter
from new_folder import PreparationError, new_folder, refuse_existing
from tqdm import tqdm
from worker_pool import FEWER, REPAIR, raise_all, worker_pool


@dataclass(frozen=True)
class Outcome:
    """What became of one image: its pairs, or what is wrong with it."""

    path: Path
    large: list[EncodedImage]
    small: list[EncodedImage]
    problem: str = ''


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace; argparse itself exits with 2 on what it cannot read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--input', type=Path, required=True, help='folder of HR images; sub-folders are included')
    parser.add_argument('--output', type=Path, required=True, help='folder to make')
    parser.add_argument('--scale', type=int, required=True, help='1, 2, 3, 4 or 8; with 1 only the HR LMDB is made')
    parser.add_argument('--size', type=int, default=480, help='side of the HR sub-images, in pixels (default: 480)')
    parser.add_argument('--step', type=int, help='distance of two sub-images, in HR pixels (default: half the size)')
    parser.add_argument('--min-rest', type=int, default=0, metavar='PIXELS',
                        help='a rest at an edge of more than this gets a sub-image of its own (default: 0)')
    parser.add_argument('--full', action='store_true', help='whole images instead of sub-images, for validation')
    parser.add_argument('--skip-small', action='store_true', help='leave out images smaller than --size')
    parser.add_argument('--only', nargs='+', default=[], metavar='NAME', help='just these names or patterns')
    parser.add_argument('--exclude', nargs='+', default=[], metavar='NAME', help='all but these names or patterns')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1, help='processes (default: all cores)')
    return parser.parse_args(arguments)


def plan_from(arguments: argparse.Namespace) -> PairPlan:
    """The plan that the command line asks for. Raises PreparationError for values that do not fit together."""
    if arguments.workers < 1:
        raise PreparationError(f'--workers {arguments.workers} must be 1 or more.')
    if arguments.full:
        return PairPlan(arguments.scale, None)
    half = arguments.size // 2
    step = half - half % max(arguments.scale, 1) if arguments.step is None else arguments.step
    return PairPlan(arguments.scale, arguments.size, step, arguments.min_rest)


def drop_or_refuse_small(images: dict[str, Path], plan: PairPlan, skip: bool) -> dict[str, Path]:
    """The images that are large enough, read from the headers alone. Raises PreparationError for the others."""
    problems, small = [], set()
    for key, path in images.items():
        try:
            size = image_size(path)
        except PreparationError as error:
            problems.append(f'{path} {error}')
            continue
        if min(size) < plan.smallest:
            small.add(key)
            if not skip:
                problems.append(f'{path} is smaller ({size[1]}x{size[0]}) than {plan.smallest} pixels')
    raise_all(problems, len(images), 'Use a smaller --size, --skip-small, or --exclude NAME.' if small else REPAIR)
    if len(small) == len(images):
        raise PreparationError(f'every one of the {len(images)} images is smaller than {plan.smallest} pixels.')
    if small:
        print(f'Left out {len(small)} of {len(images)} images that are smaller than {plan.smallest} pixels.')
    return {key: path for key, path in images.items() if key not in small}


def work_on(entry: tuple[str, Path], plan: PairPlan) -> Outcome:
    """What one worker process does with one image."""
    key, path = entry
    try:
        return Outcome(path, *make_pairs(key, path, plan))
    except PreparationError as error:
        return Outcome(path, [], [], str(error))


def outcomes(images: dict[str, Path], plan: PairPlan, workers: int) -> Iterator[Outcome]:
    """The outcomes in the order of the keys, so that the same input gives the same LMDB whatever the workers."""
    with_lr = plan.scale > 1
    if with_lr:
        basicsr_imresize()  # if it is missing, say so before anything is started
    with worker_pool(min(workers, len(images)), with_lr) as pool:
        yield from pool.map(partial(work_on, plan=plan), images.items())


def write_pairs(images: dict[str, Path], plan: PairPlan, workers: int, folder: Path) -> int:
    """Writes the LMDBs into ``folder``. Returns the number of pairs. Raises PreparationError for unfit images."""
    count, problems = 0, []
    with ExitStack() as stack:
        writers = [stack.enter_context(LmdbWriter(folder / name)) for name in lmdb_names(plan)]
        found = stack.enter_context(closing(outcomes(images, plan, workers)))  # ends the workers here, after an error
        progress = tqdm(found, total=len(images), unit='image', desc='Preparing')
        for outcome in progress:
            if outcome.problem:
                problems.append(f'{outcome.path} {outcome.problem}')
            for writer, part in zip(writers, (outcome.large, outcome.small), strict=False):
                writer.put(part)
            count += len(outcome.large)
    raise_all(problems, len(images))
    return count


def lmdb_names(plan: PairPlan) -> list[str]:
    """The names of the HR LMDB and, unless the scale is 1, of the LR one, as BasicSR's documentation spells them."""
    end = '.lmdb' if plan.size is None else '_sub.lmdb'
    return [f'HR{end}', f'LR_bicubic_X{plan.scale}{end}'][:1 if plan.scale == 1 else 2]


def report(output: Path, images: int, pairs: int, plan: PairPlan) -> str:
    """What was made, with the lines for the option file."""
    keys = ('dataroot_gt', 'dataroot_lq')
    lines = [f'{key}: {output / name}' for key, name in zip(keys, lmdb_names(plan), strict=False)]
    what = 'whole images' if plan.size is None else f'sub-images of {plan.size}x{plan.size} pixels'
    return '\n    '.join([f'{images} images -> {pairs} {what}. In the option file:', *lines, 'io_backend:',
                          '  type: lmdb'])


def main(arguments: list[str] | None = None) -> int:
    """Runs the command. Returns the exit code: 0, 2 for unfit input, 1 if a disk or a process failed, 130 by Ctrl-C."""
    parsed = parse_arguments(arguments)
    try:
        plan = plan_from(parsed)
        refuse_existing(parsed.output)
        images = find_images(parsed.input, parsed.only, parsed.exclude)
        images = drop_or_refuse_small(images, plan, parsed.skip_small)
        with new_folder(parsed.output) as building:
            pairs = write_pairs(images, plan, parsed.workers, building)
    except PreparationError as error:
        print(f'prepare_sr: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('prepare_sr: stopped. Nothing is kept: run the same command to begin again.', file=sys.stderr)
        return 130
    except BrokenProcessPool as error:
        print(f'prepare_sr: stopped: {error} Nothing is kept. {FEWER}', file=sys.stderr)
        return 1
    except (OSError, lmdb.Error) as error:
        print(f'prepare_sr: cannot write {parsed.output}: {error}', file=sys.stderr)
        return 1
    print(report(parsed.output, len(images), pairs, plan))
    return 0


if __name__ == '__main__':
    sys.exit(main())
