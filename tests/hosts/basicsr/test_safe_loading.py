"""No file runs code: every place where BasicSR loads one is found in its source, and covered."""
from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import basicsr
import pytest
import torch
import yaml

from mcir_plugin.cli import main
from mcir_plugin.cli.main import SAFE_LOADING, plain_checkpoints
from mcir_plugin.hosts.basicsr.compat import patches
from mcir_plugin.hosts.basicsr.compat.saving import CheckpointError

ROOT = Path(basicsr.__file__).parent


class Hostile:
    """Leaves a mark when it is unpickled by a reader that runs code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path('ran'), )


def loading_functions() -> Iterator[tuple[str, str]]:
    """Yield module and qualified name of every function of the installed BasicSR that calls torch.load or load_url."""
    for path in ROOT.rglob('*.py'):
        module = '.'.join(['basicsr', *path.relative_to(ROOT).with_suffix('').parts])
        for outer in ast.parse(path.read_text(encoding='utf-8')).body:
            inner = outer.body if isinstance(outer, ast.ClassDef) else [outer]
            for function in inner:
                calls = [ast.unparse(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)]
                if {'torch.load', 'load_url', 'pickle.load'} & {*calls}:
                    yield module, outer.name if function is outer else f'{outer.name}.{function.name}'


FUNCTIONS = sorted(loading_functions())


def test_they_are_found():
    assert ('basicsr.models.base_model', 'BaseModel.load_network') in FUNCTIONS and len(FUNCTIONS) >= 8


@pytest.mark.parametrize(('module', 'name'), FUNCTIONS)
def test_every_loading_function_is_patched(module, name):
    owner = import_module(module)
    *classes, function = name.split('.')
    for part in classes:
        owner = getattr(owner, part)
    ours = [(patch.owner, patch.name) for patch in patches()]
    wrapped_by_hooks = (module, name) == ('basicsr.train', 'load_resume_state')
    assert wrapped_by_hooks or (owner, function) in ours


def hostile_file(key: str = 'params') -> str:
    torch.save({key: Hostile()}, 'hostile.pth')
    return 'hostile.pth'


@pytest.mark.parametrize('name', ['SpyNet', 'SPyNetTOF'])
def test_arch_that_loads_its_own_weights(tmp_path, monkeypatch, name):
    from basicsr.archs.spynet_arch import SpyNet
    from basicsr.archs.tof_arch import SPyNetTOF
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r'hostile\.pth'):
        {'SpyNet': SpyNet, 'SPyNetTOF': SPyNetTOF}[name](hostile_file())
    assert not Path('ran').exists()


def test_extractors(tmp_path, monkeypatch):
    from basicsr.archs import inception, vgg_arch
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vgg_arch, 'VGG_PRETRAIN_PATH', hostile_file())
    monkeypatch.setattr(inception, 'LOCAL_FID_WEIGHTS', 'hostile.pth')
    Path('vgg11-8a719046.pth').write_bytes(Path('hostile.pth').read_bytes())
    with pytest.raises(CheckpointError):
        vgg_arch.VGGFeatureExtractor(['relu1_1'], vgg_type='vgg11')
    with pytest.raises(CheckpointError):
        inception.fid_inception_v3()
    assert not Path('ran').exists()


@pytest.mark.parametrize('change', [
    lambda opt: opt['path'].update(pretrain_network_g=hostile_file()),
    lambda opt: opt['path'].update(resume_state=hostile_file('optimizers')),
    lambda opt: opt['train']['spn_opt'].update(vgg_weights=hostile_file()),
    lambda opt: opt.update(network_g={'type': 'BasicVSR', 'num_feat': 4, 'num_block': 1,
                                      'spynet_path': hostile_file()}),
])
@pytest.mark.parametrize('command', ['train', 'check'])
def test_files_that_an_option_file_names(options, tmp_path, monkeypatch, capsys, close_log, command, change):
    monkeypatch.chdir(tmp_path)
    opt = options(total_iter=1)
    change(opt)
    Path('opt.yml').write_text(yaml.safe_dump(opt))
    assert main([command, '-opt', 'opt.yml']) == 2
    printed = capsys.readouterr()
    assert 'hostile.pth' in printed.out + printed.err and 'Traceback' not in printed.out + printed.err
    assert not Path('ran').exists()
    torch.load('hostile.pth', weights_only=False)
    assert Path('ran').exists(), 'the file is hostile'


def test_packages_that_a_run_imports(tmp_path, monkeypatch):
    """What they load themselves is refused, too, unless somebody says that his files may run code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(SAFE_LOADING, raising=False)
    hostile_file()
    with plain_checkpoints(), pytest.raises(Exception, match='(?i)weights'):
        torch.load('hostile.pth', weights_only=False)
    assert not Path('ran').exists() and SAFE_LOADING not in os.environ
    monkeypatch.setenv(SAFE_LOADING, '0')
    with plain_checkpoints():
        torch.load('hostile.pth', weights_only=False)
    assert Path('ran').exists()
