"""``basicsr convert`` on containers as published weights come in."""
from __future__ import annotations

import io
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import mcir_plugin  # noqa: F401  (first: it mends the import of basicsr)
from mcir_plugin.archs import NAFNet
from mcir_plugin.cli import main

TINY = {'width': 4, 'enc_blk_nums': [1], 'dec_blk_nums': [1], 'middle_blk_num': 1}
NUMPY_NUMBERS = hasattr(torch.serialization, 'add_safe_globals')  # torch 2.4
NETWORK = '{type: NAFNet, width: 4, enc_blk_nums: [1], dec_blk_nums: [1]}'


def weights(seed: int = 0) -> OrderedDict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return NAFNet(**TINY).state_dict()


def parallel(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return OrderedDict((f'module.{name}', value) for name, value in state.items())


def trained() -> dict[str, Any]:
    """A network after a step, with all that a training script may save beside it."""
    network = NAFNet(**TINY)
    network.load_state_dict(weights())
    optimizer = torch.optim.AdamW(network.parameters(), 0.)
    network(torch.rand(1, 3, 4, 4)).sum().backward()
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3])
    return {'epoch': 3, 'net': network.state_dict(), 'optimizer': optimizer.state_dict(), 'best': 31.4, 'names': ['a'],
            'scheduler': scheduler.state_dict(), 'rng': torch.get_rng_state(), 'step': torch.tensor(7)}


def ffanet_like() -> dict[str, Any]:
    return {'step': 5000, 'max_psnr': np.float64(30.5), 'max_ssim': 0.9, 'ssims': [np.float64(0.9), np.float32(0.8)],
            'psnrs': [np.float64(30.5)], 'losses': [0.1, 0.2], 'model': parallel(weights())}


CONTAINERS = {
    'FFA-Net: model, DataParallel, numbers of NumPy': ffanet_like,
    'DehazeFormer: state_dict, DataParallel': lambda: {'state_dict': parallel(weights())},
    'IDT: bare, DataParallel': lambda: parallel(weights()),
    'NAFNet: params': lambda: {'params': weights()},
    'Real-ESRGAN: params_ema': lambda: {'params_ema': weights()},
    'bare': weights,
    'bare, with numbers of NumPy beside': lambda: {**weights(), 'epoch': 3, 'psnr': np.float64(30.5)},
    'with optimizer, scheduler, random state': trained,
    'wrapped twice': lambda: {'model': {'state_dict': weights(), 'epoch': 1}},
    'DataParallel, compiled twice': lambda: {f'_orig_mod._orig_mod.{k}': v for k, v in parallel(weights()).items()},
    'parameters, not tensors': lambda: {'params': {k: nn.Parameter(v) for k, v in weights().items()}},
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(capsys) -> Callable[..., str]:
    """Return ``refused(*arguments) -> message``: the command ends with 2 and one message, without a traceback."""

    def run(*arguments: str) -> str:
        assert main(['convert', *arguments]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith('basicsr convert: ') and 'Traceback' not in captured.err and not captured.out
        return captured.err

    return run


def assert_converted(path: str) -> None:
    """The file is what BasicSR writes itself, and holds the weights."""
    content = torch.load(path, weights_only=True)
    assert content.keys() == {'params'}
    expected = weights()
    assert content['params'].keys() == expected.keys()
    for name, value in content['params'].items():
        assert type(value) is torch.Tensor and torch.equal(value, expected[name]), name


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
@pytest.mark.parametrize('name', CONTAINERS)
def test_published_containers(folder, capsys, name, legacy):
    if 'NumPy' in name and not NUMPY_NUMBERS:
        pytest.skip('needs torch 2.4')
    torch.save(CONTAINERS[name](), 'in.pth', _use_new_zipfile_serialization=not legacy)
    assert main(['convert', 'in.pth', 'out.pth', '--network', NETWORK]) == 0
    assert_converted('out.pth')
    text = capsys.readouterr().out
    assert f'{len(weights())} tensors' in text and 'fits NAFNet' in text
    assert ('prefix module. removed' in text) == ('DataParallel' in name and 'twice' not in name)


@pytest.mark.skipif(NUMPY_NUMBERS, reason='this torch can')
def test_older_torch_says_what_numbers_of_numpy_need(folder, refused):
    torch.save(ffanet_like(), 'in.pth')
    assert 'NumPy numbers can be read safely with torch 2.4 or later; this is 2.' in refused('in.pth', 'out.pth')


@pytest.mark.skipif(not NUMPY_NUMBERS, reason='needs torch 2.4')
@pytest.mark.parametrize('package', [b'numpy.core', b'numpy._core'])
def test_numbers_written_by_other_numpy_versions(folder, package):
    torch.save(ffanet_like(), 'in.pk', _use_new_zipfile_serialization=False)
    written = Path('in.pk').read_bytes()
    assert b'core.multiarray\nscalar\n' in written
    for name in (b'numpy.core', b'numpy._core'):
        written = written.replace(name + b'.multiarray\n', package + b'.multiarray\n')
    Path('in.pk').write_bytes(written)
    assert main(['convert', 'in.pk', 'out.pth']) == 0
    assert_converted('out.pth')


def test_basicsr_loads_the_result(folder, options, train):
    torch.save({'epoch': 3, 'model': parallel(weights())}, 'in.pk')
    assert main(['convert', 'in.pk', 'out.pth']) == 0
    opt = options(scale=1, spn=False, total_iter=1, optim_g={'type': 'Adam', 'lr': 0.})
    opt['network_g'] = {'type': 'NAFNet', **TINY}
    opt['path']['pretrain_network_g'] = 'out.pth'
    opt['logger']['save_checkpoint_freq'] = 1
    run = train(opt)
    assert all(torch.equal(value, weights()[name]) for name, value in run.weights(1).items())


def test_several_sets_need_a_choice(folder, refused):
    torch.save({'params': weights(1), 'params_ema': weights(), 'iter': 5}, 'in.pth')
    message = refused('in.pth', 'out.pth')
    count = len(weights())
    assert f'params ({count} tensors), params_ema ({count} tensors)' in message and '--key params' in message
    assert 'did you mean params_ema' in refused('in.pth', 'out.pth', '--key', 'param_ema')
    assert not Path('out.pth').exists()
    assert main(['convert', 'in.pth', 'out.pth', '--key', 'params_ema']) == 0
    assert_converted('out.pth')


def test_bare_parameters_beside_a_set_are_a_choice_too(folder, refused):
    torch.save({**weights(), 'ema': weights(1)}, 'in.pth')
    assert '. (' in refused('in.pth', 'out.pth')
    assert main(['convert', 'in.pth', 'out.pth', '--key', '.']) == 0
    assert_converted('out.pth')


def test_a_prefix_that_only_some_names_have_is_kept(folder):
    torch.save({'module.a.weight': torch.ones(1), 'head.weight': torch.ones(2)}, 'in.pth')
    assert main(['convert', 'in.pth', 'out.pth']) == 0
    assert list(torch.load('out.pth', weights_only=True)['params']) == ['module.a.weight', 'head.weight']


def test_what_is_left_out_is_said(folder, capsys):
    torch.save({'epoch': 3, 'state_dict': weights(), 'psnrs': [1.], 3: 4}, 'in.pth')
    main(['convert', 'in.pth', 'out.pth'])
    assert 'left out: epoch, psnrs, 3\n' in capsys.readouterr().out


def test_views_are_written_without_the_rest_of_their_storage(folder):
    torch.save({'a.weight': torch.zeros(1000, 1000)[:2, :2]}, 'in.pth')
    assert main(['convert', 'in.pth', 'out.pth']) == 0
    assert Path('in.pth').stat().st_size > 1e6 > 1e4 > Path('out.pth').stat().st_size


class Evil:
    """Calls something when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


ATTACKS = {
    'shell': lambda path: Evil(os.system, f'touch {path}'),
    'open': lambda path: Evil(open, path, 'w'),
    'eval': lambda path: Evil(eval, f"open({path!r}, 'w')"),
    'load': lambda path: Evil(pickle.loads, pickle.dumps(Evil(os.mkdir, path))),
}


@pytest.mark.parametrize('legacy', [False, True], ids=['zip', 'legacy'])
@pytest.mark.parametrize('attack', ATTACKS)
def test_pickled_code_is_refused_and_not_run(folder, refused, attack, legacy):
    evil = ATTACKS[attack](str(folder / 'attacked'))
    torch.save({'params': weights(), 'extra': [evil]}, 'in.pth', _use_new_zipfile_serialization=not legacy)
    message = refused('in.pth', 'out.pth')
    assert 'in.pth holds Python objects (' in message and 'It is refused, and nothing in it was run.' in message
    assert len(message.splitlines()) == 1
    assert sorted(os.listdir()) == ['in.pth']
    torch.load('in.pth', weights_only=False)
    assert (folder / 'attacked').exists()  # the attack is real


def test_numpy_objects_are_refused(folder, refused):
    """A NumPy scalar may hold pickled objects, which NumPy itself would unpickle."""
    inner = pickle.dumps(Evil(os.mkdir, str(folder / 'attacked')))
    scalar = np.float64(1).__reduce__()[0]
    torch.save({'params': weights(), 'x': Evil(scalar, np.dtype('O'), inner)}, 'in.pth')
    assert 'in.pth' in refused('in.pth', 'out.pth')
    assert sorted(os.listdir()) == ['in.pth']


def script() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Conv2d(1, 1, 1)), buffer)
    return buffer.getvalue()


def truncated() -> bytes:
    buffer = io.BytesIO()
    torch.save(weights(), buffer)
    return buffer.getvalue()[:-2000]


@pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::FutureWarning')
@pytest.mark.filterwarnings('ignore:.*TorchScript archive')
@pytest.mark.parametrize('make, message', [
    (lambda: b'', 'in.pth cannot be read as a weight file'),
    (lambda: b'hello', 'in.pth cannot be read as a weight file'),
    (truncated, 'in.pth cannot be read as a weight file'),
    (script, 'in.pth'),  # before torch 2.4 it is read as the module that it holds
])
def test_other_files(folder, refused, make, message):
    Path('in.pth').write_bytes(make())
    assert message in refused('in.pth', 'out.pth')
    assert not Path('out.pth').exists()


@pytest.mark.parametrize('content, message', [
    ([torch.ones(1)], 'in.pth: it holds a list, no mapping with parameters'),
    (torch.ones(1), 'it holds a Tensor'),
    ({'epoch': 3, 'psnr': [1.]}, "it holds no parameters, only 'epoch', 'psnr'"),
    ({}, 'only an empty mapping'),
    ({'optimizer': torch.optim.Adam([nn.Parameter(torch.ones(1))]).state_dict()}, "only 'optimizer'"),
])
def test_files_without_parameters(folder, refused, content, message):
    torch.save(content, 'in.pth')
    assert message in refused('in.pth', 'out.pth')


def test_network_that_does_not_fit(folder, refused):
    state = weights()
    state['unknown.weight'] = torch.ones(1)
    del state['intro.bias']
    state['ending.bias'] = torch.ones(5)
    torch.save(state, 'in.pth')
    message = refused('in.pth', 'out.pth', '--network', NETWORK)
    for part in ('in.pth does not fit NAFNet', 'missing in the file: intro.bias',
                 'unknown to the network: unknown.weight', 'ending.bias is (5,), expected (3,)'):
        assert part in message
    assert not Path('out.pth').exists()


def test_network_of_an_option_file(folder, refused, options):
    opt = options(scale=1)
    opt['network_g'] = {'type': 'NAFNet', **TINY}
    Path('base.yml').write_text(yaml.safe_dump(opt))
    Path('wide.yml').write_text(yaml.safe_dump({'_base_': 'base.yml', 'network_g': {'width': 8}}))
    torch.save(weights(), 'in.pth')
    assert 'does not fit NAFNet' in refused('in.pth', 'out.pth', '-opt', 'wide.yml')
    assert main(['convert', 'in.pth', 'out.pth', '--opt', 'base.yml']) == 0
    assert_converted('out.pth')


@pytest.mark.parametrize('network, message', [
    ('{type: NAFNot}', 'did you mean NAFNet'),
    ('{type: NAFNet, widht: 4}', 'did you mean width'),
    ('NAFNet', "--network: received 'NAFNet', must be a mapping with a type"),
    ('{type: NAFNet, width: 0}', 'width must be an integer >= 1'),
    ('{type', 'not valid YAML'),
])
def test_wrong_networks(folder, refused, network, message):
    torch.save(weights(), 'in.pth')
    assert message in refused('in.pth', 'out.pth', '--network', network)


def test_existing_files_are_replaced_only_by_force(folder, refused):
    torch.save({'params': weights()}, 'in.pth')
    Path('out.pth').write_text('precious')
    assert 'out.pth exists. Give another file, or --force' in refused('in.pth', 'out.pth')
    assert Path('out.pth').read_text() == 'precious'
    assert main(['convert', 'in.pth', 'out.pth', '--force']) == 0
    assert_converted('out.pth')
    assert sorted(os.listdir()) == ['in.pth', 'out.pth']


def test_a_failure_leaves_the_old_file(folder, refused):
    torch.save([], 'in.pth')
    Path('out.pth').write_text('precious')
    refused('in.pth', 'out.pth', '--force')
    assert Path('out.pth').read_text() == 'precious'


@pytest.mark.parametrize('source, target, message', [
    ('none.pth', 'out.pth', 'IN: none.pth is no file'),
    ('.', 'out.pth', 'IN: . is no file'),
    ('in.pth', 'none/out.pth', 'OUT: the folder none does not exist'),
    ('in.pth', 'in.pth', 'OUT: in.pth is IN itself'),
    ('in.pth', '.', 'OUT: . is a folder'),
])
def test_wrong_paths(folder, refused, source, target, message):
    torch.save(weights(), 'in.pth')
    before = Path('in.pth').read_bytes()
    assert message in refused(source, target, '--force')
    assert Path('in.pth').read_bytes() == before


def test_network_and_option_file_exclude_each_other(folder):
    with pytest.raises(SystemExit) as end:
        main(['convert', 'in.pth', 'out.pth', '--network', NETWORK, '--opt', 'x.yml'])
    assert end.value.code == 2
