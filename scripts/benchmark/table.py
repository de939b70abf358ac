"""The result of a benchmark as Markdown, and as JSON."""
from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from modes import MODES
from timing import ratio, say_ratio, spread

HISTORY_OF_16 = sum(1 / interval for interval in (100, 200, 500, 1000)) * 4 / 16  # share refreshed per step


def tables(result: dict[str, Any]) -> str:
    """Return everything that was measured, in tables."""
    settings, machine = result['settings'], result['machine']
    parts = [f'{settings["arch"]} x{settings["scale"]}, N = {settings["negatives"]}, batch {settings["batch"]}, lq '
             f'{settings["patch"]} x {settings["patch"]}, {settings["dtype"]}; {machine["device"]}, '
             f'{machine["threads"]} threads, torch {machine["torch"]}', time_table(result), floor_table(result)]
    if 'gradient' in result:
        parts.append(gradient_table(result['gradient']))
    return '\n\n'.join(parts)


def time_table(result: dict[str, Any]) -> str:
    """Return seconds, ratios and memory of every kind of step."""
    samples, memory = result['samples'], result.get('peak_bytes', {})
    steps = [name for name in samples if name in ('baseline', 'released', 'floor') or name.startswith('plugin_')]
    rows = []
    for name in steps:
        ratios = ['' if name == other else say_ratio(*ratio(samples, name, other))
                  for other in ('baseline', 'floor', 'released')]
        rows.append([name, MODES.get(name.removeprefix('plugin_'), ''), f'{result["median"][name]:.3f}',
                     f'{spread(samples[name]):.3f}', *ratios, _megabytes(memory.get(name))])
    return markdown(['step', 'what', 'median s', 'spread s', '/ baseline', '/ floor', '/ released', 'peak MB'], rows)


def floor_table(result: dict[str, Any]) -> str:
    """Return the parts of the floor and the cost of refreshing 16 negatives."""
    median = result['median']
    exact = median.get('plugin_exact', median['floor'])
    refresh = median['refresh_16'] * HISTORY_OF_16
    rows = [['F, network forward, no gradient', f'{median["part_F"]:.4f}'],
            ['V, extractor forward, no gradient', f'{median["part_V"]:.4f}'],
            ['V, forward and backward to the image', f'{median["part_V_backward"]:.4f}'],
            ['refresh of 16 negatives at once', f'{median["refresh_16"]:.4f}'],
            ['refresh of 16 negatives per step, intervals 100, 200, 500, 1000 (4 each)',
             f'{refresh:.6f} ({refresh / exact:.3%} of the exact step)']]
    return markdown(['part', 'median s'], rows)


def gradient_table(gradient: dict[str, Any]) -> str:
    """Return the gradient errors."""
    rows = gradient['relative_errors']
    names = [name for name in rows[0] if name not in ('weights_noise', 'mean_abs_difference')]
    head = ['mean abs(out - neg)', *names]
    body = [[f'{row["mean_abs_difference"]:.2e}', *(f'{row[name]:.2g}' for name in names)] for row in rows]
    return (f'Exact mode against the naive gradient, float64: {gradient["exact_against_naive_float64"]:.1e} '
            '(relative).\n\nRelative error of the gradient of each mode:\n\n' + markdown(head, body))


def markdown(head: list[str], rows: Iterable[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ['---'] * len(head), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def write_json(result: dict[str, Any], path: Path) -> None:
    """Write the result, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'{path.name}.part')
    partial.write_text(json.dumps(result, indent=1) + '\n')
    os.replace(partial, path)


def _megabytes(size: int | None) -> str:
    return '' if size is None else f'{size / 1e6:.0f}'
