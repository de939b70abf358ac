"""Pictures whose pixels tell where they come from, written without the package: to folders or to LMDBs."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import lmdb
import numpy as np
from PIL import Image


def coordinates(height: int, width: int, label: int = 0) -> np.ndarray:
    """RGB uint8: red is the row, green the column (both below 256), blue the label."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.full_like(rows, label)], -1).astype(np.uint8)


def write(folder: Path, pictures: dict[str, np.ndarray]) -> str:
    """Save pictures under ``folder`` by their relative path with suffix; returns the folder."""
    for name, pixels in pictures.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return str(folder)


def write_lmdb(folder: Path, pictures: dict[str, np.ndarray], sizes: dict[str, str] | None = None) -> str:
    """Save pictures by key into an LMDB as BasicSR lays it out; ``sizes`` falsifies what is on record."""
    folder.mkdir(parents=True)
    lines = []
    with lmdb.open(str(folder), map_size=2**26) as environment, environment.begin(write=True) as transaction:
        for key, pixels in pictures.items():
            Image.fromarray(pixels).save(folder / 'one.png')
            transaction.put(key.encode(), (folder / 'one.png').read_bytes())
            size = (sizes or {}).get(key, f'({pixels.shape[0]},{pixels.shape[1]},3)')
            lines.append(f'{key}.png {size} 1\n')
    (folder / 'one.png').unlink()
    (folder / 'meta_info.txt').write_text(''.join(lines))
    return str(folder)


def named(names: Iterable[str], height: int = 12, width: int = 16) -> dict[str, np.ndarray]:
    """One picture per name, all of different labels."""
    return {name: coordinates(height, width, label) for label, name in enumerate(names)}


def as_rgb(tensor) -> np.ndarray:
    """A sample's tensor (C, H, W) back as uint8 (H, W, C)."""
    return (tensor * 255).round().numpy().astype(np.uint8).transpose(1, 2, 0)
