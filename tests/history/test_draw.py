"""Which negatives take part: uniform, reproducible, and of no effect on anybody else's random numbers."""
import random
from collections import Counter
from itertools import combinations

import pytest
import torch
from torch import nn

from mcir_plugin.history import Draw, HistoryBank


@pytest.mark.parametrize('count', [1, 2, 3])
def test_every_choice_is_equally_likely(count):
    draw, total = Draw(4, count, seed=2), 6000
    seen = Counter(draw() for _ in range(total))
    choices = list(combinations(range(4), count))
    assert set(seen) == set(choices)  # sorted, without repetition
    expected = total / len(choices)
    chi_square = sum((seen[choice] - expected)**2 / expected for choice in choices)
    assert chi_square < {4: 16.3, 6: 20.5}[len(choices)]  # the 0.1 % quantiles for 3 and 5 degrees of freedom


@pytest.mark.parametrize('how', ['all', 3])
def test_all_are_in_order(how):
    draw = Draw(3, how)
    assert [draw() for _ in range(3)] == [(0, 1, 2)] * 3


def test_seed_decides():
    first, again, other = ([draw() for _ in range(50)] for draw in (Draw(4, 1, 7), Draw(4, 1, 7), Draw(4, 1, 8)))
    assert first == again != other


def test_state_is_restored():
    draw = Draw(4, 2, 7)
    for _ in range(5):
        draw()
    state = draw.get_state()
    following = [draw() for _ in range(20)]
    other = Draw(4, 2, 1)
    other.set_state(state)
    assert [other() for _ in range(20)] == following


def test_global_random_numbers_are_neither_used_nor_disturbed():
    random.seed(1)
    torch.manual_seed(1)
    untouched = torch.rand(3), random.random()
    draw = Draw(4, 1, 7)
    first = [draw() for _ in range(20)]
    random.seed(1)
    torch.manual_seed(1)
    draw = Draw(4, 1, 7)
    assert [draw() for _ in range(20)] == first
    assert torch.equal(torch.rand(3), untouched[0]) and random.random() == untouched[1]


def test_mean_over_single_draws_is_the_mean_over_all():
    network, x = nn.Linear(3, 3), torch.rand(2, 3)
    everything = torch.stack(list(HistoryBank(network, (1, 2, 3, 4), init_noise=0.5, seed=5).negatives(x)))
    bank = HistoryBank(network, (1, 2, 3, 4), init_noise=0.5, negatives_per_iter=1, seed=5)
    single = {}
    for _ in range(60):
        [output] = bank.negatives(x)
        single[bank.drawn] = output
    assert set(single) == {(0, ), (1, ), (2, ), (3, )}
    torch.testing.assert_close(torch.stack(list(single.values())).mean(0), everything.mean(0))


def test_banks_of_one_seed_draw_alike():
    banks = [HistoryBank(nn.Linear(2, 2), negatives_per_iter=2, seed=seed) for seed in (3, 3, 4)]
    drawn = [[] for _ in banks]
    for _ in range(30):
        for bank, seen in zip(banks, drawn, strict=True):
            assert len(list(bank.negatives(torch.zeros(1, 2)))) == 2
            seen.append(bank.drawn)
    assert drawn[0] == drawn[1] != drawn[2]
