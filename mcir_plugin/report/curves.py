"""Curves of trainings over iterations, as PNG files."""
from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcir_plugin.report.comparison import Comparison, RunData
from mcir_plugin.report.figures import colour, new_figure, plain, save, scale_of, with_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DASHES = ('-', '--', ':', '-.')
HEIGHT = 2.6  # inches, of one row
LABELS = {'spn/ratio': '|term| / criterion', 'lr': 'learning rate', 'seconds': 'time per step (s)'}
FAMILIES = ('spn/dist_', 'spn/age_')
FAMILY_LABELS = {'spn/dist_': 'feature distance of\nnegatives (mean)',
                 'spn/age_': 'age of negatives\n(iterations, mean)'}


def draw_losses(comparison: Comparison, path: Path) -> bool:
    """Draw every loss term, their ratio, and distance and age of the negatives over iterations.

    A line is one training: the colour says which variant, the dashes which seed. With more than four seeds it is their
    mean, with a band from the lowest to the highest. Distances and ages are means over the negatives. Returns False,
    without a file, if nothing was logged.
    """
    rows = [*_rows(comparison.runs, ('l_', )), *[name for name in ('spn/ratio', ) if _has(comparison.runs, name)],
            *[family for family in FAMILIES if _rows(comparison.runs, (family, ))]]
    return _draw(comparison, rows, path)


def draw_validations(comparison: Comparison, path: Path) -> bool:
    """Draw what the validations during training gave, one row per set and metric. Returns False if there were none.

    To the right are the differences from the baseline with the same seed, which lines on each other would hide.
    """
    sets = tuple(f'{dataset}: ' for dataset in comparison.runs[0].scores)
    return _draw(comparison, _rows(comparison.runs, sets), path, with_differences=len(comparison.variants) > 1)


def _rows(runs: Iterable[RunData], beginnings: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run.curves if name.startswith(beginnings)))


def _has(runs: Iterable[RunData], name: str) -> bool:
    return any(name in run.curves for run in runs)


def _draw(comparison: Comparison, rows: list[str], path: Path, with_differences: bool = False) -> bool:
    if not rows:
        return False
    figure, axes = new_figure(len(rows), 1 + with_differences, HEIGHT * len(rows))
    for line, row in zip(axes, rows, strict=True):
        _lines(line[0], comparison, row, None)
        if with_differences:
            _lines(line[1], comparison, row, comparison.variants[0])
    for axis in axes[-1]:
        axis.set_xlabel('iteration', fontsize=8)
    handles, labels = _legend(comparison)
    figure.legend(handles, labels, loc='outside upper center', ncols=min(4, len(labels)), fontsize=8, frameon=False)
    save(figure, path)
    return True


def _lines(axis: Axes, comparison: Comparison, row: str, baseline: str | None) -> None:
    """Draw a row of all runs, or with a baseline its difference from the baseline's run of the same seed."""
    found = [_curves(comparison, variant, row, baseline) for variant in comparison.variants]
    for place, curves in enumerate(found):
        if len(curves) > len(DASHES):
            _band(axis, curves, colour(place))
            continue
        for points, dashes in zip(curves, DASHES, strict=False):
            axis.plot(list(points), list(points.values()), dashes, color=colour(place), **_style(points))
    if baseline is not None or row.startswith(('l_', 'spn/')):
        scale, options = scale_of([value for points in curves for value in points.values()] for curves in found)
        axis.set_yscale(scale, **options)
    axis.set_ylabel(_axis_label(row, baseline), fontsize=8)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.25)


def _curves(comparison: Comparison, variant: str, row: str, baseline: str | None) -> list[dict[int, float]]:
    curves = [_curve(run, row) for run in comparison.of(variant)]
    if baseline is None:
        return curves
    others = [_curve(run, row) for run in comparison.of(baseline)]
    return [{step: value - other[step] for step, value in points.items() if step in other}
            for points, other in zip(curves, others, strict=True)]


def _band(axis: Axes, curves: Sequence[dict[int, float]], shade: str) -> None:
    """Draw the mean of many seeds, and the range that they fill."""
    steps = [step for step in curves[0] if all(step in points for points in curves)]
    found = {step: [points[step] for points in curves] for step in steps}
    means = {step: sum(values) / len(values) for step, values in found.items()}
    axis.plot(list(means), list(means.values()), color=shade, **_style(means))
    axis.fill_between(list(found), [min(values) for values in found.values()],
                      [max(values) for values in found.values()], color=shade, alpha=0.15, linewidth=0)


def _style(points: Sized) -> dict[str, Any]:
    return {'linewidth': 1.1, 'marker': '.' if len(points) < 20 else '', 'markersize': 4}


def _curve(run: RunData, row: str) -> dict[int, float]:
    """Return a curve, or the mean of a family of curves where all of them have a value."""
    if row not in FAMILIES:
        return dict(run.curves.get(row, {}))
    members = [curve for name, curve in run.curves.items() if name.startswith(row)]
    steps = sorted({step for curve in members for step in curve})
    found = {step: [curve[step] for curve in members if step in curve] for step in steps}
    return {step: sum(values) / len(values) for step, values in found.items()}


def _axis_label(row: str, baseline: str | None) -> str:
    if baseline is not None:
        return plain(f'difference from {baseline}{with_unit(row).removeprefix(row)}')
    if row in FAMILIES:
        return FAMILY_LABELS[row]
    return plain(f'{row} (loss)' if row.startswith('l_') else LABELS.get(row) or with_unit(row))


def _legend(comparison: Comparison) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D
    entries = [(Line2D([], [], color=colour(place)), plain(variant))
               for place, variant in enumerate(comparison.variants)]
    if len(comparison.seeds) > len(DASHES):
        entries += [(Line2D([], [], color='0.4'), f'mean of {len(comparison.seeds)} seeds, and their range')]
    elif len(comparison.seeds) > 1:
        entries += [(Line2D([], [], color='0.4', linestyle=dashes), f'seed {seed}')
                    for dashes, seed in zip(DASHES, comparison.seeds, strict=False)]
    return [handle for handle, _ in entries], [label for _, label in entries]
