"""Reading option files from disk: what users of BasicSR write, inheritance, and everything that must be refused."""
import os
from pathlib import Path

import pytest
import yaml

from mcir_plugin.config import ConfigError, load_options

MARK = 'tag_attack_ran'


@pytest.fixture
def write(tmp_path):
    """Write a file into the temporary folder, sub-folders included, and return its path."""

    def _write(text: str | bytes, name: str = 'opt.yml') -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode('utf-8'))
        return path

    return _write


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_options(path)
    assert caught.value.problems and all(caught.value.problems)
    return str(caught.value)


@pytest.mark.parametrize(('written', 'expected'), [
    ('2e-4', 2e-4), ('1e-3', 1e-3), ('.5e2', 50.0), ('-1E+2', -100.0), ('1.e3', 1000.0), ('1e6', 1e6),
    ('!!float 2e-4', 2e-4), ('!!float 1', 1.0), ('0.5', 0.5), ('1.0e-08', 1e-8), ('.inf', float('inf')),
    ('100', 100), ('1_000', 1000), ('-3', -3), ('0x10', 16), ('true', True), ('on', True), ('off', False),
    ('yes', True), ('~', None), ('null', None), ('', None), ('None', 'None'), ("'2e-4'", '2e-4'), ('"100"', '100'),
    ('!!str 100', '100'), ('2024-01-01', '2024-01-01'), ('e5', 'e5'), ('1e', '1e'), ('1e5x', '1e5x'),
    ('2e-4.5', '2e-4.5'), ('=', '='), ('[1, 2e-1, a]', [1, 0.2, 'a']), ('{a: ~, b: [on]}', {'a': None, 'b': [True]}),
    ('random:0', 'random:0'),
])
def test_values(write, written, expected):
    value = load_options(write(f'train:\n  value: {written}\n'))['train']['value']
    assert value == expected and type(value) is type(expected)


def test_only_exponents_and_dates_differ_from_the_reader_of_basicsr(write):
    values = ('1', '1.5', '!!float 2e-4', 'on', 'No', '~', 'NULL', '1:30', '017', '0b11', '+.5', "''", 'a b', '1.0e+3')
    text = '\n'.join(f'k{i}: {value}' for i, value in enumerate(values))
    assert load_options(write(text)) == yaml.load(text, Loader=yaml.FullLoader)


def test_order_and_plain_types(write):
    opt = load_options(write('name: x\nscale: 2\ntrain: {b: 1, a: 2}\n3: [1]\n'))
    assert list(opt) == ['name', 'scale', 'train', 3] and list(opt['train']) == ['b', 'a']
    assert type(opt) is dict and type(opt['train']) is dict and type(opt[3]) is list


def test_aliases_are_copies_and_merge_keys_work(write):
    opt = load_options(write('a: &a {x: 1, y: [1]}\nb: *a\nc: {<<: *a, x: 2}\nd: {<<: [{x: 5}, *a]}\n'))
    assert opt['b'] == opt['a'] and opt['b'] is not opt['a'] and opt['b']['y'] is not opt['a']['y']
    assert opt['c'] == {'x': 2, 'y': [1]} and opt['d'] == {'x': 5, 'y': [1]}


def test_byte_order_mark_and_unicode(write):
    assert load_options(write(b'\xef\xbb\xbfname: \xe9\x9b\xa8\n')) == {'name': '雨'}


@pytest.mark.parametrize('tag', [
    '!!python/object/apply:os.system ["{command}"]',
    '!!python/object/apply:os.system\n    args: ["{command}"]',
    '!!python/object/new:os.system ["{command}"]',
    '!!python/object/apply:subprocess.check_call [["touch", "{mark}"]]',
    '!!python/object/apply:builtins.eval ["open(\'{mark}\', \'w\')"]',
    '!<tag:yaml.org,2002:python/object/apply:os.system> ["{command}"]',
])
def test_python_tags_are_refused_and_nothing_runs(write, tmp_path, tag):
    mark = tmp_path / MARK
    attack = tag.format(command=f'touch {mark}', mark=mark)
    message = refused(write(f'name: x\ntrain:\n  evil: {attack}\n'))
    assert 'opt.yml:3' in message and 'python/object' in message
    assert not mark.exists()


def test_the_attack_is_a_real_one(tmp_path):
    mark = tmp_path / MARK
    yaml.load(f'!!python/object/apply:os.system ["touch {mark}"]', Loader=yaml.UnsafeLoader)
    assert mark.exists(), 'the same text runs a command in an unsafe reader, so the test above can fail'


@pytest.mark.parametrize('value', [
    '!!python/name:os.system', '!!python/tuple [1]', '!custom 1', '!!binary aGk=', '!!timestamp 2024-01-01',
    '!!set {a}', '!!omap [a: 1]', '!!str {a: 1}', '!!map 1', '!!python/object/apply:os.getcwd []', '!env HOME',
])
def test_other_tags_are_refused(write, value):
    message = refused(write(f'name: x\n\n\nvalue: {value}\n'))
    assert 'opt.yml:4' in message and 'tag' in message


@pytest.mark.parametrize('value', ['!!int abc', '!!int ""', '!!float x', '!!bool maybe', '0x_'])
def test_values_that_their_tag_does_not_fit(write, value):
    assert 'opt.yml:2' in refused(write(f'name: x\nvalue: {value}\n'))


@pytest.mark.parametrize(('text', 'line'), [
    ('a: 1\nb: [1, 2\nc: 3\n', 3), ('a: 1\n\tb: 2\n', 2), ('a: b: c\n', 1), ('a: 1\n- b\n', 2), ('a: "x\n', 2),
    ('a: *missing\n', 1), ('a: 1\n---\nb: 2\n', 2), ('a: &x [*x]\n', 1), ('a: 1\n? [1, 2]\n: 3\n', 2), ('<<: 3\n', 1),
    ('a: &x 1\nb: &x [1, *x]\n', 2),
])
def test_syntax_errors_name_file_and_line(write, text, line):
    assert f'opt.yml:{line}' in refused(write(text))


@pytest.mark.parametrize(('text', 'first', 'second'), [
    ('name: a\nscale: 2\nname: b\n', 1, 3),
    ('train:\n  lr: 1\n  b: 2\n\n  lr: 1\n', 2, 5),
    ('a: [{x: 1,\n x: 2}]\n', 1, 2),
    ('1: a\n1: b\n', 1, 2),
    ('a: {<<: {x: 1},\n <<: {y: 1}}\n', 1, 2),
])
def test_duplicate_keys_name_both_lines(write, text, first, second):
    message = refused(write(text))
    assert f'opt.yml:{second}:' in message and f'first on line {first}' in message


def test_yaml_bomb(write):
    lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]']
    lines += [f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 10)}]' for i in range(1, 7)]
    assert 'aliases expanded' in refused(write('\n'.join(lines)))


@pytest.mark.parametrize('text', ['a: ' + '[' * 20000, 'a: ' + '{a: ' * 3000, 'x: ' + '[' * 70 + ']' * 70,
                                  '\n'.join(' ' * i + 'a:' for i in range(200))])
def test_deep_nesting(write, text):
    assert 'nested more than' in refused(write(text))


def test_too_many_values(write):
    assert 'more than 100000 values' in refused(write('a: [' + '0, ' * 100_001 + '0]'))


@pytest.mark.parametrize(('content', 'word'), [
    ('', 'empty'), ('# only a comment\n', 'empty'), ('- a\n- b\n', 'mapping'), ('just text', 'mapping'),
    ('3', 'mapping'), (b'name: \xff\xfe\n', 'UTF-8'), (b'name: a\x00b\n', 'YAML'),
])
def test_not_an_option_file(write, content, word):
    message = refused(write(content))
    assert word in message and 'opt.yml' in message


@pytest.mark.parametrize('name', ['missing.yml', '.', 'a\0b.yml', 'x' * 5000, '~no-such-user-at-all/x.yml'])
def test_file_that_cannot_be_read(tmp_path, name):
    path = name if name.startswith('~') else tmp_path / name
    assert 'cannot read this option file' in refused(path)


def test_base_merges_deeply_and_replaces_lists(write):
    write('name: stock\ntrain: {total_iter: 10, milestones: [1, 2], pixel_opt: {type: L1Loss}}\nval: {x: 1}\n',
          'a/base.yml')
    opt = load_options(write('_base_: a/base.yml\ntrain: {milestones: [3], spn_opt: {type: SPNLoss}}\nval: ~\n'))
    assert opt == {
        'name': 'stock',
        'train': {'total_iter': 10, 'milestones': [3], 'pixel_opt': {'type': 'L1Loss'}, 'spn_opt': {'type': 'SPNLoss'}},
        'val': None,
    }
    assert list(opt) == ['name', 'train', 'val'] and list(opt['train'])[-1] == 'spn_opt'


def test_base_chain_is_relative_to_the_file_that_names_it(write):
    write('a: 1\nb: 1\nc: 1\n', 'root.yml')
    write('_base_: ../root.yml\nb: 2\nc: 2\n', 'mid/middle.yml')
    assert load_options(write('_base_: ../mid/middle.yml\nc: 3\n', 'leaf/opt.yml')) == {'a': 1, 'b': 2, 'c': 3}


def test_later_bases_win_and_mappings_replace_scalars_both_ways(write):
    write('x: {a: 1, b: 1}\ny: 1\nz: {a: 1}\n', 'one.yml')
    write('x: {b: 2}\ny: {k: 2}\nz: 3\n', 'two.yml')
    assert load_options(write('_base_: [one.yml, two.yml]\nw: 0\n')) == {
        'x': {'a': 1, 'b': 2}, 'y': {'k': 2}, 'z': 3, 'w': 0}


def test_the_same_base_by_two_ways_is_no_cycle(write):
    write('a: 1\nb: 1\n', 'root.yml')
    write('_base_: root.yml\nb: 2\n', 'left.yml')
    write('_base_: root.yml\n', 'right.yml')
    assert load_options(write('_base_: [left.yml, right.yml]\n')) == {'a': 1, 'b': 1}


def test_delete_drops_what_was_inherited(write):
    write('train: {scheduler: {type: MultiStepLR, milestones: [1]}, lr: 1}\n', 'base.yml')
    opt = load_options(write('_base_: base.yml\n'
                             'train: {scheduler: {_delete_: true, type: Cosine}, new: {_delete_: true}}\n'))
    assert opt == {'train': {'scheduler': {'type': 'Cosine'}, 'lr': 1, 'new': {}}}
    keep = write('_base_: base.yml\ntrain: {_delete_: false, lr: 2}\n', 'keep.yml')
    assert load_options(keep)['train'] == {'scheduler': {'type': 'MultiStepLR', 'milestones': [1]}, 'lr': 2}


def test_home_folder(write, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    write('a: 1\n', 'base.yml')
    write('_base_: ~/base.yml\nb: 2\n', 'sub/opt.yml')
    assert load_options('~/sub/opt.yml') == {'a': 1, 'b': 2}


def test_cycles_are_refused(write):
    write('_base_: b.yml\n', 'a.yml')
    write('_base_: c.yml\n', 'b.yml')
    message = refused(write('_base_: a.yml\n', 'c.yml'))
    assert all(name in message for name in ('a.yml', 'b.yml', 'c.yml')) and 'leads back' in message
    assert 'leads back' in refused(write('_base_: self.yml\n', 'self.yml'))


def test_a_cycle_through_a_link_is_refused(write, tmp_path):
    path = write('_base_: link.yml\n')
    os.symlink(path, tmp_path / 'link.yml')
    assert 'leads back' in refused(path)


@pytest.mark.parametrize('base', ['3', '[a.yml, 3]', '{a: b}', "''", '~'])
def test_base_must_be_file_names(write, base):
    assert '_base_ must be a file name' in refused(write(f'_base_: {base}\n'))


@pytest.mark.parametrize('text', ['train: {_base_: x.yml}\n', 'a: [{_base_: x.yml}]\n', 'train: {_delete_: 1}\n',
                                  'train: {_delete_: ~}\n'])
def test_special_keys_that_would_do_nothing(write, text):
    assert '_base_' in refused(write(text)) or '_delete_' in refused(write(text))


def test_missing_base_names_both_files(write):
    message = refused(write('_base_: stok.yml\n'))
    assert 'stok.yml' in message and 'opt.yml' in message


def test_an_error_in_a_base_names_the_base(write):
    write('a: 1\na: 2\n', 'base.yml')
    assert 'base.yml:2' in refused(write('_base_: base.yml\n'))
