"""Independent derivations that the data preparation is compared with."""
from __future__ import annotations

import lmdb
import numpy as np
from PIL import Image


def cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -0.5, the one of MATLAB's imresize."""
    a, x = -0.5, np.abs(x)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def resize_matrix(length: int, scale: int) -> np.ndarray:
    """The matrix that takes one side of ``length`` pixels to ``length / scale``, as MATLAB defines it.

    Pixel centres are aligned; the kernel is stretched by the scale against aliasing; weights sum to one; beyond the
    edges the image is mirrored with its edge pixel repeated (symmetric padding).
    """
    matrix = np.zeros((length // scale, length))
    for row in range(length // scale):
        centre = (row + 0.5) * scale - 0.5
        taps = np.arange(int(np.floor(centre)) - 3 * scale, int(np.ceil(centre)) + 3 * scale + 1)
        weights = cubic((taps - centre) / scale)
        folded = np.mod(taps, 2 * length)
        folded = np.where(folded < length, folded, 2 * length - 1 - folded)
        np.add.at(matrix[row], folded, weights / weights.sum())
    return matrix


def matlab_bicubic(image: np.ndarray, scale: int) -> np.ndarray:
    """Bicubic reduction of (H, W) or (H, W, C), range [0, 255], in float64, not rounded."""
    rows, columns = resize_matrix(image.shape[0], scale), resize_matrix(image.shape[1], scale)
    return np.einsum('ih,hw...,jw->ij...', rows, image.astype(np.float64), columns)


def assert_rounded(found: np.ndarray, exact: np.ndarray) -> None:
    """``found`` (uint8) is ``exact`` clipped and rounded; at a tie within float32 accuracy both neighbours will do."""
    assert found.dtype == np.uint8
    assert found.shape == exact.shape
    distance = np.abs(found - exact.clip(0, 255))
    assert distance.max() <= 0.5 + 1e-3


def read_lmdb(path: object) -> dict[str, np.ndarray]:
    """All images of an LMDB by key, decoded by Pillow: grey (H, W) or RGB (H, W, 3)."""
    import io

    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as transaction:
        return {key.decode(): np.asarray(Image.open(io.BytesIO(png))) for key, png in transaction.cursor()}


def photo(height: int, width: int, seed: int, channels: int = 3) -> np.ndarray:
    """A made-up picture with smooth shading, hard edges and grain: RGB(A) uint8, or grey with ``channels=0``."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    planes = []
    for _ in range(max(channels, 1)):
        waves = np.sin(x / random.uniform(3, 20)) + np.cos(y / random.uniform(3, 20))
        edges = 2.0 * ((x * random.uniform(0.2, 1) + y) % random.integers(15, 40) < 8)
        planes.append(128 + 40 * waves + 30 * edges + random.normal(0, 6, (height, width)))
    stacked = np.stack(planes, -1).clip(0, 255).astype(np.uint8)
    return stacked if channels else stacked[..., 0]
