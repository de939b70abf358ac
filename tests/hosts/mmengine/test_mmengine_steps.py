"""Steps are counted at the optimizer that trains the network."""
import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict

from mcir_plugin.config import ConfigError
from mcir_plugin.hosts.mmengine.steps import StepCounter


def wrapped(module, **options):
    return OptimWrapper(torch.optim.SGD(module.parameters(), lr=0.1), **options)


@pytest.fixture
def networks():
    return torch.nn.Conv2d(3, 3, 1), torch.nn.Conv2d(3, 1, 1)


def test_only_the_optimizer_of_the_network_counts(networks):
    generator, critic = networks
    wrappers = OptimWrapperDict(critic=wrapped(critic), generator=wrapped(generator, accumulative_counts=2))
    counter = StepCounter(wrappers, generator)
    assert counter.accumulative_counts == 2
    wrappers['critic'].update_params(critic(torch.ones(1, 3, 2, 2)).mean())
    assert not counter.taken() and counter.count == 0
    taken = []
    for _ in range(4):
        wrappers['generator'].update_params(generator(torch.ones(1, 3, 2, 2)).mean())
        taken.append(counter.taken())
    assert taken == [False, True, False, True] and counter.count == 2


def test_detached_and_resumed(networks):
    generator, _ = networks
    wrapper = wrapped(generator)
    counter = StepCounter(wrapper, generator)
    counter.resume(40)
    wrapper.update_params(generator(torch.ones(1, 3, 2, 2)).mean())
    assert counter.taken() and counter.count == 41
    counter.detach()
    wrapper.update_params(generator(torch.ones(1, 3, 2, 2)).mean())
    assert not counter.taken() and counter.count == 41


def test_network_that_nobody_trains(networks):
    generator, critic = networks
    with pytest.raises(ConfigError, match='no optimizer trains a parameter of this Conv2d'):
        StepCounter(wrapped(critic), generator)
