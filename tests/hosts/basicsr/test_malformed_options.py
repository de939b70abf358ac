"""Malformed option files, generated: exit status 2, one message that names the key, no traceback, never a hang.

What is right is written down here by hand; Hypothesis makes something else of it. Examples are the same in every run.
"""
from __future__ import annotations

import copy
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mcir_plugin.cli import main

SECONDS = 20
COMMANDS = ('train', 'train', 'train', 'test', 'test', 'check')
TRAINING = ('train', 'train', 'train', 'check')

# path -> what is right there. The last block of the file and its last line are needed, so no beginning of it is whole.
WHOLE = ['num_gpu', 'manual_seed', 'datasets.train.gt_size', 'datasets.train.batch_size_per_gpu',
         'datasets.train.num_worker_per_gpu', 'dist_params.port', 'val.metrics.psnr.crop_border']
NUMBERS = ['scale', 'datasets.train.dataset_enlarge_ratio', 'train.total_iter', 'train.ema_decay', 'train.warmup_iter',
           'train.optim_g.lr', 'train.optim_g.weight_decay', 'train.scheduler.gamma', 'train.pixel_opt.loss_weight',
           'train.spn_opt.loss_weight', 'train.history_opt.decay', 'val.val_freq', 'logger.print_freq',
           'logger.save_checkpoint_freq']
POSITIVE = ['train.total_iter', 'datasets.train.batch_size_per_gpu', 'datasets.train.dataset_enlarge_ratio',
            'val.val_freq', 'logger.print_freq', 'logger.save_checkpoint_freq', 'train.spn_opt.loss_weight']
FLAGS = ['datasets.train.use_hflip', 'datasets.train.use_rot', 'val.save_img', 'val.metrics.psnr.test_y_channel',
         'path.strict_load_g', 'logger.use_tb_logger', 'datasets.train.allow_16bit']
LISTS = ['train.optim_g.betas', 'train.scheduler.milestones']
TEXTS = ['model_type', 'network_g.type', 'datasets.train.type', 'datasets.val.type', 'datasets.train.dataroot_gt',
         'datasets.train.dataroot_lq', 'train.optim_g.type', 'train.scheduler.type', 'train.pixel_opt.type',
         'train.spn_opt.type', 'val.metrics.psnr.type', 'path.pretrain_network_g', 'datasets.train.io_backend.type']
NAMES = ['name', 'datasets.train.name', 'datasets.val.name', 'val.suffix']
BLOCKS = ['datasets', 'datasets.train', 'datasets.val', 'datasets.train.io_backend', 'network_g', 'path', 'train',
          'train.optim_g', 'train.scheduler', 'train.pixel_opt', 'train.spn_opt', 'train.history_opt', 'val',
          'val.metrics', 'val.metrics.psnr', 'logger']
NEEDED = ['name', 'model_type', 'datasets', 'datasets.train', 'datasets.train.name', 'datasets.train.type',
          'datasets.train.batch_size_per_gpu', 'datasets.train.num_worker_per_gpu', 'network_g', 'network_g.type',
          'network_g.num_in_ch', 'path', 'train', 'train.total_iter', 'train.optim_g', 'train.optim_g.type',
          'train.optim_g.lr', 'train.scheduler', 'train.scheduler.type', 'train.scheduler.milestones', 'val.val_freq',
          'val.save_img', 'val.metrics.psnr.type', 'val.metrics.psnr.crop_border', 'logger', 'logger.print_freq',
          'logger.save_checkpoint_freq', 'logger.use_tb_logger']
STRICT = ['train.spn_opt', 'train.history_opt', 'network_g', 'train.pixel_opt', 'train.optim_g', 'train.scheduler']
NOT_IN_A_TEST = ('train', 'logger', 'datasets.train', 'val.val_freq', 'val.save_img', 'dist_params')

letters = st.text('abcxyz ', min_size=1, max_size=6).map(lambda text: f'{text}q')
lists = st.lists(letters, max_size=2)
mappings = st.dictionaries(letters, letters, max_size=2)
not_finite = st.sampled_from([float('nan'), float('inf'), -float('inf'), '1e999999', '0x', '1_'])
no_number = st.one_of(letters, st.just([[]]), mappings, st.booleans(), not_finite, st.just(''))
no_whole_number = st.one_of(no_number, st.floats(0.1, 0.9), st.integers(max_value=-1), st.just(-2**70))
not_positive = st.one_of(st.integers(max_value=0), st.floats(max_value=0, allow_nan=False))
no_flag = st.one_of(letters, st.sampled_from(['true', 'yes!', 0, 1, 2, 0.5]), st.just([True]), mappings)
no_list = st.one_of(letters, st.integers(0, 5), st.just([]), st.just([['a']]), st.just(['a', 'b']), mappings,
                    st.booleans())
no_text = st.one_of(st.integers(), st.floats(), st.booleans(), lists, mappings, st.sampled_from(['', ' ']))
no_mapping = st.one_of(letters, st.integers(), st.booleans(), st.just(['a']), st.floats(), st.just([{}]))
no_name = st.one_of(st.integers(), lists, mappings, st.booleans(), st.sampled_from([
    '..', '.', 'a/b', '../up', '/etc/x', 'a\\b', 'a\0b', 'a\x1b[2Jb', 'a\u202eb', 'a\u2028b', 'a\nb', ' a', 'a ',
    'x' * 300, '\u00fc' * 100, '../' * 30 + 'tmp/x', 'a/../../b']))
wrong = st.one_of(
    st.tuples(st.sampled_from(WHOLE), no_whole_number), st.tuples(st.sampled_from(NUMBERS), no_number),
    st.tuples(st.sampled_from(POSITIVE), not_positive), st.tuples(st.sampled_from(FLAGS), no_flag),
    st.tuples(st.sampled_from(LISTS), no_list), st.tuples(st.sampled_from(TEXTS), no_text),
    st.tuples(st.sampled_from(NAMES), no_name), st.tuples(st.sampled_from(BLOCKS), no_mapping))
strange_keys = st.one_of(st.integers(), st.floats(), st.booleans(), st.none())


def generated(count: int) -> Callable[..., Any]:
    """Settings of a property: so many examples, the same in every run, without a database."""
    return settings(max_examples=count, derandomize=True, deadline=None, database=None,
                    suppress_health_check=list(HealthCheck))


@dataclass
class Outcome:
    """What a command printed, and its exit status."""

    command: str
    status: int
    said: str


class Bench:
    """Runs a command on text as its option file, in this process and with a time limit."""

    def __init__(self, capsys: Any, valid: dict[str, Any]) -> None:
        self.capsys, self.valid = capsys, valid

    def run(self, command: str, content: bytes | str) -> Outcome:
        Path('opt.yml').write_bytes(content if isinstance(content, bytes) else content.encode('utf-8', 'surrogatepass'))
        self.capsys.readouterr()
        with limited(SECONDS):
            status = main([command, '-opt', 'opt.yml'])
        printed = self.capsys.readouterr()
        return Outcome(command, status, printed.out if command == 'check' else printed.err)

    def refused(self, command: str, content: Any, *named: str) -> Outcome:
        """Run, and make sure that one clear message came out, which holds the given texts."""
        text = content if isinstance(content, str | bytes) else yaml.safe_dump(content, sort_keys=False)
        outcome = self.run(command, text)
        assert outcome.status == 2, (outcome, content)
        assert 'Traceback' not in outcome.said and outcome.said.strip(), outcome
        assert outcome.said.count('basicsr train: ') + outcome.said.count('basicsr test: ') == (command != 'check')
        for part in named:
            assert part in outcome.said, (part, outcome)
        shown = outcome.said.replace('\n', '')
        assert shown.isprintable(), 'control characters reach the terminal'
        assert not Path('experiments').exists() and not Path('results').exists()
        return outcome


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Fail if the block takes longer."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f'no answer after {seconds} s')

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def bench(options, tmp_path, monkeypatch, capsys) -> Bench:
    """A bench in an empty folder, with a valid file."""
    monkeypatch.chdir(tmp_path)
    opt = options(total_iter=2, warmup_iter=-1)
    train = opt['datasets']['train']
    train['allow_16bit'] = False
    opt['datasets']['val'] = {'name': 'Pairs', **{key: train[key] for key in (
        'type', 'dataroot_gt', 'dataroot_lq', 'io_backend')}}
    opt['path']['strict_load_g'] = True
    opt['train']['optim_g']['weight_decay'] = 0
    opt['train']['spn_opt']['loss_weight'] = 1e-3
    opt['train']['history_opt']['decay'] = 0.1
    opt['val'] = {'val_freq': 2, 'save_img': False, 'suffix': None, 'metrics': {
        'psnr': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': False}}}
    opt['dist_params'] = {'backend': 'gloo', 'port': 29500}
    opt['logger'] = {key: value for key, value in opt.pop('logger').items() if key != 'use_tb_logger'}
    opt['logger']['use_tb_logger'] = False  # last of all
    return Bench(capsys, json.loads(json.dumps(opt)))  # without shared parts, which YAML would write as anchors


def for_command(valid: dict[str, Any], command: str) -> dict[str, Any]:
    """Return a copy of the valid options, for a test without those of a training."""
    opt = copy.deepcopy(valid)
    if command == 'test':
        opt = {key: value for key, value in opt.items() if key not in ('train', 'logger', 'dist_params')}
        opt['datasets'].pop('train')
    return opt


def changed(opt: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Set the option of a path; ``...`` removes it."""
    *blocks, name = path.split('.')
    place = opt
    for block in blocks:
        place = place[block]
    if value is ...:
        del place[name]
    else:
        place[name] = value
    return opt



def test_the_file_that_is_changed_is_fine(bench):
    assert bench.run('check', yaml.safe_dump(bench.valid, sort_keys=False)).status == 0
    assert bench.run('train', yaml.safe_dump(bench.valid, sort_keys=False)).status == 0
    opt = for_command(bench.valid, 'test')
    opt['path']['pretrain_network_g'] = 'experiments/tiny/models/net_g_latest.pth'
    assert bench.run('test', yaml.safe_dump(opt)).status == 0


def test_wrong_values(bench):

    @generated(220)
    @given(wrong, st.sampled_from(COMMANDS))
    def every(change, command):
        path, value = change
        assume(not (command == 'test' and path.startswith(NOT_IN_A_TEST)))
        assume(not (path == 'manual_seed' and value == ''))
        assume(not (path == 'train.warmup_iter' and isinstance(value, int)))
        outcome = bench.refused(command, changed(for_command(bench.valid, command), path, value), path)
        assert command == 'check' or 'problems in the options' not in outcome.said  # its later stages may say more

    every()


@pytest.mark.parametrize('path', NEEDED)
def test_missing_keys(bench, path):
    for command in ('train', 'check'):
        bench.refused(command, changed(for_command(bench.valid, command), path, ...), path)
    if not path.startswith(NOT_IN_A_TEST):
        bench.refused('test', changed(for_command(bench.valid, 'test'), path, ...), path)


def test_unknown_keys_of_strict_blocks(bench):

    @generated(25)
    @given(st.sampled_from(STRICT), st.text('abc_xyz', min_size=9, max_size=12), st.sampled_from(TRAINING))
    def every(block, name, command):
        bench.refused(command, changed(for_command(bench.valid, command), f'{block}.{name}', 1), f'{block}.{name}')

    every()


def test_keys_that_are_no_text(bench):

    @generated(20)
    @given(st.sampled_from(BLOCKS), strange_keys, st.sampled_from(COMMANDS))
    def every(block, key, command):
        assume(not (command == 'test' and block.startswith(NOT_IN_A_TEST)))
        opt = for_command(bench.valid, command)
        place = opt
        for name in block.split('.'):
            place = place[name]
        place[key] = 1
        bench.refused(command, opt, block, 'names are text')

    every()


@pytest.mark.parametrize('label', ['network_a/b', 'network_..', 'network_a\\b', 'network_\x1b[31m', 'network_g\0'])
def test_labels_of_networks_that_would_become_paths(bench, label):
    for command in COMMANDS:
        opt = for_command(bench.valid, command)
        opt[label] = opt['network_g']
        bench.refused(command, opt, 'network_', 'file names')


def test_truncated_files(bench):
    text = yaml.safe_dump(bench.valid, sort_keys=False)
    assert text.endswith('use_tb_logger: false\n')

    @generated(40)
    @given(st.integers(0, len(text) - 3))
    def every(end):
        bench.refused('train', text[:end], 'opt.yml' if end < 3 else '')

    every()


def test_binary_junk(bench):

    @generated(40)
    @given(st.one_of(st.binary(max_size=300), st.text(max_size=100).map(lambda t: t.encode('utf-8', 'replace'))),
           st.sampled_from(TRAINING))
    def every(junk, command):
        bench.refused(command, junk)

    every()


def test_flipped_bytes_never_end_in_a_traceback(bench):
    """A damaged file may still be right; then it is trained."""
    text = yaml.safe_dump({**bench.valid, 'val': None}, sort_keys=False).encode()

    @generated(15)
    @given(st.lists(st.tuples(st.integers(0, len(text) - 1), st.integers(0, 255)), min_size=3, max_size=12))
    def every(flips):
        damaged = bytearray(text)
        for place, byte in flips:
            damaged[place] = byte
        outcome = bench.run('check', bytes(damaged))
        assert outcome.status in (0, 2) and 'Traceback' not in outcome.said

    every()


def test_duplicate_keys(bench):
    lines = yaml.safe_dump(bench.valid, sort_keys=False).splitlines()
    single = [number for number, line in enumerate(lines) if re.fullmatch(r' *\w+: \S+', line)]

    @generated(20)
    @given(st.sampled_from(single), st.sampled_from(TRAINING))
    def every(number, command):
        text = '\n'.join([*lines[:number + 1], lines[number], *lines[number + 1:]])
        bench.refused(command, text, f'opt.yml:{number + 2}', lines[number].strip().split(':')[0], 'twice')

    every()


def hundred_squared(depth: int) -> str:
    """A YAML bomb: every line holds the one before it ten times."""
    lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]']
    lines += [f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 10)}]' for i in range(1, depth)]
    return '\n'.join(lines)


STRUCTURES = {
    'empty': ('', ''), 'blank': ('\n\n  \n', ''), 'comment': ('# nothing\n', ''), 'null': ('~', ''),
    'text': ('just text', ''), 'list': ('- a\n- b\n', ''), 'number': ('42', ''),
    'bomb': (hundred_squared(9), 'aliases expanded'), 'wide bomb': ('a: [' + 'x, ' * 200_000 + 'x]', 'more than'),
    'deep list': ('a: ' + '[' * 5000 + ']' * 5000, 'nested'),
    'deep mapping': ('{a: ' * 3000 + '1' + '}' * 3000, 'nested'),
    'deep blocks': ('\n'.join(' ' * i + 'a:' for i in range(200)), 'nested'),
    'self': ('a: &a [*a]', 'alias'), 'unknown alias': ('a: *nowhere', 'nowhere'),
    'merge of text': ('<<: text\nname: x', '<<'), 'two documents': ('a: 1\n---\nb: 2\n', ''),
    'tab': ('train:\n\ttotal_iter: 5\n', ':2'), 'open bracket': ('a: [1, 2\nb: 3\n', ''),
    'open quote': ('name: "x\nb: 1\n', ''), 'no colon': ('name x\ntrain: 5\n', ''), 'nul': ('name: a\0b\n', ''),
    'list as key': ('? [a, b]\n: 1\n', 'name of an option'),
    'huge number': ('total_iter: ' + '9' * 9000, 'total_iter'),
    'utf-16': ('name: x'.encode('utf-16'), 'UTF-8'), 'latin-1': ('name: caf\xe9'.encode('latin-1'), 'UTF-8'),
    'half a character': (b'name: \xed\xa0\x80', 'UTF-8'),
    'object': ('a: !!python/object/apply:os.mkdir [ran]', 'python'),
    'name': ('a: !!python/name:os.system ""', 'python'), 'module': ('a: !!python/module:antigravity ""', 'python'),
    'new': ('a: !!python/object/new:os.mkdir [ran]', 'python'), 'tuple': ('a: !!python/tuple [1]', 'python'),
    'own tag': ('a: !mine 5', '!mine'), 'binary': ('a: !!binary aGVsbG8=', 'binary'), 'set': ('a: !!set {x}', 'set'),
    'base of itself': ('_base_: opt.yml', 'leads back'), 'base missing': ('_base_: nowhere.yml', 'nowhere.yml'),
    'base device': ('_base_: /dev/zero', 'device'), 'base folder': ('_base_: .', ''),
    'base number': ('_base_: 5', '_base_'), 'base below': ('train:\n  _base_: x.yml', '_base_'),
    'delete': ('train:\n  _delete_: maybe', '_delete_'),
}


@pytest.mark.parametrize('name', STRUCTURES)
@pytest.mark.parametrize('command', ['train', 'test', 'check'])
def test_structures(bench, name, command):
    text, named = STRUCTURES[name]
    bench.refused(command, text, named)
    assert not Path('ran').exists()


def test_bases_that_multiply(bench):
    for number in range(8):
        Path(f'b{number}.yml').write_text(f'_base_: [{", ".join([f"b{number + 1}.yml"] * 9)}]\na{number}: 1\n')
    Path('b8.yml').write_text('x: 1\n')
    bench.refused('train', '_base_: b0.yml', 'more than 64 files')


def test_enormous_file(bench):
    bench.refused('train', 'a: ' + 'x' * 11_000_000, 'bytes')


def test_pipe_as_option_file(bench, capsys):
    os.mkfifo('pipe.yml')
    with limited(SECONDS):
        assert main(['train', '-opt', 'pipe.yml']) == 2
    assert 'pipe' in capsys.readouterr().err


@pytest.mark.parametrize(('path', 'value', 'said'), [
    ('network_g.num_feat', 'many', 'network_g'), ('network_g.num_feat', -3, 'network_g'),
    ('network_g.num_feat', [8], 'network_g'), ('network_g.num_block', 10**9, 'network_g.num_block'),
    ('network_g.upscale', 7, 'network_g'), ('network_g.rgb_mean', 'grey', 'network_g'),
    ('network_g.img_range', {'a': 1}, 'first training step'), ('network_g.upscale', 4, 'first training step'),
    ('datasets.train.gt_size', 4096, 'gt_size'), ('datasets.train.batch_size_per_gpu', 10**9, 'batch_size_per_gpu'),
    ('datasets.train.dataset_enlarge_ratio', 1e12, 'dataset_enlarge_ratio'),
    ('datasets.train.filename_tmpl', '{:>99999999999}', 'filename_tmpl'),
    ('datasets.train.persistent_workers', True, 'persistent_workers'),
    ('datasets.train.max_bad_images', -1, 'max_bad_images'), ('datasets.val.max_bad_images', 3, 'max_bad_images'),
    ('train.scheduler.type', 'Linear', 'train.scheduler.type'), ('train.optim_g.type', 'Sgd', 'train.optim_'),
    ('train.pixel_opt.reduction', 'none', 'train.pixel_opt.reduction'), ('model_type', 'SRmodel', 'model_type'),
    ('train.scheduler.restarts', [1, 2], 'restarts'), ('imports', ['.hidden'], 'imports'),
    ('imports', ['../evil'], 'imports'), ('path.resume_state', 'nowhere.state', 'nowhere.state'),
    ('path.pretrain_network_g', 'nowhere.pth', 'nowhere.pth'), ('train.total_iter', 10**400, 'train.total_iter'),
    ('datasets.train.dataroot_gt', 'nowhere.lmdb', 'datasets.train.dataroot_gt'),
    ('path.experiments_root', '../../..', 'path.experiments_root'), ('datasets.train.gt_size', 33, 'gt_size'),
])
def test_values_that_only_the_host_can_refuse(bench, close_log, path, value, said):
    """Some of these are found when the folders of the run exist already; the message is as clear."""
    outcome = bench.run('train', yaml.safe_dump(changed(copy.deepcopy(bench.valid), path, value)))
    assert outcome.status == 2 and said in outcome.said and 'Traceback' not in outcome.said, outcome
    assert outcome.said.count('basicsr train: ') == 1


def test_folders_above_are_for_those_who_say_so(bench, tmp_path, monkeypatch, capsys):
    below = tmp_path / 'a' / 'b'
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    bench.valid['path']['experiments_root'] = '../out'
    Path('opt.yml').write_text(yaml.safe_dump({**bench.valid, 'val': None}))
    assert main(['train', '-opt', 'opt.yml']) == 2
    assert '--force_yml path:experiments_root=../out' in capsys.readouterr().err
    assert main(['train', '-opt', 'opt.yml', '--force_yml', 'path:experiments_root=../out']) == 0
    assert (tmp_path / 'a' / 'out' / 'tiny' / 'models' / 'net_g_latest.pth').is_file()


@pytest.mark.parametrize(('command', 'text', 'named'), [
    ('train', 'a: !!python/object/apply:os.mkdir [ran]', 'python'), ('check', 'name: [', 'opt.yml'),
    ('test', 'name: ../up\nmodel_type: SRModel\ndatasets: {}\nnetwork_g: {}\npath: {}', 'name'),
])
def test_as_a_user_runs_it(tmp_path, command, text, named):
    (tmp_path / 'opt.yml').write_text(text)
    done = subprocess.run([sys.executable, '-m', 'mcir_plugin', command, '-opt', 'opt.yml'], cwd=tmp_path,
                          capture_output=True, text=True, timeout=600)
    assert done.returncode == 2
    assert named in done.stdout + done.stderr and 'Traceback' not in done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ['opt.yml']
