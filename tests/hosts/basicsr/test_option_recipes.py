"""The option files say what was published: networks, recipes, protocols; and add SPN without changing anything else."""
from __future__ import annotations

import re
from itertools import product
from math import ceil

import pytest
from basicsr.archs import build_network
from option_files import PUBLISHED, ROOT, TESTS, TRAINING, WITH_SPN, named

from mcir_plugin.config import load_options

# Numbers of parameters: counted in the original networks, or as the literature quotes them (SwinIR 11.9 M, SwinIR-light
# 930 K, EDSR-baseline 1.37 M and 1.52 M).
PARAMETERS = {'FFANet': 4_455_913, 'DehazeFormer_T': 687_404, 'DehazeFormer_S': 1_284_884,
              'DehazeFormer_B': 2_517_612, 'IDT': 16_416_463, 'NAFNet-w32': 17_111_907,
              'SwinIR-light_SRx4': 929_628, 'SwinIR_SRx4': 11_900_199, 'EDSR-light_SRx2': 1_369_859,
              'EDSR-light_SRx4': 1_517_571}
# images of the training part; the crops of GoPro; those of DIV2K depend on the script's version
IMAGES = {'ITS_train': 13_990, 'RESIDE-IN_train': 13_990, 'RESIDE-OUT_train': 313_950, 'RESIDE-6K_train': 6_000,
          'Rain200L_train': 1_800, 'Rain200H_train': 1_800, 'DID_train': 12_000, 'DDN_train': 12_600,
          'SPA_train': 638_492, 'GoPro_train': 16_824}

# by architecture: where the weights lie in their files (FFA-Net's, converted), and the protocol
# (on RESIDE-6K, whose test part is SOTS-mix, that of DehazeFormer's table for all)
EVALUATION = {'FFANet': ('params', 'psnr_rgb_float', 'ssim_rgb_zero_padded'),
              'DehazeFormer': ('state_dict', 'psnr_rgb_float', 'ssim_rgb_pooled'),
              'IDT': (None, 'psnr_y_rounded', 'ssim_y_rounded'),
              'NAFNet': ('params', 'psnr_rgb_rounded', 'ssim_rgb_3d'),
              'EDSR': ('params', 'psnr', 'ssim'), 'SwinIR': ('params', 'psnr', 'ssim')}
MIXED = {'RESIDE-6K': 'ssim_rgb_pooled', 'SOTS-mix': 'ssim_rgb_pooled'}
OWN_WEIGHTS = [path for path in TESTS
               if load_options(path)['path']['pretrain_network_g'].startswith('experiments/train_')]
# by the beginning of a training's name: optimizer, its rate and betas, total batch, side of the crops, loss
RECIPES = {
    'FFANet_ITS_MCIR': ('AdamW', 2e-4, [0.9, 0.9], 4, 128, 'L1Loss'),
    'FFANet_RESIDE-6K': ('AdamW', 2e-4, [0.9, 0.9], 4, 128, 'L1Loss'),
    'FFANet_ITS': ('Adam', 1e-4, [0.9, 0.999], 2, 240, 'L1Loss'),
    'DehazeFormer_T_RESIDE-6K': ('AdamW', 2e-4, [0.9, 0.999], 32, 256, 'L1Loss'),
    'DehazeFormer_S_RESIDE-6K': ('AdamW', 1e-4, [0.9, 0.999], 16, 256, 'L1Loss'),
    'DehazeFormer_B_RESIDE-6K': ('AdamW', 1e-4, [0.9, 0.999], 16, 256, 'L1Loss'),
    'DehazeFormer_T': ('AdamW', 4e-4, [0.9, 0.999], 32, 256, 'L1Loss'),
    'DehazeFormer_': ('AdamW', 2e-4, [0.9, 0.999], 16, 256, 'L1Loss'),
    'IDT': ('Adam', 1e-4, [0.9, 0.999], 4, 128, 'SSIMLoss'),
    'NAFNet': ('AdamW', 1e-3, [0.9, 0.9], 32, 256, 'PSNRLoss'),
    'EDSR-light_SRx2': ('Adam', 1e-4, [0.9, 0.99], 16, 96, 'L1Loss'),
    'EDSR-light_SRx4': ('Adam', 1e-4, [0.9, 0.99], 16, 192, 'L1Loss'),
    'SwinIR-light': ('Adam', 1e-4, [0.9, 0.999], 64, 256, 'L1Loss'),
    'SwinIR_': ('Adam', 1e-4, [0.9, 0.999], 32, 192, 'L1Loss'),
}


def test_every_published_training_comes_with_and_without_spn():
    trainings = {path for path in PUBLISHED if path in TRAINING}
    with_spn = {path.with_name(f'{path.stem}_SPN.yml') for path in trainings - {*WITH_SPN}}
    assert with_spn == {*WITH_SPN} and len(trainings) == 2 * len(WITH_SPN)


# Rows of the method's tables of results: the training without SPN, and the files that test it.
ROWS = {
    'FFANet_ITS': 'FFANet_SOTS_indoor', 'FFANet_ITS_MCIR': 'FFANet_SOTS_indoor', 'FFANet_RESIDE-6K': 'FFANet_SOTS-mix',
    **{f'DehazeFormer_{size}_RESIDE-{part}': f'DehazeFormer_{size}_{test}' for size in 'TSB'
       for part, test in (('IN', 'SOTS_indoor'), ('6K', 'SOTS-mix'), ('OUT', 'SOTS_outdoor'))},
    **{f'IDT_{name}': f'IDT_{name}' for name in ('Rain200L', 'Rain200H', 'DID', 'DDN', 'SPA')},
    'NAFNet-w32_GoPro': 'NAFNet-w32_GoPro', 'EDSR-light_SRx2_DIV2K': 'EDSR-light_SRx2',
    'EDSR-light_SRx4_DIV2K': 'EDSR-light_SRx4', 'SwinIR-light_SRx4_DIV2K': 'SwinIR-light_SRx4',
    'SwinIR_SRx4_DIV2K': 'SwinIR_SRx4',
}


def expanded(text: str) -> list[str]:
    """``a{b,c}`` -> ``ab``, ``ac``, as a shell does it."""
    pieces = [piece.split(',') for piece in re.split(r'[{}]', text)]
    return [''.join(chosen) for chosen in product(*pieces)]


def test_the_model_zoo_names_every_test_and_its_weights():
    page = (ROOT.parent / 'docs' / 'model_zoo.md').read_text(encoding='utf-8')
    table = page.partition('## Published weights')[2].partition('## Recipes')[0]
    listed = [f'{name}.yml' for row in re.findall(r'^\| `([^`]+)\.yml` \|', table, re.M) for name in expanded(row)]
    assert sorted(listed) == sorted(str(path.relative_to(ROOT / 'test')) for path in TESTS)


def test_every_row_of_the_tables_has_its_files():
    names = {path.stem.removeprefix('train_') for path in PUBLISHED}
    assert sorted(name for row in ROWS.items() for name in row if name not in names) == []


@pytest.mark.parametrize('name', ROWS)
def test_training_and_test_build_the_same_network(name):
    training, test = (load_options(next(ROOT.glob(f'{kind}/*/{file}.yml')))['network_g']
                      for kind, file in (('train', f'train_{name}'), ('test', ROWS[name])))
    assert training == test


@pytest.mark.parametrize('path', **named(WITH_SPN))
def test_a_file_with_spn_adds_its_block_and_nothing_else(path):
    baseline = path.with_name(path.name.replace('_SPN', ''))
    opt = load_options(path)
    assert opt['train'].pop('spn_opt')['type'] == 'SPNLoss'
    assert len(opt['train'].pop('history_opt')['update_iter']) == 4
    assert {**opt, 'name': baseline.stem} == load_options(baseline)
    assert 'Our choice' in path.read_text() or path.stem == 'train_FFANet_ITS_MCIR_SPN', 'mark what is not published'


@pytest.mark.parametrize('prefix', PARAMETERS)
def test_networks_have_their_published_size(prefix):
    blocks = [load_options(path)['network_g'] for path in PUBLISHED
              if path.stem.removeprefix('train_').startswith(prefix)]
    assert len(blocks) >= 3 and all(block == blocks[0] for block in blocks)
    assert sum(value.numel() for value in build_network(dict(blocks[0])).parameters()) == PARAMETERS[prefix]


@pytest.mark.parametrize('path', **named(PUBLISHED))
def test_protocols_and_containers_are_the_published_ones(path):
    opt, kind = load_options(path), path.relative_to(ROOT).parts[0]
    key, psnr, ssim = EVALUATION[path.parent.name]
    ssim = next((protocol for name, protocol in MIXED.items() if name in path.stem), ssim)
    blocks = [opt['val']['metrics'][name] for name in ('psnr', 'ssim')]
    assert [block['type'] for block in blocks] == [f'calculate_{name}' for name in (psnr, ssim)]
    if path.parent.name in ('EDSR', 'SwinIR'):
        assert all(block['test_y_channel'] and block['crop_border'] == opt['scale'] for block in blocks)
    if kind == 'test' and path not in OWN_WEIGHTS:
        assert opt['path']['param_key_g'] == key and opt['path']['strict_load_g'] is True


@pytest.mark.parametrize('path', **named(OWN_WEIGHTS))
def test_own_weights_are_those_by_which_the_training_validates(path):
    """BasicSR validates the average of the weights where the recipe has one, and saves both."""
    opt = load_options(path)
    training = re.fullmatch('experiments/train_(.+)/models/net_g_(.+).pth', opt['path']['pretrain_network_g'])
    recipe = load_options(next(path for path in TRAINING if path.stem == f'train_{training[1]}'))['train']
    assert opt['path']['param_key_g'] == ('params_ema' if recipe['ema_decay'] else 'params')
    assert opt['path']['strict_load_g'] is True and int(training[2]) == recipe['total_iter']


@pytest.mark.parametrize('path', **named([path for path in PUBLISHED if path in TRAINING]))
def test_recipes_are_the_published_ones(path):
    opt = load_options(path)
    train, data, name = opt['train'], opt['datasets']['train'], path.stem.removeprefix('train_')
    found = (train['optim_g']['type'], train['optim_g']['lr'], train['optim_g']['betas'], data['batch_size_per_gpu'],
             data['gt_size'], train['pixel_opt']['type'])
    assert found == next(values for prefix, values in RECIPES.items() if name.startswith(prefix))
    if train['scheduler']['type'] == 'CosineAnnealingLR' and 'interval' in train['scheduler']:
        rule = train['scheduler']
        assert rule['interval'] == IMAGES[data['name']] // data['batch_size_per_gpu']
        assert train['total_iter'] == rule['interval'] * (rule['T_max'] + 1)
        assert rule['eta_min'] == pytest.approx(train['optim_g']['lr'] / 100)


@pytest.mark.parametrize('path', **named([path for path in TRAINING
                                          if load_options(path)['datasets']['train']['name'] in IMAGES]))
def test_basicsr_reaches_the_last_iteration(path):
    """It plans epochs as if the images left over at the end of one made a batch, though the loader drops them."""
    opt = load_options(path)
    data, total = opt['datasets']['train'], opt['train']['total_iter']
    drawn, batch = IMAGES[data['name']] * data['dataset_enlarge_ratio'], data['batch_size_per_gpu']
    epochs = ceil(total / ceil(drawn / batch)) + 1
    assert epochs * (drawn // batch) >= total
