"""The end of the quick start: what bicubic, the untrained and the trained network reach, in numbers and a picture.

    python scripts/quickstart_summary.py -opt options/quickstart.yml

Run it where ``basicsr train`` ran. Every image goes through BasicSR's own dataset, model, rounding and metrics, so that
the trained mean is the one in the log's last validation. The untrained network is built again from the options' seed,
which gives the very weights that training started from: BasicSR sets the seed first and builds the network next.
"""
from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import mcir_plugin  # noqa: F401  (first: it repairs the import of basicsr)

# isort: split
import numpy as np
from basicsr.data import build_dataset
from basicsr.metrics import calculate_metric
from basicsr.models import build_model
from basicsr.utils import get_root_logger, set_random_seed, tensor2img
from basicsr.utils.matlab_functions import imresize

from mcir_plugin.config import load_options
from mcir_plugin.report import Panel, comparison_strip, hardest_square, save_picture, stack_strips, text_table

METHODS = ('bicubic', 'start', 'trained')
SQUARE = 64  # side of the enlarged square, in HR pixels


class Evaluated(NamedTuple):
    """One validation image: its versions (uint8, BGR) and the metrics of each method's output."""

    name: str
    lq: np.ndarray
    gt: np.ndarray
    outputs: dict[str, np.ndarray]
    metrics: dict[str, dict[str, float]]


def evaluation_options(opt: dict[str, Any]) -> dict[str, Any]:
    """The options as BasicSR's test pipeline would hand them to a model."""
    opt = {**opt, 'is_train': False, 'dist': False, 'rank': 0, 'world_size': 1}
    opt['datasets'] = {'val': {**opt['datasets']['val'], 'phase': 'val', 'scale': opt['scale']}}
    return opt


def network(opt: dict[str, Any], checkpoint: Path | None) -> Callable[[dict[str, Any]], np.ndarray]:
    """A function from one sample to the network's output image; without a checkpoint, of the untrained network.

    The evaluation average of the weights (``params_ema``) is used if there is one, as BasicSR's validation does.
    """
    averaged = opt['train'].get('ema_decay', 0) > 0
    path = {**opt['path'], 'pretrain_network_g': None if checkpoint is None else str(checkpoint),
            'param_key_g': 'params_ema' if averaged else 'params'}
    set_random_seed(opt['manual_seed'])
    model = build_model({**opt, 'path': path})

    def run(sample: dict[str, Any]) -> np.ndarray:
        model.feed_data({'lq': sample['lq'].unsqueeze(0)})
        model.test()
        return tensor2img(model.get_current_visuals()['result'])

    return run


def bicubic(sample: dict[str, Any], scale: int) -> np.ndarray:
    """MATLAB-compatible bicubic enlargement of one sample's input."""
    return tensor2img(imresize(sample['lq'], scale))


def evaluate(opt: dict[str, Any], checkpoint: Path) -> list[Evaluated]:
    """Runs the three methods on every validation image."""
    options = evaluation_options(opt)
    methods = dict(zip(METHODS, (lambda sample: bicubic(sample, opt['scale']), network(options, None),
                                 network(options, checkpoint)), strict=True))
    found = []
    for sample in build_dataset(options['datasets']['val']):
        gt = tensor2img(sample['gt'])
        outputs = {name: method(sample) for name, method in methods.items()}
        metrics = {name: measure(opt, output, gt) for name, output in outputs.items()}
        found.append(Evaluated(Path(sample['lq_path']).stem, tensor2img(sample['lq']), gt, outputs, metrics))
    return found


def measure(opt: dict[str, Any], output: np.ndarray, gt: np.ndarray) -> dict[str, float]:
    """The metrics of ``val.metrics`` by BasicSR's own functions."""
    images = {'img': output, 'img2': gt}
    return {name: float(calculate_metric(images, dict(how))) for name, how in opt['val']['metrics'].items()}


def mean_metrics(images: list[Evaluated]) -> dict[str, dict[str, float]]:
    """For each method and metric the mean over the images."""
    return {method: {metric: float(np.mean([image.metrics[method][metric] for image in images]))
                     for metric in images[0].metrics[method]} for method in METHODS}


def spelled(metrics: dict[str, float]) -> str:
    """PSNR in dB and SSIM, as in papers: 33.41/0.9214."""
    return f'{metrics["psnr"]:.2f}/{metrics["ssim"]:.4f}'


def table(images: list[Evaluated]) -> str:
    """One line per image and one for the mean."""
    lines = [(image.name, image.metrics) for image in images] + [('mean', mean_metrics(images))]
    return text_table(['PSNR/SSIM', *METHODS], [[name, *(spelled(by[m]) for m in METHODS)] for name, by in lines])


def picture(images: list[Evaluated], scale: int) -> np.ndarray:
    """All validation images as strips below each other."""
    strips = []
    for image in images:
        corner = tuple(value - value % scale for value in hardest_square(image.gt, image.outputs['bicubic'], SQUARE))
        notes = {method: spelled(image.metrics[method]) for method in METHODS}
        panels = [Panel('LQ', image.lq), Panel('bicubic', image.outputs['bicubic'], notes['bicubic']),
                  Panel('output (trained)', image.outputs['trained'], notes['trained']),
                  Panel('ground truth', image.gt, 'PSNR (dB)/SSIM, Y channel')]
        strips.append(comparison_strip(Panel(image.name, image.gt, 'square: where bicubic errs most'), panels, corner,
                                       SQUARE))
    return stack_strips(strips)


def main(arguments: list[str] | None = None) -> int:
    """Prints the summary. Returns 0, or 1 if the trained network does not beat bicubic, 2 if there is none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-opt', required=True, help='the option file of the training')
    opt_file = parser.parse_args(arguments).opt
    opt = load_options(opt_file)
    experiment = Path('experiments', opt['name'])
    checkpoint = experiment / 'models' / 'net_g_latest.pth'
    if not checkpoint.is_file():
        print(f'quickstart_summary: {checkpoint} is missing: run basicsr train -opt {opt_file} first.', file=sys.stderr)
        return 2
    get_root_logger(log_level=logging.WARNING)  # the first call decides; the networks' listings stay out
    warnings.filterwarnings('ignore', message='torch.meshgrid')
    images = evaluate(opt, checkpoint)
    save_picture(picture(images, opt['scale']), experiment / 'comparison.png')
    means = mean_metrics(images)
    gain = means['trained']['psnr'] - means['bicubic']['psnr']
    print(f'\n{table(images)}\n(Y channel, border of {opt["scale"]} pixels left out, images that were not trained on)'
          f'\n\nThe trained network {"beats" if gain > 0 else "DOES NOT BEAT"} bicubic: {gain:+.2f} dB.\n')
    print(places(opt, experiment), about_extractor(opt, opt_file), sep='\n')
    return 0 if gain > 0 else 1


def places(opt: dict[str, Any], experiment: Path) -> str:
    """Where everything lies, one line each."""
    newest_log = max(experiment.glob('train_*.log'), key=lambda path: path.stat().st_mtime, default=experiment)
    found = {'picture': experiment / 'comparison.png', 'log': newest_log,
             'weights': experiment / 'models' / 'net_g_latest.pth',
             'curves': f'tensorboard --logdir tb_logger/{opt["name"]}'}
    return '\n'.join(f'{what:<9}{where}' for what, where in found.items())


def about_extractor(opt: dict[str, Any], opt_file: str) -> str:
    """What the features of the SPN loss were, if they were not VGG's, and how to have these."""
    source = str((opt['train'].get('spn_opt') or {}).get('vgg_weights'))  # spn_opt: ~ turns the term off
    if not source.startswith('random:'):
        return ''
    return (f'\nThe features of the SPN loss came from a VGG16 with random weights ({source}), since nothing was '
            f'downloaded.\nOne line in train.spn_opt of {opt_file} turns on the VGG16 trained on ImageNet:\n'
            '    vgg_weights: ~\n')


if __name__ == '__main__':
    sys.exit(main())
