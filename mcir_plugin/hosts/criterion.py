"""Where the term joins the total loss: a criterion around the model's own criterion.

Hosts offer no gap between forward and backward, but every model asks a criterion, such as ``self.cri_pix(output, gt)``.
It answers with its value plus the contrastive term, so no training step is written again. Shared by all hosts.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from mcir_plugin.contrast import ContrastTerm
from mcir_plugin.errors import McirError
from mcir_plugin.hosts.diagnosis import Trace
from mcir_plugin.hosts.outputs import Path, Select, View, follow, is_copy_of, leaves, view_of
from mcir_plugin.hosts.weighting import with_weight


class PairingError(McirError, RuntimeError):
    """The criterion was called with something that the network did not return."""


class Call(NamedTuple):
    """One call of the network."""

    inputs: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any


class Capture:
    """Remembers the calls of the network inside a training step, and finds the one that an image comes from."""

    def __init__(self, network: nn.Module) -> None:
        self.active = False
        self.calls: list[Call] = []
        self._asked = 0  # how often in this step
        self._copied: set[tuple[int, Path]] = set()  # which question was about a processed copy of which output
        self._handle = network.register_forward_hook(self._remember, with_kwargs=True)

    def detach(self) -> None:
        """Let go of the network."""
        self._handle.remove()

    def clear(self) -> None:
        """Forget the calls, so that neither inputs nor graphs stay alive between steps."""
        self.calls.clear()
        self._asked = 0

    def find(self, pred: Tensor) -> tuple[Call, Select] | None:
        """Return the call that made ``pred``, and what picks the same from a negative's output; None if none did.

        ``pred`` is an output itself, a view of one (a frame, a flattened video, a transposed image), which is taken of
        the negatives as well, or a copy of one in another precision or clamped. A copy is compared once; afterwards the
        same question of a step (the second, say) is taken for the same.
        """
        self._asked += 1
        outputs = [(call, path, leaf) for call in reversed(self.calls) for path, leaf in leaves(call.output)]
        for call, path, leaf in outputs:
            if (view := view_of(leaf, pred)) is not None:
                return call, partial(_pick, path=path, view=view)
        for call, path, leaf in outputs:
            if leaf.shape == pred.shape and ((self._asked, path) in self._copied or is_copy_of(leaf, pred)):
                self._copied.add((self._asked, path))
                return call, partial(_pick, path=path)
        return None

    def shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of all tensors that the network returned."""
        return [tuple(leaf.shape) for call in self.calls for _, leaf in leaves(call.output)]

    def _remember(self, module: nn.Module, inputs: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if self.active:
            self.calls.append(Call(inputs, kwargs, output))


class StepContrast:
    """Carries one training step's state between the network's call, the criterion and the log.

    Args:
        term (ContrastTerm): Computes what is added.
        network (nn.Module): The network under training, as the model calls it.
        lr_ratio (Callable | None): Returns the learning rate over its initial value, for a schedule that follows it.
            Default: None.
        inspect (Callable | None): Called when the term has joined the criterion, before any gradient is computed.
            Default: None.
    """

    def __init__(self, term: ContrastTerm, network: nn.Module, lr_ratio: Callable[[], float] | None = None,
                 inspect: Callable[[], None] | None = None) -> None:
        self.term = term
        self.capture = Capture(network)
        self.step = 0
        self._lr_ratio = lr_ratio
        self._inspect = inspect
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
        bank = self.term.bank
        waits = bank is not None and bank.refresh.needs_residual and self.pred is None
        return [] if waits or not stepped else self.term.update(self.step, self.pred, self.gt)

    def weigh(self, criterion: nn.Module, pred: Tensor, gt: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
              ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of a criterion, with the pixel weight of this step if it is asked about the output.

        Args:
            criterion (nn.Module): About to be called; :meth:`join` follows.
            pred (Tensor): As for :meth:`join`.
            gt (Tensor): As for :meth:`join`.
            args (tuple): Positional arguments of the criterion.
            kwargs (dict): Its keyword arguments.
        """
        if self.term.uncertainty is None or not self.capture.active or self.paired:
            return args, kwargs
        if not self._score(pred, gt) or self.term.pixel_weight is None:
            return args, kwargs
        self.weight = self.term.pixel_weight
        return with_weight(criterion, args, kwargs, self.weight)

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
        if not self._score(pred, gt):
            return value
        self.paired, self.pred, self.gt = True, pred.detach(), gt
        (_, term), self._scored = self._scored, None
        term = None if term is None else self.term.bounded(term, value, pred)
        self.value, self.added, self.total = value, term, value if term is None else value + term
        if self._inspect is not None:
            self._inspect()
        return self.total

    def trace(self) -> Trace:
        """Return what this step leaves behind, to look into it later."""
        inputs, kwargs, select = self._called
        value, added = (part if part is None else part.detach() for part in (self.value, self.added))
        return Trace(self.step, inputs, kwargs, select, self.pred, self.gt, value, added,
                     () if self.term.bank is None else self.term.bank.drawn)

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

    def _score(self, pred: Tensor, gt: Tensor) -> bool:
        """Have the term computed for ``pred``, once; returns False if the network did not return it."""
        if self._scored is not None and self._scored[0] is pred:
            return True
        found = self.capture.find(pred)
        if found is None:
            self.unpaired = (f'The criterion was called with an image of shape {tuple(pred.shape)}, but the network '
                             f'returned {self.capture.shapes()}: no negative can be paired with it. Does the model '
                             'process the output of the network before the loss? Then the contrastive loss cannot '
                             'be used with it.')
            return False
        call, select = found
        self._called = call.inputs, call.kwargs, select
        lr_ratio = self._lr_ratio() if self._lr_ratio and self.term.schedule.needs_lr else None
        self._scored = pred, self.term.score(pred, *call.inputs, step=self.step, gt=gt, select=select,
                                             lr_ratio=lr_ratio, **call.kwargs)
        return True

    def _begin(self, step: int) -> None:
        self.step = step
        self._scored: tuple[Tensor, Tensor | None] | None = None
        self._called: tuple[tuple[Any, ...], dict[str, Any], Select | None] = (), {}, None
        self.asked = self.paired = False
        self.unpaired = ''
        self.pred: Tensor | None = None
        self.gt: Tensor | None = None
        self.value: Tensor | None = None
        self.added: Tensor | None = None
        self.total: Tensor | None = None
        self.weight: Tensor | None = None


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
        contrast = self._contrast[0]
        args, kwargs = contrast.weigh(self.criterion, pred, target, (pred, target, *args), kwargs)
        return contrast.join_first(self.criterion(*args, **kwargs), pred, target)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__('criterion'), name)


def _pick(output: Any, path: Path, view: View | None = None) -> Tensor:
    leaf = follow(output, path)
    return leaf if view is None else view(leaf)
