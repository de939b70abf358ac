"""Experiment folders as a comparison reads them."""
from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcir_plugin.config import ConfigError, load_options
from mcir_plugin.config.errors import raise_if_any, show
from mcir_plugin.hosts.basicsr.compare.evaluate import FINAL, read_marker, read_scores
from mcir_plugin.hosts.basicsr.compare.logs import read_curves
from mcir_plugin.hosts.basicsr.compare.order import in_order, variant_name
from mcir_plugin.hosts.basicsr.compare.plan import differing_keys
from mcir_plugin.hosts.basicsr.compare.remarks import remarks
from mcir_plugin.hosts.basicsr.compare.validation import require_metrics, require_same
from mcir_plugin.hosts.basicsr.compare.worker import RESOURCES
from mcir_plugin.report import Comparison, RunData

SEED = re.compile(r'_seed\d+$')
NOT_OF_A_VARIANT = ('name', 'manual_seed', 'path.', 'num_gpu')
LONGEST = 60  # characters of an option's value in the report


@dataclass(frozen=True)
class Folder:
    """A finished training.

    Attributes:
        variant (str): What it is compared as.
        seed (int): Its ``manual_seed``.
        path (Path): Experiment folder.
        options (Path): Its option file.
        opt (dict): What that file holds.
    """

    variant: str
    seed: int
    path: Path
    options: Path
    opt: dict[str, Any]


def find_folders(entries: list[str]) -> list[Folder]:
    """Find runs by the arguments of ``basicsr report``; a folder of ``basicsr compare`` stands for all of its runs.

    Args:
        entries (list[str]): Experiment folders, or ``LABEL=FOLDER``. Without a label a run is called like its folder
            without ``_seed<number>``; runs of one label are seeds of one variant.

    Raises:
        ConfigError: Missing folders, runs that did not end, runs that were not validated alike. All at once.
    """
    named = [found for entry in entries for found in _expanded(entry)]
    raise_if_any(problem for label, path in named if (problem := _unusable(path)))
    folders = [_read(label, path) for label, path in named]
    require_comparable(folders)
    return folders


def require_comparable(folders: list[Folder]) -> None:
    """Make sure that all runs have the same validation sets and protocols.

    Raises:
        ConfigError: If they have not, or a run has none.
    """
    for folder in folders:
        require_metrics(folder.opt, f'{folder.path}: ')
    require_same({str(folder.path): folder.opt for folder in folders})


def read_comparison(folders: list[Folder], title: str) -> Comparison:
    """Read the evaluations, logs and costs of runs that are evaluated.

    Raises:
        EvaluationError: If an evaluation cannot be read.
        ComparisonError: If the seeds of the variants differ.
    """
    markers = {folder.path: read_marker(folder.path) for folder in folders}
    shown = [metric for metric in markers[folders[0].path]['protocols']
             if all(metric in marker['protocols'] for marker in markers.values())]
    runs = tuple(_run_data(folder, markers[folder.path], shown) for folder in folders)
    return Comparison(title, runs, {metric: markers[folders[0].path]['protocols'][metric] for metric in shown},
                      _differing(folders), tuple(remarks(folders, markers, shown)))


def _expanded(entry: str) -> list[tuple[str | None, Path]]:
    label, separator, path = entry.rpartition('=')
    folder = Path(path if separator else entry)
    if (folder / 'options').is_dir() and not (folder / 'models').is_dir():
        runs = [folder / file.stem for file in sorted((folder / 'options').glob('*.yml'))]
        return [(variant_name(run), run) for run in in_order(folder, runs)]
    return [(label if separator else None, folder)]


def _unusable(path: Path) -> str:
    if not path.is_dir():
        return f'{path}: there is no such experiment folder. Give the folder that basicsr train made'
    if _option_file(path) is None:
        return f'{path}: there is no option file in it, so it is no experiment folder of basicsr train'
    if not (path / FINAL).is_file():
        return (f'{path}: there is no {FINAL}, so the training has not ended. Continue it with basicsr train '
                '--auto_resume')
    return ''


def _option_file(path: Path) -> Path | None:
    """Return the option file of a run: as it was resolved, else as it was copied; of several the newest."""
    for pattern in ('resolved_*.yml', '*.yml'):
        found = sorted(path.glob(pattern), key=lambda file: file.stat().st_mtime)
        if found:
            return found[-1]
    return None


def _read(label: str | None, path: Path) -> Folder:
    options = _option_file(path)
    opt = load_options(options)
    seed = opt.get('manual_seed')
    blocks = [key for key in ('datasets', 'val', 'train', 'network_g') if not isinstance(opt.get(key), Mapping)]
    if blocks or not isinstance(seed, int):
        what = f'the block {blocks[0]}' if blocks else f'manual_seed (received {show(seed)})'
        raise ConfigError(f'{options}: {what} is missing. A report needs the complete options of the training')
    return Folder(label or SEED.sub('', path.resolve().name), seed, path, options, opt)


def _run_data(folder: Folder, marker: Mapping[str, Any], metrics: list[str]) -> RunData:
    resources = _resources(folder.path)
    scores = {name: {label: {metric: values[metric] for metric in metrics if metric in values}
                     for label, values in by_weights.items()}
              for name, by_weights in read_scores(folder.path, marker['weights'], marker['sets']).items()}
    return RunData(
        folder.variant, folder.seed, str(folder.path), scores,
        read_curves(folder.path, int(folder.opt['val'].get('val_freq') or 1), int(folder.opt['train']['total_iter'])),
        resources.get('megabytes'), ', '.join(resources[key] for key in ('device', 'kind') if key in resources))


def _resources(path: Path) -> dict[str, Any]:
    try:
        return json.loads((path / RESOURCES).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}


def _differing(folders: list[Folder]) -> dict[str, dict[str, str]]:
    first = {folder.variant: folder for folder in reversed(folders)}
    keys = [key for key in differing_keys([folder.opt for folder in first.values()])
            if not key.startswith(NOT_OF_A_VARIANT)]
    return {key: {variant: _value(folder.opt, key) for variant, folder in first.items()} for key in keys}


def _value(opt: Mapping[str, Any], path: str) -> str:
    value: Any = opt
    for key in path.split('.'):
        if not isinstance(value, Mapping) or key not in value:
            return '-'
        value = value[key]
    return show(value, LONGEST)
