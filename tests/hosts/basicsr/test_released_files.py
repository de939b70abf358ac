"""Files of every release load and go on; newer ones are refused; stock BasicSR and the plugin share their files."""
from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from make_released import LAST, OPTIONS, SAVED, losses_of, write_images

from mcir_plugin.cli import main
from mcir_plugin.errors import StateError
from mcir_plugin.formats import read_json, require_readable
from mcir_plugin.hosts.basicsr.resume import KEY

RELEASES = sorted(path for path in (Path(__file__).parent / 'released').iterdir())
STATE = f'experiments/released/training_states/{SAVED}.state'


@pytest.fixture
def release(tmp_path, monkeypatch, close_log) -> Callable[..., None]:
    """Return ``release(folder, change)``: the files of a release as a run to go on with, its state changed before."""
    monkeypatch.chdir(tmp_path)

    def lay_out(folder: Path, change: Callable[[dict[str, Any]], Any] = lambda entry: None) -> None:
        write_images(tmp_path)
        for part in ('models', 'training_states'):
            Path('experiments/released', part).mkdir(parents=True)
        shutil.copy(folder / 'opt.yml', 'opt.yml')
        shutil.copy(folder / f'net_g_{SAVED}.pth', 'experiments/released/models')
        state = torch.load(folder / f'{SAVED}.state', weights_only=False)
        change(state[KEY])
        torch.save(state, STATE)

    return lay_out


def assert_goes_on(folder: Path) -> None:
    assert main(['train', '-opt', 'opt.yml', '--auto_resume']) == 0
    log = next(Path('experiments/released').glob('train*.log')).read_text()
    assert f'iter: {SAVED}.' in log and 'Restored 2 history negatives' in log
    expected, found = json.loads((folder / 'losses.json').read_text()), losses_of(log)
    assert list(found) == list(expected) == [str(step) for step in range(SAVED + 1, LAST + 1)]
    for step, losses in expected.items():
        assert found[step] == pytest.approx(losses, rel=2e-2)


@pytest.mark.parametrize('folder', RELEASES, ids=lambda path: path.name)
def test_release_goes_on_as_it_did(release, folder):
    release(folder)
    assert_goes_on(folder)


def test_entry_without_a_version_is_read(release):
    """As before there were version numbers."""
    release(RELEASES[0], lambda entry: (entry.pop('format'), entry['bank']['_extra_state'].pop('format')))
    assert_goes_on(RELEASES[0])


@pytest.mark.parametrize(('change', 'said'), [
    (lambda entry: entry.update(format=99), 'format 99'),
    (lambda entry: entry['bank']['_extra_state'].update(format=77), 'format 77'),
    (lambda entry: entry.update(format='new'), 'damaged'),
])
def test_newer_or_damaged_version_is_refused(release, capsys, change, said):
    release(RELEASES[0], change)
    before = Path(STATE).read_bytes()
    assert main(['train', '-opt', 'opt.yml', '--auto_resume']) == 2
    text = capsys.readouterr().err
    assert said in text and 'Traceback' not in text
    assert said == 'damaged' or ('reads up to 1' in text and 'Update mcir_plugin' in text)
    assert Path(STATE).read_bytes() == before


def test_check_refuses_a_newer_version(release, capsys):
    release(RELEASES[0], lambda entry: entry.update(format=2))
    assert main(['check', '-opt', 'opt.yml', '--auto_resume']) == 2
    assert 'format 2; this version of mcir_plugin reads up to 1' in capsys.readouterr().out


@pytest.mark.parametrize('content', ['{"format": 2, "runs": []}', '[]', '{"format": "x"}', '{'])
def test_json_files(tmp_path, content):
    path = tmp_path / 'comparison.json'
    path.write_text(content)
    with pytest.raises(ValueError) as caught:
        read_json(path, 1)
    assert isinstance(caught.value, StateError) == ('format' in content)


def test_versions():
    for fine in (None, 1, 2):
        require_readable(fine, 2, 'it')
    for wrong in (0, -1, 3, True, '1', 1.5, [1]):
        with pytest.raises(StateError, match='it '):
            require_readable(wrong, 2, 'it')


STOCK = """
import sys
from types import ModuleType
from torchvision.transforms import functional
moved = ModuleType('torchvision.transforms.functional_tensor')
moved.rgb_to_grayscale = functional.rgb_to_grayscale
sys.modules.setdefault(moved.__name__, moved)
"""
LOADING = STOCK + """
import torch, yaml
from basicsr.models.sr_model import SRModel
opt = {**yaml.safe_load(open('opt.yml')), 'dist': False, 'rank': 0, 'world_size': 1, 'is_train': True}
opt['path'] = {'pretrain_network_g': sys.argv[1], 'strict_load_g': True}
model = SRModel(opt)
state = torch.load(sys.argv[2], weights_only=False)
model.resume_training(state)
assert model.optimizers[0].state_dict()['state'][0]['step'] == state['iter']
saved = torch.load(sys.argv[1], weights_only=True)
for network, key in ((model.net_g, 'params'), (model.net_g_ema, 'params_ema')):
    assert all(torch.equal(value, saved[key][name]) for name, value in network.state_dict().items())
assert not [name for name in sys.modules if name.startswith('mcir_plugin')]
"""
TRAINING = STOCK + """
from basicsr.train import train_pipeline
sys.argv = ['train.py', '-opt', 'opt.yml']
train_pipeline('.')
assert not [name for name in sys.modules if name.startswith('mcir_plugin')]
"""


def stock(code: str, *arguments: str) -> None:
    """Run code in a process in which nothing imports the plugin."""
    done = subprocess.run([sys.executable, '-c', code, *arguments], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


def test_stock_basicsr_loads_our_files(release):
    release(RELEASES[-1])
    stock(LOADING, f'experiments/released/models/net_g_{SAVED}.pth', STATE)


def test_files_of_stock_basicsr_load_here(tmp_path, monkeypatch, capsys, close_log):
    """A run of stock BasicSR goes on with the plugin, and its weights are those of a new run."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path)
    train = {**OPTIONS['train'], 'total_iter': SAVED}
    plain = {**OPTIONS, 'train': {key: value for key, value in train.items() if key not in ('spn_opt', 'history_opt')}}
    Path('opt.yml').write_text(yaml.safe_dump(plain))
    stock(TRAINING)
    Path('opt.yml').write_text(yaml.safe_dump(OPTIONS))
    assert main(['train', '-opt', 'opt.yml', '--auto_resume']) == 0
    log = max(Path('experiments/released').glob('train*.log'), key=lambda path: path.stat().st_mtime).read_text()
    assert f'the history starts anew at iteration {SAVED}' in log.replace('\n', ' ')
    weights = f'experiments/released/models/net_g_{SAVED}.pth'
    close_log()
    assert main(['train', '-opt', 'opt.yml', '--force_yml', 'name=next', f'path:pretrain_network_g={weights}',
                 'train:total_iter=1']) == 0
