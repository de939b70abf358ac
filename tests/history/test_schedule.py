"""When the term acts, and with which share of its weight."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcir_plugin.history import Schedule


def test_default_is_always_full():
    assert [Schedule().factor(step) for step in (1, 2, 100)] == [1, 1, 1]


def test_silent_up_to_and_including_the_start():
    assert [Schedule(start_iter=10).factor(step) for step in (1, 9, 10, 11, 12)] == [0, 0, 0, 1, 1]


def test_lazy():
    assert [Schedule(interval=3).factor(step) for step in range(1, 8)] == [0, 0, 3, 0, 0, 3, 0]


def test_warm_up():
    factors = [Schedule(start_iter=2, warmup_iter=4).factor(step) for step in range(1, 9)]
    assert factors == [0, 0, 0.25, 0.5, 0.75, 1, 1, 1]


def test_lazy_warm_up():
    factors = [Schedule(interval=2, warmup_iter=4).factor(step) for step in range(1, 8)]
    assert factors == [0, 1, 0, 2, 0, 2, 0]


@given(interval=st.integers(1, 20), start=st.integers(0, 50))
def test_mean_weight_does_not_depend_on_the_interval(interval, start):
    schedule, first = Schedule(interval, start), (start // interval + 1) * interval
    steps = range(first - interval + 1, first + 9 * interval + 1)  # ten whole intervals
    later = [schedule.factor(step) for step in steps if step > start]
    assert sum(later) == 10 * interval


@pytest.mark.parametrize('options', [{'interval': 0}, {'start_iter': -1}, {'warmup_iter': -1}])
def test_constructor_names_the_option(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Schedule(**options)


TABLES = {  # by hand: start 2, warm-up 2, end 8; so the weight is full at 4 and has decayed at 8
    'constant': [0, 0, 1 / 2, 1, 1, 1, 1, 1, 0, 0],
    'linear': [0, 0, 1 / 2, 1, 3 / 4, 1 / 2, 1 / 4, 0, 0, 0],
    'cosine': [0, 0, 1 / 2, 1, (2 + 2**0.5) / 4, 1 / 2, (2 - 2**0.5) / 4, 0, 0, 0],
}


@pytest.mark.parametrize('shape', TABLES)
@pytest.mark.parametrize('floor', [0.0, 0.2])
@pytest.mark.parametrize('interval', [1, 3])
def test_decays(shape, floor, interval):
    schedule = Schedule(interval, 2, 2, shape, 8, floor)
    for step, left in enumerate(TABLES[shape], 1):
        decayed = floor + (1 - floor) * left if shape != 'constant' and 4 <= step <= 8 else left
        expected = interval * decayed if step % interval == 0 else 0
        assert schedule.factor(step) == pytest.approx(expected, abs=1e-15), step
        assert schedule.share(step) == pytest.approx(decayed, abs=1e-15)
        assert schedule.ended(step) == (step > 8)


def test_weight_follows_the_learning_rate():
    schedule = Schedule(2, 1, 4, 'lr', 8)
    rates = [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.125]
    warm = [0, 1 / 4, 2 / 4, 3 / 4, 1, 1, 1, 1, 1, 1]
    for step, (rate, part) in enumerate(zip(rates, warm, strict=True), 1):
        expected = 2 * rate * part if step % 2 == 0 and step <= 8 else 0
        assert schedule.factor(step, rate) == pytest.approx(expected, abs=1e-15), step
    assert schedule.needs_lr and not Schedule(shape='cosine', end_iter=5).needs_lr


def test_learning_rate_must_be_given_where_it_is_read():
    with pytest.raises(ValueError, match='lr_ratio'):
        Schedule(shape='lr').factor(1)
    assert Schedule(shape='lr', start_iter=5).factor(5) == 0  # silent anyway


@pytest.mark.parametrize(('options', 'said'), [
    ({'shape': 'square'}, 'shape must be one of constant, linear, cosine, lr'),
    ({'shape': 'linear'}, 'needs end_iter'),
    ({'shape': 'cosine'}, 'needs end_iter'),
    ({'end_iter': 0}, 'more than start_iter'),
    ({'end_iter': 7, 'start_iter': 3, 'warmup_iter': 4}, 'more than start_iter'),
    ({'shape': 'linear', 'end_iter': 7, 'end_factor': 1.0}, 'end_factor'),
    ({'shape': 'linear', 'end_iter': 7, 'end_factor': -0.1}, 'end_factor'),
])
def test_wrong_decays(options, said):
    with pytest.raises(ValueError, match=said):
        Schedule(**options)
