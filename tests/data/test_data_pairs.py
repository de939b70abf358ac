"""Pairs of the published layouts against expectations written by hand; one error for what forms no pairs."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from data_pictures import named, write, write_lmdb

from mcir_plugin.data import PairError, form_pairs, list_images, read_rule

# name -> (inputs, ground truths, rule, pairs as loops over the numbers rather than over the names)
LAYOUTS: dict[str, tuple[list[str], list[str], str, dict[str, str]]] = {
    'SOTS outdoor': ([f'{i:04d}_0.{j}_0.{k}.jpg' for i in (1, 2, 10) for j in (8, 9) for k in (12, 2)],
                     [f'{i:04d}.png' for i in (1, 2, 10)], 'prefix(_)',
                     {f'{i:04d}_0.{j}_0.{k}': f'{i:04d}' for i in (1, 2, 10) for j in (8, 9) for k in (12, 2)}),
    'DDN': ([f'{i}_{j}.jpg' for i in (1, 11, 111) for j in range(1, 15)], ['1.jpg', '11.jpg', '111.jpg'], 'prefix(_)',
            {f'{i}_{j}': f'{i}' for i in (1, 11, 111) for j in range(1, 15)}),
    'Rain200 raw': ([f'X2/norain-{i}x2.png' for i in (1, 2, 12)], [f'norain-{i}.png' for i in (1, 2, 12)],
                    'X2/{}x2 -> {}', {f'X2/norain-{i}x2': f'norain-{i}' for i in (1, 2, 12)}),
    'Rain200 IDT': ([f'rain-{i}.png' for i in (1, 2, 12)], [f'norain-{i}.png' for i in (1, 2, 12)],
                    'rain-{} -> norain-{}', {f'rain-{i}': f'norain-{i}' for i in (1, 2, 12)}),
    'AGAN': ([f'{i}_rain.png' for i in (0, 1, 10)], [f'{i}_clean.png' for i in (0, 1, 10)], '{}_rain -> {}_clean',
             {f'{i}_rain': f'{i}_clean' for i in (0, 1, 10)}),
    'DehazeFormer': (['a.png', 'b.jpg'], ['a.jpg', 'b.png'], 'same_name', {'a': 'a', 'b': 'b'}),
    'GoPro raw': ([f'{scene}/blur/{i:06d}.png' for scene in ('G1', 'G2') for i in (1, 2)],
                  [f'{scene}/sharp/{i:06d}.png' for scene in ('G1', 'G2') for i in (1, 2)],
                  '{scene}/blur/{i} -> {scene}/sharp/{i}',
                  {f'{scene}/blur/{i:06d}': f'{scene}/sharp/{i:06d}' for scene in ('G1', 'G2') for i in (1, 2)}),
}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_pairs_of_published_layouts(layout: str, tmp_path: Path) -> None:
    lqs, gts, rule, expected = LAYOUTS[layout]
    lq, gt = (list_images(write(tmp_path / kind, named(names))) for kind, names in (('lq', lqs), ('gt', gts)))
    pairs = form_pairs(lq, gt, read_rule(rule))
    assert dict(pairs) == expected
    assert len(pairs) == len(lqs)


def test_pairs_of_spa_data_from_its_list(tmp_path: Path) -> None:
    lq = write(tmp_path / 'spa', named([f'real_world/{n:03d}/{n:03d}-{f}/{n:03d}-{f}_{x}_0.png'
                                        for n in (1, 2) for f in (1, 2) for x in (0, 256)]))
    write(tmp_path / 'spa', named([f'real_world_gt/{n:03d}/{n:03d}_{x}_0.png' for n in (1, 2) for x in (0, 256)]))
    lines = [f'/real_world/{n:03d}/{n:03d}-{f}/{n:03d}-{f}_{x}_0.png real_world_gt/{n:03d}/{n:03d}_{x}_0.png'
             for n in (1, 2) for f in (1, 2) for x in (0, 256)]
    (tmp_path / 'real_world.txt').write_text('\n'.join([*lines[:7], '', '']))  # the eighth is left out
    listing = list_images(lq)
    pairs = form_pairs(listing, listing, None, str(tmp_path / 'real_world.txt'))
    assert len(pairs) == 7
    assert pairs[6] == ('real_world/002/002-2/002-2_0_0', 'real_world_gt/002/002_0_0')


GOPRO = [f'GOPR0372_07_00/{kind}/{i:06d}.png' for kind in ('blur', 'sharp') for i in (1, 2)]


@pytest.mark.parametrize('rule', ['prefix(_)', '{}/blur/{i} -> {}/sharp/{i}'])
def test_no_rule_is_suggested_that_pairs_images_with_themselves(rule: str, tmp_path: Path) -> None:
    tree = list_images(write(tmp_path / 'train', named(GOPRO)))
    with pytest.raises(PairError) as caught:
        form_pairs(tree, tree, read_rule(rule))
    assert 'With pair_by' not in str(caught.value)
    assert 'list the pairs in a pair_list' in str(caught.value)


@pytest.mark.parametrize(('lq', 'gt'), [('train', 'train'), ('train', 'link'), ('train/GOPR0372_07_00', 'link')])
def test_a_rule_that_pairs_images_with_themselves_is_refused(lq: str, gt: str, tmp_path: Path) -> None:
    write(tmp_path / 'train', named(GOPRO))
    (tmp_path / 'link').symlink_to(tmp_path / 'train')
    rule = read_rule('same_name' if lq == 'train' else '{} -> GOPR0372_07_00/{}')
    with pytest.raises(PairError, match=r'makes 4 of 4 images .* their own ground truth .*blur/000001.png.*pair_list'):
        form_pairs(*(list_images(str(tmp_path / folder)) for folder in (lq, gt)), rule)


def test_a_rule_within_one_folder_may_pair_different_images(tmp_path: Path) -> None:
    write(tmp_path / 'all', named([f'{i}_rain.png' for i in (0, 1)] + ['clean/0_clean.png', 'clean/1_clean.png']))
    lq = list_images(write(tmp_path / 'all/rain', named(['0_rain.png', '1_rain.png'])))
    pairs = form_pairs(lq, list_images(str(tmp_path / 'all')), read_rule('{}_rain -> clean/{}_clean'),
                       allow_unused_gt=True)
    assert pairs == [('0_rain', 'clean/0_clean'), ('1_rain', 'clean/1_clean')]


def test_names_with_blanks_are_listed_with_a_tab(tmp_path: Path) -> None:
    lq = list_images(write(tmp_path / 'lq', named(['my input.png'])))
    gt = list_images(write(tmp_path / 'gt', named(['my truth.png'])))
    (tmp_path / 'list.txt').write_text('my input.png\tmy truth\n')
    assert form_pairs(lq, gt, None, f'{tmp_path}/list.txt') == [('my input', 'my truth')]


@pytest.fixture
def broken(hazy: dict[str, Any]) -> dict[str, Any]:
    """The block, with scene 2 lacking its clear image and an unused one added."""
    Path(hazy['dataroot_gt'], '2.png').rename(Path(hazy['dataroot_gt'], '9.png'))
    return hazy


def test_missing_ground_truths_are_counted_and_named(broken: dict[str, Any], build: Callable[..., Any]) -> None:
    with pytest.raises(PairError) as caught:
        build(broken)
    said = str(caught.value)
    assert said.startswith('datasets.train (Tiny): 4 of 12 images in dataroot_lq')
    assert broken['dataroot_lq'] in said and broken['dataroot_gt'] in said
    assert '2_1_0.1.png (needs 2), 2_2_0.2.png (needs 2)' in said
    assert '1_1' not in said and '3_1' not in said


def test_of_many_offenders_the_first_five_are_named(hazy: dict[str, Any], build: Callable[..., Any]) -> None:
    with pytest.raises(PairError) as caught:
        build({**hazy, 'pair_by': 'same_name'})
    assert '12 of 12 images' in str(caught.value) and 'and 7 more' in str(caught.value)
    assert "With pair_by: 'prefix(_)' every input would have one" in str(caught.value)


def test_unused_ground_truths(hazy: dict[str, Any], build: Callable[..., Any]) -> None:
    write(Path(hazy['dataroot_gt']), named(['9.png']))
    with pytest.raises(PairError) as caught:
        build({**hazy, 'phase': 'val'})
    assert str(caught.value) == (f'datasets.val (Tiny): 1 of 4 images in dataroot_gt ({hazy["dataroot_gt"]}) belong to '
                                 'no input: 9.png. If that is meant, use allow_unused_gt: true')
    assert len(build({**hazy, 'allow_unused_gt': True})) == 12


def test_names_that_a_rule_does_not_fit(hazy: dict[str, Any], build: Callable[..., Any]) -> None:
    write(Path(hazy['dataroot_lq']), named(['readme.png']))
    with pytest.raises(PairError, match=r'1 of 13 images .* do not fit pair_by prefix\(_\): readme.png'):
        build(hazy)


@pytest.mark.parametrize(('line', 'words'), [
    ('1_1_0.1.png', 'line 2 holds 1 name'),
    ('1_1_0.1.png 1.png 1.png', 'line 2 holds 3 names'),
    ('1_1_0.1.png 8.png', 'line 2 (8.png is not in dataroot_gt)'),
    ('8_1.png 9.png', '(8_1.png is not in dataroot_lq and 9.png is not in dataroot_gt)'),
])
def test_lines_that_name_no_pair(hazy: dict[str, Any], build: Callable[..., Any], tmp_path: Path, line: str,
                                 words: str) -> None:
    (tmp_path / 'list.txt').write_text(f'1_1_0.1.png 1.png\n{line}\n')
    block = {**{k: v for k, v in hazy.items() if k != 'pair_by'}, 'pair_list': f'{tmp_path}/list.txt'}
    with pytest.raises(PairError) as caught:
        build(block)
    assert words in str(caught.value) and f'{tmp_path}/list.txt' in str(caught.value)
    (tmp_path / 'list.txt').write_text('1_1_0.1.png 1.png\n')
    assert len(build(block)) == 1


@pytest.mark.parametrize(('kind', 'words'), [
    ('missing', 'is not a folder'), ('empty', 'holds no image'), ('twins', 'holds 1.jpg and 1.png'),
    ('no lmdb', 'no LMDB of BasicSR: it lacks data.mdb and meta_info.txt'), ('name', 'does not end in .lmdb'),
])
def test_folders_that_cannot_be_listed(hazy: dict[str, Any], build: Callable[..., Any], tmp_path: Path, kind: str,
                                       words: str) -> None:
    folder = tmp_path / 'other'
    block = {**hazy, 'dataroot_gt': str(folder)}
    if kind == 'twins':
        write(folder, named(['1.jpg', '1.png']))
    elif kind == 'name':
        write_lmdb(folder, named(['1']))
    elif kind != 'missing':
        folder.mkdir()
    if kind in ('no lmdb', 'name'):
        block.update(io_backend={'type': 'lmdb'}, dataroot_lq=write_lmdb(tmp_path / 'lq.lmdb', named(['1_1'])))
    with pytest.raises(PairError) as caught:
        build(block)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f'datasets.train (Tiny).dataroot_gt: {folder}')


def test_hidden_and_other_files_are_left_out(hazy: dict[str, Any], build: Callable[..., Any]) -> None:
    for name in ('Thumbs.db', '.DS_Store', '._1_1.png', 'readme.txt'):
        Path(hazy['dataroot_lq'], name).write_text('x')
    assert len(build(hazy)) == 12
