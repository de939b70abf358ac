"""Prints how far each variant is ahead at every validation of an experiment of docs/evidence, as a table in Markdown.

    python scripts/evidence/curves.py docs/evidence/sr_x2 Set5 [--metric ssim]

A cell is the mean over seeds of the difference from the first variant at the same iteration and seed; in brackets the
95 % interval over seeds (Student's t). Validations during training are of the EMA weights.
"""
from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcir_plugin.report.statistics import seed_interval


def table(runs: Sequence[dict[str, Any]], curve: str) -> str:
    """Return the table of the runs (``runs.json`` of ``basicsr compare``) for one curve, such as ``Set5: psnr``."""
    values = {(run['variant'], run['seed']): run['curves'][curve] for run in runs}
    variants, seeds = (list(dict.fromkeys(run[key] for run in runs)) for key in ('variant', 'seed'))
    iterations = list(next(iter(values.values())))

    def at(variant: str, iteration: str) -> np.ndarray:
        return np.array([values[variant, seed][iteration] for seed in seeds])

    lines = [['variant', *iterations], ['---'] * (len(iterations) + 1)]
    lines += [[f'`{variants[0]}`', *(f'{at(variants[0], iteration).mean():.3f}' for iteration in iterations)]]
    lines += [[f'`{name}`', *(cell(at(name, iteration) - at(variants[0], iteration)) for iteration in iterations)]
              for name in variants[1:]]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def cell(differences: np.ndarray) -> str:
    """Return the mean of the differences of the seeds with its interval."""
    low, high = seed_interval(differences)
    return f'{differences.mean():+.3f} ({low:+.3f} .. {high:+.3f})'


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('experiment', type=Path, help='folder that holds runs.json')
    parser.add_argument('dataset', help='name of the validation set, e.g. Set5')
    parser.add_argument('--metric', default='psnr', help='as in the option file (default: psnr)')
    args = parser.parse_args()
    runs = json.loads((args.experiment / 'runs.json').read_text(encoding='utf-8'))
    curve = f'{args.dataset}: {args.metric}'
    if curve not in runs[0]['curves']:
        parser.error(f'there is no curve {curve!r}; the runs have {", ".join(runs[0]["curves"])}')
    print(table(runs, curve))


if __name__ == '__main__':
    main()
