"""Measures what a training step costs: without the term, as the method was released, and in every mode of the plugin.

    python scripts/benchmark/step_cost.py --arch EDSR-baseline --json docs/benchmarks/my_machine_edsr.json

All kinds of step are timed in turn in one process; each kind's peak memory in a process of its own. ``floor`` is the
sum of the parts that no exact implementation can do without: the baseline's step, N forwards of the network and of the
extractor without gradient, one forward and backward of the extractor.
"""
from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from networks import ARCHITECTURES, build

DTYPES = {'float32': torch.float32, 'float64': torch.float64, 'bfloat16': torch.bfloat16}
LEFT_OUT_BY_DEFAULT = ('fp16', 'compiled', 'batched')


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--arch', choices=sorted(ARCHITECTURES), default='EDSR-baseline')
    parser.add_argument('--negatives', type=int, default=4, help='N (default: 4)')
    parser.add_argument('--batch', type=int, help='images per step (default: by network)')
    parser.add_argument('--patch', type=int, help='height and width of lq in pixels (default: by network)')
    parser.add_argument('--scale', type=int, help='of super-resolution (default: 4)')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--dtype', choices=DTYPES, default='float32',
                        help='bfloat16 is mixed precision training (default: float32)')
    parser.add_argument('--modes', nargs='+', metavar='MODE', help='of the plugin (default: all but '
                        f'{", ".join(LEFT_OUT_BY_DEFAULT)}; "all" for all)')
    parser.add_argument('--repeats', type=int, default=15, help='rounds (default: 15)')
    parser.add_argument('--no-memory', action='store_true', help='do not measure memory')
    parser.add_argument('--no-gradients', action='store_true', help='do not measure gradient errors')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the result with all samples')
    parser.add_argument('--memory-of', metavar='STEP', help=argparse.SUPPRESS)  # the process that memory.py starts
    options = parser.parse_args(arguments)
    architecture = ARCHITECTURES[options.arch]
    for name in ('batch', 'patch', 'scale'):
        setattr(options, name, getattr(options, name) or getattr(architecture, name))
    if architecture.scale == 1 and options.scale != 1:
        parser.error(f'argument --scale: {options.arch} restores at the size of its input; leave --scale out')
    if min(options.negatives, options.batch, options.patch, options.scale) < 1 or options.repeats < 4:
        parser.error('--negatives, --batch, --patch and --scale must be at least 1, --repeats at least 4')
    return options


def make_setup(options: argparse.Namespace) -> Any:
    """Build the network and the images."""
    from steps import Setup
    dtype = DTYPES[options.dtype]
    mixed = dtype if options.dtype == 'bfloat16' else None
    device = torch.device(options.device)
    network = build(options.arch, options.scale).to(device, torch.float32 if mixed else dtype)
    generator = torch.Generator().manual_seed(1)
    side = options.patch * options.scale
    lq, gt = (torch.rand(options.batch, 3, n, n, generator=generator).to(device, torch.float32 if mixed else dtype)
              for n in (options.patch, side))
    return Setup(network, lq, gt, options.negatives, mixed)


def chosen_modes(options: argparse.Namespace) -> list[str]:
    """Return the names of the plugin's modes that are to be measured."""
    from modes import MODES
    if options.modes == ['all']:
        return list(MODES)
    modes = options.modes or [mode for mode in MODES if mode not in LEFT_OUT_BY_DEFAULT]
    unknown = [mode for mode in modes if mode not in MODES]
    if unknown:
        sys.exit(f'argument --modes: received {", ".join(unknown)}, must be from: {", ".join(MODES)}, all')
    return modes


def time_steps(options: argparse.Namespace, modes: Sequence[str],
               others: Sequence[str] = ('baseline', 'released')) -> dict[str, list[float]]:
    """Return seconds per step: one sample per round and kind, and the floor of each round."""
    from modes import INTERVAL, make_parts, make_step
    from timing import interleaved
    setup = make_setup(options)
    runs = {name: make_step(setup, name) for name in (*others, *(f'plugin_{mode}' for mode in modes))}
    samples = interleaved({**runs, **make_parts(setup)}, options.repeats, setup.device)
    if 'plugin_interval' in samples:
        samples['plugin_interval'] = [seconds / INTERVAL for seconds in samples['plugin_interval']]
    n = options.negatives
    samples['floor'] = [base + n * (f + v) + back for base, f, v, back in zip(
        *(samples[name] for name in ('baseline', 'part_F', 'part_V', 'part_V_backward')), strict=True)]
    return samples


def peak_memory(options: argparse.Namespace, name: str) -> int | None:
    """Return the bytes at the peak of a few steps; run in a process of its own."""
    from memory import STEPS
    from modes import make_step

    from mcir_plugin.hosts.basicsr.check.cost import PeakMemory
    memory = PeakMemory(torch.device(options.device).type == 'cuda')
    memory.restart()
    step = make_step(make_setup(options), name)
    for _ in range(1 if name == 'plugin_interval' else STEPS):
        step()
    return memory.peak()


def measure(options: argparse.Namespace, arguments: Sequence[str]) -> dict[str, Any]:
    """Return the whole result."""
    from gradients import APPROXIMATE, errors, naive_difference
    from machine import describe
    from memory import measure as memory_of
    modes = chosen_modes(options)
    samples = time_steps(options, modes)
    _say('steps are timed')
    settings = {name: getattr(options, name) for name in ('arch', 'negatives', 'batch', 'patch', 'scale', 'dtype')}
    result: dict[str, Any] = {'settings': settings, 'machine': describe(torch.device(options.device)),
                              'median': {name: statistics.median(values) for name, values in samples.items()}}
    if not options.no_gradients:
        known = [mode for mode in APPROXIMATE if mode in modes]
        result['gradient'] = {'exact_against_naive_float64': naive_difference(make_setup(options)),
                              'relative_errors': errors(make_setup(options), known)}
        _say('gradient errors are measured')
    if not options.no_memory:
        steps = ('baseline', 'released', *(f'plugin_{mode}' for mode in modes))
        result['peak_bytes'] = {name: memory_of(name, list(arguments)) for name in steps}
    return {**result, 'samples': samples}


def _say(text: str) -> None:
    print(f'{Path(__file__).name}: {text}', file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse(arguments)
    if options.memory_of:
        print(json.dumps(peak_memory(options, options.memory_of)))
        return
    from table import tables, write_json
    result = measure(options, arguments)
    print(tables(result))
    if options.json:
        write_json(result, options.json)


if __name__ == '__main__':
    main()
