"""Interleaved timing, and ratios that are printed only where they say something."""
from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from tqdm import tqdm


def seconds_of(run: Callable[[], None], device: torch.device) -> float:
    """Return the seconds that one call takes: by events on a GPU, by the clock elsewhere."""
    if device.type != 'cuda':
        begin = time.perf_counter()
        run()
        return time.perf_counter() - begin
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    run()
    last.record()
    torch.cuda.synchronize()
    return first.elapsed_time(last) / 1000


def interleaved(runs: Mapping[str, Callable[[], None]], repeats: int, device: torch.device,
                warm_up: int = 2) -> dict[str, list[float]]:
    """Time every run once per round, so that what disturbs the machine disturbs all of them.

    Args:
        runs (Mapping[str, Callable]): What is compared.
        repeats (int): Rounds.
        device (torch.device): Where they run.
        warm_up (int): Rounds before, not counted. Default: 2.

    Returns:
        dict[str, list[float]]: Seconds, one per round.
    """
    samples: dict[str, list[float]] = {name: [] for name in runs}
    for turn in tqdm(range(-warm_up, repeats), desc='rounds', unit='round', disable=None):
        for name, run in runs.items():
            seconds = seconds_of(run, device)
            if turn >= 0:
                samples[name].append(seconds)
    return samples


def spread(samples: Sequence[float]) -> float:
    """Return half the distance between the quartiles."""
    low, _, high = statistics.quantiles(samples, n=4)
    return (high - low) / 2


def ratio(samples: Mapping[str, Sequence[float]], one: str, other: str) -> tuple[float, float]:
    """Return the median over the rounds of ``one / other`` and its spread."""
    ratios = [a / b for a, b in zip(samples[one], samples[other], strict=True)]
    return statistics.median(ratios), spread(ratios)


def say_ratio(value: float, error: float) -> str:
    """Return the ratio in words; where the spread is larger than the effect, that."""
    if error > abs(value - 1):
        return f'no difference beyond the spread ({error:.3f})'
    return f'{value:.3f} +- {error:.3f}'
