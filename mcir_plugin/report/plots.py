"""Bars of cost and dots of paired differences, as PNG files."""
from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mcir_plugin.report.comparison import Cost
from mcir_plugin.report.figures import colour, new_figure, plain, save, scale_of
from mcir_plugin.report.statistics import Paired

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_costs(costs: Sequence[Cost], path: Path) -> bool:
    """Draw bars of seconds per step and of memory per variant. Returns False if neither is known."""
    known = [(title, values) for title, values in (
        ('time per training step (ms)', [1000 * cost.seconds for cost in costs]),
        ('largest memory (MB)', [cost.memory for cost in costs])) if any(map(math.isfinite, values))]
    if not known:
        return False
    figure, axes = new_figure(1, len(known), 1.1 + 0.32 * len(costs))
    for axis, (title, values) in zip(axes[0], known, strict=True):
        _bars(axis, [cost.variant for cost in costs], values, title)
    save(figure, path)
    return True


def draw_differences(differences: Sequence[tuple[str, Paired]], label: str, title: str, path: Path) -> None:
    """Draw the paired difference of every image, one row of dots per variant, with mean and interval.

    Args:
        differences (Sequence): Name of the variant and its difference from the baseline.
        label (str): What is on the axis, with its unit.
        title (str): Which images and weights these are.
        path (Path): PNG file to write.
    """
    figure, axes = new_figure(1, 1, 1.1 + 0.4 * len(differences))
    axis = axes[0][0]
    for row, (_, paired) in enumerate(differences):
        axis.plot(paired.images, [row] * len(paired.images), '.', color=colour(row + 1), alpha=0.6,
                  markersize=8)
        axis.plot([paired.low, paired.high], [row + 0.28] * 2, color='black', linewidth=2, solid_capstyle='butt')
        axis.plot([paired.mean], [row + 0.28], 'D', color='black', markersize=4.5)
    axis.axvline(0, color='0.4', linewidth=0.8)
    scale, options = scale_of(paired.images for _, paired in differences)
    axis.set_xscale(scale, **options)
    axis.grid(axis='x', alpha=0.25)
    axis.set_yticks(range(len(differences)), [plain(name) for name, _ in differences])
    axis.set_ylim(len(differences) - 0.5, -0.5)
    axis.tick_params(labelsize=8)
    axis.set_title(plain(title), fontsize=8, loc='left')
    axis.set_xlabel(plain(label), fontsize=8)
    save(figure, path)


def _bars(axis: Axes, names: Sequence[str], values: Sequence[float], title: str) -> None:
    shown = [value if math.isfinite(value) else 0 for value in values]
    colours = [colour(place) for place in range(len(names))]
    bars = axis.barh([plain(name) for name in names], shown, color=colours, height=0.6)
    labels = [f' {_short(value)}' if math.isfinite(value) else ' not known' for value in values]
    axis.bar_label(bars, labels, fontsize=8)
    axis.margins(x=0.25)
    axis.tick_params(labelsize=8)
    axis.invert_yaxis()
    axis.set_xlabel(title, fontsize=8)


def _short(value: float) -> str:
    return f'{value:,.0f}' if abs(value) >= 100 else f'{value:.3g}'
