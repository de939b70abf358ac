"""Which of the N negatives take part in a step."""
from __future__ import annotations

import torch
from torch import Tensor


class Draw:
    """All N negatives, or k of them drawn at random without replacement.

    The mean over k drawn negatives is an unbiased estimate of the mean over all N, at k / N of the cost. The draw has a
    random generator of its own: the same seed gives the same draws on every rank, and the global random state, which
    shuffles and crops the training data, is left alone.

    Args:
        num_negatives (int): N.
        negatives_per_iter (int | str): ``'all'`` or k in 1..N. Default: ``'all'``.
        seed (int): Seed of the generator. Default: 0.

    Raises:
        ValueError: If k is neither ``'all'`` nor in 1..N.
    """

    def __init__(self, num_negatives: int, negatives_per_iter: int | str = 'all', seed: int = 0) -> None:
        allowed = range(1, num_negatives + 1)
        if negatives_per_iter != 'all' and negatives_per_iter not in allowed:
            raise ValueError(f"negatives_per_iter must be 'all' or an integer from 1 to {num_negatives}, the number of "
                             f'negatives; received {negatives_per_iter!r}.')
        self.num_negatives = num_negatives
        self.count = num_negatives if negatives_per_iter == 'all' else int(negatives_per_iter)
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self) -> tuple[int, ...]:
        """Return the sorted positions that take part in this step."""
        if self.count == self.num_negatives:
            return tuple(range(self.num_negatives))
        return tuple(sorted(torch.randperm(self.num_negatives, generator=self.generator)[:self.count].tolist()))

    def get_state(self) -> Tensor:
        """Return the state of the generator, a uint8 tensor."""
        return self.generator.get_state()

    def set_state(self, state: Tensor) -> None:
        """Restore the state of the generator."""
        self.generator.set_state(state.cpu())
