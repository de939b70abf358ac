"""What a convolutional network for training must do, beside what ``arch_behaviour`` asks of every network."""
from __future__ import annotations

import math

import torch
from arch_behaviour import gradients
from arch_facts import Facts
from torch import Tensor, nn


def assert_every_parameter_learns(network: nn.Module, x: Tensor, steps: int = 1) -> None:
    """No gradient is ever missing, and within some steps of AdamW every parameter has had one that is not zero."""
    optimizer = torch.optim.AdamW(network.parameters(), 1e-2)
    still = {name for name, _ in network.named_parameters()}
    for _ in range(steps):
        still -= {name for name, gradient in gradients(network, x).items() if gradient.any()}
        optimizer.step()
        optimizer.zero_grad()
    assert not still


@torch.no_grad()
def assert_layouts_and_batches(network: nn.Module, x: Tensor) -> None:
    """Strides of the input or of the weights, and the other images of a batch, make no difference; input is kept."""
    before, expected = x.clone(), network(x)
    assert torch.equal(x, before)
    strided = x.transpose(2, 3).contiguous().transpose(2, 3)
    assert not strided.is_contiguous()
    same = {'strided': network(strided), 'channels_last': network(x.to(memory_format=torch.channels_last)),
            'one by one': torch.cat([network(image) for image in x.split(1)])}
    same['channels_last weights'] = network.to(memory_format=torch.channels_last)(x)
    for name, output in same.items():
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-10, msg=name)


def assert_default_initialisation(network: nn.Module) -> None:
    """Convolutions are uniform in +-1/sqrt(fan_in), PyTorch's default: bound, mean and standard deviation."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            bound = 1 / math.sqrt(module.weight[0].numel())
            values = [parameter.detach() for parameter in (module.weight, module.bias) if parameter is not None]
            assert all(value.abs().max() <= bound for value in values), name
            deviations = 5 / math.sqrt(module.weight.numel())
            assert abs(values[0].mean() / bound * math.sqrt(3)) < deviations, name
            assert abs(values[0].std() / bound * math.sqrt(3) - 1) < deviations, name


def assert_recorded_spread(network: nn.Module, facts: Facts) -> None:
    """Large tensors of the untrained network spread as those of the published code did; constants are constant."""
    state = network.state_dict()
    assert facts.init_std.keys() == state.keys()
    for name, recorded in facts.init_std.items():
        std, count = state[name].std(correction=0).item(), state[name].numel()
        if recorded == 0:
            assert std == 0, name
        elif count >= 500:
            assert abs(std / recorded - 1) < 4 / math.sqrt(count) + 0.005, name
