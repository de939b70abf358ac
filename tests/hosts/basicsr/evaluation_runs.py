"""Small runs of ``basicsr test``, and the numbers that they must print, computed without BasicSR's validation."""
from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from basicsr.archs import build_network
from basicsr.utils import set_random_seed

PSNR = {'psnr': {'type': 'calculate_psnr_rgb_float'}}


@dataclass
class Evaluated:
    """A finished test."""

    folder: Path
    log: str
    errors: str

    def table(self, dataset: str = 'Patches') -> dict[str, dict[str, float]]:
        """Return the CSV file: values by image."""
        with open(self.folder / f'metrics_{dataset}.csv', newline='') as file:
            rows = list(csv.DictReader(file))
        return {row.pop('image'): {name: float(value) for name, value in row.items()} for row in rows}

    def said(self, name: str) -> tuple[str, float]:
        """Return what stands beside a number in the log, and the number."""
        found = re.search(rf'^\t{name} \((.*)\): (\S+)$', self.log, re.M)
        return found[1], float(found[2])


def files(pairs: dict[str, str]) -> dict[str, Any]:
    """Return the data set options of LMDB pairs, read from the files beside them."""
    return {'name': 'Patches', 'type': 'PairedImageDataset', 'io_backend': {'type': 'disk'},
            **{name: path.removesuffix('.lmdb') for name, path in pairs.items()}}


def run_options(options: Any, folder: Path, scale: int, metrics: dict[str, Any], **val: Any) -> dict[str, Any]:
    """Return the options of a test with a tiny network, whose weights are written to ``folder``."""
    train = options(scale, spn=False)
    data = {key: value for key, value in train['datasets']['train'].items() if key.startswith('dataroot')}
    opt = {'name': 'tiny', 'model_type': 'SRModel', 'scale': scale, 'num_gpu': 0, 'manual_seed': 0,
           'datasets': {'test_1': files(data)}, 'network_g': train['network_g'],
           'path': {'pretrain_network_g': str(folder / 'net.pth'), 'param_key_g': 'params', 'strict_load_g': True},
           'val': {'metrics': metrics, **val}}
    torch.save({'params': network(opt).state_dict()}, folder / 'net.pth')
    return opt


def network(opt: dict[str, Any], seed: int = 3) -> torch.nn.Module:
    """Return a network with weights of its own, on which the output is a recognisable image."""
    set_random_seed(seed)
    return build_network(dict(opt['network_g'])).eval()


def image(path: Path) -> np.ndarray:
    """Read an image: RGB in [0, 1], float32."""
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1]).astype(np.float32) / 255


def outputs(opt: dict[str, Any], net: torch.nn.Module | None = None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return output, not clamped, and ground truth of every image, (H, W, 3), computed image by image."""
    data, net = opt['datasets']['test_1'], net or network(opt)
    found = {}
    for path in sorted(Path(data['dataroot_lq']).glob('*.png')):
        with torch.no_grad():
            out = net(torch.from_numpy(image(path)).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
        found[path.stem] = out, image(Path(data['dataroot_gt'], path.name))
    return found


def psnr(out: np.ndarray, gt: np.ndarray) -> float:
    """PSNR of clamped float images, in float64."""
    return -10 * math.log10(np.mean((np.clip(out, 0, 1).astype(np.float64) - gt)**2))


def psnr_rounded(out: np.ndarray, gt: np.ndarray) -> float:
    """The same after rounding to 8 bits."""
    return psnr(np.rint(np.clip(out, 0, 1) * 255) / 255, gt)
