"""Each patch against the real host: what used to fail now works."""
import os
import pickle
import resource
import stat
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
import yaml
from basicsr.archs import vgg_arch
from basicsr.losses.basic_loss import PerceptualLoss
from basicsr.models.base_model import BaseModel
from torch import nn

from mcir_plugin.cli import main
from mcir_plugin.hosts.basicsr.compat import apply_patches, patches
from mcir_plugin.hosts.basicsr.compat.cpu import StayOnCpu
from mcir_plugin.hosts.basicsr.compat.saving import CheckpointError, load_safely, save_atomically


def test_patches_are_applied_once():
    before = [getattr(owner, name) for owner, name, _ in patches()]
    apply_patches()
    assert before == [getattr(owner, name) for owner, name, _ in patches()]
    assert all(function.mended_by_mcir for function in before)


@pytest.mark.parametrize('name', ['AdamW', 'SGD', 'RAdam'])
def test_optimizers_beyond_adam(options, train, name):
    run = train(options(total_iter=4, optim_g={'type': name, 'lr': 1e-4}))
    assert run.state(4)['optimizers'][0]['param_groups'][0]['initial_lr'] == 1e-4


def test_unknown_optimizer_lists_the_known_ones(options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'opt.yml').write_text(yaml.safe_dump(options(optim_g={'type': 'AdamX', 'lr': 1e-4})))
    assert main(['train', '-opt', 'opt.yml']) == 2
    said = capsys.readouterr().err
    assert 'AdamX' in said and 'AdamW' in said


def test_train_and_val_on_the_same_lmdb_with_workers(options, train):
    opt = options(total_iter=9)
    opt['datasets']['train']['num_worker_per_gpu'] = 2
    opt['datasets']['val'] = {key: value for key, value in opt['datasets']['train'].items()
                              if key in ('type', 'dataroot_gt', 'dataroot_lq', 'io_backend')} | {'name': 'Val'}
    opt['val'] = {'val_freq': 2, 'save_img': False, 'metrics': {
        'psnr': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': True}}}
    run = train(opt)
    assert run.log.count('Validation Val') == 5 and sorted(run.lines())[-1] == 9


def test_full_disk_is_an_error_and_keeps_the_earlier_file(tmp_path, monkeypatch):
    model = BaseModel({'path': {'models': str(tmp_path), 'training_states': str(tmp_path)}, 'num_gpu': 0,
                       'is_train': True})
    small, large = nn.Linear(4, 4), nn.Linear(400, 400)
    model.save_network(small, 'net_g', 5)
    monkeypatch.setattr('time.sleep', lambda seconds: None)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))  # the file system refuses more, as a full disk does
    try:
        with pytest.raises(CheckpointError, match='could not be written'):
            model.save_network(large, 'net_g', 5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    kept = torch.load(tmp_path / 'net_g_5.pth', weights_only=True)['params']
    assert torch.equal(kept['weight'], small.weight)
    assert [path.name for path in tmp_path.iterdir()] == ['net_g_5.pth'], 'nothing half-written stays behind'


def test_saved_files_have_ordinary_permissions(tmp_path):
    (tmp_path / 'ordinary').touch()
    save_atomically({}, tmp_path / 'saved')
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ('ordinary', 'saved')}
    assert len(modes) == 1


class Hostile:
    """Creates a file where it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, 'w')


def test_pickled_code_in_a_pretrained_network_is_refused(options, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save({'params': Hostile(tmp_path / 'ran')}, 'hostile.pth')
    opt = options()
    opt['path']['pretrain_network_g'] = 'hostile.pth'
    (tmp_path / 'opt.yml').write_text(yaml.safe_dump(opt))
    assert main(['train', '-opt', 'opt.yml']) == 2
    assert 'hostile.pth' in capsys.readouterr().err
    assert not (tmp_path / 'ran').exists()
    with pytest.raises(pickle.UnpicklingError):  # and it is hostile: the safe loader finds a function in it
        torch.load('hostile.pth', weights_only=True)


def test_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / 'torn.state').write_bytes(b'PK\x03\x04 torn')
    with pytest.raises(CheckpointError, match=r'torn\.state'):
        load_safely(tmp_path / 'torn.state')


@pytest.fixture
def small_vggs(monkeypatch):
    """torchvision's VGG without its 138M parameters, and without a download; the calls are recorded."""
    from torchvision.models.vgg import cfgs, make_layers
    asked = []
    for name, layers in (('vgg16', 'D'), ('vgg19', 'E')):

        def build(pretrained=False, name=name, layers=layers):
            asked.append((name, pretrained))
            features = make_layers(cfgs[layers][:4])
            return SimpleNamespace(features=features, load_state_dict=lambda state: asked.append((name, 'file')))

        monkeypatch.setattr(vgg_arch.vgg, name, build)
    return asked


def test_perceptual_loss_l2(small_vggs):
    loss = PerceptualLoss({'relu1_2': 1.0}, vgg_type='vgg19', criterion='l2')
    a, b = torch.rand(2, 1, 3, 16, 16)
    features = [loss.vgg(image)['relu1_2'] for image in (a, b)]
    expected = ((features[0] - features[1])**2).mean()
    assert torch.allclose(loss(a, b)[0], expected)
    assert not hasattr(nn, 'L2loss')


def test_vgg19_file_in_the_pretrained_folder_is_not_loaded_for_vgg16(small_vggs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'experiments/pretrained_models'
    folder.mkdir(parents=True)
    torch.save({}, folder / 'vgg19-dcbb9e9d.pth')
    vgg_arch.VGGFeatureExtractor(['relu1_2'], vgg_type='vgg16')
    vgg_arch.VGGFeatureExtractor(['relu1_2'], vgg_type='vgg19')
    assert small_vggs == [('vgg16', True), ('vgg19', False), ('vgg19', 'file')]


def test_stay_on_cpu():
    with StayOnCpu():
        assert nn.Linear(2, 2).cuda().weight.device.type == 'cpu'
        assert torch.zeros(2, device='cuda').device.type == torch.rand(3).cuda().device.type == 'cpu'
        assert torch.ones(1, device='meta').device.type == 'meta'


def test_slurm_launcher_without_gpu(options, tmp_path):
    (tmp_path / 'scontrol').write_text('#!/bin/sh\necho localhost\n')
    (tmp_path / 'scontrol').chmod(0o755)
    opt = options(total_iter=2)
    opt['dist_params'] = {'backend': 'nccl', 'port': 29431}
    (tmp_path / 'opt.yml').write_text(yaml.safe_dump(opt))
    environment = {**os.environ, 'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'SLURM_PROCID': '0', 'SLURM_NTASKS': '1',
                   'SLURM_NODELIST': 'localhost', 'OMP_NUM_THREADS': '1'}
    subprocess.run([sys.executable, '-m', 'mcir_plugin', 'train', '-opt', 'opt.yml', '--launcher', 'slurm'],
                   cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / 'experiments/tiny/models/net_g_latest.pth').exists()
