"""Prints the differences of an experiment of docs/evidence as a table in Markdown.

    python scripts/evidence/table.py docs/evidence/derain [--metric ssim]

A cell is the mean over seeds of the difference from the first variant, which is trained without a term, same seed and
final weights; in brackets the 95 % interval over seeds (Student's t) and the report's verdict, which looks at images.
"""
from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def table(report: dict[str, Any], metric: str) -> str:
    """Return the table of a report (``report.json`` of ``basicsr compare``)."""
    chosen = {(row['dataset'], row['variant']): row for row in report['results']
              if row['metric'] == metric and row['weights'] == 'net_g'}
    sets = list(dict.fromkeys(dataset for dataset, _ in chosen))
    seconds = {cost['variant']: cost['seconds'] for cost in report['costs']}
    lines = [['variant', *sets, 's per step'], ['---'] * (len(sets) + 2)]
    lines += [[f'`{name}`', *(cell(chosen[dataset, name]) for dataset in sets), f'{seconds[name]:.3f}']
              for name in report['variants']]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def cell(row: dict[str, Any]) -> str:
    """Return the mean of the baseline, or the difference of another variant."""
    paired, summary = row['paired'], row['summary']
    if paired is None:
        return f'{summary["mean"]:.3f}, spread {summary["spread"]:.3f}'
    return f'{paired["mean"]:+.3f} ({paired["seeds_low"]:+.3f} .. {paired["seeds_high"]:+.3f}; {paired["verdict"]})'


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('experiment', type=Path, help='folder that holds report.json')
    parser.add_argument('--metric', default='psnr', help='as in the option file (default: psnr)')
    args = parser.parse_args()
    print(table(json.loads((args.experiment / 'report.json').read_text(encoding='utf-8')), args.metric))


if __name__ == '__main__':
    main()
