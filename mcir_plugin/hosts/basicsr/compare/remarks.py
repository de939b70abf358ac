"""Sentences of a report on what its numbers are not: metrics that are left out, runs that saw other data."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcir_plugin.config.contrast import SPN_KEY
from mcir_plugin.config.errors import listed
from mcir_plugin.hosts.basicsr.compare.evaluate import AUTOMATIC, FOLDER
from mcir_plugin.hosts.basicsr.compare.logs import resumptions
from mcir_plugin.hosts.basicsr.evaluation.lpips_metric import lpips_blocks
from mcir_plugin.metrics.lpips_distance import missing

if TYPE_CHECKING:
    from mcir_plugin.hosts.basicsr.compare.folders import Folder


def remarks(folders: Sequence[Folder], markers: Mapping[Path, Mapping[str, Any]],
            shown: Sequence[str]) -> Iterator[str]:
    """Yield what a reader of the numbers has to know.

    Args:
        folders (Sequence[Folder]): The runs.
        markers (Mapping): What was evaluated, by the path of the run.
        shown (Sequence[str]): Names of the metrics that all runs have.
    """
    yield from _left_out(folders, markers, shown)
    yield from interrupted(folders)


def _left_out(folders: Sequence[Folder], markers: Mapping[Path, Mapping[str, Any]],
              shown: Sequence[str]) -> Iterator[str]:
    """Yield why LPIPS is not among the metrics, which is added where it is at hand."""
    if AUTOMATIC in shown or lpips_blocks(folders[0].opt['val']['metrics']):
        return
    why = missing() or next((marker['without'] for marker in markers.values() if marker.get('without')), None)
    without = [path for path, marker in markers.items() if AUTOMATIC not in marker['protocols']]
    yield (f'LPIPS is left out. {why}.' if why else
           f'LPIPS is left out: {len(without)} of {len(markers)} runs were evaluated before it was at hand. To add it, '
           f'remove the folder {FOLDER} of these runs and make the report again: {listed(without, 3)}.')


def interrupted(folders: Sequence[Folder]) -> Iterator[str]:
    """Yield which runs were continued so that what they saw may differ from then on."""
    for folder in folders:
        data, steps = folder.opt['datasets'].get('train') or {}, resumptions(folder.path)
        has_term = folder.opt['train'].get(SPN_KEY) is not None
        if steps and not (has_term and data.get('num_worker_per_gpu') == 0 and data.get('prefetch_mode') is None):
            why = 'data workers draw other crops' if has_term else 'BasicSR begins the epoch again'
            yield (f'{folder.path.name} was interrupted and continued after iteration {", ".join(map(str, steps))}. '
                   f'From there on it may have seen other data than the other runs of its seed: {why}.')
