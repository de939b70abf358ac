"""Real mmengine runs in small: photographs on disk, configs, and a function that trains with a Runner."""
from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pytest
import restoration  # noqa: F401  (registers model and data)
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mcir_plugin.hosts.mmengine import HistoryNegativeHook

RUNS = itertools.count()


@pytest.fixture(scope='session', autouse=True)
def one_thread():
    """Small tensors run faster on one thread, and the sums come out the same on every machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope='session')
def pairs(tmp_path_factory) -> Path:
    """A folder with PNG files of photographs: ``gt`` of 32 x 32 and ``lq`` of half the size."""
    import skimage
    folder = tmp_path_factory.mktemp('pairs')
    for kind in ('gt', 'lq'):
        (folder / kind).mkdir()
    source = Path(skimage.__file__).parent / 'data'
    for number, (name, at) in enumerate(itertools.product(('astronaut.png', 'chelsea.png', 'coffee.png'), (60, 110))):
        image = cv2.imread(str(source / name))[at:at + 32, at:at + 32]
        cv2.imwrite(str(folder / 'gt' / f'{number}.png'), image)
        cv2.imwrite(str(folder / 'lq' / f'{number}.png'), cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA))
    return folder


@pytest.fixture
def config(pairs, tmp_path) -> Callable[..., dict[str, Any]]:
    """Return ``make(iters=6, hook={}, **changes) -> config``; ``hook=None`` trains without history."""

    def make(iters: int = 6, hook: dict[str, Any] | None = None, model: dict[str, Any] | None = None, *,
             plain: bool = False, **changes: Any) -> dict[str, Any]:
        spn = {'type': 'SPNLoss', 'loss_weight': 0.05, 'vgg_weights': 'random:0', 'layer_weights': {'relu1_2': 1.0}}
        ours = {'type': 'HistoryNegativeHook', 'spn': spn, 'history': {'update_iter': [2, 3]}, **(hook or {})}
        return {
            'model': {'type': 'RestorationModel', 'generator': {'type': 'TinySR'}, 'pixel_loss': {'type': 'MeanL1'},
                      'data_preprocessor': {'type': 'PairPreprocessor', 'mean': [0.] * 3, 'std': [255.] * 3},
                      **(model or {})},
            'train_dataloader': {'batch_size': 2, 'num_workers': 0, 'dataset': {'type': 'FolderPairs',
                                                                                'root': str(pairs)},
                                 'sampler': {'type': 'InfiniteSampler', 'shuffle': True}},
            'train_cfg': {'by_epoch': False, 'max_iters': iters},
            'optim_wrapper': {'type': 'OptimWrapper', 'optimizer': {'type': 'Adam', 'lr': 1e-3}},
            'default_hooks': {'logger': {'type': 'LoggerHook', 'interval': 1},
                              'checkpoint': {'type': 'CheckpointHook', 'interval': 2, 'by_epoch': False}},
            'log_processor': {'window_size': 1, 'by_epoch': False},
            'custom_hooks': [] if plain else [ours], 'randomness': {'seed': 0}, 'default_scope': 'mmengine',
            'work_dir': str(tmp_path / f'run{next(RUNS)}'), 'log_level': 'INFO', **changes,
        }

    return make


@dataclass
class Run:
    """A finished run."""

    runner: Runner

    @property
    def hook(self) -> HistoryNegativeHook:
        """The hook of this run."""
        return next(hook for hook in self.runner.hooks if isinstance(hook, HistoryNegativeHook))

    @property
    def text(self) -> str:
        """The log file."""
        return next(Path(self.runner.log_dir).glob('*.log')).read_text()

    def lines(self) -> list[dict[str, float]]:
        """What the visualization backend was given, per iteration."""
        path = Path(self.runner.log_dir, 'vis_data', 'scalars.json')
        return [line for line in map(json.loads, path.read_text().splitlines()) if 'loss' in line]

    def weights(self) -> dict[str, torch.Tensor]:
        """The parameters and buffers at the end."""
        return self.runner.model.state_dict()

    def saved(self, iteration: int) -> dict[str, Any]:
        """A checkpoint, read with the protection against foreign code where torch can be told of mmengine's classes."""
        safely = hasattr(torch.serialization, 'add_safe_globals')  # not before torch 2.4
        return torch.load(Path(self.runner.work_dir, f'iter_{iteration}.pth'), weights_only=safely)


@pytest.fixture
def build() -> Callable[[dict[str, Any]], Run]:
    """Return ``build(config) -> Run``, not yet trained; mmengine's global instances are named by the experiment."""
    return lambda config: Run(Runner.from_cfg(Config({**config, 'experiment_name': f'run{next(RUNS)}'})))


@pytest.fixture
def train(build) -> Callable[[dict[str, Any]], Run]:
    """Return ``train(config) -> Run``."""

    def run(config: dict[str, Any]) -> Run:
        made = build(config)
        made.runner.train()
        return made

    return run
