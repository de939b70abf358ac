"""Statistics of a comparison against other derivations: enumeration, SciPy, the standard library."""
import itertools
import statistics

import numpy as np
import pytest
from scipy import stats

from mcir_plugin.report.statistics import (
    BETTER,
    NONE,
    TOO_FEW,
    WORSE,
    bootstrap_interval,
    compare_paired,
    sign_test,
    summarize,
)


def scores(seeds: int, images: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(30, 2, (seeds, images))


def every_resample(difference: np.ndarray) -> np.ndarray:
    """Means of all S^S * I^I equally likely draws of seeds and images."""
    rows, columns = (list(itertools.product(range(count), repeat=count)) for count in difference.shape)
    return np.array([np.mean([[difference[s, i] for i in c] for s in r]) for r in rows for c in columns])


def test_mean_and_spread_are_those_of_the_standard_library():
    table = scores(3, 5)
    found, means = summarize(table), [statistics.fmean(row) for row in table.tolist()]
    assert found.mean == pytest.approx(statistics.fmean(table.ravel().tolist()))
    assert found.spread == pytest.approx(statistics.stdev(means))
    assert found.seeds == pytest.approx(means)


def test_one_seed_has_no_spread():
    assert np.isnan(summarize(scores(1, 4)).spread)


@pytest.mark.parametrize('shape', [(1, 4), (2, 3), (3, 4), (2, 5)])
def test_interval_is_that_of_all_resamples(shape):
    difference = scores(*shape, seed=3) - 30
    means = every_resample(difference)
    low, high = bootstrap_interval(difference, resamples=40_000)
    for share, end in ((0.025, low), (0.975, high)):  # discrete: the end lies between neighbouring quantiles
        assert np.quantile(means, share - 0.004) - 1e-9 <= end <= np.quantile(means, share + 0.004) + 1e-9


def test_interval_of_one_seed_is_that_of_scipy():
    difference = scores(1, 40, seed=1) - 30
    wanted = stats.bootstrap((difference[0], ), np.mean, n_resamples=20_000, method='percentile')
    ends = wanted.confidence_interval
    assert bootstrap_interval(difference) == pytest.approx((ends.low, ends.high), abs=0.05)


def test_interval_covers_seeds_that_differ_although_images_agree():
    """A resampling of the pairs as if independent would give a fifth of this width."""
    difference = np.repeat([[-1.], [1.], [0.5], [-0.5]], 100, axis=1)
    low, high = bootstrap_interval(difference)
    assert high - low > 1.3


@pytest.mark.parametrize(('wins', 'losses'), [(0, 0), (1, 0), (5, 0), (6, 0), (3, 3), (9, 2), (2, 9), (60, 40)])
def test_sign_test_is_the_exact_binomial_test(wins, losses):
    wanted = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1
    assert sign_test(wins, losses) == pytest.approx(wanted)


def shifted(by: float, seeds: int = 3, images: int = 12) -> tuple[np.ndarray, np.ndarray]:
    base = scores(seeds, images)
    return base, base + by + np.random.default_rng(9).normal(0, 0.01, base.shape)


@pytest.mark.parametrize(('by', 'higher', 'verdict'), [(0.1, True, BETTER), (-0.1, True, WORSE), (0.1, False, WORSE),
                                                       (-0.1, False, BETTER), (0., True, NONE)])
def test_verdict_follows_the_difference_and_what_is_better(by, higher, verdict):
    found = compare_paired(*shifted(by), higher)
    assert found.verdict == verdict
    assert (found.low <= 0 <= found.high) == (verdict == NONE)
    assert found.wins + found.losses == 12
    if verdict != NONE:
        assert (found.wins, found.losses) == ((12, 0) if verdict == BETTER else (0, 12))


def test_one_seed_is_never_enough():
    assert compare_paired(*shifted(0.1, seeds=1)).verdict == TOO_FEW
    assert compare_paired(*shifted(0., seeds=1)).verdict == NONE


def test_five_images_are_never_enough():
    found = compare_paired(*shifted(0.1, images=5))
    assert found.low > 0 and found.p_value == 0.0625 and found.verdict == TOO_FEW


def test_two_seeds_that_agree_by_chance_are_no_difference():
    base = scores(2, 50)
    found = compare_paired(base, base + np.array([[1.], [0.3]]))
    assert found.p_value < 0.05 and found.low > 0 and found.verdict == NONE


def test_chance_in_the_training_seldom_passes_for_an_effect():
    generator, base = np.random.default_rng(4), scores(3, 20)
    verdicts = [compare_paired(base, base + generator.normal(0, 0.1, (3, 1))).verdict for _ in range(200)]
    assert sum(verdict != NONE for verdict in verdicts) <= 20  # 5 % are expected, 25 % without the interval over seeds


@pytest.mark.parametrize('seeds', [2, 3, 5, 11, 12, 40])
def test_interval_over_seeds_is_that_of_the_paired_t_test(seeds):
    base, other = scores(seeds, 6), scores(seeds, 6, seed=8)
    found = compare_paired(base, other)
    wanted = stats.ttest_rel(other.mean(axis=1), base.mean(axis=1)).confidence_interval(0.95)
    assert (found.seeds_low, found.seeds_high) == pytest.approx((wanted.low, wanted.high), rel=1e-3)


def test_ties_are_left_out_of_the_sign_test():
    base = scores(2, 8)
    change = np.array([0, 0, 1, 1, 1, 1, 1, -1.])
    found = compare_paired(base, base + change)
    assert (found.wins, found.losses) == (5, 1)
    assert found.images == pytest.approx(change)


@pytest.mark.parametrize('table', [np.zeros(3), np.zeros((0, 3)), np.array([[1., np.inf]]), np.array([[np.nan]])])
def test_what_is_no_table_of_finite_scores_is_refused(table):
    with pytest.raises(ValueError, match=r'shape|finite'):
        summarize(table)


def test_other_shapes_than_the_baseline_are_refused():
    with pytest.raises(ValueError, match='baseline'):
        compare_paired(scores(2, 3), scores(2, 4))
