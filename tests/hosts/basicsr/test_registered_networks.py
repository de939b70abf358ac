"""The networks as BasicSR finds them: by name, after a user's own, and in a training run."""
from __future__ import annotations

import pytest
import torch
from torch import nn

import mcir_plugin  # noqa: F401  (first: it mends the import of basicsr)
from mcir_plugin.archs import NETWORKS
from mcir_plugin.cli import main

TINY = {'width': 4, 'enc_blk_nums': [1, 1], 'dec_blk_nums': [1, 1], 'middle_blk_num': 1}
BUILT = {
    'FFANet': {'blocks': 1},
    'NAFNet': TINY,
    'NAFNetLocal': {**TINY, 'train_size': 32},
}


@pytest.mark.parametrize('name', BUILT)
def test_build_network_finds_it_by_its_name(name):
    from basicsr.archs import build_network
    network = build_network({'type': name, **BUILT[name]})
    assert type(network).__module__.startswith('mcir_plugin.archs.') and type(network).__name__ == name
    assert network(torch.rand(1, 3, 10, 9)).shape == (1, 3, 10, 9)


def test_every_network_is_registered():
    from basicsr.utils.registry import ARCH_REGISTRY
    for network in NETWORKS:
        assert ARCH_REGISTRY.get(network.__name__) is network


def test_a_network_of_the_user_with_the_same_name_is_taken_instead():
    from basicsr.archs import build_network
    from basicsr.utils.registry import ARCH_REGISTRY

    class NAFNet(nn.Module):
        """Registered as packages on top of BasicSR do it, without a suffix."""

        def __init__(self, depth: int) -> None:
            super().__init__()
            self.depth = depth

    ARCH_REGISTRY.register(NAFNet)
    try:
        network = build_network({'type': 'NAFNet', 'depth': 3})
        assert type(network) is NAFNet and network.depth == 3
        assert type(build_network({'type': 'NAFNetLocal', **TINY})).__module__.startswith('mcir_plugin.archs.')
    finally:
        del ARCH_REGISTRY._obj_map['NAFNet']  # there is no public way


def test_nafnet_trains_against_its_history(options, train):
    opt = options(scale=1, total_iter=4)
    opt['network_g'] = {'type': 'NAFNet', **TINY}
    run = train(opt)
    assert run.lines()[4]['l_spn'] < 0
    from mcir_plugin.archs import NAFNetLocal
    NAFNetLocal(**BUILT['NAFNetLocal']).load_state_dict(run.weights(4), strict=True)


def test_spandrel_by_name(options, tmp_path, monkeypatch, capsys):
    pytest.importorskip('spandrel')
    import yaml
    monkeypatch.chdir(tmp_path)
    opt = options(scale=1, total_iter=4)
    opt['network_g'] = {'type': 'Spandrel', 'arch': 'NAFNet', **TINY}
    (tmp_path / 'good.yml').write_text(yaml.safe_dump(opt))
    opt['network_g']['widht'] = 8
    (tmp_path / 'bad.yml').write_text(yaml.safe_dump(opt))
    status = [main(['check', '-opt', f'{name}.yml']) for name in ('good', 'bad')]
    assert status == [0, 2]
    assert 'NAFNet takes no argument widht (did you mean width?)' in capsys.readouterr().out


@pytest.mark.filterwarnings('ignore:torch.meshgrid')
def test_hat_of_spandrel_trains_against_its_history(options, train):
    pytest.importorskip('spandrel')
    opt = options(scale=2, total_iter=4)
    opt['network_g'] = {'type': 'Spandrel', 'arch': 'HAT', 'upscale': 2, 'img_size': 16, 'window_size': 4,
                        'embed_dim': 12, 'depths': [1], 'num_heads': [2], 'squeeze_factor': 6, 'num_feat': 8}
    run = train(opt)
    assert run.lines()[4]['l_spn'] < 0
    from mcir_plugin.archs import Spandrel
    arguments = {key: value for key, value in opt['network_g'].items() if key != 'type'}
    Spandrel(**arguments).load_state_dict(run.weights(4), strict=True)
