"""What a network returned, and what of it a criterion was shown: the same tensor, a view, or a copy."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

Path = tuple[Any, ...]
Select = Callable[[Any], Tensor]
View = Callable[[Tensor], Tensor]


def leaves(output: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Yield every tensor of a nested output (tuples, lists, dictionaries) with the keys that lead to it."""
    if isinstance(output, Tensor):
        yield path, output
    elif isinstance(output, (tuple, list, dict)):
        items = output.items() if isinstance(output, dict) else enumerate(output)
        for key, part in items:
            yield from leaves(part, (*path, key))


def follow(output: Any, path: Path) -> Tensor:
    """Return the tensor at ``path`` of a nested output."""
    for key in path:
        output = output[key]
    return output


def view_of(leaf: Tensor, pred: Tensor) -> View | None:
    """Return a function that takes of another tensor the view that ``pred`` is of ``leaf``; None if it is none.

    Views share memory, so size, strides and offset say which elements in which order: a slice, a flattened video, a
    transposed image.

    Args:
        leaf (Tensor): An output of the network.
        pred (Tensor): What the criterion was shown.
    """
    if leaf.untyped_storage().data_ptr() != pred.untyped_storage().data_ptr() or not pred.numel():
        return None
    offset = pred.storage_offset() - leaf.storage_offset()
    if (leaf.shape, leaf.stride(), 0) == (pred.shape, pred.stride(), offset):
        return _itself
    dense = _reach(leaf) == leaf.numel()  # else there is memory between its elements, which pred must not show
    inside = dense and offset >= 0 and offset + _reach(pred) <= _reach(leaf)
    whole = (offset, pred.numel(), _reach(pred)) == (0, leaf.numel(), _reach(leaf))
    if not (inside or whole):
        return None
    size, stride, layout = pred.shape, pred.stride(), leaf.stride()

    def take(other: Tensor) -> Tensor:
        if other.stride() != layout:
            other = torch.empty_strided(other.shape, layout, dtype=other.dtype, device=other.device).copy_(other)
        return other.as_strided(size, stride, other.storage_offset() + offset)

    return take


@torch.no_grad()
def is_copy_of(leaf: Tensor, pred: Tensor) -> bool:
    """Return whether ``pred`` holds the values of ``leaf``, up to its own precision and clamping. Waits for the GPU."""
    exact = leaf.to(pred.dtype).clamp(pred.min(), pred.max())
    return torch.allclose(exact, pred, rtol=1e-2 if pred.dtype.itemsize < 4 or leaf.dtype.itemsize < 4 else 1e-5)


def _itself(other: Tensor) -> Tensor:
    return other


def _reach(tensor: Tensor) -> int:
    """Elements of memory from a tensor's first to its last."""
    return 1 + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
