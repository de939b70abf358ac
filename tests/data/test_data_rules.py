"""Rules from the name of an input to that of its ground truth, and keys of an LMDB."""
from __future__ import annotations

import subprocess
import sys

import pytest

from mcir_plugin.config import ConfigError
from mcir_plugin.data import image_key, read_rule


@pytest.mark.parametrize(('rule', 'lq', 'gt'), [
    ('same_name', '0001', '0001'),
    ('same_name', 'a/b.c', 'a/b.c'),
    ('prefix(_)', '1400_10', '1400'),
    ('prefix(_)', '0025_0.8_0.04', '0025'),  # the first _, not the last
    ("prefix('_')", '1_', '1'),
    ('prefix("x2")', 'norain-12x2', 'norain-12'),
    ('prefix( - )', 'a_b-c-d', 'a_b'),
    ('prefix(_)', '1400', None),
    ('prefix(_)', '_1', None),  # nothing before it
    ('prefix(.)', 'abc', None),  # a dot is a dot
    ('{}x2 -> {}', 'norain-7x2', 'norain-7'),
    ('{}x2 -> {}', 'norain-7x3', None),
    ('{}x2 -> {}', 'norain-7x2x2', 'norain-7x2'),
    ('rain-{} -> norain-{}', 'rain-31', 'norain-31'),
    ('rain-{} -> norain-{}', 'train-31', None),
    ('{}_rain->{}_clean', '0_rain', '0_clean'),
    ('{a}-{*}_{b} -> {a}_{b}', '005-31_0_9', '005_0_9'),
    ('{*}/{b} -> {b}', '/x', 'x'),  # {*} may be empty
    ('{*}/{b} -> {b}', 'y/', None),  # a named part may not
    ('{s}/{s}_{i} -> {i}_{s}', '7/7_2', '2_7'),
    ('{s}/{s}_{i} -> {i}_{s}', '7/8_2', None),
    ('{}+(1) -> {}', 'a+(1)', 'a'),  # no regular expressions
    ('{}.* -> {}', 'axyz', None),
    ('{} -> {}[0]{}', 'n', 'n[0]n'),
])
def test_rules(rule: str, lq: str, gt: str | None) -> None:
    assert read_rule(rule).partner(lq) == gt


@pytest.mark.parametrize(('rule', 'words'), [
    ('prefx(_)', 'did you mean prefix(_)?'),
    ('samename', 'did you mean same_name?'),
    ('prefix()', 'must be same_name, prefix(_)'),
    ('prefix(_', 'did you mean prefix(_)?'),
    ('', 'must be same_name'),
    ('{}x2', 'must be same_name'),
    ('-> {}', 'one name on each side'),
    ('{} -> a -> {}', 'one name on each side'),
    ('{x} -> {y}', '{y} stands on the right, but not on the left'),
    ('{} -> {*}', '{*} stands on the right'),
    ('a{*} -> a{*}', '{*} stands on the right'),
    ('{} -> clean', 'the right side holds no {}'),
    ('{ -> {}', "a brace is open in '{'"),
    ('{} -> {}}', 'a brace is open'),
    ('{0} -> {0}', '{0} is not {}, {*} or {name}'),
    ('{x.__class__} -> {x.__class__}', '{x.__class__} is not {}'),
    ('{x!r} -> {x!r}', '{x!r} is not {}'),
    ('{x:>9} -> {x:>9}', '{x:>9} is not {}'),
    ('eval(1)', 'must be same_name'),
])
def test_what_is_no_rule(rule: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_rule(rule, 'datasets.train.pair_by')
    assert words in str(caught.value)
    assert str(caught.value).startswith('datasets.train.pair_by: received')


@pytest.mark.parametrize(('name', 'key'), [
    ('1400_1.png', '1400_1'),
    ('0025_0.8_0.04.jpg', '0025_0_8_0_04'),
    ('0025_0.8_0.04', '0025_0_8_0_04'),  # .04 is no suffix of an image
    ('real world/001/a-b.PNG', 'real_world_001_a-b'),
    ('größe.png', 'gru' + 'f6u' + 'dfe'),
])
def test_keys(name: str, key: str) -> None:
    assert image_key(name) == key


def test_the_package_of_pairs_needs_neither_torch_nor_basicsr() -> None:
    code = 'import sys, mcir_plugin.data; print({"torch", "basicsr", "cv2"} & set(sys.modules))'
    found = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.strip() == 'set()'
