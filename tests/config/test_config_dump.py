"""What `dump_options` writes, BasicSR's reader and ours read back identically."""
import enum
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mcir_plugin.config import ConfigError, dump_options, load_options
from mcir_plugin.config.yaml_text import parse_yaml

LOOKALIKES = ['2e-4', '1e-3', '.5e2', '100', '0.1', '1_0', '0x1', '1:30', 'true', 'on', 'No', '~', 'null', 'None', '',
              ' ', '2024-01-01', '=', '<<', '-', '- a', 'a: b', '#x', 'a #b', '[1]', '{a: 1}', '!!float 1', '&a', '*a',
              '.inf', '"q"', "it's", 'a\nb', 'tab\t', '%x', '@x', '`x', '|', '>', '雨', '\x85', '\u2028', '\ufeff',
              '😀', '\x07', 'trailing ', 'x' * 300, '1e999', '?', ': ', '---', '...', '\\ud800', '\x7f', '1.', '+1e5']
FLOATS = [2e-4, 1e-8, 1e-3, 0.1, 1.0, 1e16, 1e22, 1e300, 5e-324, -1e-7, float('inf'), -0.0, 123456789.123]
text = st.one_of(st.text(max_size=12), st.sampled_from(LOOKALIKES))
scalars = st.one_of(st.none(), st.booleans(), st.integers(-2**70, 2**70), st.floats(allow_nan=False), text)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4))


def typed(value):
    """A form in which 1, 1.0 and True differ, and the order of a mapping counts."""
    if isinstance(value, dict):
        return [(typed(key), typed(item)) for key, item in value.items()]
    if isinstance(value, list):
        return ['list', *map(typed, value)]
    return type(value).__name__, repr(value)


def read_by_basicsr(text: str):
    """The options of yaml.load in BasicSR: the full, unsafe loader, C-accelerated where possible."""
    return yaml.load(text, Loader=getattr(yaml, 'CLoader', yaml.Loader))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(text, values, max_size=5))
@example({'x': [LOOKALIKES, FLOATS], 'y': {word: word for word in LOOKALIKES if word not in ('_base_', '_delete_')}})
def test_round_trip(opt):
    written = dump_options(opt)
    assert typed(parse_yaml(written, 'dump') or {}) == typed(opt)
    assert typed(read_by_basicsr(written) or {}) == typed(opt)
    assert typed(yaml.load(written, Loader=yaml.Loader) or {}) == typed(opt)


def test_round_trip_through_a_file(tmp_path):
    opt = {'name': 'x', 'train': {'optim_g': {'lr': 2e-4, 'betas': [0.9, 0.99]}, 'tag': '2e-4'}, 4: None}
    path = tmp_path / 'opt.yml'
    path.write_text(dump_options(opt), encoding='utf-8')
    assert typed(load_options(path)) == typed(opt)


def test_plain_block_style_without_aliases():
    shared = {'a': [1]}
    opt = OrderedDict(name='雨', one=shared, two=shared, pair=(1, 2))
    assert dump_options(opt) == 'name: 雨\none:\n  a:\n  - 1\ntwo:\n  a:\n  - 1\npair:\n- 1\n- 2\n'


class Phase(str, enum.Enum):
    TRAIN = 'train'


@pytest.mark.parametrize(('value', 'expected'),
                         [(np.float64(0.5), 0.5), (Phase.TRAIN, 'train'), (OrderedDict(a=1), {'a': 1})])
def test_subclasses_become_plain_values(value, expected):
    assert typed(parse_yaml(dump_options({'k': value}), 'dump')) == typed({'k': expected})


@pytest.mark.parametrize('value', [object(), Path('x'), {1, 2}, b'x', 1j, np.zeros(2)])
def test_what_yaml_cannot_hold_is_refused_with_its_path(value):
    with pytest.raises(ConfigError, match=r'train\.list\[1\]\.k: .*cannot be written'):
        dump_options({'train': {'list': [0, {'k': value}]}})


def test_text_that_no_file_can_hold_is_refused():
    with pytest.raises(ConfigError, match='name'):
        dump_options({'name': '\ud800'})


def test_a_value_that_contains_itself_is_refused():
    opt = {}
    opt['self'] = [opt]
    with pytest.raises(ConfigError, match='contains itself'):
        dump_options(opt)
