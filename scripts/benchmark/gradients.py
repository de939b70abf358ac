"""How far the gradient of each mode is from the exact one, and the exact one from the formula."""
from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from modes import make_term
from steps import Released, Setup
from torch import Tensor

LEVELS = (0.1, 0.01, 0.001)  # of the noise in the negatives' weights, in standard deviations of each tensor
APPROXIMATE = ('random', 'crop', 'shallow', 'channels_last', 'bf16', 'fp16')


def naive_difference(setup: Setup) -> float:
    """Return the relative difference in float64 of the exact mode's parameter gradients from the naive ones."""
    double = Setup(copy.deepcopy(setup.network).double(), setup.lq[:1].double(), setup.gt[:1].double(), setup.negatives)
    term = make_term(double, 'exact')
    released = Released(double, list(term.bank.copies), term.loss)
    pred = double.forward()
    gradients = [torch.autograd.grad(value, list(double.network.parameters()), retain_graph=True, allow_unused=True)
                 for value in (term(pred, double.lq, step=1), released.term(pred))]
    ours, naive = (torch.cat([g.flatten() for g in group if g is not None]) for group in gradients)
    return error_of(ours, naive)


def errors(setup: Setup, modes: Iterable[str] = APPROXIMATE) -> list[dict[str, Any]]:
    """Return, per level of difference, how far out and negatives are apart and the relative error of each mode.

    The error is |g - g_exact| / |g_exact| of the gradient with respect to the output. For modes that draw at random
    there is the error of a single draw, and under ``<mode>_mean`` that of the mean over all that can be drawn: the N
    negatives, the 4 windows.
    """
    rows = []
    for level in LEVELS:
        terms = {mode: _perturbed(make_term(setup, mode), level) for mode in ('exact', *modes)}
        with torch.no_grad():
            pred = setup.network(setup.lq)
            distance = sum((n - pred).abs().mean().item() for n in terms['exact'].bank.negatives(setup.lq))
        exact = _gradient(terms['exact'], setup, pred)
        row = {'weights_noise': level, 'mean_abs_difference': distance / setup.negatives}
        for mode in modes:
            choices = {'random': setup.negatives, 'crop': 4}.get(mode, 1)
            single = _all_draws(terms[mode], setup, pred, choices)
            row[mode] = error_of(single[0], exact)
            if choices > 1:
                row[f'{mode}_mean'] = error_of(sum(single) / choices, exact)
        rows.append(row)
    return rows


def error_of(gradient: Tensor, exact: Tensor) -> float:
    """Return the relative error in the Euclidean norm."""
    return ((gradient - exact).norm() / exact.norm()).item()


def _gradient(term: Any, setup: Setup, pred: Tensor) -> Tensor:
    leaf = pred.detach().requires_grad_()
    return torch.autograd.grad(term(leaf, setup.lq, step=1), leaf)[0].double()


def _all_draws(term: Any, setup: Setup, pred: Tensor, count: int) -> list[Tensor]:
    """Draw until each of ``count`` different gradients has been seen; return them in the order of their appearance."""
    distinct = [_gradient(term, setup, pred)]
    while len(distinct) < count:
        gradient = _gradient(term, setup, pred)
        if not any(torch.equal(gradient, other) for other in distinct):
            distinct.append(gradient)
    return distinct


def _perturbed(term: Any, level: float) -> Any:
    """Set the negatives to the network plus noise, the same in every mode."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for past in term.bank.copies:
            for old, now in zip(past.parameters(), term.bank.network.parameters(), strict=True):
                scale = now.std(unbiased=False) if now.numel() > 1 else now.abs().mean()
                noise = torch.randn(now.shape, generator=generator, dtype=now.dtype).to(now.device)
                old.copy_(now + level * scale * noise)
    return term
