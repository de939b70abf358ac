"""When copies are refreshed: against naive simulations and against the formula of the residual."""
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mcir_plugin.history import REFRESH_RULES, Growing, HistoryBank, Periodic, RefreshRule, ResidualStd
from mcir_plugin.history.refresh import build_refresh
from mcir_plugin.history.residual import residual_std
from mcir_plugin.history.rule import reduce_mean


def simulate_growth(first, growth, most, horizon):
    """Walk from refresh to refresh; the gap grows after each."""
    met, gap, at = [], first, first
    while at <= horizon:
        met.append(at)
        gap = min(gap + growth, most)
        at += gap
    return met


@given(first=st.integers(1, 60), growth=st.integers(0, 60), slack=st.integers(0, 200))
def test_growing_meets_what_a_simulation_meets(first, growth, slack):
    most, horizon = first + slack, 1000
    rule = Growing((first, ), (0.1, ), growth, most)
    assert [step for step in range(1, horizon + 1) if rule.due(step)] == simulate_growth(first, growth, most, horizon)


def test_growing_as_documented():
    rule = Growing((1000, 500), (0.1, 0.1))
    met = {k: [step for step in range(1, 12_001) if k in rule.due(step)] for k in (0, 1)}
    assert met == {0: [1000, 3000, 6000, 9000, 12000], 1: [500, 2000, 4500, 7500, 10500]}


@given(intervals=st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_periodic(intervals):
    rule = Periodic(intervals, [0.1] * len(intervals))
    for k, interval in enumerate(intervals):
        assert [s for s in range(1, 201) if k in rule.due(s)] == list(range(interval, 201, interval))


@pytest.mark.parametrize('shape', [(2, 3, 8, 8), (3, 1, 5, 7), (2, 4, 3, 6, 6)])
def test_residual_is_the_mean_over_the_batch_of_standard_deviations(shape):
    rng = np.random.default_rng(0)
    pred, gt = rng.random(shape), rng.random(shape)
    by_hand = []
    for a, b in zip(pred, gt, strict=True):
        difference = [2 * (x - y) for x, y in zip(a.ravel(), b.ravel(), strict=True)]
        mean = sum(difference) / len(difference)
        by_hand.append((sum((d - mean)**2 for d in difference) / (len(difference) - 1))**0.5)
    found = residual_std(torch.from_numpy(pred), torch.from_numpy(gt))
    assert found.shape == () and found.item() == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-5)


def test_residual_ignores_a_constant_shift():
    gt = torch.rand(2, 3, 8, 8)
    assert residual_std(gt + 0.2, gt).item() == pytest.approx(0, abs=1e-6)


def pair_of(sigma):
    """Return an output and a ground truth whose residual statistic is sigma."""
    noise = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    noise = noise / noise.flatten(1).std(dim=1).view(-1, 1, 1, 1)
    return 0.5 + noise * sigma / 2, torch.full_like(noise, 0.5)


def test_residual_rule_takes_turns():
    network = nn.Conv2d(3, 3, 1)
    bank = HistoryBank(network, refresh='residual_std')
    assert bank.num_negatives == 4 and bank.refresh.decay == (0.001, ) * 4
    sigmas = [0.5, 0.0219, 0.0221, 0.3, 0.001, 0.1, 0.1]
    refreshed = [bank.update(step, *pair_of(sigma)) for step, sigma in enumerate(sigmas, start=1)]
    assert refreshed == [[0], [], [1], [2], [], [3], [0]]
    assert bank.ages(7) == [0, 4, 3, 1]


def test_residual_rule_keeps_a_thousandth_of_the_past():
    network = nn.Conv2d(3, 3, 1).double()
    bank = HistoryBank(network, refresh={'type': 'residual_std', 'threshold': 0.1}, num_negatives=2)
    start = [copy.weight.clone() for copy in bank.copies]
    nn.init.constant_(network.weight, 1.0)
    assert bank.update(1, *pair_of(0.2)) == [0]
    torch.testing.assert_close(bank.copies[0].weight, 0.001 * start[0] + 0.999)
    assert torch.equal(bank.copies[1].weight, start[1])


def test_threshold_itself_is_small_enough():
    rule = ResidualStd((0.001, 0.001), threshold=0.25)
    assert rule.due(1, 0.25) == [] and rule.due(2, 0.2500001) == [0]


def test_turn_is_remembered():
    rule, other = ResidualStd((0.1, ) * 3), ResidualStd((0.1, ) * 3)
    rule.due(1, 1.0)
    other.load_state_dict(rule.state_dict())
    assert other.due(2, 1.0) == [1]


def test_residual_rule_wants_the_images():
    bank = HistoryBank(nn.Conv2d(3, 3, 1), refresh='residual_std')
    with pytest.raises(ValueError, match=r'residual_std.*pred.*gt'):
        bank.update(1)


def test_mean_over_one_process_is_the_value():
    assert reduce_mean(torch.tensor(0.3)).item() == pytest.approx(0.3)


def test_rule_of_ones_own():

    class Once(RefreshRule):
        """Refreshes everything after one iteration."""

        def due(self, step, residual=None):
            return list(range(self.num_negatives)) if step == 5 else []

    bank = HistoryBank(nn.Linear(2, 2), refresh=Once((0.0, 0.5)))
    assert [bank.update(step) for step in range(4, 7)] == [[], [0, 1], []]
    assert bank.num_negatives == 2


def test_rules_by_name():
    assert set(REFRESH_RULES) == {'periodic', 'growing', 'staged', 'residual_std', 'diversity'}
    rule = build_refresh({'type': 'growing', 'growth': 10, 'max_iter': 50}, [20, 30], None)
    assert (rule.growth, rule.max_iter, rule.decay) == (10, 50, (0.1, 0.1))


@pytest.mark.parametrize(('options', 'said'), [
    ({'update_iter': 0}, 'update_iter'),
    ({'update_iter': [5, -1]}, 'update_iter'),
    ({'update_iter': []}, 'update_iter must be integers'),
    ({'update_iter': [2.5]}, 'update_iter must be integers'),
    ({'update_iter': 2.5}, 'update_iter must be integers'),
    ({'update_iter': '5'}, 'update_iter must be integers'),
    ({'update_iter': [1, 2], 'num_negatives': 3}, r'num_negatives \(3\) has no effect .* here 2'),
    ({'refresh': ResidualStd((0.1, )), 'decay': 0.5}, 'no effect beside a rule object'),
    ({'update_iter': [1, 2], 'decay': [0.1]}, 'update_iter and decay'),
    ({'update_iter': 1, 'decay': 1.0}, 'decay'),
    ({'update_iter': 1, 'decay': -0.1}, 'decay'),
    ({'update_iter': 1, 'decay': float('nan')}, 'decay'),
    ({'refresh': 'sometimes'}, 'refresh must be one of'),
    ({'refresh': {'type': 'growing', 'growth': -1}}, 'growth'),
    ({'refresh': {'type': 'growing', 'max_iter': 10}}, 'max_iter'),
    ({'refresh': {'type': 'residual_std', 'threshold': 0}}, 'threshold'),
    ({'refresh': 'residual_std', 'decay': [2.0]}, 'decay'),
    ({'refresh': 'residual_std', 'num_negatives': 4, 'decay': [0.1, 0.2]}, 'decay has 2 values, but num_negatives'),
    ({'refresh': 'residual_std', 'update_iter': [5]}, r'update_iter \(\[5\]\) has no effect with ResidualStd'),
    ({'init_noise': 1.5}, 'init_noise'),
    ({'init_noise': -0.1}, 'init_noise'),
    ({'negatives_per_iter': 0}, 'negatives_per_iter'),
    ({'negatives_per_iter': 5}, 'negatives_per_iter'),
    ({'negatives_per_iter': 'some'}, 'negatives_per_iter'),
    ({'dtype': 'int8'}, 'dtype'),
    ({'dtype': 'float12'}, 'dtype'),
    ({'dtype': torch.int32}, 'dtype'),
])
def test_constructor_names_the_option(options, said):
    with pytest.raises(ValueError, match=said):
        HistoryBank(nn.Linear(2, 2), **options)


def test_unknown_key_of_a_rule():
    with pytest.raises(TypeError, match='grwth'):
        HistoryBank(nn.Linear(2, 2), refresh={'type': 'growing', 'grwth': 3})
