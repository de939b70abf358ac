"""The data set around BasicSR's: an image that cannot be used is never skipped in silence."""
from __future__ import annotations

import logging
import random
import threading
from collections.abc import Mapping
from typing import Any

from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.data.realesrgan_paired_dataset import RealESRGANPairedDataset
from torch import Tensor
from torch.utils.data import Dataset

from mcir_plugin.data.bad_images import BadImageOptions
from mcir_plugin.errors import McirError
from mcir_plugin.hosts.basicsr.explain import explain
from mcir_plugin.hosts.basicsr.watch.errors import BadImageError
from mcir_plugin.hosts.basicsr.watch.ledger import Ledger
from mcir_plugin.hosts.basicsr.watch.reads import Reads, noted

PAIRED = (PairedImageDataset, RealESRGANPairedDataset)  # of a validation they cut whatever does not fit


class WatchedDataset(Dataset):
    """Makes the samples of another data set and says what is wrong with one that cannot be made.

    Everything else is that of the other data set, ``opt`` included, which BasicSR's validation reads.

    Args:
        dataset (Dataset): The other data set.
        where (str): How errors name it, such as ``datasets.train (DIV2K)``.
        options (BadImageOptions): How many images may be bad, and which sorts are taken.
        ledger (Ledger): Counts the bad ones.

    Raises:
        BadImageError: (by ``[index]``) for an image that cannot be used, or for one more than allowed.
    """

    def __init__(self, dataset: Dataset, where: str, options: BadImageOptions, ledger: Ledger) -> None:
        self.dataset = dataset
        self.where = where
        self.options = options
        self.ledger = ledger
        self._one_at_a_time = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != '_one_at_a_time'}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _one_at_a_time=threading.Lock())

    def __getattr__(self, name: str) -> Any:
        if name == 'dataset':  # while it is unpickled there is none
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """Return a sample; in place of a bad one, if some may be bad, another that depends on the index alone."""
        with self._one_at_a_time:  # BasicSR's prefetcher starts two threads, which would both open the database
            return self._usable(index)

    def _usable(self, index: int) -> Any:
        draws = random.Random(int(index))  # of its own: crops and flips are drawn as if nothing had happened
        tried = index
        while True:
            with noted(self.options) as reads:
                try:
                    return self._fitting(self.dataset[tried])
                except Exception as error:
                    if isinstance(error, IndexError) and not -len(self) <= tried < len(self):
                        raise  # the end of an iteration
                    self._report(error, reads, tried)
            tried = draws.randrange(len(self))

    def _report(self, error: Exception, reads: Reads, index: int) -> None:
        """Count a bad image.

        Raises:
            BadImageError: If that was one too many.
        """
        image = ' and '.join(dict.fromkeys(reads.names)) or f'sample {index}'
        said = self._sentence(error, image)
        if not self.options.max_bad_images:
            remedy = ', or allow some by max_bad_images' * (getattr(self, 'opt', {}).get('phase') == 'train')
            raise BadImageError(f'{said}. Mend it ("basicsr check" looks for more){remedy}') from error
        new, count = self.ledger.add(image, said)
        if count > self.options.max_bad_images:
            raise BadImageError(f'{said}. That makes {count} bad images, more than max_bad_images '
                                f'({self.options.max_bad_images}). All are listed in {self.ledger.path}; after they '
                                'are mended, remove that file') from error
        if new:
            logging.getLogger('basicsr').error('%s. Another image takes its place (bad image %d of at most %d).', said,
                                               count, self.options.max_bad_images)

    def _sentence(self, error: Exception, image: str) -> str:
        said = ' '.join('; '.join(explain(error)).split()).removeprefix(f'{self.where}: ')
        if not isinstance(error, McirError):
            said += f', while {image} was read'
        opt = getattr(self, 'opt', {})
        roots = [str(value) for name, value in opt.items() if name.startswith('dataroot') and value]
        named = '' if not roots or any(root in said for root in roots) else f', {" and ".join(roots)}'
        return f'{self.where}{named}: {said}'

    def _fitting(self, sample: Any) -> Any:
        """Return the sample; of a pair for validation whose sizes do not fit, the metrics would fail."""
        if isinstance(self.dataset, PAIRED) and isinstance(sample, Mapping) and self.opt['phase'] != 'train':
            sizes = [tuple(sample[name].shape[-2:]) for name in ('gt', 'lq') if isinstance(sample.get(name), Tensor)]
            scale = self.opt.get('scale')
            if len(sizes) == 2 and scale and sizes[0] != tuple(int(side * scale) for side in sizes[1]):
                raise BadImageError('the ground truth has {} x {} pixels, the input {} x {}, which does not go with '
                                    'scale {}: {}'.format(*sizes[0], *sizes[1], scale, sample.get('lq_path')))
        return sample
