"""What a sample holds: the right pixels of both images, cut in the same place and seen from the same side."""
from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_pictures import as_rgb, coordinates, write, write_lmdb

from mcir_plugin.config import ConfigError
from mcir_plugin.data import PairError, image_key

Build = Callable[..., Any]


def test_whole_images_of_a_validation(hazy: dict[str, Any], build: Build) -> None:
    dataset = build({**hazy, 'phase': 'val'})
    assert len(dataset) == 12
    seen = []
    for sample in dataset:
        name = Path(sample['lq_path']).name
        scene, i = int(name[0]), int(name[2])
        assert sample['lq'].dtype == sample['gt'].dtype == torch.float32
        np.testing.assert_array_equal(as_rgb(sample['lq']), coordinates(40, 60, 10 * scene + i))
        np.testing.assert_array_equal(as_rgb(sample['gt']), coordinates(40, 60, 200 + scene))
        assert sample['gt_path'] == f'{hazy["dataroot_gt"]}/{scene}.png'
        assert set(sample) == {'lq', 'gt', 'lq_path', 'gt_path'}
        seen.append(name)
    assert sorted(seen) == sorted(path.name for path in Path(hazy['dataroot_lq']).iterdir())


def test_results_of_one_name_in_several_folders_are_told_apart(tmp_path: Path, build: Build) -> None:
    """BasicSR saves the outputs of a validation by the last part of lq_path, and metrics of images stand beside it."""
    images = {f'{scene}/{i}.png': coordinates(8, 8, 10 * i) for scene in 'ab' for i in (1, 2)}
    folders = {f'dataroot_{kind}': write(tmp_path / kind, images) for kind in ('gt', 'lq')}
    samples = list(build({'phase': 'val', 'scale': 1, **folders}))
    assert [Path(s['lq_path']).name for s in samples] == ['a_1.png', 'a_2.png', 'b_1.png', 'b_2.png']
    assert [s['gt_path'] for s in samples] == [f'{folders["dataroot_gt"]}/{name}' for name in images]
    trained = build({'phase': 'train', 'scale': 1, **folders})
    assert [trained[i]['lq_path'] for i in range(4)] == [f'{folders["dataroot_lq"]}/{name}' for name in images]
    write(tmp_path / 'lq', {'a_1.png': coordinates(8, 8)})
    write(tmp_path / 'gt', {'a_1.png': coordinates(8, 8)})
    with pytest.raises(PairError, match=r'results of a/1 and of a_1 .* the same name|results of a_1 and of a/1'):
        build({'phase': 'val', 'scale': 1, **folders})


def test_values_are_rgb_divided_by_255(hazy: dict[str, Any], build: Build) -> None:
    lq = build({**hazy, 'phase': 'val'})[0]['lq']
    assert lq[:, 39, 59].tolist() == pytest.approx([39 / 255, 59 / 255, 11 / 255], abs=1e-7)


@pytest.mark.parametrize('scale', [1, 2, 3])
@pytest.mark.parametrize('augmentation', [{}, {'use_hflip': True, 'use_rot': True}, {'use_rot90': True},
                                          {'use_quarter_flip': True}, {'use_hflip': True, 'use_rot90': True}])
@pytest.mark.parametrize('edge_decay', [0, 1])
def test_crops_of_both_images_show_the_same_place(tmp_path: Path, build: Build, scale: int, edge_decay: float,
                                                  augmentation: dict[str, bool]) -> None:
    gt = write(tmp_path / 'gt', {'a.png': coordinates(30 * scale, 21 * scale)})
    lq = write(tmp_path / 'lq', {'a.png': coordinates(30, 21)})
    dataset = build({'phase': 'train', 'scale': scale, 'dataroot_gt': gt, 'dataroot_lq': lq, 'gt_size': 6 * scale,
                     'edge_decay': edge_decay, **augmentation})
    random.seed(0)
    corners = set()
    for _ in range(60):
        sample = dataset[0]
        large, small = as_rgb(sample['gt']), as_rgb(sample['lq'])
        assert large.shape == (6 * scale, 6 * scale, 3) and small.shape == (6, 6, 3)
        for channel in (0, 1):  # a pixel of lq is the block of gt with the same whole part
            enlarged = np.kron(small[..., channel], np.ones((scale, scale), int))
            np.testing.assert_array_equal(large[..., channel] // scale, enlarged)
        corners.add((int(small[..., 0].min()), int(small[..., 1].min())))
    assert len(corners) > (1 if edge_decay else 20)


def view_of(sample: dict[str, Any], turned: np.ndarray, views: dict[str, np.ndarray]) -> str:
    """Name the view of the crop; lq and gt must agree."""
    found = [name for name, view in views.items() if np.array_equal(as_rgb(sample['lq'])[..., :2], view[..., :2])]
    assert len(found) == 1
    assert np.array_equal(as_rgb(sample['gt'])[..., :2], views[found[0]][..., :2])
    return found[0]


ALL_VIEWS = {'none', 'h', 'v', '90', '180', '270', 'transposed', 'antitransposed'}
RECIPES: list[tuple[dict[str, bool], dict[str, float]]] = [
    ({}, {'none': 1}),
    ({'use_hflip': True}, {'none': 1 / 2, 'h': 1 / 2}),
    ({'use_hflip': True, 'use_rot': True}, dict.fromkeys(ALL_VIEWS, 1 / 8)),
    ({'use_hflip': True, 'use_rot90': True}, dict.fromkeys(ALL_VIEWS, 1 / 8)),
    ({'use_rot90': True}, {'none': 1 / 4, '90': 1 / 4, '180': 1 / 4, '270': 1 / 4}),
    ({'use_quarter_flip': True}, {'none': 1 / 2, 'v': 1 / 4, 'h': 1 / 4}),
]


@pytest.mark.parametrize(('recipe', 'shares'), RECIPES, ids=['none', 'hflip', 'basicsr', 'ffanet', 'rot90', 'idt'])
def test_views_are_drawn_with_the_shares_of_the_recipe(tmp_path: Path, build: Build, recipe: dict[str, bool],
                                                       shares: dict[str, float]) -> None:
    picture = coordinates(4, 4)
    views = {'none': picture, 'h': picture[:, ::-1], 'v': picture[::-1], '180': picture[::-1, ::-1],
             'transposed': picture.swapaxes(0, 1), '90': picture.swapaxes(0, 1)[::-1],
             '270': picture[::-1].swapaxes(0, 1), 'antitransposed': picture[::-1, ::-1].swapaxes(0, 1)}
    folders = [write(tmp_path / kind, {'a.png': picture}) for kind in ('gt', 'lq')]
    dataset = build({'phase': 'train', 'dataroot_gt': folders[0], 'dataroot_lq': folders[1], **recipe})
    random.seed(1)
    count = 1600
    drawn = [view_of(dataset[0], picture, views) for _ in range(count)]
    assert set(drawn) == set(shares)
    for view, share in shares.items():
        assert drawn.count(view) / count == pytest.approx(share, abs=5 * (share * (1 - share) / count)**0.5 + 1e-9)


@pytest.mark.parametrize('edge_decay', [0.0, 0.5, 1.0])
def test_edge_decay_has_the_distribution_of_its_formula(tmp_path: Path, build: Build, edge_decay: float) -> None:
    height, width, patch, count = 16, 24, 8, 6000
    folders = [write(tmp_path / kind, {'a.png': coordinates(height, width)}) for kind in ('gt', 'lq')]
    dataset = build({'phase': 'train', 'dataroot_gt': folders[0], 'dataroot_lq': folders[1], 'gt_size': patch,
                     'edge_decay': edge_decay})
    random.seed(2)
    corners = np.array([as_rgb(dataset[0]['lq'])[0, 0, :2] for _ in range(count)])

    def shares(length: int) -> np.ndarray:
        """Uniform over all places, but with probability p = edge_decay * patch / length at one of the two ends."""
        p, places = edge_decay * patch / length, length - patch + 1
        found = np.full(places, (1 - p) / places)
        found[[0, -1]] += p / 2
        return found

    expected = np.outer(shares(height), shares(width))  # independent axes
    drawn = np.zeros_like(expected)
    np.add.at(drawn, tuple(corners.T), 1)
    chi_square = ((drawn - count * expected)**2 / (count * expected)).sum()
    degrees = expected.size - 1
    assert abs(chi_square - degrees) < 5 * (2 * degrees)**0.5


@pytest.mark.parametrize('cut', [(0, 0), (4, 4), (4, 2), (3, 4), (3, 0), (1, 0)])
@pytest.mark.parametrize('backend', ['disk', 'lmdb'])
def test_larger_ground_truth_is_cut_to_its_centre(tmp_path: Path, build: Build, cut: tuple[int, int],
                                                  backend: str) -> None:
    large, small = coordinates(20 + cut[0], 30 + cut[1]), coordinates(20, 30)
    if backend == 'disk':
        gt, lq = write(tmp_path / 'gt', {'1.png': large}), write(tmp_path / 'lq', {'1_1.png': small})
    else:
        gt, lq = write_lmdb(tmp_path / 'gt.lmdb', {'1': large}), write_lmdb(tmp_path / 'lq.lmdb', {'1_1': small})
    block = {'phase': 'val', 'dataroot_gt': gt, 'dataroot_lq': lq, 'pair_by': 'prefix(_)',
             'io_backend': {'type': backend}}
    sample = build({**block, 'max_center_crop': 2})[0]
    shown = as_rgb(sample['gt'])
    assert shown.shape == (20, 30, 3)
    assert tuple(shown[0, 0, :2]) == (cut[0] // 2, cut[1] // 2)
    if max(cut) > 2:
        with pytest.raises(PairError, match=r'up to 2 pixels at each side.*max_center_crop: 2') as caught:
            build({**block, 'max_center_crop': 1})[0]
        assert '1_1' in str(caught.value) and f'{20 + cut[0]} x {30 + cut[1]}' in str(caught.value)


@pytest.mark.parametrize('scale', [1, 2])
def test_centre_crop_of_a_validation(tmp_path: Path, build: Build, scale: int) -> None:
    gt = write(tmp_path / 'gt', {'a.png': coordinates(31 * scale, 20 * scale)})
    lq = write(tmp_path / 'lq', {'a.png': coordinates(31, 20)})
    sample = build({'phase': 'val', 'scale': scale, 'dataroot_gt': gt, 'dataroot_lq': lq, 'gt_size': 24 * scale})[0]
    large, small = as_rgb(sample['gt']), as_rgb(sample['lq'])
    assert small.shape == (24, 20, 3) and large.shape == (24 * scale, 20 * scale, 3)  # 20 is shorter than the crop
    assert tuple(small[0, 0, :2]) == (3, 0) and tuple(large[0, 0, :2]) == (3 * scale, 0)


def test_sizes_that_do_not_fit_name_both_files(tmp_path: Path, build: Build) -> None:
    lq = write(tmp_path / 'lq', {'a.png': coordinates(20, 30), 'b.png': coordinates(20, 30)})
    gt = write(tmp_path / 'gt', {'a.png': coordinates(20, 30), 'b.png': coordinates(20, 29)})
    dataset = build({'phase': 'val', 'dataroot_gt': gt, 'dataroot_lq': lq})
    assert dataset[0]['gt'].shape == (3, 20, 30)
    with pytest.raises(PairError) as caught:
        dataset[1]
    assert f'{gt}/b.png (20 x 29 pixels) and {lq}/b.png (20 x 30): the ground truth is too small' in str(caught.value)


def test_a_crop_larger_than_the_image_names_it(tmp_path: Path, build: Build) -> None:
    folders = [write(tmp_path / kind, {'a.png': coordinates(20, 30)}) for kind in ('gt', 'lq')]
    block = {'phase': 'train', 'dataroot_gt': folders[0], 'dataroot_lq': folders[1]}
    assert build({**block, 'gt_size': 20})[0]['lq'].shape == (3, 20, 20)
    with pytest.raises(PairError, match=r'lq/a.png \(20 x 30\): the input is smaller than gt_size 21'):
        build({**block, 'gt_size': 21})[0]


def test_recorded_sizes_are_compared_before_anything_is_read(tmp_path: Path, build: Build) -> None:
    lq = write_lmdb(tmp_path / 'lq.lmdb', {f'1_{i}': coordinates(20, 30) for i in range(9)},
                    {f'1_{i}': '(16,30,3)' for i in range(7)})
    gt = write_lmdb(tmp_path / 'gt.lmdb', {'1': coordinates(20, 30)})
    block = {'phase': 'train', 'dataroot_gt': gt, 'dataroot_lq': lq, 'pair_by': 'prefix(_)',
             'io_backend': {'type': 'lmdb'}, 'gt_size': 18}
    with pytest.raises(PairError) as caught:
        build(block)
    assert 'in 7 of 9 pairs the input is smaller than gt_size 18: 1 (20 x 30 pixels) and 1_0 (16 x 30)' in str(
        caught.value)
    with pytest.raises(PairError, match='in 7 of 9 pairs the ground truth is larger, by up to 2 pixels'):
        build({**block, 'gt_size': 16})


@pytest.mark.parametrize('content', [b'', b'no image', None])
def test_an_image_that_cannot_be_decoded_is_named(hazy: dict[str, Any], build: Build, content: bytes | None) -> None:
    path = Path(hazy['dataroot_lq'], '1_1_0.1.png')
    path.write_bytes(path.read_bytes()[:60] if content is None else content)
    with pytest.raises(PairError, match=r'datasets.train \(Tiny\): .*1_1_0.1.png .*(be decoded|is empty|is truncated)'):
        build(hazy)[0]


def test_a_key_that_is_on_record_but_not_stored(tmp_path: Path, build: Build) -> None:
    lq = write_lmdb(tmp_path / 'lq.lmdb', {'1_1': coordinates(8, 8)})
    Path(lq, 'meta_info.txt').write_text('1_1.png (8,8,3) 1\n1_2.png (8,8,3) 1\n')
    dataset = build({'phase': 'val', 'dataroot_gt': write_lmdb(tmp_path / 'gt.lmdb', {'1': coordinates(8, 8)}),
                     'dataroot_lq': lq, 'pair_by': 'prefix(_)', 'io_backend': {'type': 'lmdb'}})
    with pytest.raises(PairError, match=r'key 1_2 of .*lq.lmdb does not exist'):
        dataset[1]


def test_luma_and_normalisation(hazy: dict[str, Any], build: Build) -> None:
    plain = build({**hazy, 'phase': 'val'})[0]['lq'].double()
    luma = build({**hazy, 'phase': 'val', 'color': 'y'})[0]['lq']
    expected = (16 + 65.481 * plain[0] + 128.553 * plain[1] + 24.966 * plain[2]) / 255  # ITU-R BT.601, studio range
    assert luma.shape == (1, 40, 60)
    torch.testing.assert_close(luma[0].double(), expected, atol=1e-6, rtol=0)
    mean, std = [0.64, 0.60, 0.58], [0.14, 0.15, 0.152]
    sample = build({**hazy, 'phase': 'val', 'mean': mean, 'std': std})[0]
    for channel in range(3):
        torch.testing.assert_close(sample['lq'][channel].double(), (plain[channel] - mean[channel]) / std[channel],
                                   atol=1e-5, rtol=0)
    assert build({**hazy, 'phase': 'val', 'mean': 0.5, 'std': 0.5})[0]['gt'].min() == -1


def in_lmdb(block: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same images in LMDBs: every ground truth once."""
    from PIL import Image
    made = {}
    for kind in ('gt', 'lq'):
        files = Path(block[f'dataroot_{kind}']).iterdir()
        made[f'dataroot_{kind}'] = write_lmdb(folder / f'{kind}.lmdb', {
            image_key(path.name): np.asarray(Image.open(path)) for path in files})
    return {**block, **made, 'io_backend': {'type': 'lmdb'}}


@pytest.mark.parametrize('workers', [0, 2])
def test_lmdb_and_disk_give_the_same_batches_through_basicsrs_loader(hazy: dict[str, Any], build: Build,
                                                                     tmp_path: Path, workers: int) -> None:
    from basicsr.data import build_dataloader
    from basicsr.data.data_sampler import EnlargedSampler
    from basicsr.utils import set_random_seed
    block = {**hazy, 'gt_size': 16, 'use_hflip': True, 'use_rot': True, 'edge_decay': 0.5, 'batch_size_per_gpu': 4,
             'num_worker_per_gpu': workers}
    batches = []
    for opt in (block, in_lmdb(block, tmp_path)):
        dataset = build(opt)
        loader = build_dataloader(dataset, opt, num_gpu=1, sampler=EnlargedSampler(dataset, 1, 0, 1), seed=3)
        set_random_seed(3)
        batches.append(list(loader))
    assert len(batches[0]) == 3
    for disk, lmdb in zip(*batches, strict=True):
        assert disk['lq'].shape == (4, 3, 16, 16)
        assert torch.equal(disk['lq'], lmdb['lq']) and torch.equal(disk['gt'], lmdb['gt'])
        assert [image_key(Path(path).name) for path in disk['lq_path']] == lmdb['lq_path']
        assert torch.equal(disk['lq'][:, :2], disk['gt'][:, :2])
    assert {path for batch in batches[1] for path in batch['gt_path']} == {'1', '2', '3'}


def test_filename_tmpl_means_what_it_does_in_basicsr(tmp_path: Path, build: Build) -> None:
    gt = write(tmp_path / 'gt', {f'{i}.png': coordinates(8, 8, i) for i in range(3)})
    lq = write(tmp_path / 'lq', {f'{i}x2.png': coordinates(4, 4, i) for i in range(3)})
    block = {'phase': 'val', 'scale': 2, 'dataroot_gt': gt, 'dataroot_lq': lq, 'filename_tmpl': '{}x2'}
    stock = build({**block, 'type': 'PairedImageDataset', 'io_backend': {'type': 'disk'}})
    assert {(s['lq_path'], s['gt_path']) for s in build(block)} == {(s['lq_path'], s['gt_path']) for s in stock}


@pytest.mark.parametrize(('change', 'words'), [
    ({'gt_siz': 8}, '.gt_siz: received 8, but there is no such option (did you mean gt_size?)'),
    ({'pair_bye': 'same_name'}, 'did you mean pair_by?'),
    ({'use_hflip': 1}, '.use_hflip: received 1, must be true or false'),
    ({'dataroot_lq': None}, '.dataroot_lq: received ~ (no value), must be a folder'),
    ({'io_backend': {'type': 'lmbd'}}, '.io_backend.type: received'),
    ({'io_backend': {'type': 'disk', 'lock': 1}}, '.io_backend.lock: received 1'),
    ({'pair_list': 'x.txt'}, '.pair_list: pair_by says already'),
    ({'filename_tmpl': '{}x'}, '.filename_tmpl: pair_by says already'),
    ({'filename_tmpl': 'x'}, ".filename_tmpl: received 'x', must be BasicSR's template"),
    ({'edge_decay': 1.5, 'gt_size': 8}, '.edge_decay: received 1.5, must be a number >= 0 and <= 1'),
    ({'edge_decay': 0.5}, '.edge_decay: has no effect without gt_size'),
    ({'use_quarter_flip': True, 'use_hflip': True}, '.use_hflip: use_quarter_flip is a complete recipe'),
    ({'use_rot': True, 'use_rot90': True}, '.use_rot90: use_rot rotates already'),
    ({'scale': 3, 'gt_size': 8}, '.gt_size: received 8, must be a multiple of scale (3). Use 6'),
    ({'sampling': 'idd'}, '.sampling: received'),
    ({'crops_per_image': 2}, '.crops_per_image: has no effect without gt_size'),
    ({'crops_per_image': 3, 'gt_size': 8, 'batch_size_per_gpu': 4}, '.crops_per_image: received 3, must divide batch'),
    ({'phase': 'val', 'gt_size': 8, 'crops_per_image': 2}, '.crops_per_image: has no effect in validation'),
    ({'color': 'ycbcr'}, '.color: received'),
    ({'mean': 0.5}, '.std: must be given with mean'),
    ({'mean': [0.5, 0.5], 'std': 1}, '.mean: received 2 numbers for 3 channel(s)'),
    ({'phase': 'val', 'use_hflip': True}, '.use_hflip: has no effect in validation'),
    ({'phase': 'val', 'sampling': 'iid'}, '.sampling: has no effect in validation'),
])
def test_options_that_cannot_be_used(hazy: dict[str, Any], build: Build, change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build({**hazy, **change})
    assert f'datasets.{change.get("phase", "train")} (Tiny)' in str(caught.value)
    assert words in str(caught.value)


def test_all_wrong_options_are_reported_at_once(hazy: dict[str, Any], build: Build) -> None:
    with pytest.raises(ConfigError) as caught:
        build({**hazy, 'gt_siz': 8, 'use_hflip': 'yes', 'edge_decay': -1})
    assert len(caught.value.problems) == 3


def test_what_the_training_loop_reads_is_no_option_of_the_data_set(hazy: dict[str, Any], build: Build) -> None:
    assert len(build({**hazy, 'use_shuffle': True, 'num_worker_per_gpu': 6, 'batch_size_per_gpu': 2, 'pin_memory': True,
                      'dataset_enlarge_ratio': 1, 'prefetch_mode': None, 'num_prefetch_queue': 2})) == 12
