"""The data set in BasicSR's own loop: independent sampling, resuming, and ``basicsr check``."""
from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from data_pictures import coordinates, write

from mcir_plugin.cli import main

Options = dict[str, Any]


@pytest.fixture
def opt(hazy: Options, tmp_path: Path) -> Options:
    """A whole option file: two convolutions, the data set with ``sampling: iid``, the contrastive term."""
    block = {k: v for k, v in hazy.items() if k not in ('phase', 'scale')}
    network = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'upscale': 1}
    return {
        'name': 'tiny', 'model_type': 'SRModel', 'scale': 1, 'num_gpu': 0, 'manual_seed': 0, 'network_g': network,
        'datasets': {'train': {**block, 'name': 'Hazy', 'type': 'PairedRestorationDataset', 'gt_size': 16,
                               'use_hflip': True, 'use_rot90': True, 'edge_decay': 0.5, 'sampling': 'iid',
                               'num_worker_per_gpu': 0, 'batch_size_per_gpu': 2, 'dataset_enlarge_ratio': 1}},
        'path': {'pretrain_network_g': None, 'resume_state': None},
        'train': {'optim_g': {'type': 'Adam', 'lr': 1e-3}, 'scheduler': {'type': 'MultiStepLR', 'milestones': [5]},
                  'total_iter': 10, 'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0},
                  'spn_opt': {'type': 'SPNLoss', 'vgg_weights': 'random:0', 'layer_weights': {'relu1_2': 1.0}},
                  'history_opt': {'update_iter': [2]}},
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 1, 'use_tb_logger': False, 'wandb': {'project': None}},
    }


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Return ``command(name, opt, *flags) -> exit status``, run in this process in the folder of the test."""

    def run(name: str, opt: Options, *flags: str) -> int:
        from basicsr.utils import logger
        monkeypatch.chdir(tmp_path)
        logger.initialized_logger.clear()
        logging.getLogger('basicsr').handlers.clear()
        Path('opt.yml').write_text(yaml.safe_dump(opt, sort_keys=False))
        return main([name, '-opt', 'opt.yml', *flags])

    return run


def weights(name: str, iteration: int) -> dict[str, torch.Tensor]:
    return torch.load(f'experiments/{name}/models/net_g_{iteration}.pth', weights_only=True)['params']


@pytest.mark.parametrize('sampling', ['iid', 'epochs'])
@pytest.mark.parametrize('first', [3, 6], ids=['inside-epoch', 'epoch-end'])
def test_a_resumed_run_sees_the_same_samples(opt: Options, command: Callable[..., int], sampling: str,
                                             first: int) -> None:
    opt['datasets']['train'].update(sampling=sampling, crops_per_image=2 if sampling == 'iid' else 1)
    assert command('train', {**opt, 'name': 'straight'}) == 0
    opt['train']['total_iter'] = first
    assert command('train', {**opt, 'name': 'parts'}) == 0
    opt['train']['total_iter'] = 10
    assert command('train', {**opt, 'name': 'parts'}, '--auto_resume') == 0
    expected, found = weights('straight', 10), weights('parts', 10)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert any(not torch.equal(found[name], weights('parts', first)[name]) for name in expected)


def drawn(dataset: Any, epoch: int, ranks: int = 1, rank: int = 0, ratio: int = 1) -> list[int]:
    """The indices of one epoch from the sampler that BasicSR's loop uses."""
    import basicsr.train
    sampler = basicsr.train.EnlargedSampler(dataset, ranks, rank, ratio)
    sampler.set_epoch(epoch)
    assert len(list(sampler)) == len(sampler)
    return list(sampler)


@pytest.fixture
def independent(hazy: Options, build: Callable[..., Any]) -> Any:
    """The data set of 12 images, to be sampled independently."""
    return build({**hazy, 'sampling': 'iid'})


def test_independent_draws_are_uniform_and_repeat_images_within_an_epoch(independent: Any) -> None:
    epochs = [drawn(independent, epoch) for epoch in range(1000)]
    counts = Counter(index for epoch in epochs for index in epoch)
    assert set(counts) == set(range(12))
    chi_square = sum((count - 1000)**2 / 1000 for count in counts.values())
    assert 0 < chi_square < 11 + 5 * 22**0.5  # whole epochs give 0
    distinct = sum(len(set(epoch)) for epoch in epochs) / 1000
    assert distinct == pytest.approx(12 * (1 - (11 / 12)**12), abs=0.15)
    repeats = sum(a == b for epoch in epochs for a, b in zip(epoch, epoch[1:], strict=False))
    assert repeats == pytest.approx(1000 * 11 / 12, abs=5 * (1000 * 11 / 12)**0.5)
    assert len({tuple(epoch) for epoch in epochs}) == 1000


def test_independent_draws_are_reproducible_and_shared_among_ranks(independent: Any) -> None:
    assert drawn(independent, 7) == drawn(independent, 7)
    whole = drawn(independent, 7, ratio=2)
    assert len(whole) == 24
    parts = [drawn(independent, 7, ranks=2, rank=rank, ratio=2) for rank in (0, 1)]
    assert [index for pair in zip(*parts, strict=True) for index in pair] == whole


def test_epochs_stay_permutations(hazy: Options, build: Callable[..., Any]) -> None:
    assert all(sorted(drawn(build(hazy), epoch)) == list(range(12)) for epoch in range(3))


@pytest.mark.parametrize('sampling', ['iid', 'epochs'])
def test_crops_of_an_image_follow_each_other(hazy: Options, build: Callable[..., Any], sampling: str) -> None:
    plain, crops = (build({**hazy, 'gt_size': 16, 'sampling': sampling, 'crops_per_image': n}) for n in (1, 4))
    for ranks in (1, 2):
        for rank in range(ranks):
            images = drawn(plain, 3, ranks, rank, ratio=2)
            found = drawn(crops, 3, ranks, rank, ratio=2)
            assert found == [images[place // 4] for place in range(len(images))]
    seen = {index for epoch in range(40) for index in drawn(crops, epoch)}
    assert seen == set(range(12))  # other images in every epoch


def test_crops_of_an_image_are_decoded_once_and_lie_at_different_places(
        hazy: Options, build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from basicsr.data import build_dataloader
    from basicsr.train import EnlargedSampler
    block = {**hazy, 'gt_size': 8, 'use_hflip': True, 'use_rot': True, 'crops_per_image': 4, 'batch_size_per_gpu': 8,
             'num_worker_per_gpu': 0}
    dataset, read = build(block), []
    watched = dataset.dataset
    decode = watched._read
    monkeypatch.setattr(watched, '_read', lambda kind, name: read.append((kind, name)) or decode(kind, name))
    batches = list(build_dataloader(dataset, block, num_gpu=1, sampler=EnlargedSampler(dataset, 1, 0, 2), seed=0))
    assert [batch['lq'].shape for batch in batches] == [(8, 3, 8, 8)] * 3
    for batch in batches:
        paths = batch['lq_path']
        assert paths[0] != paths[4] and paths == [paths[0]] * 4 + [paths[4]] * 4
        assert len({crop.numpy().tobytes() for crop in batch['lq']}) == 8
        assert torch.equal(batch['lq'][:, :2], batch['gt'][:, :2])  # rows and columns: the same place, the same view
    assert len(read) == 2 * 3 * 2  # both images of two pairs per batch


def test_check_accepts_a_good_file(opt: Options, command: Callable[..., int], hazy: Options,
                                   capsys: pytest.CaptureFixture[str]) -> None:
    opt['datasets']['val'] = {k: opt['datasets']['train'][k] for k in ('name', 'type', 'dataroot_gt', 'dataroot_lq',
                                                                       'pair_by')}
    opt['val'] = {'val_freq': 10, 'save_img': False, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}}
    assert command('check', opt) == 0
    said = capsys.readouterr().out
    assert 'datasets.train: 12 pairs, 12 looked at, 8 decoded' in said
    assert 'datasets.val: 12 pairs' in said
    assert 'WARNING' not in said


def damaged_gt(opt: Options, hazy: Options) -> None:
    path = Path(hazy['dataroot_gt'], '2.png')
    path.write_bytes(path.read_bytes()[:-20])


def smaller_lq(opt: Options, hazy: Options) -> None:
    write(Path(hazy['dataroot_lq']), {'2_2_0.2.png': coordinates(38, 60)})


def without_gt(opt: Options, hazy: Options) -> None:
    Path(hazy['dataroot_gt'], '2.png').unlink()


def typo(opt: Options, hazy: Options) -> None:
    opt['datasets']['train']['edge_dekay'] = opt['datasets']['train'].pop('edge_decay')


def no_list(opt: Options, hazy: Options) -> None:
    del opt['datasets']['train']['pair_by']
    opt['datasets']['train']['pair_list'] = 'nothing.txt'


def large_crop(opt: Options, hazy: Options) -> None:
    opt['datasets']['train']['gt_size'] = 41


@pytest.mark.parametrize(('damage', 'words'), [
    (damaged_gt, 'truncated, their end is missing: 2.png'),
    (smaller_lq, 'in 1 of 12 pairs the ground truth is larger, by up to 1 pixels'),
    (without_gt, 'datasets.train: 4 of 12 images in dataroot_lq'),
    (typo, 'edge_dekay: received 0.5, but there is no such option (did you mean edge_decay?)'),
    (no_list, "datasets.train.pair_list: there is no file 'nothing.txt'"),
    (large_crop, 'in 12 of 12 pairs the input is smaller than gt_size 41'),
])
def test_check_names_what_is_wrong(opt: Options, command: Callable[..., int], hazy: Options, words: str,
                                   damage: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    damage(opt, hazy)
    assert command('check', opt) == 2
    assert words in capsys.readouterr().out.replace('\n    ', ' ')


def test_training_with_a_wrong_block_ends_with_one_message(opt: Options, command: Callable[..., int], hazy: Options,
                                                           capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(hazy['dataroot_gt'])
    assert command('train', opt) == 2
    said = capsys.readouterr().err
    assert f"datasets.train.dataroot_gt: there is no such file or folder: '{hazy['dataroot_gt']}'" in said
    assert 'Traceback' not in said
