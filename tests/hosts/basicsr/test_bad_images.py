"""Images that cannot be used: named by ``check``, reported by ``train`` with key and data set, never just skipped."""
from __future__ import annotations

import gc
import multiprocessing
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import pytest
import yaml

from mcir_plugin.cli import main
from mcir_plugin.hosts.basicsr.compat import library
from mcir_plugin.hosts.basicsr.watch.ledger import Ledger

Options = dict[str, Any]
ROOTS = ('dataroot_gt', 'dataroot_lq')
TYPES = ('PairedImageDataset', 'PairedRestorationDataset')


@pytest.fixture
def own(options, tmp_path) -> Options:
    """Options on LMDBs of their own, which a test may damage; two epochs."""
    opt = options(total_iter=8, spn=False)
    for root in ROOTS:
        copied = tmp_path / 'data' / Path(opt['datasets']['train'][root]).name
        shutil.copytree(opt['datasets']['train'][root], copied)
        opt['datasets']['train'][root] = str(copied)
    return opt


@pytest.fixture
def command(tmp_path, monkeypatch, capsys, close_log) -> Callable[..., tuple[int, str]]:
    """Return ``command(name, opt, *flags) -> status, text``; half a minute at most."""

    def run(name: str, opt: Options, *flags: str) -> tuple[int, str]:
        monkeypatch.chdir(tmp_path)
        close_log()
        Path('opt.yml').write_text(yaml.safe_dump(opt, sort_keys=False))
        capsys.readouterr()
        before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail('it hangs'))
        signal.alarm(90)
        try:
            status = main([name, '-opt', 'opt.yml', *flags])
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
        gc.collect()  # an iterator that is collected with a traceback cannot end its workers any more
        assert not multiprocessing.active_children(), 'workers end with the command'
        printed = capsys.readouterr()
        return status, printed.out if name == 'check' else printed.err

    return run


def decoded(content: bytes, flag: int = cv2.IMREAD_COLOR) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), flag)


def encoded(image: np.ndarray, suffix: str = '.png') -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


FAULTS: dict[str, tuple[Callable[[bytes], bytes | None], str, str]] = {  # what is done, said in training, by check
    'truncated': (lambda png: png[:len(png) // 2], 'is truncated', 'are truncated'),
    'truncated JPEG': (lambda png: encoded(decoded(png), '.jpg')[:-60], 'is truncated', 'are truncated'),
    'missing key': (lambda png: None, 'does not exist', 'cannot be found'),
    'empty': (lambda png: b'', 'is empty', 'are empty'),
    'wrong size': (lambda png: encoded(decoded(png)[:20, :26]), '', 'not 2 times as large'),
    '16 bit': (lambda png: encoded(decoded(png).astype(np.uint16) * 257), 'more than 8 bits', 'more than 8 bits'),
    'grey': (lambda png: encoded(decoded(png)[..., 1]), 'is grey', 'are grey'),
    'no image': (lambda png: b'a letter to the editor', 'p03', 'are no images'),
}


def damage(opt: Options, fault: str, *keys: str) -> None:
    """Do something to inputs."""
    for key in keys:
        rewrite(opt['datasets']['train']['dataroot_lq'], key, FAULTS[fault][0])


def rewrite(path: str, key: str, change: Callable[[bytes], bytes | None]) -> None:
    """Change a value in an LMDB, which an earlier command of this process may have open."""
    for _, environment in library._open_environments.values():
        environment.close()
    library._open_environments.clear()
    with lmdb.open(path, map_size=2**24) as environment, environment.begin(write=True) as transaction:
        value = change(transaction.get(key.encode()))
        transaction.delete(key.encode()) if value is None else transaction.put(key.encode(), value)


@pytest.mark.parametrize('fault', FAULTS)
@pytest.mark.parametrize('kind', TYPES)
def test_training_names_key_and_data_set(own, command, kind, fault):
    damage(own, fault, 'p03')
    own['datasets']['train'].update(type=kind, num_worker_per_gpu=0 if fault == 'truncated JPEG' else 2)
    status, said = command('train', own)
    assert status == 2
    line = said.strip().splitlines()[-1]
    assert said.count('basicsr train: ') == 1 and 'Traceback' not in said and line.startswith('basicsr train: ')
    for part in ('datasets.train (Patches)', 'p03', 'lq.lmdb', FAULTS[fault][1], 'max_bad_images'):
        assert part in line, line


@pytest.mark.parametrize('fault', FAULTS)
def test_check_names_it(own, command, fault):
    damage(own, fault, 'p03')
    status, said = command('check', own)
    assert status == 2 and FAULTS[fault][2] in said and 'p03' in said and 'datasets.train' in said


def test_prefetching_thread_hands_the_error_on(own, command):
    """BasicSR's own thread ends with the error, and training waits for it for ever."""
    damage(own, 'truncated', 'p03')
    own['datasets']['train'].update(prefetch_mode='cpu', num_worker_per_gpu=0)
    status, said = command('train', own)
    assert status == 2 and 'p03' in said and 'Traceback' not in said


def test_two_threads_may_ask_for_the_first_sample(own, monkeypatch):
    """BasicSR's prefetcher starts two at an epoch's begin; its data sets open their database once, at the first one."""
    from concurrent.futures import ThreadPoolExecutor

    from basicsr.data import build_dataset
    from basicsr.utils.file_client import LmdbBackend
    opened = LmdbBackend.__init__
    monkeypatch.setattr(LmdbBackend, '__init__', lambda *args, **kwargs: (time.sleep(0.3), opened(*args, **kwargs))[1])
    data = build_dataset({**own['datasets']['train'], 'phase': 'train', 'scale': 2})
    with ThreadPoolExecutor(2) as threads:
        assert [sample['gt_path'] for sample in threads.map(data.__getitem__, (4, 5))] == ['p04', 'p05']


def test_some_bad_images_are_allowed_counted_and_replaced(own, command, tmp_path):
    damage(own, 'truncated', 'p03')
    damage(own, '16 bit', 'p05')
    own['datasets']['train'].update(max_bad_images=2, num_worker_per_gpu=2)
    status, said = command('check', own)
    assert status == 0 and 'up to max_bad_images (2)' in said
    logs = []
    for name in ('first', 'second'):
        assert command('train', {**own, 'name': name})[0] == 0
        folder = tmp_path / 'experiments' / name
        lines = (folder / 'bad_images_train.txt').read_text().splitlines()
        assert sorted(re.search(r'key (p\d+)', line)[1] for line in lines) == ['p03', 'p05']
        logs.append(re.findall(r'iter: +(\d+).*l_pix: (\S+)', next(folder.glob('train*.log')).read_text()))
        text = next(folder.glob('train*.log')).read_text()
        assert text.count('Another image takes its place') == 2, 'each is said once, in two epochs of two workers'
    assert len(logs[0]) == 8 and logs[0] == logs[1], 'replacements are the same in every run'
    own['datasets']['train']['max_bad_images'] = 1
    status, said = command('train', {**own, 'name': 'third'})
    assert status == 2 and 'That makes 2 bad images' in said and 'bad_images_train.txt' in said


@pytest.mark.parametrize('allowed', [1, 2])
def test_two_ranks_count_together(own, start_ranks, tmp_path, allowed):
    damage(own, 'truncated', 'p03')
    damage(own, '16 bit', 'p05')
    own['datasets']['train']['max_bad_images'] = allowed
    ranks = start_ranks(own)
    statuses = [rank.wait() for rank in ranks]
    listed = (tmp_path / 'experiments/tiny/bad_images_train.txt').read_text().splitlines()
    assert sorted(re.search(r'key (p\d+)', line)[1] for line in listed) == ['p03', 'p05']
    if allowed == 2:
        assert statuses == [0, 0]
    else:  # the other one is told, unless it has asked for a bad image in the same step
        assert 2 in statuses and set(statuses) <= {1, 2}
        assert any('That makes 2 bad images' in rank.said() for rank in ranks)


def test_resumed_run_counts_on(own, command, tmp_path):
    damage(own, 'truncated', 'p03')
    own['datasets']['train']['max_bad_images'] = 1
    own['train']['total_iter'] = 4
    assert command('train', own)[0] == 0
    damage(own, 'grey', 'p05')
    own['train']['total_iter'] = 12
    status, said = command('train', own, '--auto_resume')
    assert status == 2 and 'That makes 2 bad images' in said and 'p05' in said


def test_replacement_leaves_random_crops_alone(own):
    """The image in the place of a bad one depends on the index alone; crops are drawn from the usual generator."""
    import random

    from basicsr.data import build_dataset
    damage(own, 'truncated', 'p03')
    data = build_dataset({**own['datasets']['train'], 'phase': 'train', 'scale': 2, 'max_bad_images': 1})
    paths = []
    for seed in (0, 1):
        random.seed(seed)
        paths.append([data[3]['gt_path'], data[2]['gt_path']])
    assert paths[0] == paths[1] and paths[0][0] != 'p03' and paths[0][1] == 'p02'
    random.seed(5)
    first = data[2]['gt']
    random.seed(5)
    assert data[2]['gt'].equal(first)


def test_accepted_sorts(own, command):
    damage(own, 'grey', 'p03')
    damage(own, '16 bit', 'p05')
    own['datasets']['train'].update(allow_grey=True, allow_16bit=True)
    own['train']['total_iter'] = 4
    assert command('check', own)[0] == 0 and command('train', own)[0] == 0


def test_grey_image_of_a_validation_is_taken_and_a_small_one_is_named(own, command):
    train = own['datasets']['train']
    own['datasets']['val'] = {'name': 'Pairs', **{key: train[key] for key in ('type', 'dataroot_gt', 'dataroot_lq',
                                                                             'io_backend')}}
    own['val'] = {'val_freq': 2, 'save_img': False, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 2}}}
    own['train']['total_iter'] = 2
    damage(own, 'grey', 'p03')
    train['allow_grey'] = True
    assert command('train', own)[0] == 0
    rewrite(train['dataroot_gt'], 'p04', lambda png: encoded(decoded(png)[:50]))
    own['datasets']['train']['max_bad_images'] = 1
    status, said = command('train', own)
    assert status == 2 and 'datasets.val (Pairs)' in said and 'p04' in said and '50 x 64' in said


def on_disk(opt: Options) -> Options:
    """Use the folders of files beside the LMDBs."""
    for root in ROOTS:
        opt['datasets']['train'][root] = opt['datasets']['train'][root].removesuffix('.lmdb')
    opt['datasets']['train']['io_backend'] = {'type': 'disk'}
    return opt


@pytest.mark.parametrize(('change', 'said'), [
    (lambda data, folder: data.update(dataroot_lq=str(folder / 'nowhere')), 'datasets.train.dataroot_lq'),
    (lambda data, folder: data.update(dataroot_lq=str(folder / 'empty')), 'datasets.train'),
    (lambda data, folder: data.update({root: str(folder / 'empty') for root in ROOTS}), 'no image'),
    (lambda data, folder: data.update(dataroot_lq=str(folder / 'few')), 'datasets.train'),
    (lambda data, folder: data.update(dataroot_lq=str(folder / 'opt.yml')), 'datasets.train'),
    (lambda data, folder: data.update(io_backend={'type': 'lmdb'}), 'lmdb'),
    (lambda data, folder: data.update(meta_info_file=str(folder / 'nowhere.txt')), 'nowhere.txt'),
])
@pytest.mark.parametrize('kind', TYPES)
def test_wrong_folders(options, command, tmp_path, kind, change, said):
    opt = on_disk(options(spn=False))
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'few').mkdir()
    shutil.copy(Path(opt['datasets']['train']['dataroot_lq'], 'p00.png'), tmp_path / 'few')
    opt['datasets']['train']['type'] = kind
    change(opt['datasets']['train'], tmp_path)
    status, text = command('train', opt)
    assert status == 2 and said in text and text.count('basicsr train: ') == 1 and 'Traceback' not in text


def note_ten(path: Path, own: int) -> None:
    ledger = Ledger(path)
    for number in range(5):
        ledger.add(f'common {number}', 'x')
        ledger.add(f'{own} {number}', 'x\ty\nz')


def test_ledger_counts_over_processes(tmp_path):
    """Four processes note ten images each, five of them in common: 5 + 4 * 5."""
    path, forked = tmp_path / 'bad.txt', multiprocessing.get_context('fork')
    started = [forked.Process(target=note_ten, args=(path, number)) for number in range(4)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0] * 4
    ledger = Ledger(path)
    assert len(ledger.images()) == 25
    assert ledger.add('common 0', 'again') == (False, 25) and ledger.add('new', 'x') == (True, 26)


def test_lmdb_is_read_only_and_without_a_lock_file(own, command):
    """Train and validation on one LMDB, two workers, two epochs, in folders that nobody may write to."""
    train = own['datasets']['train']
    roots = [Path(train[root]) for root in ROOTS]
    for root in roots:
        (root / 'lock.mdb').unlink(missing_ok=True)
        for path in (*root.iterdir(), root):
            path.chmod(0o555 if path.is_dir() else 0o444)
    before = [sorted((path.name, path.read_bytes(), path.stat().st_mtime_ns) for path in root.iterdir())
              for root in roots]
    train['num_worker_per_gpu'] = 2
    own['datasets']['val'] = {'name': 'Same', **{key: train[key] for key in ('type', 'dataroot_gt', 'dataroot_lq',
                                                                            'io_backend')}}
    own['val'] = {'val_freq': 3, 'save_img': False, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 2}}}
    try:
        assert command('train', own)[0] == 0
    finally:
        for root in roots:
            root.chmod(0o755)
    assert before == [sorted((path.name, path.read_bytes(), path.stat().st_mtime_ns) for path in root.iterdir())
                      for root in roots]


def test_option_file_cannot_open_an_lmdb_for_writing(own):
    from basicsr.utils import FileClient
    root = own['datasets']['train']['dataroot_gt']
    client = FileClient('lmdb', db_paths=[root], client_keys=['gt'], readonly=False, lock=True)
    environment = client.client._client['gt']
    assert environment.flags()['readonly'] and not environment.flags()['lock']
    with pytest.raises(lmdb.Error):
        environment.begin(write=True)


@pytest.mark.skipif(os.name != 'posix', reason='start method')
def test_watched_data_set_can_be_sent_to_a_worker(own):
    """As it is on systems that start workers anew."""
    import pickle

    from basicsr.data import build_dataset
    data = build_dataset({**own['datasets']['train'], 'phase': 'train', 'scale': 2})
    again = pickle.loads(pickle.dumps(data))
    assert len(again) == 8 and again[1]['gt_path'] == 'p01' and again.opt['name'] == 'Patches'
