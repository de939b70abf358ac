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
