"""The strict reader of typed blocks and the kinds of values that it is made of."""
from dataclasses import FrozenInstanceError, dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcir_plugin.config import ConfigError, option, parse_block
from mcir_plugin.config.kinds import Choice, Flag, Many, MappingOf, Maybe, NameOr, Number, Text

COUNT = Number(1, integer=True)


@dataclass(frozen=True)
class Example:
    """A block for the tests."""

    size: int = option(3, 'How many.', COUNT)
    weight: float = option(0.5, 'How much.', Number(minimum=0, below=1))
    shape: str = option('round', 'Which.', Choice(('round', 'square')))
    extra: dict = option({'a': 1.0}, 'What else.', MappingOf(Number(), '{a: 1}'))

    @staticmethod
    def check(given, where):
        """Refuse one combination."""
        if given.get('size') == 7 and given.get('shape') == 'square':
            yield f'{where}.size: seven cannot be square'


def problems_of(call) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        call()
    return caught.value.problems


def test_defaults_and_given_values():
    assert parse_block(Example, {}, 'x') == parse_block(Example, None, 'x') == Example()
    block = parse_block(Example, {'size': 5, 'weight': 0, 'shape': 'square'}, 'x')
    assert block == Example(5, 0.0, 'square') and type(block.weight) is float


def test_blocks_are_frozen_and_share_nothing():
    first, second = Example(), Example()
    first.extra['a'] = 2.0
    assert second.extra == {'a': 1.0}
    with pytest.raises(FrozenInstanceError):
        first.size = 4


def test_everything_wrong_is_reported_at_once():
    problems = problems_of(lambda: parse_block(
        Example, {'siez': 1, 'weight': 1, 'shape': 'Square', 'extra': {'b': 'x', 'c': None}, 'unlike': 0}, 'train.x'))
    assert [problem.partition(':')[0] for problem in problems] == [
        'train.x.siez', 'train.x.weight', 'train.x.shape', 'train.x.extra.b', 'train.x.extra.c', 'train.x.unlike']
    assert 'did you mean size?' in problems[0] and 'size, weight, shape, extra' in problems[0]
    assert 'received 1,' in problems[1] and '>= 0 and < 1' in problems[1]
    assert 'did you mean square?' in problems[2] and 'round or square' in problems[2]
    assert 'did you mean' not in problems[5]


def test_one_problem_is_the_message_and_several_are_a_list():
    one = ConfigError('a: bad')
    assert str(one) == 'a: bad' and one.problems == ['a: bad'] and isinstance(one, ValueError)
    two = ConfigError('a: bad', 'b: worse')
    assert '2 problems' in str(two) and '- a: bad\n- b: worse' in str(two)


def test_combinations_are_checked_after_the_values():
    problems = problems_of(lambda: parse_block(Example, {'size': 7, 'shape': 'square'}, 'b'))
    assert problems == ['b.size: seven cannot be square']


@pytest.mark.parametrize('block', [3, 'SPNLoss', [1], True, 0, '', []])
def test_a_block_must_be_a_mapping(block):
    assert 'must be a mapping' in problems_of(lambda: parse_block(Example, block, 'train.x'))[0]


@pytest.mark.parametrize(('kind', 'value', 'expected'), [
    (Flag(), True, True), (Flag(), False, False), (Number(), 1, 1.0), (Number(), -2.5, -2.5), (COUNT, 1, 1),
    (Number(above=0, maximum=1), 1, 1.0), (Text(), 'a', 'a'), (Choice(('a', 'b')), 'b', 'b'),
    (Maybe(COUNT), None, None), (Maybe(COUNT), 2, 2), (NameOr('all', COUNT), 'all', 'all'),
    (NameOr('all', COUNT), 3, 3), (Many(COUNT), 3, 3),
    (Many(COUNT), [3, 4], (3, 4)), (Many(COUNT), (5, ), (5, )), (MappingOf(Number(), ''), {'a': 1}, {'a': 1.0}),
])
def test_allowed(kind, value, expected):
    parsed = kind.parse(value, 'x')
    assert parsed == expected and type(parsed) is type(expected)


@pytest.mark.parametrize(('kind', 'value', 'words'), [
    (Flag(), 1, 'true or false'), (Flag(), 'true', 'Write true, without quotes'), (Flag(), None, '~ (no value)'),
    (Number(), True, 'a number'), (Number(), '1e-3', 'Write 1e-3 without quotes'), (Number(), 'x', 'a number'),
    (Number(), None, 'a number'), (Number(), float('nan'), 'a number'), (Number(), float('inf'), 'a number'),
    (Number(), 10**400, 'a number'), (Number(), [1], 'a number'), (Number(above=0), 0, '> 0'),
    (Number(below=1), 1, '< 1'), (Number(minimum=0), -1e-9, '>= 0'), (Number(maximum=1), 1.1, '<= 1'),
    (COUNT, 0, 'an integer >= 1'),
    (COUNT, 100.0, 'Write 100'), (COUNT, 1.5, 'an integer'), (COUNT, True, 'an integer'),
    (COUNT, '5', 'Write 5 without'), (Text(), '', 'text'), (Text(), ' ', 'text'), (Text(), 5, "write '5' in quotes"),
    (Text(), None, 'text'),
    (Choice(('a', 'b', 'c')), 'A', 'a, b or c (did you mean a?)'), (Choice(('a', )), 1, 'must be a'),
    (Choice(('a', )), ['a'], 'must be a'), (Maybe(COUNT), 'None', 'write ~'), (Maybe(COUNT), 0, 'an integer >= 1'),
    (NameOr('all', COUNT), 'al', 'all or an integer >= 1'), (NameOr('all', COUNT), 0, 'all or an integer >= 1'),
    (Many(COUNT), [], 'The list is empty'), (Many(COUNT), [1, 'a'], 'x[1]'), (Many(COUNT), [[1]], 'x[0]'),
    (MappingOf(Number(), '{a: 1}'), {}, 'for example {a: 1}'),
    (MappingOf(Number(), '{a: 1}'), [1], 'for example {a: 1}'),
    (MappingOf(Number(), ''), {'k': 'v'}, 'x.k'),
])
def test_refused(kind, value, words):
    message = problems_of(lambda: kind.parse(value, 'x'))[0]
    assert message.startswith('x') and words in message and 'received' in message


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3))
KINDS = [Flag(), Number(), Number(0, 1), COUNT, Text(), Choice(('a', 'b')), Maybe(COUNT), NameOr('all', COUNT),
         Many(Number()), MappingOf(Number(), '')]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(KINDS), anything)
def test_a_kind_returns_or_raises_config_error(kind, value):
    try:
        parsed = kind.parse(value, 'x')
    except ConfigError as error:
        assert all(problem.startswith('x') for problem in error.problems)
    else:
        assert kind.parse(parsed, 'x') == parsed, 'a normal form is its own normal form'


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(['size', 'weight', 'shape', 'extra', 'other']) | st.text(max_size=5), anything))
def test_a_block_returns_or_raises_config_error(mapping):
    try:
        block = parse_block(Example, mapping, 'x')
    except ConfigError as error:
        assert error.problems
    else:
        assert isinstance(block, Example) and block.size >= 1 and 0 <= block.weight < 1
