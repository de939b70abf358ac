"""Lets mmengine read its own checkpoints again.

Broken upstream: mmengine 0.10 loads checkpoints with a plain ``torch.load``, which since PyTorch 2.6 unpickles only
known types; the log buffers that mmengine keeps in every checkpoint are not among them, so no run can be resumed.
Applies with PyTorch >= 2.6. Can go when mmengine names its types itself. The protection stays on: only the buffer, the
parts of the NumPy arrays inside it, and the references to its own statistics are allowed; none runs code from the file.
"""
from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

STATISTICS = ('min', 'max', 'current', 'mean')
NAMESPACES = ('numpy._core.multiarray', 'numpy.core.multiarray')  # of NumPy 2 and 1: either may have written the file


def allow_resume() -> None:
    """Add mmengine's log buffer to the types that ``torch.load`` accepts. Safe to call twice."""
    if torch.__version__ >= (2, 6):
        named = [(_statistic, 'builtins.getattr')]
        torch.serialization.add_safe_globals([HistoryBuffer, *_numpy_parts(), *named])


def _statistic(owner: Any, name: str) -> Any:
    """Stand in for ``getattr``, by which a log buffer refers to its own statistics, and for nothing else."""
    if owner is not HistoryBuffer or name not in STATISTICS:
        raise pickle.UnpicklingError(f'This checkpoint asks for {name!r} of {owner!r}. mcir_plugin allows only the '
                                     f'statistics {", ".join(STATISTICS)} of mmengine\'s HistoryBuffer.')
    return getattr(owner, name)


def _numpy_parts() -> list[object]:
    """Return what arrays and scalars of floats and integers are pickled with."""
    rebuild, (scalar, _) = np.empty(0).__reduce__()[0], np.float64(0).__reduce__()
    kinds = [type(np.dtype(kind)) for kind in ('float64', 'float32', 'int64', 'int32', 'bool')]
    named = [(part, f'{space}.{part.__name__}') for part in (rebuild, scalar) for space in NAMESPACES]
    return [np.ndarray, np.dtype, *kinds, *named]
