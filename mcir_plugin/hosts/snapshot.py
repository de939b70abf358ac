"""What is kept of a step that was not finite: few files, of bounded size, written whole or not at all."""
from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

KEEP = 3  # files per rank
LIMIT = 2 * 2**30  # bytes per file


def write_snapshot(folder: Path, step: int, rank: int, parts: Mapping[str, Any]) -> str:
    """Write ``diverged_iter_<step>_rank<rank>.pth`` and remove the oldest of more than three of this rank.

    Parts are taken in their order while the file stays below 2 GiB and below half of the free space; what is left out
    is named in it under ``left_out``. A failure to write is reported, not raised: it must not hide why training stops.

    Args:
        folder (Path): Where to.
        step (int): The iteration.
        rank (int): Of this process.
        parts (Mapping[str, Any]): What to keep, the most important first; nested mappings and lists of tensors and
            plain values.

    Returns:
        str: A sentence that says where it is, or why it is not.
    """
    path = folder / f'diverged_iter_{step}_rank{rank}.pth'
    try:
        kept = dict(_within(parts, min(LIMIT, shutil.disk_usage(folder).free // 2)))
        left_out = [name for name in parts if name not in kept]
        _write({'iter': step, **kept, 'left_out': left_out}, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as the latter
        return f'No snapshot could be saved in {path} ({error}).'
    for old in sorted(folder.glob(f'diverged_iter_*_rank{rank}.pth'), key=_age)[:-KEEP]:
        old.unlink(missing_ok=True)
    without = f', without {", ".join(left_out)}, which would have been too large' if left_out else ''
    return f'Saved in {path}: {", ".join(kept)}{without}.'


def _write(content: dict[str, Any], path: Path) -> None:
    partial = path.with_name(f'.{path.name}.tmp')
    try:
        torch.save(content, partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _within(parts: Mapping[str, Any], limit: int) -> Iterator[tuple[str, Any]]:
    for name, part in parts.items():
        limit -= (size := sum(tensor.numel() * tensor.element_size() for tensor in _tensors(part)))
        if limit >= 0:
            yield name, part
        else:
            limit += size


def _tensors(part: Any) -> Iterator[Tensor]:
    if isinstance(part, Tensor):
        yield part
    elif isinstance(part, (Mapping, list, tuple)):
        for inner in part.values() if isinstance(part, Mapping) else part:
            yield from _tensors(inner)


def _age(path: Path) -> float:
    return path.stat().st_mtime
