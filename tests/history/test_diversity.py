"""Refresh by diversity against a naive simulation, and what it does to real copies; refresh by stages."""
import random

import pytest
import torch
from torch import nn

from mcir_plugin.history import Diversity, HistoryBank, Staged


class Naive:
    """The rule from its description: a list of all distances of the window, and a list that is the queue."""

    def __init__(self, count, threshold, window, max_iter):
        self.queue = list(range(count))
        self.threshold, self.window, self.max_iter = threshold, window, max_iter
        self.last, self.steps = 0, []

    def look(self, step):
        alike, seen = False, [k for drawn in self.steps for k in drawn]
        if len(self.steps) >= self.window and set(seen) == set(self.queue):
            means = []
            for k in self.queue:
                values = [drawn[k] for drawn in self.steps if k in drawn]
                means.append(sum(values) / len(values))
            alike = (max(means) - min(means)) / max(means) < self.threshold
            self.steps = []
        if not alike and step < self.last + self.max_iter:
            return []
        oldest = self.queue.pop(0)
        self.queue.append(oldest)
        self.last, self.steps = step, []
        return [oldest]


@pytest.mark.parametrize('count', [2, 3, 5])
@pytest.mark.parametrize('drawn_each', [1, 2])
@pytest.mark.parametrize(('window', 'max_iter', 'interval'), [(1, 10, 1), (4, 30, 1), (3, 25, 2)])
def test_against_a_naive_simulation(count, drawn_each, window, max_iter, interval):
    source = random.Random(count * 100 + window)
    rule, naive = Diversity((0.1, ) * count, 0.3, window, max_iter), Naive(count, 0.3, window, max_iter)
    refreshed = []
    for step in range(1, 301):
        if step % interval == 0:
            drawn = tuple(sorted(source.sample(range(count), drawn_each)))
            spread = 0.9 if step % 90 < 45 else 0.05  # half of the time the copies are alike
            values = [source.uniform(1 - spread, 1) for _ in drawn]
            rule.observe(drawn, torch.tensor(values, dtype=torch.float64))
            naive.steps.append(dict(zip(drawn, values, strict=True)))
        expected = naive.look(step)
        assert rule.due(step) == expected, step
        refreshed += [(step, *expected)] if expected else []
        if step % 7 == 0:  # a restored rule goes on alike
            again = Diversity((0.1, ) * count, 0.3, window, max_iter)
            again.load_state_dict(rule.state_dict())
            rule = again
    early = [b - a for (a, _), (b, _) in zip(refreshed, refreshed[1:], strict=False) if b - a < max_iter]
    assert early and len({k for _, k in refreshed}) == count


def test_a_restored_window_waits_for_the_next_scored_step():
    rule = Diversity((0.1, 0.1), window=100)
    for _ in range(80):
        rule.observe((0, 1), torch.tensor([0.5, 0.5]))
    resumed = Diversity((0.1, 0.1), window=50)
    resumed.load_state_dict(rule.state_dict())
    assert resumed.due(81) == []  # nothing was scored in this iteration
    resumed.observe((0, 1), torch.tensor([0.5, 0.5]))
    assert resumed.due(82) == [0]


def test_threshold_and_scale():
    """Distances 0.9 and 1: diversity 0.1, whatever their unit."""
    for threshold, unit, expected in ((0.11, 1, [0]), (0.09, 1, []), (0.11, 1e-6, [0]), (0.09, 1e6, [])):
        rule = Diversity((0.1, 0.1), threshold, 1, 100)
        rule.observe((0, 1), unit * torch.tensor([0.9, 1.0], dtype=torch.float64))
        assert rule.due(1) == expected
        assert rule.measured() == {'diversity': pytest.approx(0.1)}


def test_negatives_at_distance_zero_are_alike():
    rule = Diversity((0.1, 0.1), window=1)
    rule.observe((0, 1), torch.zeros(2))
    assert rule.due(1) == [0] and rule.measured() == {'diversity': 0.0}


def test_window_is_an_average():
    """One odd step does not decide: means 0.55 and 0.55 are alike, though no single step says so."""
    rule = Diversity((0.1, 0.1), 0.05, 2, 100)
    rule.observe((0, 1), torch.tensor([0.1, 1.0]))
    assert rule.due(1) == []
    rule.observe((0, 1), torch.tensor([1.0, 0.1]))
    assert rule.due(2) == [0]


def test_real_copies_are_replaced_in_turn_and_the_oldest_first():
    network = nn.Conv2d(3, 3, 1)
    bank = HistoryBank(network, refresh={'type': 'diversity', 'window': 1, 'max_iter': 3, 'threshold': 0.5}, decay=0,
                       num_negatives=3, seed=1)
    list(bank.negatives(torch.rand(1, 3, 4, 4)))
    bank.observe(torch.tensor([1.0, 0.9, 0.8]))  # alike
    before = [copy.weight.clone() for copy in bank.copies]
    assert bank.update(1) == [0] and bank.refreshed_at == [1, 0, 0]
    assert torch.equal(bank.copies[0].weight, network.weight)
    assert torch.equal(bank.copies[1].weight, before[1])
    assert [bank.update(step) for step in (2, 3, 4, 5, 6, 7)] == [[], [], [1], [], [], [2]]  # 3 after the last one
    bank.restart(100)
    assert bank.ages(100) == [0, 0, 0] and [bank.update(step) for step in (101, 103)] == [[], [0]]


def test_state_goes_through_the_bank(tmp_path):
    banks = [HistoryBank(nn.Conv2d(3, 3, 1), refresh={'type': 'diversity', 'window': 2, 'threshold': 0.2})
             for _ in range(2)]
    image = torch.rand(1, 3, 4, 4)
    list(banks[0].negatives(image))
    banks[0].observe(torch.tensor([1.0, 1.0, 1.0, 1.0]))
    assert banks[0].update(1) == []
    torch.save(banks[0].state_dict(), tmp_path / 'bank.pth')
    banks[1].load_state_dict(torch.load(tmp_path / 'bank.pth', weights_only=True))
    for bank in banks:
        list(bank.negatives(image))
        bank.observe(torch.tensor([0.9, 0.9, 0.9, 1.0]))
        assert bank.update(2) == [0]
        assert bank.refresh.measured() == {'diversity': pytest.approx(1 - 1.9 / 2)}


@pytest.mark.parametrize('options', [{'threshold': 0}, {'threshold': 1}, {'window': 0}, {'max_iter': 0}])
def test_wrong_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        HistoryBank(nn.Conv2d(3, 3, 1), refresh={'type': 'diversity', **options})


def test_one_copy_has_no_diversity():
    with pytest.raises(ValueError, match='num_negatives must be at least 2'):
        HistoryBank(nn.Conv2d(3, 3, 1), refresh='diversity', num_negatives=1)


def test_stages():
    rule = Staged((0.1, ), (4, 5), 20)
    assert [step for step in range(1, 51) if rule.due(step)] == [4, 8, 12, 16, 20, 25, 30, 35, 40, 45, 50]
    bank = HistoryBank(nn.Conv2d(3, 3, 1), refresh={'type': 'staged', 'intervals': [2], 'stage_iter': 1})
    assert bank.num_negatives == 1 and [bank.update(step) for step in (1, 2, 3, 4)] == [[], [0], [], [0]]
    released = Staged((0.1, ))
    met = [step for step in range(1, 250_001) if released.due(step)]
    assert (met[:2], met[99:101], met[149:151]) == ([1000, 2000], [100_000, 102_000], [200_000, 201_000])


@pytest.mark.parametrize('options', [{'intervals': []}, {'intervals': [0]}, {'stage_iter': 0}])
def test_wrong_stages(options):
    with pytest.raises(ValueError, match='intervals and stage_iter'):
        HistoryBank(nn.Conv2d(3, 3, 1), refresh={'type': 'staged', **options})
