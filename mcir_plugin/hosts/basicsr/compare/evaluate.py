"""The final weights of a run on its validation sets: values and images of every image, and what the values compare."""
from __future__ import annotations

import csv
import json
import logging
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from basicsr.utils import logger

from mcir_plugin.config import dump_options
from mcir_plugin.config.errors import listed
from mcir_plugin.errors import McirError, StateError
from mcir_plugin.formats import read_json
from mcir_plugin.hosts.basicsr import entry
from mcir_plugin.hosts.basicsr.compare.samples import read_samples
from mcir_plugin.hosts.basicsr.compare.validation import protocols, validation_sets
from mcir_plugin.hosts.basicsr.compat.saving import load_safely
from mcir_plugin.hosts.basicsr.evaluation.lpips_metric import LPIPS, lpips_blocks
from mcir_plugin.metrics.lpips_distance import SMALLEST, missing

FORMAT = 1  # of the marker
FOLDER, MARKER, FINAL = 'evaluation', 'evaluation.json', 'models/net_g_latest.pth'
AUTOMATIC = 'lpips'  # name of the metric that is added where it can be computed
WEIGHTS = {'params': 'net_g', 'params_ema': 'net_g_ema'}  # sets of parameters in a file, and what they are called
OF_A_TEST = ('model_type', 'scale', 'num_gpu', 'manual_seed', 'imports', 'network_g')

Scores = dict[str, dict[str, dict[str, dict[str, float]]]]  # set -> weights -> metric -> image -> value


class EvaluationError(McirError, RuntimeError):
    """The evaluation of a run is missing or cannot be made."""


def is_evaluated(run: Path) -> bool:
    """Return whether the final weights of a run were evaluated, and not replaced since."""
    marker, weights = run / FOLDER / MARKER, run / FINAL
    return marker.is_file() and weights.is_file() and marker.stat().st_mtime >= weights.stat().st_mtime


def evaluate(run: Path, opt: Mapping[str, Any]) -> None:
    """Evaluate the final weights, and their average where there is one, by ``basicsr test``.

    Images go to ``evaluation/<weights>/visualization/<set>``, values to ``evaluation/<weights>/metrics_<set>.csv``.
    The marker ``evaluation/evaluation.json`` is written last. A partial evaluation is made again.

    Args:
        run (Path): Experiment folder.
        opt (Mapping): Its options.

    Raises:
        EvaluationError: If there are no final weights, or no values came out.
    """
    weights = run / FINAL
    if not weights.is_file():
        raise EvaluationError(f'{weights} does not exist: the run has not ended. Continue it with basicsr train '
                              '--auto_resume.')
    (run / FOLDER / MARKER).unlink(missing_ok=True)
    for label in WEIGHTS.values():  # of an evaluation that was interrupted, or of earlier weights
        shutil.rmtree(run / FOLDER / label, ignore_errors=True)
    labels = {WEIGHTS[key]: key for key in load_safely(weights) if key in WEIGHTS} or {'net_g': None}
    metrics, without = evaluated_metrics(opt)
    for label, key in labels.items():
        _test(test_options(opt, run, label, key, metrics))
    scores = read_scores(run, list(labels), validation_sets(opt))
    if not any(metrics for by_weights in scores.values() for metrics in by_weights.values()):
        raise EvaluationError(f'{run}: the validation gave no values.')
    _write_marker(run, {'format': FORMAT, 'weights': list(labels), 'sets': list(validation_sets(opt)),
                        'protocols': protocols({'val': {'metrics': metrics}}), 'without': without})


def test_options(opt: Mapping[str, Any], run: Path, label: str, key: str | None,
                 metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a test of one set of parameters."""
    path = {'pretrain_network_g': str(run / FINAL), 'strict_load_g': True, 'results_root': str(run / FOLDER)}
    return {**{name: opt[name] for name in OF_A_TEST if name in opt}, 'name': label,
            'datasets': {phase: dict(block) for phase, block in opt['datasets'].items()
                         if phase.split('_')[0] == 'val'},
            'path': {**path, 'param_key_g': key},
            'val': {**opt['val'], 'metrics': dict(metrics), 'save_img': True, 'suffix': None, 'pbar': False}}


def evaluated_metrics(opt: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Return the metrics of a run, and LPIPS beside them where it can be computed and the run has none of its own.

    Returns:
        tuple[dict, str | None]: The metrics by name; and why LPIPS is not among them although it is at hand.
    """
    metrics = dict(opt['val']['metrics'])
    if AUTOMATIC in metrics or lpips_blocks(metrics) or missing():
        return metrics, None
    why = next(_too_small(opt), None)
    return (metrics, why) if why else ({**metrics, AUTOMATIC: {'type': LPIPS, 'better': 'lower'}}, None)


def _too_small(opt: Mapping[str, Any]) -> Iterator[str]:
    """Yield which ground truths LPIPS cannot compare."""
    for dataset in validation_sets(opt):
        for name, sample in read_samples(opt, dataset):
            if min(sample['gt'].shape[-2:]) < SMALLEST:
                yield (f'LPIPS needs images of {SMALLEST} x {SMALLEST} pixels, but {name} of {dataset} has '
                       f'{sample["gt"].shape[-2]} x {sample["gt"].shape[-1]}')


def read_marker(run: Path) -> dict[str, Any]:
    """Return what was evaluated.

    Raises:
        EvaluationError: If the marker cannot be read.
    """
    path = run / FOLDER / MARKER
    try:
        return read_json(path, FORMAT)
    except StateError:
        raise
    except (OSError, ValueError) as error:
        raise EvaluationError(f'{path} cannot be read ({error}). Remove the folder {path.parent} and evaluate '
                              'again.') from error


def read_scores(run: Path, weights: list[str], sets: Mapping[str, Any] | list[str]) -> Scores:
    """Return the value of every image by set, weights and metric."""
    return {name: {label: _read_csv(run / FOLDER / label / f'metrics_{name}.csv') for label in weights}
            for name in sets}


def saved_image(run: Path, weights: str, dataset: str, image: str) -> Path:
    """Return where the output for an image was saved."""
    return run / FOLDER / weights / 'visualization' / dataset / f'{image}_{weights}.png'


def _test(opt: dict[str, Any]) -> None:
    _close_log()
    with tempfile.TemporaryDirectory(prefix='mcir_') as folder:
        path = Path(folder, 'test.yml')
        path.write_text(dump_options(opt), encoding='utf-8')
        entry.test(['-opt', str(path)])


def _close_log() -> None:
    """Let the test open a log of its own; BasicSR opens one per process."""
    logger.initialized_logger.clear()
    for handler in logging.getLogger('basicsr').handlers[:]:
        logging.getLogger('basicsr').removeHandler(handler)
        handler.close()


def _read_csv(path: Path) -> dict[str, dict[str, float]]:
    if not path.is_file():
        raise EvaluationError(f'{path} does not exist: the validation gave no values, or another model type writes '
                              'them elsewhere. Remove the folder evaluation and evaluate again.')
    with path.open(encoding='utf-8', newline='') as file:
        header, *rows = csv.reader(file)
    images = rows[:-1]  # the last line is the mean
    twice = [name for name, count in Counter(row[0] for row in images).items() if count > 1]
    if twice:
        raise EvaluationError(f'{path}: there are {listed(twice, 3)} more than once. Images of a validation set need '
                              'different names, without folder and suffix: BasicSR saves results by them.')
    return {metric: {row[0]: float(row[column]) for row in images if row[column]}
            for column, metric in enumerate(header[1:], 1)}


def _write_marker(run: Path, content: dict[str, Any]) -> None:
    path = run / FOLDER / MARKER
    partial = path.with_name(f'.{path.name}.{os.getpid()}.part')
    partial.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
    os.replace(partial, path)
