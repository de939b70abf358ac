"""Measures imports and ``--help``, each in processes of its own, in turn.

    python scripts/benchmark/startup.py --json docs/benchmarks/my_machine_startup.json
"""
from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch
from machine import describe
from table import markdown, write_json
from timing import spread
from tqdm import tqdm

HELP = 'import sys; sys.argv = ["basicsr", {}"--help"]; from mcir_plugin.cli import main; main()'
# BasicSR 1.4.2 does not import on today's torchvision without the name that was moved
ALONE = """
import sys, types
from torchvision.transforms.functional import rgb_to_grayscale
moved = types.ModuleType('functional_tensor')
moved.rgb_to_grayscale = rgb_to_grayscale
sys.modules['torchvision.transforms.functional_tensor'] = moved
import basicsr
"""
RUNS = {
    'python alone': 'pass',
    'import mcir_plugin': 'import mcir_plugin',
    'import torch': 'import torch',
    'import torch, mcir_plugin': 'import torch, mcir_plugin; mcir_plugin.SPNLoss',
    'import mcir_plugin, basicsr': 'import mcir_plugin, basicsr',
    'import basicsr alone': ALONE,
    'basicsr --help': HELP.format(''),
    'basicsr check --help': HELP.format('"check", '),
    'basicsr train --help': HELP.format('"train", '),
}


def measure(repeats: int) -> dict[str, list[float]]:
    """Return the seconds of every run, one per round."""
    samples: dict[str, list[float]] = {name: [] for name in RUNS}
    for turn in tqdm(range(-1, repeats), desc='rounds', unit='round', disable=None):
        for name, code in RUNS.items():
            begin = time.perf_counter()
            subprocess.run([sys.executable, '-c', code], check=True, capture_output=True)
            if turn >= 0:  # the first round warms the disk cache
                samples[name].append(time.perf_counter() - begin)
    return samples


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeats', type=int, default=7, help='rounds (default: 7)')
    parser.add_argument('--json', type=Path, metavar='FILE')
    options = parser.parse_args(arguments)
    samples = measure(options.repeats)
    print(markdown(['what', 'median s', 'spread s'], [[name, f'{median(values):.3f}', f'{spread(values):.3f}']
                                                      for name, values in samples.items()]))
    if options.json:
        write_json({'machine': describe(torch.device('cpu')),
                    'median': {name: median(values) for name, values in samples.items()}, 'samples': samples},
                   options.json)


if __name__ == '__main__':
    main()
