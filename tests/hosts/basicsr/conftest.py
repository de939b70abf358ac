"""Real BasicSR runs in small: photographs in LMDB, option dictionaries, and a function that trains."""
from __future__ import annotations

import copy
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from forked_runs import ForkedRun, RunServer

import mcir_plugin  # noqa: F401  (first: it mends the import of basicsr)
from mcir_plugin.cli import main

PATCH, COUNT = 64, 8
PRINTED = re.compile(r'(\S+): (-?\d\.\d+e[+-]\d+|nan|-?inf)')


@pytest.fixture(scope='session', autouse=True)
def one_thread():
    """Small tensors run faster on one thread, and the sums come out the same on every machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope='session')
def photographs() -> list[np.ndarray]:
    """Patches of real photographs, uint8 BGR of shape (PATCH, PATCH, 3)."""
    import skimage
    folder = Path(skimage.__file__).parent / 'data'
    images = [cv2.imread(str(folder / name)) for name in ('astronaut.png', 'chelsea.png', 'coffee.png')]
    corners = [(image, 40 + 50 * i, 30 + 40 * i) for i in range(3) for image in images]
    return [image[y:y + PATCH, x:x + PATCH] for image, y, x in corners[:COUNT]]


@pytest.fixture(scope='session')
def lmdb_pairs(photographs, tmp_path_factory) -> Callable[[int], dict[str, str]]:
    """Return ``make(scale) -> {dataroot_gt, dataroot_lq}``: LMDB pairs; scale 1 gives noisy inputs of equal size.

    The same images lie as files in folders of the same names without ``.lmdb``.
    """
    from basicsr.utils.lmdb_util import LmdbMaker
    from basicsr.utils.matlab_functions import imresize
    made: dict[int, dict[str, str]] = {}

    def degrade(image: np.ndarray, scale: int) -> np.ndarray:
        if scale == 1:
            noise = np.random.default_rng(0).normal(0, 15, image.shape)
            return np.clip(image + noise, 0, 255).astype(np.uint8)
        small = imresize(image.astype(np.float32) / 255, 1 / scale)
        return np.clip(small * 255, 0, 255).round().astype(np.uint8)

    def make(scale: int) -> dict[str, str]:
        if scale not in made:
            folder = tmp_path_factory.mktemp(f'x{scale}')
            made[scale] = {f'dataroot_{kind}': str(folder / f'{kind}.lmdb') for kind in ('gt', 'lq')}
            for kind, change in (('gt', lambda image: image), ('lq', lambda image: degrade(image, scale))):
                maker = LmdbMaker(str(folder / f'{kind}.lmdb'), map_size=2**24)
                (folder / kind).mkdir()
                for number, image in enumerate(photographs):
                    image = change(image)
                    encoded = cv2.imencode('.png', image)[1].tobytes()
                    maker.put(encoded, f'p{number:02d}', image.shape)
                    (folder / kind / f'p{number:02d}.png').write_bytes(encoded)
                maker.close()
        return made[scale]

    return make


@pytest.fixture
def options(lmdb_pairs) -> Callable[..., dict[str, Any]]:
    """Return ``make(scale=2, **train) -> opt``: a complete option dictionary of a tiny EDSR on LMDB."""

    def make(scale: int = 2, spn: bool = True, **train: Any) -> dict[str, Any]:
        data = {'type': 'PairedImageDataset', **lmdb_pairs(scale), 'io_backend': {'type': 'lmdb'}}
        network = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'upscale': scale,
                   'res_scale': 1, 'img_range': 255., 'rgb_mean': [0.4488, 0.4371, 0.4040]}
        opt = {
            'name': 'tiny', 'model_type': 'SRModel', 'scale': scale, 'num_gpu': 0, 'manual_seed': 0,
            'datasets': {
                'train': {**data, 'name': 'Patches', 'gt_size': 32, 'use_hflip': True, 'use_rot': True,
                          'num_worker_per_gpu': 0, 'batch_size_per_gpu': 2, 'dataset_enlarge_ratio': 1},
            },
            'network_g': network,
            'path': {'pretrain_network_g': None, 'resume_state': None},
            'train': {
                'ema_decay': 0.999, 'optim_g': {'type': 'Adam', 'lr': 1e-3, 'betas': [0.9, 0.99]},
                'scheduler': {'type': 'MultiStepLR', 'milestones': [6], 'gamma': 0.5}, 'total_iter': 8,
                'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
            },
            'logger': {'print_freq': 1, 'save_checkpoint_freq': 4, 'use_tb_logger': False, 'wandb': {'project': None}},
        }
        if spn:
            opt['train']['spn_opt'] = {'type': 'SPNLoss', 'vgg_weights': 'random:0', 'layer_weights': {'relu1_2': 1.0}}
            opt['train']['history_opt'] = {'update_iter': [2, 3]}
        opt['train'].update(train)
        return opt

    return make


@dataclass
class Run:
    """A finished training run."""

    folder: Path
    log: str

    def lines(self) -> dict[int, dict[str, float]]:
        """Return the logged values per iteration."""
        found = {}
        for line in self.log.splitlines():
            iteration = re.search(r'iter: *([\d,]+)', line)
            if iteration and 'eta' in line:
                values = {name: float(value) for name, value in PRINTED.findall(line.split(')] ', 2)[-1])}
                found[int(iteration[1].replace(',', ''))] = values
        return found

    def weights(self, iteration: int | str = 'latest', label: str = 'net_g') -> dict[str, torch.Tensor]:
        """Return the saved parameters of a network."""
        return torch.load(self.folder / 'models' / f'{label}_{iteration}.pth', weights_only=True)['params']

    def state(self, iteration: int) -> dict[str, Any]:
        """Return a saved training state."""
        return torch.load(self.folder / 'training_states' / f'{iteration}.state', weights_only=False)


@pytest.fixture(autouse=True)
def close_log() -> Callable[[], None]:
    """Let every run open a log of its own: BasicSR opens one per process. Returns the function that does so."""

    def close() -> None:
        from basicsr.utils import logger
        logger.initialized_logger.clear()
        logging.getLogger('basicsr').handlers.clear()

    close()
    return close


@pytest.fixture
def train(tmp_path, monkeypatch, close_log) -> Callable[..., Run]:
    """Return ``train(opt, *flags) -> Run``: write the options, run the command in this process, read the log."""

    def run(opt: dict[str, Any], *flags: str) -> Run:
        monkeypatch.chdir(tmp_path)
        close_log()
        Path('opt.yml').write_text(yaml.safe_dump(copy.deepcopy(opt), sort_keys=False))
        folder = Path(opt['path'].get('experiments_root') or tmp_path / 'experiments') / opt['name']
        before = set(folder.glob('*.log'))
        status = main(['train', '-opt', 'opt.yml', *flags])
        assert status == 0, f'basicsr train ended with {status}'
        logs = set(folder.glob('*.log'))
        newest = max(logs - before or logs, key=lambda path: path.stat().st_mtime)
        return Run(folder, newest.read_text())

    return run


@pytest.fixture(scope='session')
def run_server() -> Iterator[RunServer]:
    """Starts real commands in processes of their own, quickly."""
    server = RunServer()
    yield server
    server.close()


@pytest.fixture
def start(run_server, tmp_path) -> Callable[..., ForkedRun]:
    """Return ``start(opt, *flags) -> ForkedRun``: write the options and start the command in its own process."""

    def run(opt: dict[str, Any], *flags: str, **environment: str) -> ForkedRun:
        (tmp_path / f'{opt["name"]}.yml').write_text(yaml.safe_dump(copy.deepcopy(opt), sort_keys=False))
        return run_server.start(tmp_path, 'train', '-opt', f'{opt["name"]}.yml', *flags, **environment)

    return run


@pytest.fixture
def start_ranks(run_server, tmp_path) -> Callable[..., list[ForkedRun]]:
    """Return ``start_ranks(opt, *flags) -> [ForkedRun, ForkedRun]``: as ``start``, in two processes (gloo)."""

    def run(opt: dict[str, Any], *flags: str) -> list[ForkedRun]:
        (tmp_path / f'{opt["name"]}.yml').write_text(yaml.safe_dump(copy.deepcopy(opt), sort_keys=False))
        return run_server.start_ranks(tmp_path, 'train', '-opt', f'{opt["name"]}.yml', *flags)

    return run
