"""All files of a report: plots, pages, numbers."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mcir_plugin.report import curves, plots
from mcir_plugin.report.comparison import Comparison, Result
from mcir_plugin.report.figures import FAR_APART, with_unit
from mcir_plugin.report.page import Picture, markdown, numbers, page, raw_runs, write_text

IMAGES = ('Above: input, outputs and ground truth inside the square in which the baseline errs most. Below: absolute '
          'errors (mean over channels) and differences from the baseline, each on one scale.')


def write_report(comparison: Comparison, results: Sequence[Result], images: Sequence[Path], folder: Path) -> Path:
    """Write ``report.html``, ``report.md``, ``report.json``, ``runs.json`` and the plots; return the path of the page.

    Args:
        comparison (Comparison): What was compared.
        results (Sequence[Result]): Its results.
        images (Sequence[Path]): PNG files of images side by side, to be shown in this order.
        folder (Path): An existing folder.
    """
    pictures = [*_plots(comparison, results, folder),
                *(Picture(path, path.stem.removeprefix('image_'), _caption(comparison, results), 'Images')
                  for path in images)]
    write_text(folder / 'report.md', markdown(comparison, results))
    write_text(folder / 'report.json', numbers(comparison, results))
    write_text(folder / 'runs.json', raw_runs(comparison))
    path = folder / 'report.html'
    write_text(path, page(comparison, results, pictures))
    return path


def _caption(comparison: Comparison, results: Sequence[Result]) -> str:
    return (f'{results[-1].weights}, seed {comparison.seeds[0]}; the images with the lowest, the middle and the '
            f'highest difference of {comparison.variants[-1]}. {IMAGES}')


def _plots(comparison: Comparison, results: Sequence[Result], folder: Path) -> list[Picture]:
    pictures = []
    lines = ('One line per training: the colour is the variant, the dashes are the seed.'
             if len(comparison.seeds) <= len(curves.DASHES) else
             'The mean over the seeds of each variant, in a band from the lowest to the highest seed.')
    far = f'the axis is logarithmic where variants differ by more than a factor of {FAR_APART}'
    pictures += _differences(comparison, results, folder)
    if curves.draw_validations(comparison, folder / 'validations.png'):
        pictures.append(Picture(folder / 'validations.png', 'Validations during training',
                                f'{lines} Right: minus the baseline with the same seed; {far}.', 'Training'))
    if curves.draw_losses(comparison, folder / 'losses.png'):
        pictures.append(Picture(folder / 'losses.png', 'Loss terms and negatives',
                                f'{lines} {far.capitalize()}. Distances and ages are means over the negatives.',
                                'Training'))
    if plots.draw_costs(comparison.costs(), folder / 'cost.png'):
        pictures.append(Picture(folder / 'cost.png', 'Time and memory', 'Median of the printed times per step over all '
                                'seeds, and the largest memory of one training. Runs at the same time slow each other '
                                'down.', 'Cost'))
    return pictures


def _differences(comparison: Comparison, results: Sequence[Result], folder: Path) -> list[Picture]:
    pictures = []
    for number, key in enumerate(dict.fromkeys((r.dataset, r.weights, r.metric) for r in results if r.paired)):
        found = [(r.variant, r.paired) for r in results if r.paired and (r.dataset, r.weights, r.metric) == key]
        path = folder / f'differences_{number + 1}.png'
        better = 'right' if comparison.protocols[key[2]]['higher_is_better'] else 'left'
        plots.draw_differences(found, f'{with_unit(key[2])}: variant - {comparison.variants[0]} '
                               f'({better} of 0 is better)', f'{key[0]}, {key[1]}', path)
        pictures.append(Picture(path, f'{key[0]}, {key[2]} ({key[1]})', 'One dot per image, mean over seeds. Black: '
                                'mean over images and its 95 % bootstrap interval.', 'Differences'))
    return pictures
