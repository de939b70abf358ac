"""Networks of spandrel, and spandrel's NAFNet as a second opinion on ours."""
from __future__ import annotations

import copy
import inspect
import sys

import pytest
import torch
from arch_behaviour import random_images, seeded
from arch_facts import fill, load
from torch import nn

from mcir_plugin.archs import ArchError, NAFNet, Spandrel
from mcir_plugin.archs.spandrel_arch import spandrel_networks

TINY = load('nafnet_tiny_w8').kwargs
HAT = {'upscale': 2, 'img_size': 16, 'window_size': 4, 'embed_dim': 12, 'depths': [1], 'num_heads': [2],
       'squeeze_factor': 6, 'num_feat': 8}
installed = pytest.mark.usefixtures('spandrel')


@pytest.fixture
def spandrel() -> None:
    pytest.importorskip('spandrel')


def train(network: nn.Module, x: torch.Tensor, target: torch.Tensor, steps: int = 3) -> list[float]:
    """Return the losses of a few steps of AdamW."""
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.l1_loss(network(x), target)
        loss.backward()
        assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []
        optimizer.step()
        losses.append(loss.item())
    return losses


@installed
@pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::FutureWarning')
def test_nafnet_is_ours_in_keys_outputs_and_training():
    theirs, ours = fill(Spandrel('NAFNet', **TINY), 0.8).double(), NAFNet(**TINY).double()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    for shape in ((2, 3, 50, 70), (1, 3, 64, 64), (1, 3, 7, 5)):
        x = random_images(*shape)
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)
    x, target = random_images(2, 3, 20, 24), random_images(2, 3, 20, 24, seed=1)
    assert train(ours, x, target) == pytest.approx(train(theirs, x, target), abs=1e-9)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=1e-6)


@installed
@pytest.mark.filterwarnings('ignore:torch.meshgrid')
def test_hat_trains_copies_and_loads_what_the_class_itself_saves():
    network = seeded(Spandrel, arch='HAT', **HAT).float()
    assert type(network).__module__.startswith('spandrel.') and isinstance(network, nn.Module)
    losses = train(network, torch.rand(2, 3, 16, 16), torch.rand(2, 3, 32, 32))
    assert losses[-1] < losses[0]
    direct = spandrel_networks()['HAT'](**HAT)
    direct.load_state_dict(network.state_dict(), strict=True)
    x = 9 * torch.rand(1, 3, 16, 24) - 4
    expected = network.eval()(x)
    assert torch.equal(copy.deepcopy(network)(x), expected) and torch.equal(direct.eval()(x), expected)
    assert expected.requires_grad and (expected.min() < 0 or expected.max() > 1)  # no inference mode, no clamp


@installed
def test_every_network_can_be_named_without_a_clash():
    networks = spandrel_networks()
    assert {'HAT', 'SwinIR', 'NAFNet', 'KBNet_s', 'RealPLKSR', 'MixDehazeNet'} <= networks.keys()
    for network in networks.values():
        assert not {'type', 'arch'} & inspect.signature(network).parameters.keys()


@installed
@pytest.mark.parametrize('arguments, message', [
    ({'arch': 'Hat'}, r"arch: received 'Hat', .* \(did you mean HAT\?\). Networks: ATD, .*Uformer"),
    ({'arch': None}, 'arch: received None'),
    ({'arch': 'HAT', 'embed_dims': 60},
     r'HAT takes no argument embed_dims \(did you mean embed_dim\?\). Its arguments: img_size=64, '),
    ({'arch': 'SPAN', 'num_in_ch': 3}, 'SPAN needs the argument num_out_ch. Its arguments: num_in_ch, num_out_ch, f'),
])
def test_wrong_names(arguments, message):
    with pytest.raises(ArchError, match=message):
        Spandrel(**arguments)


def test_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'spandrel.architectures', None)
    with pytest.raises(ArchError, match='need the package spandrel, .*pip install spandrel$'):
        Spandrel('HAT')
