"""What is recorded of the published networks in ``facts/``, and how it is used.

Of each network: constructor arguments, keys and shapes of its state dict, number of parameters, for some the standard
deviations of the tensors of one untrained network, and for some its outputs in float64. For these every parameter was
filled by a rule of its name and shape (:func:`fill`), and the input is random numbers seeded by its shape
(:func:`image`). Inputs and outputs are in the range of the published code: for DehazeFormer [-1, 1], for FFA-Net the
normalised image.
"""
from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

FOLDER = Path(__file__).with_name('facts')
TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-6}  # the originals' own noise in float32 is up to 2.1e-5


def names(arch: str) -> list[str]:
    """Names of the records of ``ffanet``, ``nafnet``, ``dehazeformer`` or ``idt``."""
    return sorted(path.stem for path in FOLDER.glob(f'{arch}_*.json'))


@dataclass(frozen=True)
class Facts:
    """The record of one network.

    Attributes:
        shapes (dict): Key of the state dict to shape, buffers included.
        buffers (list): Keys of the buffers.
        n_params (int): Number of parameters.
        kwargs (dict): Constructor arguments.
        gain (float): For :func:`fill`.
        outputs (list): Shapes of the inputs for which there are outputs.
        init_std (dict): Key to standard deviation in one untrained network; empty for most.
    """

    name: str
    arch: str
    kwargs: dict[str, Any]
    n_params: int
    gain: float
    outputs: list[list[int]]
    buffers: list[str]
    init_std: dict[str, float]
    shapes: dict[str, list[int]]

    def golden(self) -> dict[tuple[int, ...], Tensor]:
        """Return the recorded outputs in float64 by the shape of the input."""
        with np.load(FOLDER / f'golden64_{self.name}.npz') as saved:
            return {tuple(shape): torch.from_numpy(saved['out_' + 'x'.join(map(str, shape))]) for shape in self.outputs}


def load(name: str) -> Facts:
    """Read a record."""
    return Facts(name, **json.loads((FOLDER / f'{name}.json').read_text()))


def on_meta(build: Callable[..., nn.Module], **kwargs: Any) -> nn.Module:
    """Build a network without memory for its parameters: enough for keys and shapes."""
    with torch.device('meta'):
        return build(**kwargs)


def assert_same_layout(network: nn.Module, facts: Facts) -> None:
    """The network has the published keys, shapes, buffers and number of parameters."""
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == facts.shapes
    assert set(network.state_dict()) - dict(network.named_parameters()).keys() == set(facts.buffers)
    assert sum(p.numel() for p in network.parameters()) == facts.n_params


def assert_same_outputs(network: nn.Module, facts: Facts, to_input: Callable[[Tensor], Tensor] = lambda x: x,
                        to_published: Callable[[Tensor], Tensor] = lambda y: y,
                        tolerances: Mapping[torch.dtype, float] = TOLERANCES) -> None:
    """The filled network gives the recorded outputs, in float32 and in float64.

    Args:
        network (nn.Module): Is filled, put into evaluation mode, and left in float64.
        facts (Facts): The record.
        to_input (Callable): From an image in [0, 1] to what the network takes.
        to_published (Callable): From what the network returns to the range of the published code.
        tolerances (Mapping): Data types to test in, and the largest difference allowed in each.
    """
    fill(network, facts.gain).eval()
    golden = facts.golden()
    assert golden
    for dtype, tolerance in tolerances.items():
        network.to(dtype)
        for shape, expected in golden.items():
            with torch.no_grad():
                output = to_published(network(to_input(image(shape).to(dtype))))
            assert output.dtype == dtype and output.shape == expected.shape
            difference = (output.double() - expected).abs().max().item()
            assert difference <= tolerance, f'{facts.name} {dtype} {shape}: {difference:.1e}'


def image(shape: tuple[int, ...]) -> Tensor:
    """Random numbers in [0, 1], seeded by the shape, float32."""
    seed = zlib.crc32(('input:' + 'x'.join(map(str, shape))).encode())
    return torch.from_numpy(np.random.RandomState(seed).random_sample(shape).astype(np.float32))


@torch.no_grad()
def fill(network: nn.Module, gain: float) -> nn.Module:
    """Fill every parameter by the rule of the record: a function of its name and shape alone."""
    for key, parameter in network.named_parameters():
        parameter.copy_(_value(key, tuple(parameter.shape), gain))
    return network


def _value(key: str, shape: tuple[int, ...], gain: float) -> Tensor:
    noise = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(int(np.prod(shape))).reshape(shape)
    *_, parent, leaf = ('', *key.split('.'))
    fan_in = np.sqrt(np.prod(shape[1:]))
    if leaf in ('beta', 'gamma', 'relative_position_bias_table'):
        value = 0.5 * noise
    elif parent.startswith('norm') and leaf == 'weight':
        value = 1 + 0.1 * noise
    elif parent in ('meta1', 'meta2'):
        value = 0.1 * noise + (parent == 'meta1' and leaf == 'bias')
    elif len(shape) >= 2 and ('.QK.' in key or '.attn.meta.' in key):
        value = 1.5 * noise / fan_in
    elif len(shape) >= 2 and not parent.startswith('norm'):
        value = gain * noise / fan_in
    else:
        value = 0.1 * noise
    return torch.from_numpy(value.astype(np.float32))
