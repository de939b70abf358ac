"""The collapse of a small EDSR by a large loss_weight: warned about at once, and trained soundly with max_ratio.

With the weights of ImageNet's VGG19 loss_weight 0.1 does it; random weights make smaller features, so it is 1 here.
"""
import re
from pathlib import Path

import pytest
import torch

REAL = Path(__file__).parents[4] / 'shared' / 'weights' / 'vgg19_to_conv3_1.pth'
STEPS = 80


@pytest.fixture
def collapsing(options, lmdb_pairs, train):
    """Return ``run(loss_weight, **history) -> Run``: the real loop, the same seed and data every time."""

    def run(loss_weight, vgg_weights='random:0', **history):
        opt = options(spn=False, total_iter=STEPS)
        opt['name'] = f'collapse_{loss_weight}_{"_".join(history)}'
        opt['network_g'].update(num_block=2)
        opt['datasets']['train'].update(gt_size=24, batch_size_per_gpu=4, dataset_enlarge_ratio=50)
        opt['train']['ema_decay'] = 0  # the average of so few iterations is the start
        opt['train']['optim_g']['lr'] = 2e-3
        opt['train']['scheduler']['milestones'] = [50, 65]
        roots = {key: root.removesuffix('.lmdb') for key, root in lmdb_pairs(2).items()}
        opt['datasets']['val'] = {'name': 'Val', 'type': 'PairedImageDataset', **roots, 'io_backend': {'type': 'disk'}}
        opt['val'] = {'val_freq': STEPS, 'save_img': False, 'metrics': {
            'psnr': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': True}}}
        opt['logger']['save_checkpoint_freq'] = STEPS
        if loss_weight:
            opt['train']['spn_opt'] = {'type': 'SPNLoss', 'loss_weight': loss_weight, 'vgg_type': 'vgg19',
                                       'vgg_weights': vgg_weights,
                                       'layer_weights': {'relu1_2': 0.2, 'relu2_2': 0.3, 'relu3_1': 0.5}}
            opt['train']['history_opt'] = {'update_iter': [100, 200, 500, 1000], 'negatives_per_iter': 1, **history}
        return train(opt)

    return run


def psnr(run):
    return float(re.findall(r'# psnr: (\d+\.\d+)', run.log)[-1])


def l_pix(run, steps):
    values = [run.lines()[step]['l_pix'] for step in steps]
    return sum(values) / len(values)


def shows(run, bounded, plain):
    """What has to be seen in a run that collapses, the same with max_ratio, and one without the term."""
    warned = [int(step) for step in re.findall(r'pulls at the output .* at iteration (\d+)', run.log)]
    assert len(warned) == 1 and warned[0] <= 2
    for step in range(1, warned[0] + 1):
        assert run.lines()[step]['l_pix'] < 1, 'nothing is lost yet'
    assert 'max_ratio: 0.1' in run.log and 'train.spn_opt.loss_weight' in run.log
    assert l_pix(run, range(STEPS - 9, STEPS + 1)) > 100 * l_pix(plain, range(1, 11)) and psnr(run) < psnr(plain) - 10
    assert 'pulls at the output' not in bounded.log
    assert psnr(bounded) > psnr(plain) - 0.5
    assert l_pix(bounded, range(STEPS - 9, STEPS + 1)) < 1.1 * l_pix(plain, range(STEPS - 9, STEPS + 1))
    assert max(values['spn/grad_ratio'] for values in bounded.lines().values()) < 0.1001


def test_collapse_is_warned_about_at_once_and_max_ratio_prevents_it(collapsing):
    shows(collapsing(1.0), collapsing(1.0, max_ratio=0.1), collapsing(0))


def test_the_loss_weight_that_the_warning_names_is_sound(collapsing):
    named = re.search(r'loss_weight \(now 1; (\S+) would', collapsing(1.0).log)
    gentle, plain = collapsing(float(named[1])), collapsing(0)
    assert 'pulls at the output' not in gentle.log and psnr(gentle) > psnr(plain) - 0.5


@pytest.mark.skipif(not REAL.exists(), reason='needs the ImageNet weights of VGG19, which are not part of the project')
def test_the_same_with_real_features_and_a_tenth_of_the_weight(collapsing):
    with torch.random.fork_rng():
        shows(collapsing(0.1, str(REAL)), collapsing(0.1, str(REAL), max_ratio=0.1), collapsing(0))
