"""The history follows theta'_k <- d_k theta'_k + (1 - d_k) theta, from a start mixed with a random initialisation."""
import random

import pytest
import torch
from history_networks import Mixed, Tied, values, walk
from torch import nn

from mcir_plugin.history import HistoryBank

DECAYS = (0.1, 0.25, 0.5, 0.9)


def seeded(make, seed=0):
    torch.manual_seed(seed)
    return make()


def all_equal(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize('intervals', [(100, 200, 500, 1000), (7, 3, 1, 11)], ids=['published', 'short'])
def test_3000_updates_by_hand(intervals):
    """Every interval keeps its own decay, in the order in which they were given; buffers are those of the refresh."""
    network, generator = seeded(Mixed).double(), torch.Generator().manual_seed(5)
    bank = HistoryBank(network, intervals, DECAYS, seed=3)
    past = [values(copy) for copy in bank.copies]
    trained = {name for name, _ in network.named_parameters()}
    for step in range(1, 3001):
        walk(network, generator)
        refreshed = bank.update(step)
        now = values(network)
        expected = [k for k in range(4) if step % intervals[k] == 0]
        assert refreshed == expected
        for k in expected:
            for name, value in now.items():
                past[k][name] = DECAYS[k] * past[k][name] + (1 - DECAYS[k]) * value if name in trained else value
    for k, copy in enumerate(bank.copies):
        for name, value in values(copy).items():
            torch.testing.assert_close(value, past[k][name], rtol=1e-12, atol=1e-12)
    assert bank.ages(3000) == [3000 % s for s in intervals]
    assert bank.ages(3005) == [3000 % s + 5 for s in intervals]


def test_nothing_moves_between_refreshes():
    network, generator = seeded(Mixed), torch.Generator().manual_seed(5)
    bank = HistoryBank(network, 4)
    before = values(bank.copies[0])
    for step in (1, 2, 3):
        walk(network, generator)
        assert bank.update(step) == []
        assert all_equal(values(bank.copies[0]), before)


def test_decay_of_zero_takes_snapshots():
    network, generator = seeded(Mixed), torch.Generator().manual_seed(5)
    bank = HistoryBank(network, 1, 0.0)
    for step in (1, 2, 3):
        walk(network, generator)
        bank.update(step)
        assert all_equal(values(bank.copies[0]), values(network))


class TestStart:
    """theta'_k = init_noise * fresh_k + (1 - init_noise) * theta."""

    @staticmethod
    def bank(network, **options):
        return HistoryBank(network, (1, 2, 3, 4), **{'seed': 11, 'factory': lambda: nn.Linear(9, 5), **options})

    def test_shares(self):
        network = seeded(lambda: nn.Linear(9, 5), 11)
        fresh = self.bank(network, init_noise=1.0).copies
        for share in (0.0, 0.1, 0.7):
            for k, copy in enumerate(self.bank(network, init_noise=share).copies):
                expected = share * fresh[k].weight + (1 - share) * network.weight
                torch.testing.assert_close(copy.weight, expected.detach(), rtol=1e-6, atol=1e-6)

    def test_one_tenth_is_the_default(self):
        network = seeded(lambda: nn.Linear(9, 5), 11)
        assert all_equal(values(self.bank(network)), values(self.bank(network, init_noise=0.1)))

    def test_no_share_is_the_network(self):
        network = seeded(lambda: nn.Linear(9, 5))
        assert all(all_equal(values(copy), values(network)) for copy in self.bank(network, init_noise=0).copies)

    @pytest.mark.parametrize('factory', [lambda: nn.Linear(9, 5), None], ids=['factory', 'reset_parameters'])
    def test_fresh_is_an_initialisation_of_its_own(self, factory):
        """Not the network's, although the seed is that of the network, and another one for each negative."""
        network = seeded(lambda: nn.Linear(9, 5), 11)
        fresh = [copy.weight for copy in self.bank(network, init_noise=1.0, factory=factory).copies]
        seen = [network.weight, *fresh]
        assert all(not torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i])
        bound = 1 / 9**0.5  # PyTorch draws a linear layer's weights from U(-1/sqrt(in), 1/sqrt(in))
        assert all(weight.abs().max() <= bound and weight.std() > bound / 3 for weight in fresh)

    def test_seed_decides(self):
        network = seeded(lambda: nn.Linear(9, 5))
        first, again, other = (values(self.bank(network, seed=seed)) for seed in (1, 1, 2))
        assert all_equal(first, again)
        assert not torch.equal(first['copies.0.weight'], other['copies.0.weight'])

    def test_global_random_states_are_left_alone(self):

        def build():
            random.random()
            return nn.Linear(9, 5)

        network = seeded(lambda: nn.Linear(9, 5))
        random.seed(4)
        before = torch.get_rng_state(), random.getstate()
        bank = self.bank(network, factory=build, negatives_per_iter=1, dtype='bfloat16')
        list(bank.negatives(torch.zeros(1, 9)))
        bank.update(12)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert random.getstate() == before[1]

    def test_frozen_parameters_are_not_mixed(self):
        network = seeded(lambda: nn.Linear(9, 5))
        network.bias.requires_grad_(False)
        bank = self.bank(network, init_noise=1.0)
        assert torch.equal(bank.copies[0].bias, network.bias)
        assert not torch.equal(bank.copies[0].weight, network.weight)

    def test_buffers_are_the_networks(self):
        network, generator = seeded(Mixed), torch.Generator().manual_seed(5)
        walk(network, generator)
        bank = HistoryBank(network, (1, 2), init_noise=1.0, factory=Mixed)
        names = [name for name, _ in network.named_buffers()]
        assert {'norm.num_batches_tracked', 'table', 'on', 'mask'} <= set(names)
        for copy in bank.copies:
            assert all(torch.equal(values(copy)[name], values(network)[name]) for name in names)


def test_network_is_not_touched():
    network = seeded(Mixed)
    before, flags = values(network), [p.requires_grad for p in network.parameters()]
    bank = HistoryBank(network, 1)
    list(bank.negatives(torch.rand(1, 3, 8, 8)))
    bank.update(1)
    assert all_equal(values(network), before)
    assert [p.requires_grad for p in network.parameters()] == flags
    assert network.training


def test_network_without_parameters():
    bank = HistoryBank(nn.Upsample(scale_factor=2), (1, 2))
    assert bank.update(2) == [0, 1]
    x = torch.rand(1, 3, 4, 4)
    assert all(torch.equal(negative, nn.Upsample(scale_factor=2)(x)) for negative in bank.negatives(x))


def test_partly_frozen_network_follows():
    network, generator = seeded(Mixed), torch.Generator().manual_seed(5)
    network.conv.requires_grad_(False)
    bank = HistoryBank(network, 1, 0.5)
    walk(network, generator)  # loaded weights, or a layer frozen for the first iterations only
    start = bank.copies[0].conv.weight.clone()
    bank.update(1)
    torch.testing.assert_close(bank.copies[0].conv.weight, (start + network.conv.weight.detach()) / 2)


def test_integer_parameters_are_copied():
    network = nn.Linear(2, 2)
    network.levels = nn.Parameter(torch.tensor([1, 2]), requires_grad=False)
    bank = HistoryBank(network, 1, 0.5)
    network.levels += 3
    bank.update(1)
    assert bank.copies[0].levels.tolist() == [4, 5]


@pytest.mark.parametrize('factory', [Tied, None], ids=['factory', 'deepcopy'])
def test_tied_weights_stay_tied(factory):
    network, generator = seeded(Tied), torch.Generator().manual_seed(5)
    bank = HistoryBank(network, 1, 0.5, factory=factory)
    start = bank.copies[0].first.weight.clone()
    walk(network, generator)
    bank.update(1)
    copy = bank.copies[0]
    assert copy.first.weight is copy.second.weight
    torch.testing.assert_close(copy.first.weight, (start + network.first.weight.detach()) / 2)
