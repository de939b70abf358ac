"""From typed options to the term of a training run, the same for all hosts."""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from mcir_plugin.config import ConfigError, HistoryOptions
from mcir_plugin.contrast import ContrastTerm
from mcir_plugin.history import HistoryBank, Schedule, Uncertainty, Window
from mcir_plugin.history.copies import first_tensor
from mcir_plugin.history.running import computable
from mcir_plugin.hosts.guard import Names
from mcir_plugin.losses import FeatureLoss


def build_term(network: nn.Module, history: HistoryOptions, loss: FeatureLoss, seed: int,
               factory: Callable[[], nn.Module] | None = None, names: Names = Names()) -> ContrastTerm:  # noqa: B008
    """Return the term of a run; its history starts with the network as it is now.

    Args:
        network (nn.Module): The network under training, bare or wrapped.
        history (HistoryOptions): The history and when the term acts.
        loss (FeatureLoss): Scores the output, on the network's device. No history is built unless it reads one.
        seed (int): Seed of the run, for draws and random initialisations where ``history`` gives none.
        factory (Callable | None): Builds the network anew, see :class:`HistoryBank`. Default: None.
        names (Names): Of the host, for errors. Default: BasicSR's.

    Raises:
        ConfigError: If PyTorch cannot compute in the precision that is asked for.
    """
    seed = seed if history.seed is None else history.seed
    precision = _precision(history, network, names)
    bank = build_bank(network, history, seed, factory) if 'negatives' in loss.needs else None
    if precision:
        loss.extractor.compute_in(precision)
    return ContrastTerm(bank, loss, build_schedule(history), history.max_ratio,
                        Window(history.crop_size, seed) if history.crop_size else None, build_uncertainty(history))


def _precision(history: HistoryOptions, network: nn.Module, names: Names) -> torch.dtype | None:
    try:
        return computable('precision', history.precision, first_tensor(network).device)
    except ValueError as error:
        raise ConfigError(f'{names.history}.{error}') from error


def build_bank(network: nn.Module, history: HistoryOptions, seed: int,
               factory: Callable[[], nn.Module] | None = None) -> HistoryBank:
    """Return the history of a network; arguments as of :func:`build_term`, the seed being the one in use."""
    return HistoryBank(
        network, history.update_iter, history.decay, history.init_noise, refresh=history.refresh,
        num_negatives=history.num_negatives, negatives_per_iter=history.negatives_per_iter, seed=seed,
        dtype=history.dtype, device=history.device, precision=history.precision, channels_last=history.channels_last,
        degrade=history.degrade, factory=factory)


def build_schedule(history: HistoryOptions) -> Schedule:
    """Return when the term acts and with which weight."""
    weight = dict(history.weight_schedule)
    return Schedule(history.interval, history.start_iter, history.warmup_iter, weight.pop('type'), **weight)


def build_uncertainty(history: HistoryOptions) -> Uncertainty | None:
    """Return what turns the negatives into a pixel weight, if it is asked for."""
    options = history.uncertainty
    return None if options is None else Uncertainty(options['strength'], options['limit'])
