"""Warnings about a term that outweighs its criterion: early, once, with a remedy that is right; silent in noise."""
import math
import random
import re

import pytest

from mcir_plugin.hosts.guard import Names, RatioWatch, RiseWatch


def rising(values, seed=0, names=Names()):  # noqa: B008
    """Feed (criterion, term) pairs with the noise of batches, return what was said and at which iteration."""
    noise, said, steps = random.Random(seed), [], []
    watch = RiseWatch(said.append, names)
    for step, (criterion, term) in enumerate(values, 1):
        factor = noise.lognormvariate(0, 0.5)
        watch(criterion * factor, -term * factor * noise.lognormvariate(0, 0.3), step)
        steps += [step] if len(said) > len(steps) else []
    return said, steps


def test_ratio_is_warned_about_once_and_the_named_weight_is_right():
    said = []
    watch = RatioWatch(0.5, False, said.append, loss_weight=0.1)
    for step, ratio in enumerate([0.2, 0.5, 2.0, 3.0], 1):
        watch(ratio, step)
    (text, ) = said
    assert 'at iteration 3' in text
    assert 'train.spn_opt.loss_weight' in text and 'train.history_opt.max_ratio: 0.1' in text
    weight = float(re.search(r'\(now 0\.1; (\S+) would', text)[1])
    assert 2.0 * weight / 0.1 == pytest.approx(0.1), 'the ratio is proportional to the weight'


def test_names_are_those_of_the_host():
    said = []
    RatioWatch(0.5, False, said.append, Names('generator', 'Hook.spn', 'Hook.history'))(1, 1)
    assert 'Hook.spn.loss_weight' in said[0] and 'Hook.history.max_ratio' in said[0] and 'train.' not in said[0]


@pytest.mark.parametrize('seed', range(20))
def test_ordinary_training_is_not_warned_about(seed):
    """Noise of 50 % per batch, a falling loss, restarts of the learning rate, a spike: 20,000 iterations each."""
    values = []
    for step in range(1, 20_001):
        criterion = 0.02 + 0.1 * math.exp(-step / 3000) + 0.004 * (step % 5000 < 500)
        values.append((criterion * (1000 if step == 7777 else 1), 0.1 * criterion))
    assert rising(values, seed) == ([], [])


@pytest.mark.parametrize('criterion, term', [(2., 1.), (1., 5.)])
def test_one_of_the_two_alone_is_no_divergence(criterion, term):
    """Harder data raise the criterion; a warm-up raises the term."""
    values = [(0.1, 0.01)] * 1000 + [(0.1 * criterion, 0.01 * term)] * 2000
    assert rising(values) == ([], [])


@pytest.mark.parametrize('seed', range(5))
def test_slow_divergence_is_warned_about_once_within_some_hundred_iterations(seed):
    """Both double every 400 iterations from 2,000 on: 1.5 times the best at about 2,250, and three blocks more."""
    values = [(0.05, 0.005)] * 2000 + [(0.05 * 2**(i / 400), 0.005 * 2**(i / 400)) for i in range(3000)]
    said, steps = rising(values, seed)
    assert len(said) == 1 and 2400 <= steps[0] <= 2900
    assert 'training diverges' in said[0] and 'max_ratio' in said[0] and 'loss_weight' in said[0]


def test_a_short_rise_is_forgiven():
    values = [(0.05, 0.005)] * 1000 + [(0.2, 0.02)] * 200 + [(0.05, 0.005)] * 1000
    assert rising(values) == ([], [])
