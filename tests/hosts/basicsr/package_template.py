"""Writes a third-party package like HAT's: archs, models and a ``train.py`` of its own."""
from __future__ import annotations

from pathlib import Path

FILES = {
    '__init__.py': '',
    'archs/__init__.py': 'from {package}.archs import {package}_arch\n',
    'archs/{package}_arch.py': """
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn


@ARCH_REGISTRY.register()
class {stem}Net(nn.Module):

    def __init__(self, num_feat=8, window_size=4, upscale=2):
        super().__init__()
        self.window_size = window_size
        self.register_buffer('index', torch.arange(window_size))
        self.body = nn.Conv2d(3, num_feat, 3, 1, 1)
        self.tail = nn.Sequential(nn.Conv2d(num_feat, 3 * upscale**2, 3, 1, 1), nn.PixelShuffle(upscale))

    def forward(self, x):
        if x.shape[-1] % self.window_size or x.shape[-2] % self.window_size:
            raise ValueError('pad first')
        return self.tail(torch.relu(self.body(x)))
""",
    'models/__init__.py': 'from {package}.models import {package}_model\n',
    'models/{package}_model.py': """
import torch
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import MODEL_REGISTRY
from torch.nn import functional as F


@MODEL_REGISTRY.register()
class {stem}Model(SRModel):

    def test(self):
        window = self.opt['network_g']['window_size']
        h, w = self.lq.shape[-2:]
        padded = F.pad(self.lq, (0, -w % window, 0, -h % window), 'reflect')
        self.net_g.eval()
        with torch.no_grad():
            self.output = self.net_g(padded)
        self.net_g.train()
        scale = self.opt['scale']
        self.output = self.output[..., :h * scale, :w * scale]
""",
    'train.py': """
import os

import {package}.archs
import {package}.models
from basicsr.train import train_pipeline

if __name__ == '__main__':
    train_pipeline(os.getcwd())
""",
}


def write_package(folder: Path, stem: str) -> str:
    """Write the package ``stem.lower()`` into a folder; it registers ``<stem>Net`` and ``<stem>Model``.

    Returns:
        str: The name of the package.
    """
    package = stem.lower()
    for name, text in FILES.items():
        path = folder / package / name.format(package=package)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.lstrip('\n').format(package=package, stem=stem))
    return package
