"""Pairs for restoration: many inputs per ground truth, renamed pairs, augmentations of the published recipes."""
from __future__ import annotations

import os
import random
from typing import Any

import cv2
import numpy as np
import torch
from basicsr.data.transforms import augment, paired_random_crop
from basicsr.utils import FileClient, bgr2ycbcr, imfrombytes, img2tensor
from torch.utils import data
from torchvision.transforms.functional import normalize

from mcir_plugin.data.block import find_pairs, size_problem
from mcir_plugin.data.geometry import at_border, center_crop, paired_center_crop
from mcir_plugin.data.listing import Listing, Size, image_key
from mcir_plugin.data.options import PairedRestorationOptions, block_name, read_dataset_options
from mcir_plugin.data.pairs import SHOWN, Pair, PairError


class PairedRestorationDataset(data.Dataset):
    """Pairs of an input (lq) and a ground truth (gt), which several inputs may share.

    BasicSR's ``PairedImageDataset`` asks for one input per ground truth and for names that follow from those of the
    ground truths. Here a rule (``pair_by``) or a list (``pair_list``) gives every input its ground truth, as RESIDE,
    DDN, Rain200, SPA-Data, AGAN and GoPro need it. Rules: `mcir_plugin.data.rules`; all options with their defaults:
    `mcir_plugin.data.options.PairedRestorationOptions`. An LMDB holds every ground truth once.

    A sample is ``{lq, gt, lq_path, gt_path}``: float tensors (C, H, W), RGB in [0, 1] (unless ``color`` or ``mean`` say
    otherwise), paths on disk or LMDB keys. In training both are cropped to the same place and augmented in the same
    way, with the generator of Python's ``random``, as BasicSR does. BasicSR names the results of a validation by the
    last part of ``lq_path``: where inputs in different sub-folders share it, it says the sub-folders, too, in one word
    (``a/1.png`` becomes ``a_1.png``).

    ``sampling: iid`` is not drawn here but by the sampler of the training loop
    (`mcir_plugin.hosts.basicsr.resume.ResumableSampler`): BasicSR seeds its workers alike in every epoch, so draws of
    the workers would repeat, and only the sampler is continued by a resumed run and shared by all ranks. So are the
    repetitions of ``crops_per_image``; what is kept here is the image that was decoded last.

    Args:
        opt (dict): The block of the option file, with ``phase`` as BasicSR sets it.

    Raises:
        ConfigError: Unknown or wrong options, all at once.
        PairError: Images without a partner; LMDB images whose recorded sizes do not fit. Sizes of files are looked at
            when they are read, and by ``basicsr check``.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__()
        self.opt = opt  # BasicSR's validation reads the name from here
        self.options = read_dataset_options(opt)
        self.where = block_name(opt)
        self.lq, self.gt, self.pairs = find_pairs(self.options, self.where)
        self.file_client: FileClient | None = None  # opened by the process that reads
        self._decoded: tuple[Pair, tuple[np.ndarray, np.ndarray]] | None = None
        self._refuse_recorded_misfits()
        self._names = {} if opt['phase'] == 'train' else names_of_results(self.lq, self.where)

    @property
    def sampling(self) -> str:
        """How the training loop's sampler draws: ``epochs`` or ``iid``."""
        return self.options.sampling

    @property
    def crops_per_image(self) -> int:
        """How many samples in a row the training loop's sampler takes from one image."""
        return self.options.crops_per_image

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pair = self.pairs[index]
        gt, lq = self._images(pair)
        if self.opt['phase'] == 'train':
            gt, lq = augmented(*self._cropped(gt, lq), self.options)
        elif self.options.gt_size:
            gt, lq = paired_center_crop(gt, lq, self.options.gt_size // self.options.scale, self.options.scale)
        gt, lq = (self._tensor(image) for image in (gt, lq))
        return {'lq': lq, 'gt': gt, 'lq_path': self._names.get(pair.lq) or self._path('lq', pair.lq),
                'gt_path': self._path('gt', pair.gt)}

    def _images(self, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        """Return both images of a pair, decoded once for crops that follow each other."""
        if self._decoded is not None and self._decoded[0] == pair:
            return self._decoded[1]
        images = self._fitted(self._read('gt', pair.gt), self._read('lq', pair.lq), pair)
        if self.crops_per_image > 1:
            self._decoded = pair, images
        return images

    def _path(self, kind: str, name: str) -> str:
        listing = getattr(self, kind)
        place = listing.places[name]
        return place if self.options.io_backend == 'lmdb' else os.path.join(listing.folder, place)

    def _read(self, kind: str, name: str) -> np.ndarray:
        """Return an image as BasicSR decodes it: (H, W, 3), BGR, uint8."""
        if self.file_client is None:
            self.file_client = open_client(self.options)
        path = self._path(kind, name)
        content = self.file_client.get(path, kind)
        try:
            image = imfrombytes(content) if content else None
        except cv2.error:
            image = None
        if image is None:
            reason = 'has no such key' if content is None else 'cannot be decoded'
            raise PairError(f'{self.where}: {path} of dataroot_{kind} ({getattr(self, kind).folder}) {reason}')
        return image

    def _fitted(self, gt: np.ndarray, lq: np.ndarray, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        """Return both images, the ground truth cut to its centre if that is allowed and needed."""
        reason = self._misfit(gt.shape[:2], lq.shape[:2])
        if reason:
            raise PairError(f'{self.where}: {self._sizes(pair, gt.shape[:2], lq.shape[:2])}: {reason}')
        scale = self.options.scale
        return center_crop(gt, (scale * lq.shape[0], scale * lq.shape[1])), lq

    def _misfit(self, gt: Size, lq: Size) -> str:
        return size_problem(gt, lq, self.options, self.opt['phase'])

    def _sizes(self, pair: Pair, gt: Size, lq: Size) -> str:
        return (f'{self._path("gt", pair.gt)} ({gt[0]} x {gt[1]} pixels) and {self._path("lq", pair.lq)} '
                f'({lq[0]} x {lq[1]})')

    def _refuse_recorded_misfits(self) -> None:
        """Compare the sizes that the LMDBs have on record."""
        found: dict[str, list[str]] = {}
        for pair in self.pairs:
            gt, lq = self.gt.sizes.get(pair.gt), self.lq.sizes.get(pair.lq)
            reason = self._misfit(gt, lq) if gt and lq else ''
            if reason:
                found.setdefault(reason, []).append(self._sizes(pair, gt, lq))
        if found:
            raise PairError(f'{self.where}: ' + '. '.join(
                f'in {len(names)} of {len(self.pairs)} pairs {reason}: {"; ".join(names[:SHOWN])}'
                for reason, names in found.items()))

    def _cropped(self, gt: np.ndarray, lq: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        size, scale = self.options.gt_size, self.options.scale
        if size is None:
            return gt, lq
        if self.options.edge_decay:
            gt, lq = at_border(gt, lq, size // scale, scale, self.options.edge_decay)
        return paired_random_crop(gt, lq, size, scale)

    def _tensor(self, image: np.ndarray) -> torch.Tensor:
        image = image.astype(np.float32) / 255
        if self.options.color == 'y':
            image = bgr2ycbcr(image, y_only=True)[..., None]
        tensor = img2tensor(image, bgr2rgb=True, float32=True)
        mean, std = self.options.mean, self.options.std
        return tensor if mean is None else normalize(tensor, _per_channel(mean, tensor), _per_channel(std, tensor))


def names_of_results(lq: Listing, where: str) -> dict[str, str]:
    """Return a path for every input by whose last part it can be told apart; nothing where its own path does.

    Raises:
        PairError: If names stay the same.
    """
    if len({os.path.basename(name) for name in lq.places}) == len(lq.places):
        return {}
    names = {name: os.path.join(lq.folder, image_key(name) + os.path.splitext(place)[1])
             for name, place in lq.places.items()}
    taken: dict[str, str] = {}
    for name, label in names.items():
        if taken.setdefault(label, name) != name:
            raise PairError(f'{where}: results of {taken[label]} and of {name} ({lq.folder}) would have the same name. '
                            'Rename one of them')
    return names


def open_client(options: PairedRestorationOptions) -> FileClient:
    """Return BasicSR's reader of files or LMDBs, with ``lq`` and ``gt`` as keys of the latter."""
    if options.io_backend == 'disk':
        return FileClient('disk')
    return FileClient('lmdb', db_paths=[options.dataroot_lq, options.dataroot_gt], client_keys=['lq', 'gt'])


def augmented(gt: np.ndarray, lq: np.ndarray, options: PairedRestorationOptions) -> list[np.ndarray]:
    """Return both images in the same randomly drawn view.

    Args:
        gt (ndarray): Ground truth, (H, W, C).
        lq (ndarray): Input, (h, w, C).
        options (PairedRestorationOptions): Which views are drawn, see there.
    """
    images = augment([gt.copy(), lq.copy()], options.use_hflip, options.use_rot)  # it flips in place
    if options.use_rot90:
        turns = random.randrange(4)
        images = [np.rot90(image, turns) for image in images]
    if options.use_quarter_flip:
        axis = random.choice((0, 1, None, None))
        images = images if axis is None else [np.flip(image, axis) for image in images]
    return [np.ascontiguousarray(image) for image in images]


def _per_channel(numbers: float | tuple[float, ...], image: torch.Tensor) -> list[float]:
    listed = list(numbers) if isinstance(numbers, tuple) else [numbers]
    return listed * image.shape[0] if len(listed) == 1 else listed
