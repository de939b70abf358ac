"""Curves of trainings and bars of their cost, as PNG files. Needs matplotlib."""
from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcir_plugin.errors import McirError
from mcir_plugin.report.comparison import Comparison, Cost, RunData
from mcir_plugin.report.statistics import Paired

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')  # told apart by most people
DASHES = ('-', '--', ':', '-.')
WIDTH, HEIGHT = 7.2, 2.6  # inches, of one row
LABELS = {'spn/ratio': '|term| / criterion', 'lr': 'learning rate', 'seconds': 'time per step (s)'}
UNITS = {'psnr': 'dB'}
FAR_APART = 20  # between the largest values of two variants, from which on an axis is logarithmic
FAMILIES = ('spn/dist_', 'spn/age_')
FAMILY_LABELS = {'spn/dist_': 'feature distance of\nnegatives (mean)',
                 'spn/age_': 'age of negatives\n(iterations, mean)'}


class PlottingError(McirError, ImportError):
    """matplotlib is not installed."""


def require_matplotlib() -> None:
    """Make sure that plots can be drawn, before time is spent on anything else.

    Raises:
        PlottingError: If matplotlib is not there.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise PlottingError("A report draws its plots with matplotlib, which is not installed. Install it: "
                            "pip install 'mcir-plugin[report]' (or pip install matplotlib).") from error


def draw_losses(comparison: Comparison, path: Path) -> bool:
    """Draw every loss term, their ratio, and distance and age of the negatives over iterations.

    A line is one training: the colour says which variant, the dashes which seed. Distances and ages are means over
    the negatives. Returns False, without a file, if nothing was logged.
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


def draw_costs(costs: Sequence[Cost], path: Path) -> bool:
    """Draw bars of seconds per step and of memory per variant. Returns False if neither is known."""
    known = [(title, values) for title, values in (
        ('time per training step (ms)', [1000 * cost.seconds for cost in costs]),
        ('largest memory (MB)', [cost.memory for cost in costs])) if any(map(math.isfinite, values))]
    if not known:
        return False
    figure, axes = _figure(1, len(known), 1.1 + 0.32 * len(costs))
    for axis, (title, values) in zip(axes[0], known, strict=True):
        _bars(axis, [cost.variant for cost in costs], values, title)
    _save(figure, path)
    return True


def draw_differences(differences: Sequence[tuple[str, Paired]], label: str, title: str, path: Path) -> None:
    """Draw the paired difference of every image, one row of dots per variant, with mean and interval.

    Args:
        differences (Sequence): Name of the variant and its difference from the baseline.
        label (str): What is on the axis, with its unit.
        title (str): Which images and weights these are.
        path (Path): PNG file to write.
    """
    figure, axes = _figure(1, 1, 1.1 + 0.4 * len(differences))
    axis = axes[0][0]
    for row, (_, paired) in enumerate(differences):
        axis.plot(paired.images, [row] * len(paired.images), '.', color=COLOURS[(row + 1) % len(COLOURS)], alpha=0.6,
                  markersize=8)
        axis.plot([paired.low, paired.high], [row + 0.28] * 2, color='black', linewidth=2, solid_capstyle='butt')
        axis.plot([paired.mean], [row + 0.28], 'D', color='black', markersize=4.5)
    axis.axvline(0, color='0.4', linewidth=0.8)
    axis.grid(axis='x', alpha=0.25)
    axis.set_yticks(range(len(differences)), [_plain(name) for name, _ in differences])
    axis.set_ylim(len(differences) - 0.5, -0.5)
    axis.tick_params(labelsize=8)
    axis.set_title(_plain(title), fontsize=8, loc='left')
    axis.set_xlabel(_plain(label), fontsize=8)
    _save(figure, path)


def with_unit(metric: str) -> str:
    """Return the name of a metric with its unit, where it has one."""
    unit = next((unit for name, unit in UNITS.items() if name in metric.lower()), None)
    return f'{metric} ({unit})' if unit else metric


def _rows(runs: Iterable[RunData], beginnings: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for name in run.curves if name.startswith(beginnings)))


def _has(runs: Iterable[RunData], name: str) -> bool:
    return any(name in run.curves for run in runs)


def _draw(comparison: Comparison, rows: list[str], path: Path, with_differences: bool = False) -> bool:
    if not rows:
        return False
    figure, axes = _figure(len(rows), 1 + with_differences, HEIGHT * len(rows))
    for line, row in zip(axes, rows, strict=True):
        _lines(line[0], comparison, row, None)
        if with_differences:
            _lines(line[1], comparison, row, comparison.variants[0])
    for axis in axes[-1]:
        axis.set_xlabel('iteration', fontsize=8)
    handles, labels = _legend(comparison)
    figure.legend(handles, labels, loc='outside upper center', ncols=min(4, len(labels)), fontsize=8, frameon=False)
    _save(figure, path)
    return True


def _lines(axis: Axes, comparison: Comparison, row: str, baseline: str | None) -> None:
    """Draw a row of all runs, or with a baseline its difference from the baseline's run of the same seed."""
    for place, variant in enumerate(comparison.variants):
        for number, run in enumerate(comparison.of(variant)):
            points = _curve(run, row)
            if baseline is not None:
                other = _curve(comparison.of(baseline)[number], row)
                points = {step: value - other[step] for step, value in points.items() if step in other}
            axis.plot(list(points), list(points.values()), DASHES[number % len(DASHES)], linewidth=1.1,
                      marker='.' if len(points) < 20 else '', markersize=4, color=COLOURS[place % len(COLOURS)])
    if baseline is None:
        _spread(axis, comparison, row)
    unit = with_unit(row).removeprefix(row)
    axis.set_ylabel(_plain(_label(row) if baseline is None else f'difference from {baseline}{unit}'), fontsize=8)
    axis.tick_params(labelsize=8)
    axis.grid(alpha=0.25)


def _spread(axis: Axes, comparison: Comparison, row: str) -> None:
    """Make the axis logarithmic on both sides of 0 where one variant would else flatten another's curve."""
    values = [[value for run in comparison.of(variant) for value in _curve(run, row).values() if math.isfinite(value)]
              for variant in comparison.variants]
    sizes = [max(map(abs, found)) for found in values if any(found)]
    if not row.startswith(('l_', 'spn/')) or not sizes or max(sizes) <= FAR_APART * min(sizes):
        return
    if min(min(found) for found in values if found) > 0:
        axis.set_yscale('log')
    else:
        axis.set_yscale('symlog', linthresh=min(sizes))


def _curve(run: RunData, row: str) -> dict[int, float]:
    """Return a curve, or the mean of a family of curves where all of them have a value."""
    if row not in FAMILIES:
        return dict(run.curves.get(row, {}))
    members = [curve for name, curve in run.curves.items() if name.startswith(row)]
    steps = sorted({step for curve in members for step in curve})
    found = {step: [curve[step] for curve in members if step in curve] for step in steps}
    return {step: sum(values) / len(values) for step, values in found.items()}


def _label(row: str) -> str:
    if row in FAMILIES:
        return FAMILY_LABELS[row]
    if row.startswith('l_'):
        return f'{row} (loss)'
    return LABELS.get(row) or with_unit(row)


def _legend(comparison: Comparison) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D
    entries = [(Line2D([], [], color=COLOURS[place % len(COLOURS)]), _plain(variant))
               for place, variant in enumerate(comparison.variants)]
    if len(comparison.seeds) > 1:
        entries += [(Line2D([], [], color='0.4', linestyle=DASHES[number % len(DASHES)]), f'seed {seed}')
                    for number, seed in enumerate(comparison.seeds)]
    return [handle for handle, _ in entries], [label for _, label in entries]


def _bars(axis: Axes, names: Sequence[str], values: Sequence[float], title: str) -> None:
    shown = [value if math.isfinite(value) else 0 for value in values]
    colours = [COLOURS[place % len(COLOURS)] for place in range(len(names))]
    bars = axis.barh([_plain(name) for name in names], shown, color=colours, height=0.6)
    labels = [f' {_short(value)}' if math.isfinite(value) else ' not known' for value in values]
    axis.bar_label(bars, labels, fontsize=8)
    axis.margins(x=0.25)
    axis.tick_params(labelsize=8)
    axis.invert_yaxis()
    axis.set_xlabel(title, fontsize=8)


def _short(value: float) -> str:
    return f'{value:,.0f}' if abs(value) >= 100 else f'{value:.3g}'


def _figure(rows: int, columns: int, height: float) -> tuple[Figure, Any]:
    """Return a figure that belongs to no window system, and its axes (rows, columns)."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(WIDTH, height + 0.4), dpi=130, layout='constrained')
    return figure, figure.subplots(rows, columns, squeeze=False)


def _save(figure: Figure, path: Path) -> None:
    partial = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        figure.savefig(partial, format='png')
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _plain(text: str) -> str:
    """Return a name as matplotlib draws it literally: $ would start a formula."""
    return text.replace('$', r'\$')
