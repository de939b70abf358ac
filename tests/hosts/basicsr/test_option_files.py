"""Every option file of the project is read, its networks are built, and it is run in miniature on data of its layout.

Files named ``_base`` and those below ``_base_`` are parts of others. How a run is made small stands in
``miniature.yml``; where the data come from in ``miniature_sets.py``.
"""
from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from basicsr.archs import build_network
from miniature_sets import PREPARATION, in_this_process, make_all
from option_files import FILES, PARTS, PUBLISHED, ROOT, TESTS, TRAINING, WITH_SPN, named

from mcir_plugin.cli import main
from mcir_plugin.config import apply_overrides, load_options

MINIATURE = yaml.safe_load(Path(__file__).with_name('miniature.yml').read_text())


def given(opt: dict[str, Any], name: str) -> Any:
    """The option at ``block:option``, None if the file does not give it."""
    for part in name.split(':'):
        opt = opt.get(part) if isinstance(opt, dict) else None
    return opt


def overrides(path: Path) -> list[str]:
    """What makes a run of this file small."""
    opt = load_options(path)
    kind = 'train' if 'train' in opt else 'test'
    network = opt['network_g']['type']
    assert network in MINIATURE['network_g'], f'{path}: add network_g.{network} to miniature.yml'
    entries = list(MINIATURE[kind])
    for name, changes in MINIATURE['where_given'].items():
        entries += changes if given(opt, name) is not None else []
    return entries + [entry for entry in MINIATURE['network_g'][network] if kind == 'train' or 'datasets' not in entry]


def small(path: Path) -> dict[str, Any]:
    opt = load_options(path)
    apply_overrides(opt, overrides(path))
    return opt


def data_folders(opt: dict[str, Any]) -> Iterator[str]:
    for block in opt['datasets'].values():
        yield from (value for name, value in block.items() if name.startswith(('dataroot', 'pair_list')))


@pytest.fixture(scope='module')
def place(tmp_path_factory) -> Iterator[Path]:
    """The folder in which the option files are run, with all data sets in ``datasets``."""
    folder = tmp_path_factory.mktemp('options')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr('sys.path', list(sys.path))
        sys.path[:0] = [str(PREPARATION), str(PREPARATION.parent / 'evidence')]
        for name in ('paired_work', 'paired_verify', 'prepare_sr', 'prepare_sr_benchmarks'):
            patch.setattr(import_module(name), 'worker_pool', in_this_process)
        make_all(folder / 'raw')
        yield folder


def save_weights(opt: dict[str, Any], **changes: Any) -> None:
    """Write random weights where the file expects its trained ones, in the container that it names."""
    weights = build_network({**opt['network_g'], **changes}).state_dict()
    key, path = opt['path'].get('param_key_g', 'params'), Path(opt['path']['pretrain_network_g'])
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(weights if key is None else {key: weights}, path)


def weights(folder: Path, iteration: int | str) -> dict[str, torch.Tensor]:
    return torch.load(folder / 'models' / f'net_g_{iteration}.pth', weights_only=True)['params']


def iterations(log: str) -> dict[int, dict[str, float]]:
    lines = re.findall(r'iter: *([\d,]+), lr.*?\] (?:\[eta.*?\] )?(.*)', log)
    return {int(number): {name: float(value) for name, value in re.findall(r'(l_\w+): (\S+)', line)}
            for number, line in lines}


def test_there_are_option_files_of_both_kinds():
    assert len(TRAINING) > 40 and len(TESTS) > 15 and len(WITH_SPN) > 20


def test_option_files_lie_nowhere_else():
    """Those below ``options`` are found by themselves, whatever their names; a folder beside it would be missed.

    Variants of a comparison are no option files; ``tests/scripts/test_evidence.py`` plans each of them.
    """
    elsewhere = [path for folder in ('docs', 'mcir_plugin', 'scripts')
                 for path in (ROOT.parent / folder).rglob('*') if path.suffix.lower() in ('.yml', '.yaml')]
    assert [path for path in elsewhere if path.parent.name != 'variants'] == []


def test_names_are_those_of_the_files_and_differ():
    names = [load_options(path)['name'] for path in FILES]
    assert len(set(names)) == len(names)
    assert [path for path in PUBLISHED if load_options(path)['name'] != path.stem] == []


def test_every_part_is_used():
    used = {(path.parent / base).resolve() for path in (*FILES, *PARTS)
            for base in listed(yaml.safe_load(path.read_text()).get('_base_'))}
    assert [part for part in PARTS if part not in used] == []


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value] if value else []


@pytest.mark.parametrize('path', **named(FILES))
def test_the_data_of_the_file_are_made_in_miniature(path, place):
    assert [folder for folder in data_folders(load_options(path)) if not Path(folder).exists()] == [], \
        'add the set to miniature_sets.py'


@pytest.mark.parametrize('path', **named(TRAINING))
def test_training_runs_and_resumes(path, place, close_log, capsys):
    opt = small(path)
    if opt['path']['pretrain_network_g']:
        save_weights(opt, upscale=2)
    folder = place / 'experiments' / opt['name']
    command = ['train', '-opt', str(path), '--force_yml', *overrides(path)]
    logs = []
    for flags in ([], ['train:total_iter=3', '--auto_resume']):
        close_log()
        assert main([*command, *flags]) == 0, capsys.readouterr().err
        newest = max(folder.glob('*.log'), key=lambda log: log.stat().st_mtime_ns)  # of the second run, or overwritten
        logs.append(newest.read_text())
    assert [list(iterations(log)) for log in logs] == [[1, 2], [3]]
    losses = [values for log in logs for values in iterations(log).values()]
    names = {'l_pix', 'l_spn'} if opt['train'].get('spn_opt') else {'l_pix'}
    assert all(set(values) == names and all(map(isfinite, values.values())) for values in losses)
    assert all('did you mean' not in log and '# psnr: ' in log for log in logs)
    before, after = weights(folder, 2), weights(folder, 'latest')
    assert any(not torch.equal(value, before[name]) for name, value in after.items())


@pytest.mark.parametrize('path', **named(TESTS))
def test_evaluation_runs(path, place, close_log, capsys):
    opt = small(path)
    save_weights(opt)
    assert main(['test', '-opt', str(path), '--force_yml', *overrides(path)]) == 0, capsys.readouterr().err
    for block in opt['datasets'].values():
        with open(place / 'results' / opt['name'] / f'metrics_{block["name"]}.csv', newline='') as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 3 and rows[-1]['image'] == 'mean'
        for metric in ('psnr', 'ssim'):
            values = [float(row[metric]) for row in rows]
            assert all(map(isfinite, values)) and values[2] == pytest.approx(sum(values[:2]) / 2, abs=1e-5)
