"""Features of any network at named layers, such as those of a discriminator, instead of a VGG's."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from mcir_plugin.config.errors import did_you_mean
from mcir_plugin.losses.inputs import LossInputError


class _AllSeenError(Exception):
    """Leaves a forward pass whose remaining layers nobody asked for."""


class NetworkFeatures(nn.Module):
    """Outputs of named modules of a network, without any change to the network.

    Names are dotted paths as in ``named_modules()``. The output is that of the module itself: where a network applies
    its activations as functions, such as BasicSR's discriminators, features are those before the activation. Of a
    module that is called several times in a pass the first call counts. The pass ends once all layers were reached.

    Images reach the network as they are, in its own dtype, also under autocast; images of one channel are repeated
    if its first convolution takes three. Whatever mode the network is in, it runs in eval mode here: batch
    normalisation uses its running statistics and does not change them, and spectral normalisation stays as it is.

    Args:
        network (nn.Module): Takes images (N, C, H, W).
        layers (Iterable[str]): Names of the modules whose outputs are returned; each must be one tensor, batch first.
        range_norm (bool): Images are in [-1, 1]; they are not rescaled, but losses need to know. Default: False.
        frozen (bool): Switch the gradient of its parameters and its training mode off for good. False is for a network
            that somebody else trains: nothing of it is changed, and features follow its weights. Default: True.

    Raises:
        LossInputError: The network has no module of such a name, or no name is given.
    """

    def __init__(self, network: nn.Module, layers: Iterable[str], range_norm: bool = False,
                 frozen: bool = True) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.range_norm = range_norm
        self.frozen = frozen
        _check_names(network, self.layers)
        self.network = network.requires_grad_(False) if frozen else network
        self.train(False)

    @property
    def in_channels(self) -> int | None:
        """Number of channels that the first convolution takes; None without one."""
        return next((module.in_channels for module in self.network.modules() if isinstance(module, nn.Conv2d)), None)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute the features of a batch.

        Args:
            x (Tensor): of shape (N, C, H, W), or (N, T, C, H, W) with the frames folded into the batch.

        Returns:
            list[Tensor]: One tensor per layer, in that order.

        Raises:
            LossInputError: The network refuses such images, or does not call one of the layers.
            TypeError: The image is not floating point.
        """
        if not x.is_floating_point():
            raise TypeError(f'Features need floating point images, received {x.dtype}.')
        seen: dict[str, Tensor] = {}
        with ExitStack() as stack:
            stack.enter_context(_evaluating(self.network))
            stack.enter_context(torch.autocast(x.device.type, enabled=False))
            for name in self.layers:
                hook = self.network.get_submodule(name).register_forward_hook(partial(self._note, seen, name))
                stack.callback(hook.remove)
            self._run(self._prepared(x))
        missing = [name for name in self.layers if name not in seen]
        if missing:
            raise LossInputError(f'{type(self.network).__name__} did not call its layer {missing[0]!r} for images of '
                                 f'shape {tuple(x.shape)}: choose layers that take part in every pass.')
        return [seen[name] for name in self.layers]

    def train(self, mode: bool = True) -> NetworkFeatures:
        """A frozen network stays in eval mode; one that somebody else trains keeps the mode that it is in."""
        self.training = False
        if self.frozen:
            self.network.train(False)
        return self

    def compute_in(self, dtype: torch.dtype) -> NetworkFeatures:
        """Let a frozen network compute in ``dtype``; one that somebody else trains keeps its precision."""
        if self.frozen:
            self.network.to(dtype)
        return self

    def _prepared(self, x: Tensor) -> Tensor:
        x = x.flatten(0, 1) if x.dim() == 5 else x
        if x.shape[1] == 1 and self.in_channels == 3:
            x = x.expand(-1, 3, -1, -1)
        weights = (tensor for tensor in self.network.parameters() if tensor.is_floating_point())
        return x.to(next(weights, x).dtype)

    def _run(self, x: Tensor) -> None:
        try:
            self.network(x)
        except _AllSeenError:
            pass
        except AssertionError as error:  # how BasicSR's networks say that an image does not fit
            raise LossInputError(f'{type(self.network).__name__} as feature extractor refuses images of shape '
                                 f'{tuple(x.shape)}: {error} Train on such patches, or choose history_opt.crop_size '
                                 'or another network.') from error

    def _note(self, seen: dict[str, Tensor], name: str, module: nn.Module, inputs: object, output: object) -> None:
        if not isinstance(output, Tensor):
            raise LossInputError(f'Layer {name!r} of {type(self.network).__name__} returns a {type(output).__name__}, '
                                 'not one tensor: choose another layer.')
        if name not in seen:
            seen[name] = output.clone()  # what follows may work in place
        if len(seen) == len(self.layers):
            raise _AllSeenError


def _check_names(network: nn.Module, layers: tuple[str, ...]) -> None:
    known = [name for name, _ in network.named_modules() if name]
    unknown = [name for name in layers if name not in known]
    if unknown or not layers:
        what = (f'has no layer {unknown[0]!r}{did_you_mean(unknown[0], known)}' if unknown else
                'was given no layer to return')
        raise LossInputError(f'layer_weights: {type(network).__name__} {what}; its layers are {", ".join(known)}.')


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Inside the block, every module is in eval mode; afterwards each is in the mode that it was in."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
