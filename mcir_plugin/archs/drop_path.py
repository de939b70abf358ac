"""Drop-path, also called stochastic depth (Huang et al., ECCV 2016)."""
from __future__ import annotations

from torch import Tensor, nn


class DropPath(nn.Module):
    """In training, set samples to zero at random and divide the others by the share that is kept.

    The same as ``torchvision.ops.StochasticDepth`` by row; importing that takes longer than importing PyTorch.

    Args:
        rate (float): Probability of being dropped, at least 0 and below 1.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """From (N, ...) to the same shape. Random numbers are drawn only in training with a rate above 0."""
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        return x * (x.new_empty(x.shape[:1]).bernoulli_(keep) / keep).view(-1, *[1] * (x.ndim - 1))

    def extra_repr(self) -> str:
        """Say the rate."""
        return f'rate={self.rate:g}'
