"""The command line of the scripts that prepare published sets: ``prepare_its.py``, ``prepare_ddn.py``, and so on."""
from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from pathlib import Path

import lmdb
from new_folder import PreparationError
from paired_layout import FoundPart, find_parts, reduced
from paired_output import claimed, mark, plan_of
from paired_pairing import check_pairing, key_pairs, option_block, pairing_options, refuse_misfits
from paired_sets import PublishedSet
from paired_verify import verify
from paired_work import KINDS, Source, sources_of, write
from resumable_lmdb import ResumableLmdb, recorded_lines

EPILOG = """It makes OUTPUT/PART/lq.lmdb and gt.lmdb, in which every ground truth lies once, for the data set type
PairedRestorationDataset, and prints the block for the option file. A run that was stopped is continued by the same
command. Nothing is ever overwritten. Exit code 2 with a message if the input is not fit."""


def main(published: PublishedSet, doc: str, arguments: list[str] | None = None) -> int:
    """Runs the command of one set.

    Args:
        published (PublishedSet): the set.
        doc (str): what ``--help`` says about it.
        arguments (list[str] | None): command line. Default: the one of the process.

    Returns:
        int: exit code: 0, 2 for unfit input, 1 for a disk or a process that failed.
    """
    parsed = parse_arguments(published, doc, arguments)
    try:
        blocks = [prepare(published, found, parsed) for found in parts_from(published, parsed)]
    except PreparationError as error:
        print(f'{Path(sys.argv[0]).stem}: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f'{Path(sys.argv[0]).stem}: stopped. What is done is kept: run the same command to go on.',
              file=sys.stderr)
        return 130
    except (OSError, lmdb.Error, BrokenProcessPool) as error:
        print(f'{Path(sys.argv[0]).stem}: stopped: {error or type(error).__name__}. What is done is kept: run the same '
              'command to go on.', file=sys.stderr)
        return 1
    print('In the option file:', 'datasets:', *blocks, sep='\n')
    return 0


def parse_arguments(published: PublishedSet, doc: str, arguments: list[str] | None) -> argparse.Namespace:
    """The command line as a namespace; argparse itself exits with 2 on what it cannot read."""
    parser = argparse.ArgumentParser(description=doc, epilog=f'{EPILOG}\n\nThe set comes from {published.page}',
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [part.name for part in published.parts]
    parser.add_argument('--input', type=Path, required=True, help='folder of the set as it was unpacked')
    parser.add_argument('--output', type=Path, required=True, help='folder to make')
    parser.add_argument('--part', nargs='+', choices=names, default=[],
                        help='just these parts (default: those that are there); --input may be the folder of one part')
    parser.add_argument('--allow-partial', action='store_true',
                        help='accept other numbers of images than published, and leave out what has no partner')
    parser.add_argument('--subset', type=int, metavar='N', help='just the first N inputs of every part, to try things')
    parser.add_argument('--verify', choices=['sample', 'all'],
                        help='compare 500 files with what was stored, or all; also of a finished preparation, where '
                        'nothing is compared without it (default while preparing: sample)')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1, help='processes (default: all cores)')
    return parser.parse_args(arguments)


def parts_from(published: PublishedSet, parsed: argparse.Namespace) -> list[FoundPart]:
    """The parts that the command line asks for. Raises PreparationError if they are not there as they should be."""
    if parsed.workers < 1:
        raise PreparationError(f'--workers {parsed.workers} must be 1 or more.')
    found = find_parts(published, parsed.input, parsed.part, parsed.allow_partial)
    return found if parsed.subset is None else [reduced(part, parsed.subset) for part in found]


def prepare(published: PublishedSet, found: FoundPart, parsed: argparse.Namespace) -> str:
    """Makes or continues the LMDBs of one part and verifies them.

    Args:
        published (PublishedSet): the set.
        found (FoundPart): the part.
        parsed (argparse.Namespace): the command line.

    Returns:
        str: the block for the option file.

    Raises:
        PreparationError: the output folder holds something else, unfit files, damage.
    """
    folder, sources = parsed.output / found.part.name, sources_of(found)
    plan = plan_of(published.name, found, sources)
    print(f'{published.name} {found.part.name}: {len(found.pairs)} inputs, {len(found.used_gt)} ground truths '
          f'({found.version})', flush=True)
    with claimed(folder, plan) as before:
        if not before.finished:
            refuse_misfits(found)
            _store(found, sources, folder, parsed.workers, f'{published.name} {found.part.name}')
        lines = {kind: recorded_lines(folder / f'{kind}.lmdb') for kind in KINDS}
        pairs = key_pairs(found, lines)
        options = pairing_options(found, pairs, folder)
        check_pairing(found, pairs, options, folder)
        if before.finished and parsed.verify is None:
            print(f'{folder} is finished already.', flush=True)
        else:
            everything = before.changed or parsed.verify == 'all'
            compared = verify(sources, found.part.crop, folder, lines, parsed.workers, everything)
            mark(folder, plan, finished=True)
            print(f'{folder}: {len(lines["lq"])} inputs and {len(lines["gt"])} ground truths are stored; {compared} of '
                  f'{len(sources)} files were compared with them.', flush=True)
    return option_block(published, found, options, folder)


def _store(found: FoundPart, sources: list[Source], folder: Path, workers: int, title: str) -> None:
    with ExitStack() as stack:
        writers = {kind: stack.enter_context(ResumableLmdb(folder / f'{kind}.lmdb')) for kind in KINDS}
        write(sources, found.part.crop, writers, workers, title)
        for writer in writers.values():
            writer.finish()
