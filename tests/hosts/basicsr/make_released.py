"""Makes the files of a release that every later one must read: a checkpoint of a small run, and how it went on.

    python tests/hosts/basicsr/make_released.py tests/hosts/basicsr/released/0.1.0

Run it once for a release, with that release, and keep what it wrote as it is. The images are drawn by `write_images`,
so that the run can go on anywhere; of the losses after the checkpoint only the rounding may differ.
"""
from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import yaml

from mcir_plugin.cli import main

SAVED, LAST = 3, 6
OPTIONS = {
    'name': 'released', 'model_type': 'SRModel', 'scale': 2, 'num_gpu': 0, 'manual_seed': 0,
    'datasets': {'train': {
        'name': 'Drawn', 'type': 'PairedImageDataset', 'dataroot_gt': 'gt', 'dataroot_lq': 'lq',
        'io_backend': {'type': 'disk'}, 'gt_size': 32, 'use_hflip': False, 'use_rot': False, 'num_worker_per_gpu': 0,
        'batch_size_per_gpu': 2}},
    'network_g': {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'upscale': 2},
    'path': {},
    'train': {
        'ema_decay': 0.9, 'optim_g': {'type': 'Adam', 'lr': 1e-3}, 'total_iter': LAST,
        'scheduler': {'type': 'MultiStepLR', 'milestones': [5], 'gamma': 0.5},
        'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
        'spn_opt': {'type': 'SPNLoss', 'vgg_weights': 'random:0', 'layer_weights': {'relu1_1': 1.0}},
        'history_opt': {'update_iter': [2, 3], 'negatives_per_iter': 1}},
    'logger': {'print_freq': 1, 'save_checkpoint_freq': SAVED, 'use_tb_logger': False},
}


def write_images(folder: Path) -> None:
    """Draw eight smooth pictures and their halves."""
    for kind, side in (('gt', 32), ('lq', 16)):
        (folder / kind).mkdir(exist_ok=True)
        for number in range(8):
            y, x = np.mgrid[:side, :side] / side
            waves = [127 + 120 * np.sin((3 + number) * x + (5 - colour) * y + colour) for colour in range(3)]
            cv2.imwrite(str(folder / kind / f'{number}.png'), np.stack(waves, -1).round().astype(np.uint8))


def losses_of(log: str) -> dict[str, dict[str, float]]:
    """Return the printed losses by iteration."""
    lines = re.findall(r'iter: +(\d+), .*?(l_pix: .*)', log)
    return {number: {name: float(value) for name, value in re.findall(r'(l_\w+): (\S+)', text)}
            for number, text in lines}


def make(target: Path) -> None:
    """Train, and keep the checkpoint, the options, and the losses after the checkpoint."""
    target = target.absolute()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_images(Path())
        Path('opt.yml').write_text(yaml.safe_dump(OPTIONS, sort_keys=False))
        if main(['train', '-opt', 'opt.yml']):
            sys.exit('the training failed')
        run = Path('experiments/released')
        losses = losses_of(next(run.glob('train*.log')).read_text())
        target.mkdir(parents=True)
        for path in (Path('opt.yml'), run / f'models/net_g_{SAVED}.pth', run / f'training_states/{SAVED}.state'):
            shutil.copy(path, target)
        later = {number: values for number, values in losses.items() if int(number) > SAVED}
        (target / 'losses.json').write_text(json.dumps(later, indent=1) + '\n')


if __name__ == '__main__':
    make(Path(sys.argv[1]))
