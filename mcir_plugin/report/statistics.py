"""Paired comparison of trained networks: means, bootstrap intervals, sign tests, verdicts. Pure NumPy.

Scores are arrays (S, I): one row per training seed, one column per validation image. Two variants are compared by the
paired differences d[s, i] = scores[s, i] - baseline[s, i], where seed and image are the same on both sides.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
LEVEL = 0.95
STUDENT = (12.7062, 4.30265, 3.18245, 2.77645, 2.57058, 2.44691, 2.36462, 2.30600, 2.26216, 2.22814)  # 1 to 10 degrees
NORMAL = 1.959964
BETTER, WORSE, NONE = 'better', 'worse', 'no measurable difference'
TOO_FEW = 'not decidable: too few seeds or images'
FEWEST_IMAGES = 6  # with which the sign test can reach p < 0.05


@dataclass(frozen=True)
class Summary:
    """Scores of one variant.

    Attributes:
        mean (float): Over all seeds and images.
        spread (float): Standard deviation (n - 1) over seeds of the mean over images; NaN with one seed.
        seeds (tuple[float, ...]): Mean over images for every seed.
    """

    mean: float
    spread: float
    seeds: tuple[float, ...]


@dataclass(frozen=True)
class Paired:
    """Difference of a variant from the baseline, in the unit of the metric.

    Attributes:
        mean (float): Mean of all paired differences; positive is a larger value, not always a better one.
        low (float): Lower end of the 95 % interval.
        high (float): Upper end.
        seeds (tuple[float, ...]): Mean difference for every seed.
        seeds_low (float): Lower end of the 95 % interval over seeds alone; NaN with one seed.
        seeds_high (float): Its upper end.
        images (tuple[float, ...]): Difference of every image, mean over seeds.
        wins (int): Images whose difference is better.
        losses (int): Images whose difference is worse; the rest are ties.
        p_value (float): Of the two-sided sign test over images.
        verdict (str): ``better``, ``worse``, ``no measurable difference``, or ``not decidable: too few seeds or
            images``.
    """

    mean: float
    low: float
    high: float
    seeds: tuple[float, ...]
    seeds_low: float
    seeds_high: float
    images: tuple[float, ...]
    wins: int
    losses: int
    p_value: float
    verdict: str


def summarize(scores: np.ndarray) -> Summary:
    """Return mean and spread of an array (S, I). Raises ValueError for another shape or values that are not finite."""
    scores = _checked(scores)
    seeds = scores.mean(axis=1)
    spread = float(seeds.std(ddof=1)) if len(seeds) > 1 else math.nan
    return Summary(float(scores.mean()), spread, tuple(seeds.tolist()))


def compare_paired(baseline: np.ndarray, scores: np.ndarray, higher_is_better: bool = True) -> Paired:
    """Compare two variants image by image and seed by seed.

    The verdict is ``better`` or ``worse`` only if three things hold: the bootstrap interval leaves out 0, the sign test
    over images has p < 0.05, and :func:`seed_interval` leaves out 0. Without the last, chance in the training, which
    moves all images of a run together, would pass for an effect in one of two comparisons with two seeds, and in one of
    four with three. With one seed a difference of two networks cannot be told from one of two variants, and fewer
    than six images never pass the sign test: then a bootstrap interval without 0 is called not decidable.

    Args:
        baseline (ndarray): of shape (S, I).
        scores (ndarray): of shape (S, I), the same seeds and images in the same order.
        higher_is_better (bool): Of the metric. Default: True.

    Returns:
        Paired: See there.

    Raises:
        ValueError: Shapes that differ or are not (S, I); values that are not finite.
    """
    baseline, scores = _checked(baseline), _checked(scores)
    if baseline.shape != scores.shape:
        raise ValueError(f'the baseline has {baseline.shape} seeds and images, the variant {scores.shape}; both must '
                         'be the same')
    difference = scores - baseline
    low, high = bootstrap_interval(difference)
    images, seeds = difference.mean(axis=0), difference.mean(axis=1)
    better = images if higher_is_better else -images
    wins, losses = int((better > 0).sum()), int((better < 0).sum())
    p_value = sign_test(wins, losses)
    over_seeds, mean = seed_interval(seeds), float(difference.mean())
    verdict = _verdict(difference, (low, high), over_seeds, p_value, higher_is_better)
    return Paired(mean, low, high, tuple(seeds.tolist()), *over_seeds, tuple(images.tolist()), wins, losses, p_value,
                  verdict)


def bootstrap_interval(difference: np.ndarray, level: float = LEVEL, resamples: int = RESAMPLES,
                       seed: int = 0) -> tuple[float, float]:
    """Percentile interval of the mean difference, by resampling seeds and images.

    Every resample draws S seeds and I images with replacement, independently of each other, and averages the
    differences at all their crossings (Owen, "The pigeonhole bootstrap", 2007): an image that is drawn is drawn for
    all seeds, because the same image is equally hard in every training, and a training that is drawn is drawn for all
    images. Resampling the S * I pairs as if they were independent would give intervals that are too short. With one
    seed only images are resampled. With few seeds the interval understates the variation between trainings, see
    :func:`seed_interval`.

    Args:
        difference (ndarray): of shape (S, I).
        level (float): Share of resamples inside. Default: 0.95.
        resamples (int): Number of resamples. Default: 10000.
        seed (int): Of the draws, so that a report can be made again. Default: 0.

    Returns:
        tuple[float, float]: Lower and upper end.
    """
    difference = _checked(difference)
    generator = np.random.default_rng(seed)
    rows, columns = (_weights(generator, resamples, count) for count in difference.shape)
    means = np.einsum('rs,si,ri->r', rows, difference, columns, optimize=True)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def seed_interval(means: np.ndarray) -> tuple[float, float]:
    """95 % interval of Student's t for the mean difference over trainings, from one mean per seed.

    Args:
        means (ndarray): of shape (S, ): mean difference for every seed.

    Returns:
        tuple[float, float]: Lower and upper end; NaN with one seed.
    """
    if len(means) < 2:
        return math.nan, math.nan
    half = student(len(means) - 1) * means.std(ddof=1) / math.sqrt(len(means))
    return float(means.mean() - half), float(means.mean() + half)


def student(degrees: int) -> float:
    """97.5 % point of Student's t; above 10 degrees of freedom by the Cornish-Fisher expansion."""
    if degrees <= len(STUDENT):
        return STUDENT[degrees - 1]
    z = NORMAL
    terms = ((z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384)
    return z + sum(term / degrees**power for power, term in enumerate(terms, 1))


def sign_test(wins: int, losses: int) -> float:
    """Two-sided exact binomial test of wins against losses, ties left out; 1 without any win or loss.

    p = min(1, 2 * P(X <= min(wins, losses))) with X binomial of wins + losses trials with probability 1/2.
    """
    trials = wins + losses
    tail = sum(math.comb(trials, k) for k in range(min(wins, losses) + 1))
    return min(1., 2 * tail / 2**trials)


def _weights(generator: np.random.Generator, resamples: int, count: int) -> np.ndarray:
    """Shares (resamples, count) with which each of ``count`` units is drawn; they sum to 1."""
    return generator.multinomial(count, np.full(count, 1 / count), size=resamples) / count


def _verdict(difference: np.ndarray, interval: tuple[float, float], over_seeds: tuple[float, float], p_value: float,
             higher_is_better: bool) -> str:
    seeds, images = difference.shape
    if interval[0] <= 0 <= interval[1]:
        return NONE
    if seeds == 1 or images < FEWEST_IMAGES:
        return TOO_FEW
    if over_seeds[0] <= 0 <= over_seeds[1] or p_value >= 1 - LEVEL:
        return NONE
    return BETTER if (difference.mean() > 0) == higher_is_better else WORSE


def _checked(scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or scores.size == 0:
        raise ValueError(f'scores have the shape {scores.shape}; (seeds, images) with at least one each is needed')
    if not np.isfinite(scores).all():
        raise ValueError('a score is not finite; leave its image out first')
    return scores
