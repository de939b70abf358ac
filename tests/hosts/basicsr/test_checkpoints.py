"""Torn and damaged checkpoints are found and passed over; old ones are deleted only as the options say."""
import shutil
import struct
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch
import yaml

from mcir_plugin.cli import main
from mcir_plugin.hosts.basicsr.survival.retention import delete_old


def flip_a_bit(path):
    """In the middle of the largest part: between parts there is padding, which holds nothing."""
    with zipfile.ZipFile(path) as parts:
        largest = max(parts.infolist(), key=lambda part: part.file_size)
    content = bytearray(path.read_bytes())
    names = sum(struct.unpack_from('<HH', content, largest.header_offset + 26))  # lengths of name and extra field
    content[largest.header_offset + 30 + names + largest.file_size // 2] ^= 4
    path.write_bytes(content)


def tear(path):
    path.write_bytes(path.read_bytes()[:-100])


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    return tmp_path_factory.mktemp('finished')


@pytest.fixture
def two_checkpoints(options, train, finished, tmp_path):
    """A run with checkpoints of iterations 2 and 4; trained once, copied for every test."""
    opt = options(total_iter=4)
    opt['logger']['save_checkpoint_freq'] = 2
    if not (finished / 'experiments').exists():
        train(opt)
        shutil.copytree(tmp_path / 'experiments', finished / 'experiments')
    shutil.copytree(finished / 'experiments', tmp_path / 'experiments', dirs_exist_ok=True)
    opt['train']['total_iter'] = 5
    return opt


@pytest.mark.parametrize(('name', 'spoil'), [
    ('training_states/4.state', flip_a_bit), ('training_states/4.state', tear),
    ('models/net_g_4.pth', flip_a_bit), ('models/net_g_4.pth', tear), ('models/net_g_4.pth', Path.unlink),
    ('training_states/4.state.sha256', tear),
])
def test_damage_is_reported_and_the_checkpoint_before_is_used(two_checkpoints, train, tmp_path, name, spoil):
    spoil(tmp_path / 'experiments/tiny' / name)
    log = train(two_checkpoints, '--auto_resume').log
    assert 'Resuming training from epoch: 0, iter: 2' in log
    assert f'{name} is ' in log and 'Checkpoint 2, before it, is used' in log
    assert 'does not exist' not in log


@pytest.mark.parametrize('spoil', [flip_a_bit, tear])
@pytest.mark.parametrize('name', ['training_states/4.state', 'models/net_g_4.pth'])
def test_files_of_older_versions_load_and_are_examined_too(two_checkpoints, train, tmp_path, name, spoil):
    """They have no checksums of their own, but a CRC per tensor."""
    for path in (tmp_path / 'experiments/tiny/training_states').glob('*.sha256'):
        path.unlink()
    spoil(tmp_path / 'experiments/tiny' / name)
    log = train(two_checkpoints, '--auto_resume').log
    assert 'Resuming training from epoch: 0, iter: 2' in log and 'Checkpoint 2, before it, is used' in log


def test_undamaged_files_without_checksums_are_continued(two_checkpoints, train, tmp_path):
    for path in (tmp_path / 'experiments/tiny/training_states').glob('*.sha256'):
        path.unlink()
    assert 'Resuming training from epoch: 0, iter: 4' in train(two_checkpoints, '--auto_resume').log


def test_no_complete_checkpoint_at_all_is_an_error(two_checkpoints, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / 'experiments/tiny/training_states').glob('*.state'):
        tear(path)
    Path('opt.yml').write_text(yaml.safe_dump(two_checkpoints))
    assert main(['train', '-opt', 'opt.yml', '--auto_resume']) == 2
    said = capsys.readouterr().err
    assert 'no checkpoint of this experiment is complete' in said and '2.state' in said and '4.state' in said
    assert not list(Path('experiments').glob('*_archived_*'))


def test_a_damaged_state_named_by_the_user_is_an_error(two_checkpoints, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    state = tmp_path / 'experiments/tiny/training_states/4.state'
    flip_a_bit(state)
    two_checkpoints['path']['resume_state'] = str(state)
    Path('opt.yml').write_text(yaml.safe_dump(two_checkpoints))
    assert main(['train', '-opt', 'opt.yml']) == 2
    said = capsys.readouterr().err
    assert '4.state is damaged' in said and '2.state' in said


def test_checksums_are_those_of_sha256sum_and_stock_basicsr_ignores_them(two_checkpoints, tmp_path):
    from basicsr.utils import scandir
    folder = tmp_path / 'experiments/tiny/training_states'
    said = subprocess.run(['sha256sum', '-c', '4.state.sha256'], cwd=folder, check=True, capture_output=True, text=True)
    assert said.stdout.splitlines() == ['../models/net_g_4.pth: OK', '4.state: OK']
    assert sorted(scandir(str(folder), suffix='state')) == ['2.state', '4.state']


@pytest.mark.parametrize('spn', [True, False], ids=['spn', 'plain'])
def test_keep_last_and_keep_every(options, train, spn):
    opt = options(spn=spn, total_iter=9)
    opt['logger'].update(save_checkpoint_freq=1, keep_last=2, keep_every=4)
    folder = train(opt).folder
    names = {path.name for path in folder.rglob('*') if path.suffix in ('.state', '.sha256', '.pth')}
    kept = {4, 8, 9}
    assert names == {'net_g_latest.pth', *(name.format(i) for i in kept for name in
                                           ('{}.state', '{}.state.sha256', 'net_g_{}.pth'))}


def made_by_hand(folder, iterations):
    """Checkpoints as stock BasicSR leaves them, and the options that name their folders."""
    paths = {name: folder / name for name in ('models', 'training_states')}
    for path in paths.values():
        path.mkdir()
    for iteration in iterations:
        torch.save({'iter': iteration}, paths['training_states'] / f'{iteration}.state')
        torch.save({'params': torch.zeros(1000)}, paths['models'] / f'net_g_{iteration}.pth')
    return {'path': {name: str(path) for name, path in paths.items()}, 'network_g': {}}


def test_the_newest_good_checkpoint_is_never_deleted(tmp_path):
    from mcir_plugin.config import RetentionOptions
    opt = made_by_hand(tmp_path, range(1, 7))
    (tmp_path / 'models/net_g_mine.pth').touch()
    for name in ('training_states/6.state', 'models/net_g_5.pth'):
        tear(tmp_path / name)
    deleted = delete_old(opt, RetentionOptions(keep_last=1))
    assert [path.stem for path in deleted] == ['3', '2', '1'], '4 is the newest good one'
    assert {path.name for path in (tmp_path / 'models').iterdir()} == {
        'net_g_4.pth', 'net_g_5.pth', 'net_g_6.pth', 'net_g_mine.pth'}
    for name in ('4.state', '5.state'):
        tear(tmp_path / 'training_states' / name)
    assert delete_old(opt, RetentionOptions(keep_last=1)) == [], 'nothing good is left, so nothing goes'


@pytest.mark.parametrize(('block', 'words'), [
    ({'keep_last': 0}, ['logger.keep_last', '0', 'an integer >= 1']),
    ({'keep_last': '3'}, ['logger.keep_last', "'3'", 'without quotes']),
    ({'keep_every': 5}, ['logger.keep_every', 'keep_last']),
])
def test_wrong_options_are_errors(options, tmp_path, monkeypatch, capsys, block, words):
    monkeypatch.chdir(tmp_path)
    opt = options()
    opt['logger'].update(block)
    Path('opt.yml').write_text(yaml.safe_dump(opt))
    assert main(['train', '-opt', 'opt.yml']) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert not Path('experiments').exists()


def test_typo_and_uneven_intervals_are_said(options, train):
    opt = options(spn=False, total_iter=1)
    opt['logger'].update(keep_lst=2, keep_last=3, keep_every=6)
    log = ' '.join(train(opt).log.split())
    assert 'did you mean keep_last?' in log
    assert 'keep_every is 6, but checkpoints are written every 4 iterations' in log
