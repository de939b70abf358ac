"""Bad images of a run, counted over all of its processes and kept when it is resumed."""
from __future__ import annotations

from pathlib import Path


class Ledger:
    """A text file with one bad image per line, which every worker of every rank appends to.

    Short lines are appended whole, so nobody has to wait for a lock: each process writes first and counts then. On
    several machines the file must lie on storage that they share, or each machine counts for itself.

    Args:
        path (Path | None): The file. None keeps the list in memory, for this process alone.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._own: dict[str, None] = {}

    def add(self, image: str, reason: str) -> tuple[bool, int]:
        """Note an image.

        Args:
            image (str): Its name; the same image counts once.
            reason (str): What is wrong with it.

        Returns:
            tuple[bool, int]: Whether it is new, and the number of different images so far.
        """
        image, reason = (' '.join(text.split()) for text in (image, reason))
        before = self.images()
        self._own[image] = None
        if self.path is not None and image not in before:
            with self.path.open('a', encoding='utf-8') as file:
                file.write(f'{image}\t{reason}\n')
        return image not in before, len(self.images())

    def images(self) -> set[str]:
        """Return the names of all bad images."""
        if self.path is None or not self.path.is_file():
            return set(self._own)
        lines = self.path.read_text(encoding='utf-8', errors='replace').splitlines()
        return {line.split('\t')[0] for line in lines if line}
