"""Measures how the cost of a step grows with the number of negatives, the patch and the batch, and draws it.

    python scripts/benchmark/scaling.py --arch EDSR-baseline --json docs/benchmarks/my_machine_scaling.json \\
        --plot docs/benchmarks/my_machine_scaling.png

In every row of the result the baseline, the exact step and the parts of the floor are timed in turn. The line over N is
fitted to the exact steps; its slope is compared with that of the floor, F + V.
"""
from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe
from networks import ARCHITECTURES
from step_cost import parse, time_steps
from table import markdown, write_json

NEGATIVES = (1, 2, 4, 8, 16)
FACTORS = (0.5, 1, 1.5)  # of the default patch; a window of a transformer has to divide it


def read(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--arch', choices=sorted(ARCHITECTURES), default='EDSR-baseline')
    parser.add_argument('--negatives', type=int, nargs='+', default=NEGATIVES, help='values of N')
    parser.add_argument('--patch', type=int, nargs='+', help='values (default: by network)')
    parser.add_argument('--batch', type=int, nargs='+', help='values (default: by network)')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--repeats', type=int, default=7, help='rounds per row (default: 7)')
    parser.add_argument('--json', type=Path, metavar='FILE')
    parser.add_argument('--plot', type=Path, metavar='FILE', help='PNG; needs matplotlib')
    return parser.parse_args(arguments)


def rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure along each axis in turn, the others at their default."""
    default = ARCHITECTURES[options.arch]
    patches = options.patch or [int(default.patch * factor) for factor in FACTORS]
    batches = options.batch or sorted({1, default.batch, 2 * default.batch})
    return [measure(options, axis, **{'negatives': 4, 'patch': default.patch, 'batch': default.batch, axis: value})
            for axis, values in (('negatives', options.negatives), ('patch', patches), ('batch', batches))
            for value in values]


def measure(options: argparse.Namespace, axis: str, **sizes: int) -> dict[str, Any]:
    """Time one row."""
    arguments = ['--arch', options.arch, '--device', options.device, '--repeats', str(options.repeats)]
    for name, value in sizes.items():
        arguments += [f'--{name}', str(value)]
    samples = time_steps(parse(arguments), ['exact'], ['baseline'])
    medians = {name: statistics.median(values) for name, values in samples.items()}
    print(f'{axis} {sizes[axis]}: exact {medians["plugin_exact"]:.3f} s, floor {medians["floor"]:.3f} s', flush=True)
    return {'axis': axis, **sizes, 'median': medians, 'samples': samples}


def slopes(measured: list[dict[str, Any]]) -> dict[str, float]:
    """Return the seconds per further negative: of a line through the exact steps, of one through the floors."""
    chosen = [row for row in measured if row['axis'] == 'negatives']
    counts = [row['negatives'] for row in chosen]
    return {name: float(np.polyfit(counts, [row['median'][name] for row in chosen], 1)[0])
            for name in ('plugin_exact', 'floor')}


def draw(result: dict[str, Any], path: Path) -> None:
    """Write the plot: seconds per step over each axis."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    figure, panels = pyplot.subplots(1, 3, figsize=(12, 3.6), layout='constrained')
    labels = {'negatives': 'negatives N', 'patch': 'height and width of lq (pixels)', 'batch': 'images per step'}
    for panel, (axis, label) in zip(panels, labels.items(), strict=True):
        chosen = [row for row in result['rows'] if row['axis'] == axis]
        for name, style in (('baseline', 's--'), ('floor', '^:'), ('plugin_exact', 'o-')):
            panel.plot([row[axis] for row in chosen], [row['median'][name] for row in chosen], style, label=name)
        panel.set(xlabel=label, ylabel='seconds per step (median)', ylim=(0, None), xticks=[r[axis] for r in chosen])
    panels[0].legend()
    figure.suptitle(f'{result["arch"]}, {result["machine"]["device"]}, {result["machine"]["threads"]} threads')
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write, draw."""
    options = read(arguments)
    measured = rows(options)
    result = {'arch': options.arch, 'machine': describe(torch.device(options.device)), 'slopes': slopes(measured),
              'rows': measured}
    print(markdown(['axis', 'N', 'batch', 'patch', 'baseline s', 'floor s', 'exact s', 'exact / floor'], [
        [row['axis'], *(str(row[name]) for name in ('negatives', 'batch', 'patch')),
         *(f'{row["median"][name]:.3f}' for name in ('baseline', 'floor', 'plugin_exact')),
         f'{row["median"]["plugin_exact"] / row["median"]["floor"]:.3f}'] for row in measured]))
    slope, floor = result['slopes']['plugin_exact'], result['slopes']['floor']
    print(f'\nseconds per further negative: exact {slope:.4f}, floor {floor:.4f}, ratio {slope / floor:.3f}')
    if options.json:
        write_json(result, options.json)
    if options.plot:
        draw(result, options.plot)


if __name__ == '__main__':
    main()
