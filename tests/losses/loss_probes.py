"""Looking into a running loss: what is alive when the next negative is asked for, which operations are called."""
import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten  # tree_leaves is not in torch 2.1


def images(*shape, seed=0):
    """Random images in [0, 1]."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def require_on_cpu(dtype):
    """Skip where this torch has no convolution of the type on a CPU."""
    try:
        torch.nn.functional.conv2d(torch.rand(1, 1, 3, 3).to(dtype), torch.rand(1, 1, 3, 3).to(dtype))
    except RuntimeError:
        pytest.skip(f'torch {torch.__version__} has no convolution of {dtype} on a CPU')


class Recorded:
    """Makes negatives, and fails when anything of an earlier one is alive as the next is asked for."""

    def __init__(self, criterion, count):
        self.left = list(range(count))
        self.alive = []
        criterion.extractor.register_forward_hook(self.remember)

    def remember(self, module, inputs, features):
        if not inputs[0].requires_grad and self.alive:
            self.alive += [weakref.ref(feature) for feature in features]

    def __iter__(self):
        return self

    def __next__(self):
        assert [reference() for reference in self.alive if reference() is not None] == []
        if not self.left:
            raise StopIteration
        negative = images(1, 3, 8, 8, seed=self.left.pop(0))
        self.alive.append(weakref.ref(negative))
        return negative


class Made(TorchDispatchMode):
    """Counts, of the larger tensors that operations have made, those that are still alive whenever it is asked."""

    def __init__(self, size):
        super().__init__()
        self.size = size
        self.made = []
        self.alive = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **kwargs or {})
        self.made += [weakref.ref(tensor) for tensor in tree_flatten(output)[0]
                      if isinstance(tensor, torch.Tensor) and tensor.numel() >= self.size]
        return output

    def ask(self, *_):
        self.alive.append(len({id(tensor) for ref in self.made if (tensor := ref()) is not None}))

    def asking(self, count, shape):
        """Yield negatives, and count before each."""
        for seed in range(count):
            self.ask()
            yield images(*shape, seed=seed)
        self.ask()


class Operations(TorchDispatchMode):
    """Notes the name of every operation on tensors."""

    READING = frozenset({'_local_scalar_dense', 'item', 'nonzero', 'is_nonzero', 'equal'})
    COPYING = frozenset({'lift_fresh', 'lift_fresh_copy', 'scalar_tensor'})  # of numbers that Python holds

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **kwargs or {})
