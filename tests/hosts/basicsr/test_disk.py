"""A disk that fills up while checkpoints are written."""
import os
import subprocess
from contextlib import suppress

import pytest
import yaml

LIMITED = """
'''From the second checkpoint on the file system takes no file of more than 4 kB, as a full disk or a quota does.'''
import resource
from basicsr.models.sr_model import SRModel

save, saved = SRModel.save, []


def limited(self, *args, **kwargs):
    saved.append(1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if len(saved) > 1:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        save(self, *args, **kwargs)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


SRModel.save = limited
"""


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 600 kB; returns the folder and a function that enlarges it."""
    folder = tmp_path / 'disk'
    folder.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=600k', 'none', str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip('mounting a small file system needs root')
    yield folder, lambda: subprocess.run(['mount', '-o', 'remount,size=8m', str(folder)], check=True)
    subprocess.run(['umount', '--lazy', str(folder)], check=True)


def checked(folder):
    """The iterations whose files are as their checksums say."""
    states = folder / 'training_states'
    good = [path.name for path in states.glob('*.sha256')
            if subprocess.run(['sha256sum', '--status', '-c', path.name], cwd=states).returncode == 0]
    return sorted(int(name.split('.')[0]) for name in good)


def test_full_disk(options, start, train, small_disk):
    folder, enlarge = small_disk
    opt = options(total_iter=1000)
    opt['path']['experiments_root'] = str(folder)
    opt['logger']['save_checkpoint_freq'] = 2
    run = start(opt)
    assert run.wait() == 2
    said = ' '.join(run.said().split())
    assert 'The checkpoint could not be written' in said and 'No space left on device' in said
    assert 'Earlier checkpoints are intact' in said and 'Traceback' not in run.said()
    good = checked(folder / 'tiny')
    assert good and good == list(range(2, good[-1] + 1, 2))
    assert not list((folder / 'tiny').rglob('.*.tmp'))
    enlarge()
    opt['train']['total_iter'] = good[-1] + 2
    assert f'iter: {good[-1]}.' in train(opt, '--auto_resume').log


def test_file_system_that_refuses_large_files(options, start, tmp_path):
    (tmp_path / 'limited.py').write_text(LIMITED)
    opt = {**options(spn=False, total_iter=1000), 'imports': ['limited']}
    opt['logger']['save_checkpoint_freq'] = 2
    run = start(opt)
    assert run.wait() == 2
    assert 'The checkpoint could not be written' in run.said() and 'File too large' in run.said()
    assert checked(tmp_path / 'experiments/tiny') == [2]
    assert {path.name for path in (tmp_path / 'experiments/tiny').rglob('*2*') if path.suffix in ('.pth', '.state')} \
        == {'2.state', 'net_g_2.pth'}


def test_a_disk_that_is_full_from_the_start(options, small_disk, tmp_path, monkeypatch, capsys):
    from mcir_plugin.cli import main
    folder, _ = small_disk
    with suppress(OSError), (folder / 'filler').open('wb', buffering=0) as filler:
        while True:
            filler.write(b'0' * 4096)
    opt = options()
    opt['path']['experiments_root'] = str(folder)
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'opt.yml').write_text(yaml.safe_dump(opt))
    assert main(['train', '-opt', 'opt.yml']) == 2
    said = capsys.readouterr().err
    assert 'No space left on device' in said and 'Free space' in said
