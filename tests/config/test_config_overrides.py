"""``--force_yml``: what it sets, and that nothing but ConfigError ever comes out of it."""
import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcir_plugin.config import ConfigError, apply_overrides

OPT = {
    'name': 'x',
    'train': {'total_iter': 10, 'betas': [0.9, 0.99], 'spn_opt': None},
    'lists': [{'a': 1}, [1, 2]],
    4: 'four',
}


def changed(*entries: str) -> dict:
    opt = copy.deepcopy(OPT)
    apply_overrides(opt, list(entries))
    return opt


@pytest.mark.parametrize(('text', 'expected'), [
    ('SPNLoss', 'SPNLoss'), ('2e-4', 2e-4), ('!!float 2e-4', 2e-4), ('1', 1), ('0.5', 0.5), ('true', True), ('~', None),
    ('none', None), ('None', None), ("'None'", 'None'), ('', None), ("''", ''), ('[100, 2e2]', [100, 200.0]),
    ('{relu1_2: 0.2}', {'relu1_2': 0.2}), ('{type: growing, growth: 5}', {'type': 'growing', 'growth': 5}),
    ('a=b', 'a=b'), ('=', '='), ('"100"', '100'), ('random:0', 'random:0'), ('http://x/y?a=b', 'http://x/y?a=b'),
    ('two words', 'two words'), ("'a: b # c'", 'a: b # c'), ('../data/雨', '../data/雨'), ('2024-01-01', '2024-01-01'),
])
def test_values(text, expected):
    value = changed(f'train:value={text}')['train']['value']
    assert value == expected and type(value) is type(expected)


@pytest.mark.parametrize(('entry', 'path'), [
    ('name=new', ['name']), ('train:total_iter=new', ['train', 'total_iter']),
    ('train:betas:1=new', ['train', 'betas', 1]),
    ('train:spn_opt:type=new', ['train', 'spn_opt', 'type']), ('a:b:c:d=new', ['a', 'b', 'c', 'd']),
    ('lists:0:a=new', ['lists', 0, 'a']), ('lists:1:0=new', ['lists', 1, 0]), ('4=new', [4]), ('5=new', ['5']),
    (' train : total_iter = new ', ['train', 'total_iter']),
])
def test_paths(entry, path):
    opt = changed(entry)
    value = opt
    for part in path:
        value = value[part]
    assert value == 'new'


def test_the_rest_stays_and_order_counts():
    opt = changed('train:spn_opt:type=SPNLoss', 'name=a', 'name=b')
    assert opt == {**OPT, 'name': 'b', 'train': {**OPT['train'], 'spn_opt': {'type': 'SPNLoss'}}}


@pytest.mark.parametrize('entry', [
    'no_equals_sign', '=value', ':a=1', 'a:=1', 'a::b=1', ' =1', 'name:deeper=1', 'train:betas:2=1', 'train:betas:x=1',
    'train:betas:-1=1', 'lists:1:0:a=1', 'a=[', 'a=*x', 'a=k: v', 'a=- 1', 'a=x # comment', 'a=#5', 'a=%d', 'a=@x',
    'a="x" y', 'a=!!python/object/apply:os.getcwd []', 'a=!!python/name:os.system', 'a=|', 'a=--- x', '_base_=x.yml',
    'train:_delete_=true', 'a=' + '[' * 3000, ':'.join('a' * 100) + '=1', 'a={x: 1, x: 2}', 'a=\ud800', 'a=\0',
])
def test_refused(entry):
    opt = copy.deepcopy(OPT)
    with pytest.raises(ConfigError) as caught:
        apply_overrides(opt, [entry])
    assert '--force_yml' in str(caught.value) and len(str(caught.value)) < 600


def test_the_right_form_is_shown():
    with pytest.raises(ConfigError, match='train:spn_opt:loss_weight=1e-3'):
        apply_overrides({}, ['train.spn_opt.loss_weight'])
    with pytest.raises(ConfigError, match='name={deeper: ...}'):
        apply_overrides({'name': 'x'}, ['name:deeper=1'])


def test_all_problems_at_once_and_the_others_are_applied():
    opt = {}
    with pytest.raises(ConfigError) as caught:
        apply_overrides(opt, ['x', 'a=1', '=y'])
    assert len(caught.value.problems) == 2 and opt == {'a': 1}


def test_nothing_is_executed(tmp_path):
    mark = tmp_path / 'ran'
    for entry in (f'a"]=open("{mark}", "w");opt["b=1', f'a=[open("{mark}", "w")]',
                  f'a=__import__("os").system("touch {mark}")', f'a=!!python/object/apply:os.system ["touch {mark}"]'):
        try:
            apply_overrides({}, [entry])
        except ConfigError:
            continue
    assert not mark.exists()


pieces = st.sampled_from([
    'train', 'betas', 'lists', ':', '=', '[', ']', '{', '}', '!!', '&a', '*a', '"', "'", '#', ' ', '-', '0', '1e', '.',
    '~', '!!int ', '!!float', '!!bool ', '<<: ', '? ', '|', '>', '\n', '%', ',', '_base_', '\t', '0x_',
])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(st.text(), st.text(alphabet=st.characters()), st.lists(pieces, max_size=12).map(''.join),
                 st.lists(pieces, max_size=12).map(lambda parts: 'train:x=' + ''.join(parts))))
def test_arbitrary_text(entry):
    opt = copy.deepcopy(OPT)
    try:
        apply_overrides(opt, [entry])
    except ConfigError as error:
        assert error.problems and opt.keys() >= OPT.keys()
    else:
        assert '=' in entry


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text('abc_1', min_size=1, max_size=5), min_size=1, max_size=4),
       st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_arrive_where_they_were_sent(path, number):
    opt: dict = {}
    apply_overrides(opt, [f'{":".join(path)}={number!r}'])
    for part in path:
        opt = opt[part]
    assert opt == number and type(opt) is type(number)
