"""N frozen past copies of a network: the source of the negatives."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mcir_plugin.errors import StateError
from mcir_plugin.formats import require_readable
from mcir_plugin.history.copies import average, bare_network, first_copy, fresh_copy
from mcir_plugin.history.degrade import Degrade, build_degrade
from mcir_plugin.history.draw import Draw
from mcir_plugin.history.refresh import Periodic, build_refresh
from mcir_plugin.history.residual import residual_std
from mcir_plugin.history.rule import RefreshRule, reduce_mean
from mcir_plugin.history.running import Running

FORMAT = 1
SEED_OFFSET = 1_000_003  # the run's own seed would give the network's own initialisation again, not a fresh one


class HistoryBank(nn.Module):
    """The history of a network under training: "latency models" that follow it with a delay.

    At the start ``theta'_k = init_noise * fresh_k + (1 - init_noise) * theta``, fresh_k a seeded random initialisation;
    afterwards :meth:`update` applies ``theta'_k <- d_k * theta'_k + (1 - d_k) * theta`` where the refresh rule says so.
    Buffers are copied, not averaged. The copies are in eval mode, carry no gradient and belong to no optimizer.
    ``state_dict`` holds everything: the copies, their ages, and the state of the rule and of the random numbers.

    Each copy makes one negative. With ``degrade`` there is one copy, and it makes all negatives, from degraded inputs.

    Source: "Learning from History" (AAAI 2024, arXiv 2309.06023); the defaults are its published configuration.

    Args:
        network (nn.Module): The network under training, bare or wrapped (DDP, DataParallel, torch.compile).
        update_iter (int | Sequence[int] | None): Iterations between refreshes, one copy per entry.
            Default: (100, 200, 500, 1000), with ``degrade`` 1000.
        decay (float | Sequence[float] | None): d in [0, 1), one number or one per negative, paired by position.
            Default: 0.1 (``residual_std``: 0.001).
        init_noise (float): Share of the random initialisation mixed into trainable parameters, in [0, 1]. Default: 0.1.
        refresh (str | Mapping | RefreshRule): ``periodic`` (the paper), ``growing``, ``staged``, ``residual_std``,
            ``diversity`` or a rule object, see :mod:`mcir_plugin.history.refresh`. Default: ``periodic``.
        num_negatives (int | None): N where ``update_iter`` does not say it. Default: 4, with ``degrade`` 5.
        negatives_per_iter (int | str): ``all`` or k drawn at random per step. Default: ``all``.
        seed (int): Seed of the initialisations and draws. Default: 0.
        dtype (torch.dtype | str | None): Storage precision of the copies' parameters. Default: the network's.
        device (torch.device | str | None): Where the copies are kept. Default: with the network.
        precision (torch.dtype | str | None): Precision in which the copies run (``torch.autocast``). Default: as
            stored, the exact negatives.
        channels_last (bool): Run the copies in the memory layout (N, H, W, C), which makes some convolutional networks
            faster; the results differ by rounding. Default: False.
        degrade (str | Mapping | Degrade | None): One copy, N degraded inputs: ``noise``, ``blur``, ``resize``, ``mix``,
            or a mapping with this ``type``, see :class:`Degrade`. Default: None, N copies and the input as it is.
        factory (Callable | None): Builds the network anew. Needed where it cannot be deep-copied, and for a complete
            random initialisation where modules lack ``reset_parameters``. Default: None.
        start_iter (int): Iteration at which the history begins; only ages depend on it. Default: 0.

    Raises:
        ValueError: If an option is out of range.
        TypeError: If the network cannot be copied.
    """

    def __init__(self, network: nn.Module, update_iter: int | Sequence[int] | None = None,
                 decay: float | Sequence[float] | None = None, init_noise: float = 0.1, *,
                 refresh: str | Mapping[str, Any] | RefreshRule = 'periodic', num_negatives: int | None = None,
                 negatives_per_iter: int | str = 'all', seed: int = 0, dtype: torch.dtype | str | None = None,
                 device: torch.device | str | None = None, precision: torch.dtype | str | None = None,
                 channels_last: bool = False, degrade: str | Mapping[str, Any] | Degrade | None = None,
                 factory: Callable[[], nn.Module] | None = None, start_iter: int = 0) -> None:
        super().__init__()
        if not 0 <= init_noise <= 1:
            raise ValueError(f'init_noise must be in [0, 1]; received {init_noise}.')
        self._network = (bare_network(network), )  # in a tuple: it is not a submodule of its own history
        self.degrade = build_degrade(degrade, num_negatives, seed)
        given = update_iter
        update_iter = update_iter if update_iter is not None else 1000 if self.degrade else (100, 200, 500, 1000)
        if self.degrade:
            _require_one_copy(update_iter, negatives_per_iter, refresh)
            num_negatives = None if isinstance(refresh, RefreshRule) else 1
        self.refresh = build_refresh(refresh, update_iter, decay, num_negatives)
        if given and not isinstance(self.refresh, Periodic):
            raise ValueError(f'update_iter ({given}) has no effect with {type(self.refresh).__name__}, which has no '
                             'intervals: leave it out.')
        self.draw = Draw(self.num_negatives, negatives_per_iter, seed)
        self.drawn: tuple[int, ...] = ()
        self.restart(start_iter)
        seeds = range(SEED_OFFSET + seed, SEED_OFFSET + seed + self.refresh.num_negatives)
        copies = [first_copy(self.network, init_noise, factory, s) for s in seeds]
        self._running = Running(copies[0], lambda: fresh_copy(copies[0], factory, seed), dtype, device, precision,
                                channels_last)
        self.copies = nn.ModuleList(map(self._running.store, copies))
        self.requires_grad_(False).eval()

    @property
    def network(self) -> nn.Module:
        """The bare network whose history this is."""
        return self._network[0]

    @property
    def num_negatives(self) -> int:
        """N: as many as past copies, or as degraded inputs of the one."""
        return self.degrade.num_negatives if self.degrade else self.refresh.num_negatives

    def negatives(self, *inputs: Any, select: Callable[[Any], Tensor] | None = None, **kwargs: Any) -> Iterator[Tensor]:
        """Run the drawn copies on the inputs of the network, one after the other.

        Args:
            *inputs (Any): What the network was called with, for example lq of shape (N, C, H, W).
            select (Callable | None): Picks the tensor that matters from the output of a network that returns several.
                Default: the output itself, or the first element of a tuple or list.
            **kwargs (Any): Keyword arguments of the network.

        Returns:
            Iterator[Tensor]: Outputs without gradient, made while you iterate; ``list(...)`` keeps all of them.
            ``drawn`` tells which of the N they are.
        """
        self.drawn = self.draw()
        return self.outputs(self.drawn, *inputs, select=select, **kwargs)

    @torch.no_grad()
    def outputs(self, positions: tuple[int, ...], /, *inputs: Any,
                select: Callable[[Any], Tensor] | None = None, **kwargs: Any) -> Iterator[Tensor]:
        """Run given copies, without a draw; ``positions`` counts from 0, the rest is as for :meth:`negatives`."""
        select = select or _first_output
        for index in positions:
            if self.degrade:
                given = self.degrade.inputs(index, inputs, kwargs)
                yield select(self._running.run(self.copies[0], *given))
            else:
                yield select(self._running.run(self.copies[index], inputs, kwargs))

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
            average(self.copies[k], self.network, self.refresh.decay[k])
            self.refreshed_at[k] = current_iter
        return due

    def observe(self, distances: Tensor) -> None:
        """Tell the refresh rule how far the negatives of this step are from the output; ``diversity`` reads it.

        Args:
            distances (Tensor): of shape (K,), in the order of ``drawn``, such as :meth:`SPNLoss.score` returns.
        """
        self.refresh.observe(self.drawn, distances.detach())

    def restart(self, step: int) -> None:
        """Take all copies as made at iteration ``step``; only ages and refresh rules depend on it."""
        self.refreshed_at = [step] * self.refresh.num_negatives
        self.refresh.begin(step)

    def ages(self, current_iter: int) -> list[int]:
        """Return, per copy, the iterations since its last refresh."""
        return [current_iter - at for at in self.refreshed_at]

    def train(self, mode: bool = True) -> HistoryBank:
        """Stay in eval mode: the past is not trained."""
        return super().train(False)

    def get_extra_state(self) -> dict[str, Any]:
        """Return the part of the state that is not tensors of the copies."""
        return {'format': FORMAT, 'num_negatives': self.refresh.num_negatives,
                'refreshed_at': list(self.refreshed_at), 'rule': type(self.refresh).__name__,
                'rule_state': self.refresh.state_dict(), 'draw': self.draw.get_state(),
                'degrade': self.degrade.get_state() if self.degrade else None}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`get_extra_state` returned; a rule of another kind starts afresh."""
        self.refreshed_at = [int(at) for at in state['refreshed_at']]
        self.draw.set_state(state['draw'])
        if self.degrade and state.get('degrade') is not None:
            self.degrade.set_state(state['degrade'])
        if state['rule'] == type(self.refresh).__name__:
            self.refresh.load_state_dict(state['rule_state'])

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Restore a history.

        Raises:
            StateError: If it holds another number of negatives, or was written by a newer version.
        """
        extra = state_dict.get('_extra_state', {})
        require_readable(extra.get('format'), FORMAT, 'This history')
        count = self.refresh.num_negatives
        if extra.get('num_negatives', count) != count:
            raise StateError(
                f'The checkpoint holds {extra["num_negatives"]} negatives, but the options ask for {count}'
                f'{" (one past network, with degrade)" if self.degrade else ""}. Resume with as many entries of '
                'update_iter (or num_negatives) as before, or begin a new run from the saved network '
                '(path.pretrain_network_g) instead of resuming.')
        return super().load_state_dict(state_dict, strict, assign)


def _require_one_copy(update_iter: int | Sequence[int], negatives_per_iter: int | str, refresh: Any) -> None:
    """Refuse what does not go with degraded inputs of one past copy."""
    copies = len(update_iter) if isinstance(update_iter, Sequence) else 1
    if isinstance(refresh, RefreshRule):
        copies = refresh.num_negatives
    if copies > 1:
        raise ValueError(f'degrade makes all negatives with one past copy; received {copies} intervals or decays. Give '
                         'one, and num_negatives for the number of inputs.')
    if negatives_per_iter != 'all':
        raise ValueError(f'negatives_per_iter ({negatives_per_iter!r}) does not go with degrade, whose inputs are '
                         'drawn anew in each step anyway. Use a smaller num_negatives.')


def _first_output(output: Any) -> Tensor:
    return output[0] if isinstance(output, (tuple, list)) else output
