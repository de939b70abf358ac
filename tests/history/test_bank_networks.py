"""What kinds of network the history takes, and how its copies run."""
import numpy as np
import pytest
import torch
from history_networks import Compiled, Locked, Mixed, values, walk
from torch import nn

from mcir_plugin.history import HistoryBank


@pytest.mark.parametrize('wrap', [
    nn.DataParallel, Compiled, lambda network: nn.DataParallel(Compiled(network)),
    lambda network: Compiled(nn.DataParallel(network)),
], ids=['DataParallel', 'compiled', 'compiled inside', 'compiled outside'])
def test_wrappers_are_seen_through(wrap):
    network = Mixed()
    bank = HistoryBank(wrap(network), 1, 0.0)
    assert bank.network is network
    assert all(type(copy) is Mixed for copy in bank.copies)
    walk(network, torch.Generator().manual_seed(0))
    bank.update(1)
    assert torch.equal(bank.copies[0].conv.weight, network.conv.weight)


def test_first_copies_are_drawn_on_the_cpu_and_nothing_of_the_run_is_drawn():
    """On a GPU a layer would draw from that GPU's generator, which differs between ranks."""
    drawn_on = []

    class Layer(nn.Linear):
        def reset_parameters(self):
            drawn_on.append(self.weight.device.type)
            nn.init.constant_(self.weight, float(np.random.rand()))
            nn.init.zeros_(self.bias)

    with pytest.raises(NotImplementedError, match='meta tensor'):  # nothing to move: a copy does go to the CPU first
        HistoryBank(Layer(2, 2).to('meta'))
    network, state = Layer(2, 2), np.random.get_state()[1].tolist()
    first = [HistoryBank(network, 1, init_noise=1.0, seed=3).copies[0].weight for _ in range(2)]
    assert torch.equal(*first) and set(drawn_on) == {'cpu'}
    assert np.random.get_state()[1].tolist() == state


def test_network_that_cannot_be_copied_needs_a_factory():
    with pytest.raises(TypeError, match=r'Locked cannot be deep-copied.*factory'):
        HistoryBank(Locked())


@pytest.mark.parametrize('dtype', [None, 'bfloat16'])
def test_factory_replaces_copying(dtype):
    network, x = Locked(), torch.rand(2, 4)
    bank = HistoryBank(network, (1, 2), 0.0, factory=Locked, dtype=dtype)
    bank.update(2)
    for output in bank.negatives(x):
        torch.testing.assert_close(output, network(x).detach(), rtol=2e-2 if dtype else 1e-6, atol=2e-2)


def test_factory_of_something_else():
    with pytest.raises(ValueError, match='factory'):
        HistoryBank(nn.Linear(2, 2), factory=lambda: nn.Linear(2, 3))


def test_evaluation_mode_always():
    network = Mixed().train()
    bank = HistoryBank(network, (1, 2), dtype='bfloat16')
    holder = nn.ModuleDict({'bank': bank}).train()
    assert holder.training and network.training
    assert not any(module.training for module in bank.modules())
    x = torch.rand(4, 3, 8, 8)
    first = [output.clone() for output in bank.negatives(x)]
    assert all(map(torch.equal, first, bank.negatives(x)))  # no batch statistics, none gathered
    bank.train(True)
    assert not bank.copies[0].norm.training


def test_no_gradients():
    network, x = Mixed(), torch.rand(2, 3, 8, 8, requires_grad=True)
    bank = HistoryBank(network, (1, 2))
    assert not any(p.requires_grad for p in bank.parameters())
    for output in bank.negatives(x):
        assert not output.requires_grad
        assert torch.is_grad_enabled()  # in the loop that uses the negatives
    walk(network, torch.Generator().manual_seed(0))
    bank.update(2)
    assert not any(p.requires_grad for p in bank.parameters())


def test_history_belongs_to_no_optimizer_and_no_other_state():
    network = Mixed()
    holder = nn.Module()
    holder.network, holder.bank = network, HistoryBank(network, 1)
    assert {id(p) for p in holder.bank.parameters()}.isdisjoint(id(p) for p in network.parameters())
    assert not any('network' in name for name in holder.bank.state_dict())


class Several(nn.Module):
    """Returns what it was told to."""

    def __init__(self, kind):
        super().__init__()
        self.scale, self.kind = nn.Parameter(torch.ones(())), kind

    def forward(self, x, y, *, gain=1.0):
        image, aside = self.scale * (x + 2 * y) * gain, x.mean()
        return {'tuple': (image, aside), 'list': [image, aside], 'dict': {'aside': aside, 'image': image},
                'tensor': image}[self.kind]


@pytest.mark.parametrize('kind', ['tensor', 'tuple', 'list', 'dict'])
def test_several_inputs_and_outputs(kind):
    bank = HistoryBank(Several(kind), (1, 2), init_noise=0)
    x, y = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4)
    select = {'select': lambda output: output['image']} if kind == 'dict' else {}
    outputs = list(bank.negatives(x, y, gain=3.0, **select))
    assert len(outputs) == 2
    assert all(torch.equal(output, (x + 2 * y) * 3.0) for output in outputs)


def test_select_is_asked_first():
    bank = HistoryBank(Several('tuple'), 1, init_noise=0)
    x = torch.rand(1, 3, 4, 4)
    [output] = bank.negatives(x, x, select=lambda output: output[1])
    assert torch.equal(output, x.mean())


def test_negatives_are_made_one_at_a_time():
    calls = []

    class Counting(nn.Linear):
        """Notes its calls."""

        def forward(self, x):
            calls.append(1)
            return super().forward(x)

    bank = HistoryBank(Counting(2, 2), (1, 2, 3))
    for made, _ in enumerate(bank.negatives(torch.zeros(1, 2)), start=1):
        assert len(calls) == made
    assert bank.drawn == (0, 1, 2)


def test_copies_are_independent():
    bank = HistoryBank(nn.Linear(2, 2), (1, 2), init_noise=0)
    with torch.no_grad():
        bank.copies[0].weight.zero_()
    assert values(bank.copies[1])['weight'].abs().sum() > 0
    assert values(bank.network)['weight'].abs().sum() > 0
