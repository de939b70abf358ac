"""A random window of the images: what the contrastive term is computed on where all of them would be too dear."""
from __future__ import annotations

import torch
from torch import Tensor


class Window:
    """Draws one of the square windows that cover an image, the same for an output and its negatives.

    The windows stand side by side, so every pixel is scored equally often (where ``size`` does not divide the side,
    the windows overlap, and some pixels are scored more often; freely drawn positions would neglect the rim). The mean
    over the windows estimates the distance of whole images: it differs at the seams, where features see zeros instead
    of neighbours. The generator is its own, as that of :class:`Draw`.

    Args:
        size (int): Height and width in pixels, >= 1; images that are smaller are taken whole.
        seed (int): Seed of the generator. Default: 0.

    Raises:
        ValueError: If ``size`` is less than 1.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        if size < 1:
            raise ValueError(f'crop_size must be an integer >= 1, in pixels of the output; received {size}.')
        self.size = size
        self.generator = torch.Generator().manual_seed(seed)
        self._corner = (0, 0)

    def draw(self, image: Tensor) -> None:
        """Choose the window of the next step for images like ``image``, of shape (..., H, W)."""
        self._corner = tuple(self._start(side) for side in image.shape[-2:])

    def __call__(self, image: Tensor) -> Tensor:
        """Return the window of ``image``, a view of shape (..., size, size) or less where the image is smaller."""
        top, left = self._corner
        return image[..., top:top + self.size, left:left + self.size]

    def _start(self, side: int) -> int:
        count = -(-side // self.size)
        chosen = int(torch.randint(count, (), generator=self.generator))
        return round(chosen * (side - self.size) / (count - 1)) if count > 1 else 0

    def get_state(self) -> Tensor:
        """Return the state of the generator, a uint8 tensor."""
        return self.generator.get_state()

    def set_state(self, state: Tensor) -> None:
        """Restore the state of the generator."""
        self.generator.set_state(state.cpu())
