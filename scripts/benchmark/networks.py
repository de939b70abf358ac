"""Networks and sizes of the benchmarks."""
from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Architecture:
    """A network of the literature and the sizes that one machine can train it with.

    Attributes:
        options (dict): ``network_g`` of an option file.
        scale (int): Of super-resolution; 1 for restoration at the size of the input.
        patch (int): Height and width of lq in pixels, on a CPU.
        batch (int): Images per step, on a CPU.
    """

    options: dict[str, Any]
    scale: int
    patch: int
    batch: int


ARCHITECTURES = {
    'EDSR-baseline': Architecture(
        {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 64, 'num_block': 16, 'res_scale': 1,
         'img_range': 255., 'rgb_mean': [0.4488, 0.4371, 0.4040]}, scale=4, patch=48, batch=4),
    'SwinIR-light': Architecture(
        {'type': 'SwinIR', 'in_chans': 3, 'img_size': 64, 'window_size': 8, 'img_range': 1., 'depths': [6] * 4,
         'embed_dim': 60, 'num_heads': [6] * 4, 'mlp_ratio': 2, 'upsampler': 'pixelshuffledirect',
         'resi_connection': '1conv'}, scale=4, patch=32, batch=4),
    'NAFNet-w32': Architecture(
        {'type': 'NAFNet', 'width': 32, 'enc_blk_nums': [1, 1, 1, 28], 'middle_blk_num': 1,
         'dec_blk_nums': [1, 1, 1, 1]}, scale=1, patch=128, batch=2),
    'FFA-Net': Architecture({'type': 'FFANet', 'gps': 3, 'blocks': 19}, scale=1, patch=64, batch=1),
}


def build(name: str, scale: int) -> nn.Module:
    """Build the network as BasicSR would, with a seeded initialisation."""
    importlib.import_module('mcir_plugin')  # first: an import of BasicSR needs it on today's torchvision
    build_network = importlib.import_module('basicsr.archs').build_network
    architecture = ARCHITECTURES[name]
    upscale = {} if architecture.scale == 1 else {'upscale': scale}
    torch.manual_seed(0)
    return build_network({**architecture.options, **upscale})
