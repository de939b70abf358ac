"""The images of a validation set, read as a validation reads them."""
from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from basicsr.data import build_dataset

from mcir_plugin.hosts.basicsr.check.findings import quiet
from mcir_plugin.hosts.basicsr.compare.validation import validation_sets


def read_samples(opt: Mapping[str, Any], dataset: str,
                 names: Collection[str] | None = None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the samples that have a single image as ground truth, one at a time.

    Args:
        opt (Mapping): Options of a run.
        dataset (str): Name of the validation set.
        names (Collection[str] | None): Of the images to yield. Default: all.

    Yields:
        tuple[str, Mapping]: Name of the image, and its sample: ``gt`` is of shape (C, H, W).
    """
    images = _built(opt, dataset)
    for index in range(len(images)):
        sample = images[index]
        name = Path(str(sample.get('lq_path', ''))).stem
        if (names is None or name in names) and 'gt' in sample and sample['gt'].ndim == 3:
            yield name, sample


def repeated_names(opt: Mapping[str, Any], dataset: str) -> list[str]:
    """Return by which names several inputs of a validation set would be saved, where the set lists its files.

    Args:
        opt (Mapping): Options of a run.
        dataset (str): Name of the validation set.
    """
    entries = getattr(_built(opt, dataset), 'paths', ())
    stems = Counter(Path(str(entry['lq_path'])).stem for entry in entries
                    if isinstance(entry, Mapping) and 'lq_path' in entry)
    return [name for name, count in stems.items() if count > 1]


def _built(opt: Mapping[str, Any], dataset: str) -> Any:
    block = {**validation_sets(opt)[dataset], 'phase': 'val'}
    if 'scale' in opt:
        block['scale'] = opt['scale']
    with quiet():
        return build_dataset(block)
