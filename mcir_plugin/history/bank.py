"""N frozen past copies of a network: the source of the negatives."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mcir_plugin.errors import StateError
from mcir_plugin.history.copies import averaged_parameters, bare_network, copy_exactly, first_tensor, fresh_copy
from mcir_plugin.history.draw import Draw
from mcir_plugin.history.refresh import RefreshRule, build_refresh, reduce_mean, residual_std

FORMAT = 1
SEED_OFFSET = 1_000_003  # the run's own seed would give the network's own initialisation again, not a fresh one


class HistoryBank(nn.Module):
    """The history of a network under training: "latency models" that follow it with a delay.

    At the start ``theta'_k = init_noise * fresh_k + (1 - init_noise) * theta``, fresh_k a seeded random initialisation;
    afterwards :meth:`update` applies ``theta'_k <- d_k * theta'_k + (1 - d_k) * theta`` where the refresh rule says so.
    Buffers are copied, not averaged. The copies are in eval mode, carry no gradient and belong to no optimizer.
    ``state_dict`` holds everything: the copies, their ages, the rule's and the draw's state.

    Source: "Learning from History" (AAAI 2024, arXiv 2309.06023); the defaults are its published configuration.

    Args:
        network (nn.Module): The network under training, bare or wrapped (DDP, DataParallel, torch.compile).
        update_iter (int | Sequence[int]): Iterations between refreshes, one negative per entry.
            Default: (100, 200, 500, 1000).
        decay (float | Sequence[float] | None): d in [0, 1), one number or one per negative, paired by position.
            Default: 0.1 (``residual_std``: 0.001).
        init_noise (float): Share of the random initialisation mixed into trainable parameters, in [0, 1]. Default: 0.1.
        refresh (str | Mapping | RefreshRule): ``periodic`` (the paper), ``growing``, ``residual_std`` or a rule object,
            see :mod:`mcir_plugin.history.refresh`. Default: ``periodic``.
        num_negatives (int | None): N where the rule has no intervals. Default: 4.
        negatives_per_iter (int | str): ``all`` or k drawn at random per step. Default: ``all``.
        seed (int): Seed of the initialisations and draws. Default: 0.
        dtype (torch.dtype | str | None): Storage precision of the copies' parameters. Default: the network's.
        device (torch.device | str | None): Where the copies are kept. Default: with the network.
        factory (Callable | None): Builds the network anew. Needed where it cannot be deep-copied, and for a complete
            random initialisation where modules lack ``reset_parameters``. Default: None.
        start_iter (int): Iteration at which the history begins; only ages depend on it. Default: 0.

    Raises:
        ValueError: If an option is out of range.
        TypeError: If the network cannot be copied.
    """

    def __init__(self, network: nn.Module, update_iter: int | Sequence[int] = (100, 200, 500, 1000),
                 decay: float | Sequence[float] | None = None, init_noise: float = 0.1, *,
                 refresh: str | Mapping[str, Any] | RefreshRule = 'periodic', num_negatives: int | None = None,
                 negatives_per_iter: int | str = 'all', seed: int = 0, dtype: torch.dtype | str | None = None,
                 device: torch.device | str | None = None, factory: Callable[[], nn.Module] | None = None,
                 start_iter: int = 0) -> None:
        super().__init__()
        if not 0 <= init_noise <= 1:
            raise ValueError(f'init_noise must be in [0, 1]; received {init_noise}.')
        self._network = (bare_network(network), )  # in a tuple: it is not a submodule of its own history
        self.refresh = build_refresh(refresh, update_iter, decay, num_negatives)
        self.draw = Draw(self.num_negatives, negatives_per_iter, seed)
        self.drawn: tuple[int, ...] = ()
        self.refreshed_at = [start_iter] * self.num_negatives
        seeds = range(SEED_OFFSET + seed, SEED_OFFSET + seed + self.num_negatives)
        copies = [self._first_copy(init_noise, factory, s) for s in seeds]
        self._runner = self._make_runner(copies[0], dtype, device, factory, seed)
        self.copies = nn.ModuleList(self._store(copy, dtype, device) for copy in copies)
        self.requires_grad_(False).eval()

    @property
    def network(self) -> nn.Module:
        """The bare network whose history this is."""
        return self._network[0]

    @property
    def num_negatives(self) -> int:
        """N, the number of past copies."""
        return self.refresh.num_negatives

    def negatives(self, *inputs: Any, select: Callable[[Any], Tensor] | None = None, **kwargs: Any) -> Iterator[Tensor]:
        """Run the drawn copies on the inputs of the network, one after the other.

        Args:
            *inputs (Any): What the network was called with, for example lq of shape (N, C, H, W).
            select (Callable | None): Picks the tensor that matters from the output of a network that returns several.
                Default: the output itself, or the first element of a tuple or list.
            **kwargs (Any): Keyword arguments of the network.

        Returns:
            Iterator[Tensor]: Outputs without gradient, made while you iterate; ``list(...)`` keeps all of them.
            ``drawn`` tells which copies they are.
        """
        self.drawn = self.draw()
        return self._outputs(self.drawn, select or _first_output, inputs, kwargs)

    @torch.no_grad()
    def update(self, current_iter: int, pred: Tensor | None = None, gt: Tensor | None = None) -> list[int]:
        """Refresh what is due. Call it after the optimizer step.

        Args:
            current_iter (int): The iteration just finished, counted from 1.
            pred (Tensor | None): of shape (N, C, H, W), in [0, 1]; read by the rule ``residual_std`` only.
            gt (Tensor | None): of the same shape, as ``pred``.

        Returns:
            list[int]: Positions of the refreshed copies.

        Raises:
            ValueError: If the rule needs pred and gt and they are missing.
        """
        residual = None
        if self.refresh.needs_residual and pred is not None and gt is not None:
            residual = reduce_mean(residual_std(pred, gt)).item()
        due = self.refresh.due(current_iter, residual)
        for k in due:
            _average(averaged_parameters(self.copies[k]), averaged_parameters(self.network), self.refresh.decay[k])
            copy_exactly(self.network, self.copies[k])
            self.refreshed_at[k] = current_iter
        return due

    def ages(self, current_iter: int) -> list[int]:
        """Return, per copy, the iterations since its last refresh."""
        return [current_iter - at for at in self.refreshed_at]

    def train(self, mode: bool = True) -> HistoryBank:
        """Stay in eval mode: the past is not trained."""
        return super().train(False)

    def get_extra_state(self) -> dict[str, Any]:
        """Return the part of the state that is not tensors of the copies."""
        return {'format': FORMAT, 'num_negatives': self.num_negatives, 'refreshed_at': list(self.refreshed_at),
                'rule': type(self.refresh).__name__, 'rule_state': self.refresh.state_dict(),
                'draw': self.draw.get_state()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`get_extra_state` returned; a rule of another kind starts afresh."""
        self.refreshed_at = [int(at) for at in state['refreshed_at']]
        self.draw.set_state(state['draw'])
        if state['rule'] == type(self.refresh).__name__:
            self.refresh.load_state_dict(state['rule_state'])

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Restore a history.

        Raises:
            StateError: If it holds another number of negatives, or was written by a newer version.
        """
        extra = state_dict.get('_extra_state', {})
        if extra.get('format', FORMAT) > FORMAT:
            raise StateError(f'This history has format {extra["format"]}; this version of mcir_plugin reads up to '
                             f'{FORMAT}. Update mcir_plugin.')
        if extra.get('num_negatives', self.num_negatives) != self.num_negatives:
            raise StateError(
                f'The checkpoint holds {extra["num_negatives"]} negatives, but the options ask for '
                f'{self.num_negatives}. Resume with as many update_iter entries as before, or begin a new run from the '
                'saved network (path.pretrain_network_g) instead of resuming.')
        return super().load_state_dict(state_dict, strict, assign)

    @torch.no_grad()
    def _first_copy(self, init_noise: float, factory: Callable[[], nn.Module] | None, seed: int) -> nn.Module:
        copy = fresh_copy(self.network, factory, seed)
        for past, current in zip(copy.parameters(), self.network.parameters(), strict=True):
            if init_noise and current.requires_grad:
                past.mul_(init_noise).add_(current, alpha=1 - init_noise)
            else:
                past.copy_(current)
        copy_exactly(self.network, copy)
        return copy

    def _make_runner(self, copy: nn.Module, dtype: Any, device: Any, factory: Callable[[], nn.Module] | None,
                     seed: int) -> tuple[nn.Module, ...]:
        """Return one network at full precision that stored copies are loaded into; none where they run themselves."""
        tensor = first_tensor(copy)
        wanted = torch.empty(0, device=device or tensor.device).device  # 'cuda' becomes 'cuda:0', the current one
        stays = _dtype(dtype) in (None, tensor.dtype) and wanted == tensor.device
        return () if stays else (fresh_copy(copy, factory, seed).requires_grad_(False).eval(), )

    @staticmethod
    def _store(copy: nn.Module, dtype: Any, device: Any) -> nn.Module:
        for parameter in copy.parameters():
            if _dtype(dtype) and parameter.is_floating_point():
                parameter.data = parameter.data.to(_dtype(dtype))
        return copy.to(device) if device else copy

    def _runnable(self, index: int) -> nn.Module:
        copy = self.copies[index]
        if not self._runner:
            return copy
        targets = [*self._runner[0].parameters(), *self._runner[0].buffers()]
        for target, stored in zip(targets, [*copy.parameters(), *copy.buffers()], strict=True):
            target.copy_(stored, non_blocking=True)
        return self._runner[0]

    @torch.no_grad()
    def _outputs(self, drawn: tuple[int, ...], select: Callable[[Any], Tensor], inputs: tuple[Any, ...],
                 kwargs: dict[str, Any]) -> Iterator[Tensor]:
        for index in drawn:
            yield select(self._runnable(index)(*inputs, **kwargs))


def _average(past: list[Tensor], current: list[Tensor], decay: float) -> None:
    """Apply past <- decay * past + (1 - decay) * current in place, all tensors in few kernels."""
    if past:
        current = [c.to(p) for p, c in zip(past, current, strict=True)]
        torch._foreach_mul_(past, decay)
        torch._foreach_add_(past, current, alpha=1 - decay)


def _dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    resolved = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if dtype is not None and not (isinstance(resolved, torch.dtype) and resolved.is_floating_point):
        raise ValueError(f"dtype must be 'float32', 'bfloat16' or 'float16'; received {dtype!r}.")
    return resolved


def _first_output(output: Any) -> Tensor:
    return output[0] if isinstance(output, (tuple, list)) else output
