"""An LMDB that a killed run leaves in good order, so that the next run goes on from there."""
from __future__ import annotations

import os
import re
from pathlib import Path

from lmdb_writer import FIRST_MAP_SIZE, EncodedImage, GrowingLmdb

JOURNAL, META = 'meta_info.partial', 'meta_info.txt'
_LINE = re.compile(r'([A-Za-z0-9_-]+)\.\w+ \(\d+,\d+,\d+\) \d+\n')


class ResumableLmdb(GrowingLmdb):
    """Writes images; their lines go to a journal first. Use it in a ``with`` block.

    Images are committed and flushed batch by batch, the lines of a batch before its images. So every image that is
    stored has its line, whenever the process ends; lines without an image are dropped at the next start. BasicSR does
    not take the folder for a data set before ``finish`` has written ``meta_info.txt``.

    Args:
        path (Path): the folder, named ``*.lmdb``; it is made, or continued.

    Attributes:
        lines (dict[str, str]): key -> line of every stored image.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(exist_ok=True)
        super().__init__(path, FIRST_MAP_SIZE, sync=True)
        self.path = path
        with self.env.begin() as transaction:
            stored = {key.decode('ascii') for key in transaction.cursor().iternext(values=False)}
        lines = [*_whole_lines(path / META), *_whole_lines(path / JOURNAL)]  # it may have been finished before
        self.lines = {key: line for key, line in lines if key in stored}
        self.journal = (path / JOURNAL).open('a', encoding='ascii')
        self.journal.write('\n')  # closes a line that was cut off by the end of the machine

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.journal.close()
        finally:
            super().__exit__(*exc_info)

    def put(self, images: list[EncodedImage]) -> None:
        """Stores images and their lines. All images of a file must come in one call."""
        self.journal.writelines(image.meta_line() for image in images)
        self.journal.flush()
        os.fsync(self.journal.fileno())
        self.store(images)
        self.lines.update((image.key, image.meta_line()) for image in images)

    def finish(self) -> None:
        """Writes ``meta_info.txt``, sorted by key, and removes the journal."""
        building = self.path / f'.{META}.building'
        building.write_text(''.join(line for _, line in sorted(self.lines.items())), encoding='ascii')
        os.replace(building, self.path / META)
        (self.path / JOURNAL).unlink()


def _whole_lines(path: Path) -> list[tuple[str, str]]:
    """Key and text of the whole lines of a journal or of ``meta_info.txt``."""
    if not path.exists():
        return []
    lines = path.read_text(encoding='ascii', errors='replace').splitlines(keepends=True)
    return [(found[1], line) for line in lines if (found := _LINE.fullmatch(line))]


def recorded_lines(path: Path) -> dict[str, str]:
    """Key -> line of a finished LMDB."""
    return dict(_whole_lines(path / META))
