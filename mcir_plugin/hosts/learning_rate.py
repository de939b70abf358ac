"""The learning rate of a network, relative to its initial value."""
from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.optim import Optimizer


def relative_lr(optimizers: Iterable[Optimizer], network: nn.Module) -> float:
    """Return lr / lr_0 of the parameter group that holds the first trained parameter of a network.

    lr_0 is ``initial_lr``, which schedulers of PyTorch and mmengine leave in the group and checkpoints keep; without a
    scheduler it is the value that the optimizer was made with.

    Args:
        optimizers (Iterable[Optimizer]): Searched in this order.
        network (nn.Module): The network under training.

    Raises:
        ValueError: If no optimizer trains a parameter of the network.
    """
    own = {id(parameter) for parameter in network.parameters() if parameter.requires_grad}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            if any(id(parameter) in own for parameter in group['params']):
                initial = group.get('initial_lr', optimizer.defaults['lr'])
                return float(group['lr']) / float(initial) if initial else 0.0
    raise ValueError(f'No optimizer trains a parameter of {type(network).__name__}, so there is no learning rate that '
                     'the weight could follow.')
