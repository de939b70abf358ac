"""Which images a report shows, and how they are read again from the validation sets."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from basicsr.utils import tensor2img

from mcir_plugin.hosts.basicsr.compare.evaluate import saved_image
from mcir_plugin.hosts.basicsr.compare.folders import Folder
from mcir_plugin.hosts.basicsr.compare.samples import read_samples
from mcir_plugin.report import Comparison, Result, Shown, save_picture, sheet
from mcir_plugin.report.figures import with_unit

PER_SET = 3


def draw_images(comparison: Comparison, folders: list[Folder], results: list[Result],
                folder: Path) -> tuple[list[Path], list[str]]:
    """Draw one PNG per shown image of the first seed.

    Shown are the images with the lowest, the middle and the highest difference between the last variant and the
    baseline by the first metric, so that they are not chosen in favour of one.

    Returns:
        tuple[list[Path], list[str]]: The files; and a remark for every set of which nothing can be shown.
    """
    paths, remarks = [], []
    for dataset in comparison.runs[0].scores:
        chosen = _first_result(results, dataset)
        if chosen is None:
            continue
        names = representative(chosen.images, chosen.paired.images if chosen.paired else ())
        before = len(paths)
        for shown in _shown(comparison, folders, chosen, names):
            paths.append(folder / f'image_{_safe(dataset)}_{_safe(shown.name)}.png')
            save_picture(sheet(shown), paths[-1])
        if len(paths) == before:
            remarks.append(f'No image of {dataset} is shown: it has no ground truth, or the saved outputs are not '
                           'of its size.')
    return paths, remarks


def representative(names: tuple[str, ...], differences: tuple[float, ...]) -> list[str]:
    """Return the names with the lowest, the middle and the highest difference; the first ones without differences."""
    if not differences:
        return list(names[:PER_SET])
    order = np.argsort(differences, kind='stable')
    return list(dict.fromkeys(names[order[place]] for place in (0, len(order) // 2, -1)))


def _first_result(results: list[Result], dataset: str) -> Result | None:
    """Return the last variant's result by the first metric and the last weights (the average where there is one)."""
    of_set = [result for result in results if result.dataset == dataset]
    metrics = dict.fromkeys(result.metric for result in of_set)
    weights = list(dict.fromkeys(result.weights for result in of_set))
    found = [r for r in of_set if r.metric == next(iter(metrics)) and r.weights == weights[-1]]
    return found[-1] if found else None


def _shown(comparison: Comparison, folders: list[Folder], chosen: Result, names: list[str]) -> Iterable[Shown]:
    first = {variant: next(f for f in folders if f.variant == variant and f.seed == comparison.seeds[0])
             for variant in comparison.variants}
    runs = {variant: comparison.of(variant)[0] for variant in comparison.variants}
    for name, sample in read_samples(folders[0].opt, chosen.dataset, set(names)):
        outputs = {variant: cv2.imread(str(saved_image(folder.path, chosen.weights, chosen.dataset, name)))
                   for variant, folder in first.items()}
        gt, lq = (_in_colour(tensor2img(sample[key])) for key in ('gt', 'lq'))
        if any(image is None or image.shape != gt.shape for image in outputs.values()) or gt.shape[0] % lq.shape[0]:
            continue
        notes = {variant: f'{with_unit(chosen.metric)} '
                 f'{run.scores[chosen.dataset][chosen.weights][chosen.metric][name]:.4f}'
                 for variant, run in runs.items()}
        yield Shown(name, lq, gt, outputs, notes)


def _in_colour(image: np.ndarray) -> np.ndarray:
    """Return an image of one channel in three, as OpenCV reads the outputs that were saved."""
    return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image


def _safe(name: str) -> str:
    return ''.join(letter if letter.isalnum() or letter in '-.' else '_' for letter in name)
