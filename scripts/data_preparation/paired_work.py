"""The files of a published set into LMDBs: by several processes, continued after a stop."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from image_pairs import PairPlan, encode, read_image, starts
from lmdb_writer import EncodedImage
from new_folder import PreparationError
from paired_layout import FoundPart
from resumable_lmdb import ResumableLmdb
from tqdm import tqdm
from worker_pool import raise_all, worker_pool

from mcir_plugin.data import image_key

BATCH = 32  # files per commit
KINDS = ('lq', 'gt')


class Source(NamedTuple):
    """One file that becomes one image, or the squares cut from it.

    Args:
        kind (str): ``lq`` or ``gt``.
        key (str): its LMDB key; squares add ``_s001`` and so on.
        path (str): the file.
        half (str): ``left`` or ``right`` of a file that holds both images; empty for all of it.
    """

    kind: str
    key: str
    path: str
    half: str = ''


@dataclass(frozen=True)
class Made:
    """What became of one file: its images, or what is wrong with it."""

    source: Source
    images: list[EncodedImage]
    problem: str = ''


def sources_of(found: FoundPart) -> list[Source]:
    """The files of a part: every input, and every ground truth once."""
    halves = dict(zip(KINDS, ('left', 'right') if found.layout.halves else ('', ''), strict=True))
    named = (('lq', found.lq, [pair.lq for pair in found.pairs]), ('gt', found.gt, found.used_gt))
    return [Source(kind, image_key(name), f'{listing.folder}/{listing.places[name]}', halves[kind])
            for kind, listing, names in named for name in names]


def make(source: Source, crop: PairPlan | None) -> Made:
    """What one process does with one file.

    A whole image is stored as the file that it is, which keeps its pixels and its size on the disk; a half or a square
    is stored as PNG.
    """
    try:
        path = Path(source.path)
        image = _half(read_image(path), source.half)
        if source.half or crop:
            return Made(source, _squares(source.key, image, crop))
        shape = (*image.shape[:2], 1 if image.ndim == 2 else image.shape[2])
        return Made(source, [EncodedImage(source.key, path.read_bytes(), shape, path.suffix.lower(), 0)])
    except (PreparationError, OSError) as error:
        return Made(source, [], str(error))


def _half(image: np.ndarray, half: str) -> np.ndarray:
    if not half:
        return image
    width = image.shape[1]
    if width % 2:
        raise PreparationError(f'is {width} pixels wide, so it does not hold two images of one size side by side')
    return image[:, :width // 2] if half == 'left' else image[:, width // 2:]


def _squares(key: str, image: np.ndarray, crop: PairPlan | None) -> list[EncodedImage]:
    if crop is None:
        return [encode(key, image)]
    if min(image.shape[:2]) < crop.smallest:
        raise PreparationError(f'is smaller ({image.shape[1]}x{image.shape[0]}) than {crop.smallest} pixels')
    corners = [(top, left) for top in starts(image.shape[0], crop) for left in starts(image.shape[1], crop)]
    return [encode(f'{key}_s{number:03d}', image[top:top + crop.size, left:left + crop.size])
            for number, (top, left) in enumerate(corners, 1)]


def first_key(source: Source, crop: PairPlan | None) -> str:
    """The key of the first image of a file; all images of a file are stored together."""
    return f'{source.key}_s001' if crop else source.key


def write(sources: list[Source], crop: PairPlan | None, writers: dict[str, ResumableLmdb], workers: int,
          title: str) -> None:
    """Stores what is not stored yet, batch by batch, with a progress bar.

    Raises:
        PreparationError: for all unfit files together; what is fit is stored nevertheless.
    """
    waiting = [source for source in sources if first_key(source, crop) not in writers[source.kind].lines]
    problems = []
    with worker_pool(max(1, min(workers, len(waiting)))) as pool, \
            tqdm(total=len(sources), initial=len(sources) - len(waiting), unit='image', desc=title) as progress:
        for batch in batches(pool, make, waiting, crop):
            for kind in KINDS:
                writers[kind].put([image for made in batch if made.source.kind == kind for image in made.images])
            problems += [f'{made.source.path} {made.problem}' for made in batch if made.problem]
            progress.update(len(batch))
    raise_all(problems, len(sources), 'Repair or replace them, then run the command again: it goes on from here.')


def batches(pool: ProcessPoolExecutor, work: Callable[..., Made], sources: list[Source],
             crop: PairPlan | None) -> Iterator[list[Made]]:
    """Results in batches; while one is stored the next is made, and never more, so that memory stays bounded."""
    waiting, running = iter(sources), None
    while batch := list(islice(waiting, BATCH)):
        following = pool.map(work, batch, [crop] * len(batch), chunksize=4)
        if running is not None:
            yield list(running)
        running = following
    if running is not None:
        yield list(running)
