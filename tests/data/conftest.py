"""A many-to-one data set in small, and a function that builds data sets as BasicSR's loop does."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from data_pictures import coordinates, write

import mcir_plugin  # noqa: F401  (first: it mends the import of basicsr)


@pytest.fixture(scope='session', autouse=True)
def one_thread() -> None:
    """Small tensors run faster on one thread."""
    torch.set_num_threads(1)


@pytest.fixture
def build() -> Callable[..., Any]:
    """Return ``build(block) -> Dataset`` through BasicSR's own function."""
    from basicsr.data import build_dataset
    return lambda block: build_dataset({'name': 'Tiny', 'type': 'PairedRestorationDataset', **block})


@pytest.fixture
def hazy(tmp_path: Path) -> dict[str, Any]:
    """A training block: 3 clear images, 4 hazy ones each, of 40 x 60 pixels. Blue is 200 + scene, or 10 * scene + i."""
    clear = {f'{scene}.png': coordinates(40, 60, 200 + scene) for scene in (1, 2, 3)}
    hazes = {f'{scene}_{i}_0.{i}.png': coordinates(40, 60, 10 * scene + i) for scene in (1, 2, 3) for i in range(1, 5)}
    return {'phase': 'train', 'scale': 1, 'dataroot_gt': write(tmp_path / 'clear', clear), 'pair_by': 'prefix(_)',
            'dataroot_lq': write(tmp_path / 'hazy', hazes), 'io_backend': {'type': 'disk'}}
