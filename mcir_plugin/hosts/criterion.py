"""Where the term joins the total loss: a criterion around the model's own criterion.

Hosts offer no gap between forward and backward, but every model asks a criterion, such as ``self.cri_pix(output, gt)``.
It answers with its value plus the contrastive term, so no training step is written again. Shared by all hosts.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from mcir_plugin.contrast import ContrastTerm
from mcir_plugin.errors import McirError

Path = tuple[Any, ...]


class PairingError(McirError, RuntimeError):
    """The criterion was called with something that the network did not return."""


class Capture:
    """Remembers the latest call of the network inside a training step: inputs, keyword arguments, output."""

    def __init__(self, network: nn.Module) -> None:
        self.active = False
        self.clear()
        self._handle = network.register_forward_hook(self._remember, with_kwargs=True)

    def detach(self) -> None:
        """Let go of the network."""
        self._handle.remove()

    def clear(self) -> None:
        """Forget the call, so that neither inputs nor graph stay alive between steps."""
        self.inputs: tuple[Any, ...] = ()
        self.kwargs: dict[str, Any] = {}
        self.output: Any = None

    def select_like(self, pred: Tensor) -> Callable[[Any], Tensor] | None:
        """Return a function that picks from a negative's output what ``pred`` is in the network's; None if nothing is.

        The same tensor, or a view of its memory, is preferred; otherwise the first output of the same shape.
        """
        leaves = list(_leaves(self.output))
        same = [path for path, leaf in leaves if leaf is pred or _same_memory(leaf, pred)]
        alike = same or [path for path, leaf in leaves if leaf.shape == pred.shape]
        return (lambda output: _follow(output, alike[0])) if alike else None

    def shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of all tensors that the network returned."""
        return [tuple(leaf.shape) for _, leaf in _leaves(self.output)]

    def _remember(self, module: nn.Module, inputs: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if self.active:
            self.inputs, self.kwargs, self.output = inputs, kwargs, output


class StepContrast:
    """Carries one training step's state between the network's call, the criterion and the log.

    Args:
        term (ContrastTerm): Computes what is added.
        network (nn.Module): The network under training, as the model calls it.
    """

    def __init__(self, term: ContrastTerm, network: nn.Module) -> None:
        self.term = term
        self.capture = Capture(network)
        self.step = 0
        self._begin(0)

    def begin(self, step: int) -> None:
        """Start iteration ``step`` (counted from 1)."""
        self._begin(step)
        self.capture.active = True

    def finish(self, stepped: bool = True) -> list[int]:
        """Refresh the history after the optimizer step; returns the refreshed positions.

        Args:
            stepped (bool): Whether the optimizer did step; if not (gradient accumulation), nothing is refreshed.
                Default: True.

        Raises:
            PairingError: If the criterion was asked, but never about an output of the network.
        """
        self.capture.active = False
        self.capture.clear()
        if self.asked and not self.paired:
            raise PairingError(self.unpaired)
        waits = self.term.bank.refresh.needs_residual and self.pred is None
        return [] if waits or not stepped else self.term.update(self.step, self.pred, self.gt)

    def join(self, value: Tensor, pred: Tensor, gt: Tensor) -> Tensor:
        """Return the criterion's value plus the term; only the first call per step on an output of the network.

        Args:
            value (Tensor): The criterion's own value, 0-d.
            pred (Tensor): of shape (N, C, H, W) or (N, T, C, H, W).
            gt (Tensor): Ground truth of the same shape.
        """
        if not self.capture.active or self.paired:
            return value
        self.asked = True
        select = self.capture.select_like(pred)
        if select is None:
            self.unpaired = (f'The criterion was called with an image of shape {tuple(pred.shape)}, but the network '
                             f'returned {self.capture.shapes()}: no negative can be paired with it. Does the model '
                             'process the output of the network before the loss? Then spn_opt cannot be used with it.')
            return value
        self.paired, self.pred, self.gt = True, pred.detach(), gt
        term = self.term(pred, *self.capture.inputs, step=self.step, reference=value, select=select,
                         **self.capture.kwargs)
        self.value, self.added, self.total = value, term, value if term is None else value + term
        return self.total

    def join_first(self, value: Any, pred: Tensor, gt: Tensor) -> Any:
        """Return what a criterion returned, with the term added to it or to the first tensor of a tuple.

        Args:
            value (Any): A tensor (pixel losses) or a tuple of tensors and None (perceptual losses).
            pred (Tensor): As for :meth:`join`.
            gt (Tensor): As for :meth:`join`.
        """
        if not isinstance(value, tuple):
            return self.join(value, pred, gt)
        first = next((i for i, part in enumerate(value) if part is not None), None)
        return tuple(self.join(part, pred, gt) if i == first else part for i, part in enumerate(value))

    def _begin(self, step: int) -> None:
        self.step = step
        self.asked = self.paired = False
        self.unpaired = ''
        self.pred: Tensor | None = None
        self.gt: Tensor | None = None
        self.value: Tensor | None = None
        self.added: Tensor | None = None
        self.total: Tensor | None = None


class CompositeCriterion(nn.Module):
    """The model's criterion with the term added. Attributes of the wrapped criterion stay readable.

    Args:
        criterion (nn.Module): Returns a tensor (pixel losses) or a tuple of tensors and None (PerceptualLoss).
        contrast (StepContrast): Supplies the term.
    """

    def __init__(self, criterion: nn.Module, contrast: StepContrast) -> None:
        super().__init__()
        self.criterion = criterion
        self._contrast = (contrast, )  # in a tuple: the history is no part of the criterion's state

    def forward(self, pred: Tensor, target: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return what the criterion returns, with the term added to its (first) value."""
        return self._contrast[0].join_first(self.criterion(pred, target, *args, **kwargs), pred, target)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__('criterion'), name)


def _leaves(output: Any, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    if isinstance(output, Tensor):
        yield path, output
    elif isinstance(output, (tuple, list, dict)):
        items = output.items() if isinstance(output, dict) else enumerate(output)
        for key, part in items:
            yield from _leaves(part, (*path, key))


def _follow(output: Any, path: Path) -> Tensor:
    for key in path:
        output = output[key]
    return output


def _same_memory(leaf: Tensor, pred: Tensor) -> bool:
    return leaf.numel() == pred.numel() and leaf.data_ptr() == pred.data_ptr() and leaf.numel() > 0


