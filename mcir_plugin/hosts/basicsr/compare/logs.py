"""Curves and seconds per step from the log files that BasicSR writes while it trains."""
from __future__ import annotations

import re
from pathlib import Path

Curve = dict[int, float]  # value by iteration

_NUMBER = r'(-?\d+\.?\d*(?:e[+-]?\d+)?|nan|-?inf)'
_STEP = re.compile(r'\[epoch: *\d+, iter: *([\d,]+), lr:\(([^)]*)\)\] (?:\[eta: .*?, time \(data\): ([\d.]+) '
                   r'\([\d.]+\)\] )?(.*)')
_TERM = re.compile(rf'(\S+): {_NUMBER}(?=\s|$)')
_RESUMED = re.compile(r'Resuming training from epoch: \d+, iter: (\d+)')
_ENDED = 'INFO: End of training.'  # and one validation more
_VALIDATION = re.compile(r'INFO: Validation (.+)$')
_METRIC = re.compile(rf'^\t # (\S+): {_NUMBER}')

SECONDS = 'seconds'


def read_curves(folder: Path, val_freq: int, total_iter: int) -> dict[str, Curve]:
    """Return everything that BasicSR printed while training, by name.

    A log says when a step was printed, but not at which iteration a validation ran: it is the next multiple of
    ``val_freq`` after the last printed step and the last validation of the same set, or the end. Of a resumed run the
    later values count.

    Args:
        folder (Path): Experiment folder with ``train_*.log``.
        val_freq (int): ``val.val_freq`` of the run.
        total_iter (int): ``train.total_iter`` of the run.

    Returns:
        dict[str, dict[int, float]]: ``l_pix``, ``spn/ratio``, ... and ``lr`` as printed, ``seconds`` per step, and
        validations as ``<set>: <metric>``.
    """
    curves: dict[str, Curve] = {}
    for log in _logs(folder):
        _read_log(log.read_text(encoding='utf-8', errors='replace').splitlines(), val_freq, total_iter, curves)
    return {name: dict(sorted(curve.items())) for name, curve in curves.items()}


def last_iteration(folder: Path) -> int:
    """Return the last iteration that the newest log has printed, 0 if there is none."""
    logs = _logs(folder)
    if not logs:
        return 0
    with logs[-1].open('rb') as file:
        file.seek(max(0, logs[-1].stat().st_size - 20_000))
        text = file.read().decode('utf-8', errors='replace')
    found = [int(step[1].replace(',', '')) for step in _STEP.finditer(text)]
    found += [int(step[1]) for step in _RESUMED.finditer(text)]
    return max(found, default=0)


def resumptions(folder: Path) -> list[int]:
    """Return the iterations after which a run was continued by a later command."""
    return [int(found[1]) for log in _logs(folder)
            for found in _RESUMED.finditer(log.read_text(encoding='utf-8', errors='replace'))]


def _logs(folder: Path) -> list[Path]:
    return sorted(folder.glob('train_*.log'), key=lambda path: path.stat().st_mtime)


def _read_log(lines: list[str], val_freq: int, total_iter: int, curves: dict[str, Curve]) -> None:
    step = resumed = 0
    validated: dict[str, int] = {}
    dataset = None
    for line in lines:
        if found := _STEP.search(line):
            step, dataset = int(found[1].replace(',', '')), None
            _take_step(step, found, curves)
        elif found := _RESUMED.search(line):
            step = resumed = int(found[1])
        elif _ENDED in line:
            step = val_freq = total_iter
        elif found := _VALIDATION.search(line):
            dataset = found[1]
            later = (validated.get(dataset, resumed) // val_freq + 1) * val_freq
            validated[dataset] = min(max(-(-step // val_freq) * val_freq, later), total_iter)
        elif dataset and (found := _METRIC.match(line)):
            curves.setdefault(f'{dataset}: {found[1]}', {})[validated[dataset]] = float(found[2])


def _take_step(step: int, found: re.Match[str], curves: dict[str, Curve]) -> None:
    curves.setdefault('lr', {})[step] = float(found[2].split(',')[0])
    if found[3]:
        curves.setdefault(SECONDS, {})[step] = float(found[3])
    for name, value in _TERM.findall(found[4]):
        curves.setdefault(name, {})[step] = float(value)
