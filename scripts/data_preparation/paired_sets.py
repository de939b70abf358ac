"""How a published set of pairs is described: its parts, the layouts it is found in, its counts. Tables, no work."""
from __future__ import annotations

from dataclasses import dataclass

from image_pairs import PairPlan


@dataclass(frozen=True)
class Counts:
    """Numbers of images in a version of a set.

    Args:
        version (str): name of the version.
        lq (int): inputs.
        gt (int | None): ground truths; None if the number is not on record.
    """

    version: str
    lq: int
    gt: int | None = None

    def agrees(self, lq: int, gt: int) -> bool:
        """Whether these are the numbers."""
        return self.lq == lq and self.gt in (None, gt)

    def words(self) -> str:
        """The numbers as text."""
        truths = '' if self.gt is None else f' and {self.gt} ground truths'
        return f'{self.version} has {self.lq} inputs{truths}'


@dataclass(frozen=True)
class Layout:
    """Where the images of a part lie and how they pair.

    Args:
        lq (str): folder of the inputs, relative to that of the part.
        gt (str): folder of the ground truths.
        pair_by (str): rule of `mcir_plugin.data.rules` for paths relative to these folders. Default: ``same_name``.
        pair_list (str | None): text file with one pair per line instead of a rule; paths in it are relative to the
            folders, or to the folder of the part.
        lq_files (str): only inputs whose relative path fits this pattern. Default: all.
        gt_files (str): the same of the ground truths.
        halves (bool): every file holds both images side by side, the input on the left. Default: False.
    """

    lq: str
    gt: str
    pair_by: str = 'same_name'
    pair_list: str | None = None
    lq_files: str = '*'
    gt_files: str = '*'
    halves: bool = False

    def words(self) -> str:
        """The layout as a person would write it down."""
        if self.halves:
            return f'{self.lq}/{self.lq_files} with both images side by side'
        lq, gt = (f'{folder}/{files}'.removesuffix('/*') for folder, files in
                  ((self.lq, self.lq_files), (self.gt, self.gt_files)))
        return f'{lq} and {gt}' + (f' with {self.pair_list}' if self.pair_list else '')


@dataclass(frozen=True)
class Part:
    """One part of a set: training or test images.

    Args:
        name (str): its name on the command line, and of its output folder.
        folders (tuple[str, ...]): where it may lie below the input folder; ``.`` is the input folder itself.
        layouts (tuple[Layout, ...]): the first one whose folders exist is taken.
        versions (tuple[Counts, ...]): the versions that are accepted; empty if no number is on record.
        not_this (tuple[tuple[Counts, str], ...]): other sets that are easily taken for this one, and what to do.
        max_center_crop (int): pixels by which a ground truth may be larger than its input at each side. Default: 0.
        crop (PairPlan | None): cut both images into squares. Default: whole images.
    """

    name: str
    folders: tuple[str, ...]
    layouts: tuple[Layout, ...]
    versions: tuple[Counts, ...] = ()
    not_this: tuple[tuple[Counts, str], ...] = ()
    max_center_crop: int = 0
    crop: PairPlan | None = None


@dataclass(frozen=True)
class PublishedSet:
    """A set as its authors distribute it.

    Args:
        name (str): its name in the option file.
        page (str): where it comes from.
        parts (tuple[Part, ...]): what it consists of.
    """

    name: str
    page: str
    parts: tuple[Part, ...]


def either(lqs: tuple[str, ...], gts: tuple[str, ...], pair_by: str = 'same_name') -> tuple[Layout, ...]:
    """Layouts that differ only in the names of the two folders."""
    return tuple(Layout(lq, gt, pair_by) for lq in lqs for gt in gts)
