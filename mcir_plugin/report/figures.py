"""What all figures of a report share: their colours, how they are made and saved. Needs matplotlib."""
from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcir_plugin.errors import McirError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000',  # told apart by most people
           '#882255', '#999933', '#7F7F7F', '#5B3A1E', '#44AA99')
WIDTH = 7.2  # inches
FAR_APART = 20  # between the largest values of two variants, from which on an axis is logarithmic
UNITS = {'psnr': 'dB'}


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


def colour(place: int) -> str:
    """Return the colour of a variant by its place in the comparison, the baseline's being 0."""
    return COLOURS[place % len(COLOURS)]


def with_unit(metric: str) -> str:
    """Return the name of a metric with its unit, where it has one."""
    unit = next((unit for name, unit in UNITS.items() if name in metric.lower()), None)
    return f'{metric} ({unit})' if unit else metric


def scale_of(found: Iterable[Iterable[float]]) -> tuple[str, dict[str, float]]:
    """Return the scale of an axis, and its options: logarithmic on both sides of 0 where linear would hide something.

    Args:
        found (Iterable): The values of every variant.
    """
    values = [[value for value in one if math.isfinite(value)] for one in found]
    sizes = [max(map(abs, one)) for one in values if any(one)]
    if not sizes or max(sizes) <= FAR_APART * min(sizes):
        return 'linear', {}
    above = min(min(one) for one in values if one) > 0
    return ('log', {}) if above else ('symlog', {'linthresh': min(sizes)})


def new_figure(rows: int, columns: int, height: float) -> tuple[Figure, Any]:
    """Return a figure that belongs to no window system, and its axes (rows, columns)."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(WIDTH, height + 0.4), dpi=130, layout='constrained')
    return figure, figure.subplots(rows, columns, squeeze=False)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG file, whole or not at all."""
    partial = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        figure.savefig(partial, format='png')
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def plain(text: str) -> str:
    """Return a name as matplotlib draws it literally: $ would start a formula."""
    return text.replace('$', r'\$')
