"""From typed options to the term of a training run, the same for all hosts."""
from __future__ import annotations

from collections.abc import Callable

from torch import nn

from mcir_plugin.config import HistoryOptions
from mcir_plugin.contrast import ContrastTerm
from mcir_plugin.history import HistoryBank, Schedule
from mcir_plugin.losses import SPNLoss


def build_term(network: nn.Module, history: HistoryOptions, loss: SPNLoss, seed: int,
               factory: Callable[[], nn.Module] | None = None) -> ContrastTerm:
    """Return the term of a run; its history starts with the network as it is now.

    Args:
        network (nn.Module): The network under training, bare or wrapped.
        history (HistoryOptions): The history and when the term acts.
        loss (SPNLoss): Scores the output, on the network's device.
        seed (int): Seed of the run, for draws and random initialisations where ``history`` gives none.
        factory (Callable | None): Builds the network anew, see :class:`HistoryBank`. Default: None.
    """
    bank = HistoryBank(
        network, history.update_iter, history.decay, history.init_noise, refresh=history.refresh,
        num_negatives=history.num_negatives, negatives_per_iter=history.negatives_per_iter,
        seed=seed if history.seed is None else history.seed, dtype=history.dtype, device=history.device,
        factory=factory)
    return ContrastTerm(bank, loss, Schedule(history.interval, history.start_iter, history.warmup_iter),
                        history.max_ratio)
