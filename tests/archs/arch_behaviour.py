"""What every network must do, whatever it computes."""
from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn


def random_images(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Random numbers in [0, 1]; the global random state is left alone."""
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def seeded(build: Callable[..., nn.Module], seed: int = 0, **kwargs) -> nn.Module:
    """Build a network in float64 from a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build(**kwargs).double()


def gradients(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Gradients of all parameters after one backward pass; a parameter that had no part in it fails."""
    (network(x) * random_images(*x.shape, seed=1, dtype=x.dtype)).sum().backward()
    unused = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert not unused, f'no gradient, which DistributedDataParallel refuses: {unused}'
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def assert_no_random_numbers(network: nn.Module, x: Tensor) -> None:
    """A forward pass leaves the global random state alone."""
    before = torch.get_rng_state()
    with torch.no_grad():
        network(x)
    assert torch.equal(torch.get_rng_state(), before)


def assert_copies_are_independent(network: nn.Module, x: Tensor) -> None:
    """A deep copy computes the same, and changing it does not change the original."""
    network.eval()
    with torch.no_grad():
        expected, other = network(x), copy.deepcopy(network)
        assert torch.equal(other(x), expected)
        for parameter in other.parameters():
            parameter.add_(1)
        assert not torch.equal(other(x), expected)
        assert torch.equal(network(x), expected)


def assert_compiles(network: nn.Module, x: Tensor) -> None:
    """``torch.compile`` traces the network in one graph, forward and backward, with the same numbers."""
    compiled = torch.compile(network, fullgraph=True, backend='aot_eager')
    outputs = network(x), compiled(x)
    torch.testing.assert_close(*outputs[::-1])
    first, second = (torch.autograd.grad(output.square().sum(), list(network.parameters())) for output in outputs)
    torch.testing.assert_close(second, first)


def assert_autocasts(network: nn.Module, x: Tensor) -> None:
    """bfloat16 autocast on the CPU gives finite gradients and an output near that of float32."""
    network, x = network.float(), x.float()
    with torch.no_grad():
        expected = network(x)
    with torch.autocast('cpu', torch.bfloat16):
        output = network(x)
        assert output.dtype == torch.float32
        loss = (output - 0.5).abs().mean()
    loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())
    change = (expected - x).std()
    assert 0 < (output - expected).abs().max() < 0.2 * change
