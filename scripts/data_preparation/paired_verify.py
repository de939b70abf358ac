"""What was stored is read back and compared with the files it was made from."""
from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import cv2
import lmdb
import numpy as np
from image_pairs import PairPlan
from paired_work import KINDS, Made, Source, batches, first_key, make
from tqdm import tqdm
from worker_pool import raise_all, worker_pool

SAMPLE = 500  # files that are compared, unless all are


def verify(sources: list[Source], crop: PairPlan | None, folder: Path, lines: dict[str, dict[str, str]], workers: int,
           everything: bool) -> int:
    """Reads back what was stored.

    Compares the keys of the LMDBs with those on record and with those that the files give, and makes the images of
    many files anew to compare them byte by byte, decoded once more.

    Args:
        sources (list[Source]): all files.
        crop (PairPlan | None): how they were cut.
        folder (Path): where the LMDBs are.
        lines (dict[str, dict[str, str]]): per kind, key -> line on record.
        workers (int): processes.
        everything (bool): look at all files, not at a sample of ``SAMPLE``.

    Returns:
        int: number of files that were compared.

    Raises:
        PreparationError: if anything differs.
    """
    looked = sources if everything or len(sources) <= SAMPLE else random.Random(0).sample(sources, SAMPLE)
    problems = []
    stored = {kind: lmdb.open(str(folder / f'{kind}.lmdb'), readonly=True, lock=False) for kind in KINDS}
    try:
        for kind in KINDS:
            first = {first_key(source, crop) for source in sources if source.kind == kind}
            problems += _key_problems(kind, stored[kind], lines[kind], first)
        with worker_pool(min(workers, len(looked))) as pool, \
                tqdm(total=len(looked), unit='image', desc='Verifying') as progress:
            for batch in batches(pool, make, looked, crop):
                problems += [text for made in batch for text in _differences(
                    made, stored[made.source.kind], lines[made.source.kind])]
                progress.update(len(batch))
    finally:
        for environment in stored.values():
            environment.close()
    raise_all(problems, len(looked), f'{folder} is damaged: remove it and run the command again.')
    return len(looked)


def _key_problems(kind: str, stored: lmdb.Environment, lines: dict[str, str], first: set[str]) -> Iterator[str]:
    with stored.begin() as transaction:
        keys = {key.decode('ascii') for key in transaction.cursor().iternext(values=False)}
    for text, absent in (('has no image', set(lines) - keys), ('is not on record', keys - set(lines)),
                         ('was not stored', first - keys)):
        yield from (f'{kind}.lmdb: {key} {text}' for key in sorted(absent))


def _differences(made: Made, stored: lmdb.Environment, lines: dict[str, str]) -> Iterator[str]:
    if made.problem:
        yield f'{made.source.path} {made.problem}'
    with stored.begin() as transaction:
        for image in made.images:
            content = transaction.get(image.key.encode('ascii'))
            decoded = None if not content else cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_ANYCOLOR)
            if content != image.content or lines.get(image.key) != image.meta_line() or \
                    decoded is None or decoded.shape[:2] != image.shape[:2]:
                yield f'{made.source.path} differs from what is stored as {image.key}'
