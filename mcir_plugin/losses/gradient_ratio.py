"""How hard a term pulls at the output, compared with the loss that it joins."""
from __future__ import annotations

import torch
from torch import Tensor


def gradient_ratio(term: Tensor, reference: Tensor, pred: Tensor) -> Tensor:
    """Return |d term / d pred| / |d reference / d pred|, the ratio of the norms of two gradients at the output.

    Values do not tell which of two losses steers training: a subtracted distance to a close negative is small, but
    pulls as hard as to a distant one. Below 1, a step along the sum of both gradients still lowers the reference at
    the output, whatever the angle between them. No backward pass of the network is needed, and nothing waits for the
    GPU.

    Args:
        term (Tensor): A scalar with a graph.
        reference (Tensor): A scalar with a graph (else its mean counts). Both graphs stay usable.
        pred (Tensor): What both were computed from.

    Returns:
        Tensor: 0-d, float32, >= 0; infinite where only the reference has no gradient.

    Raises:
        ValueError: If ``reference`` does not depend on ``pred``, such as a detached loss.
    """
    if not reference.requires_grad:
        raise ValueError('reference must be the loss itself, with its graph; received a detached one, whose gradient '
                         'the term cannot be compared with.')
    ours, theirs = (_gradient_norm(loss, pred) for loss in (term, reference.mean()))
    if theirs is None:
        raise ValueError('reference must be computed from pred; received a loss that does not depend on it.')
    return ours / theirs.clamp_min(torch.finfo(torch.float32).tiny)


def _gradient_norm(loss: Tensor, pred: Tensor) -> Tensor | None:
    """Return |d loss / d pred|, None where the loss does not depend on it.

    The gradient of a mean is about as large as one over the number of elements, which float16 does not hold: there it
    is taken of so many times the loss, unless that is more than float16 holds (a sum instead of a mean).
    """
    plain = _norm(torch.autograd.grad(loss, pred, retain_graph=True, allow_unused=True)[0])
    if plain is None or pred.dtype != torch.float16:
        return plain
    scale = float(pred.numel())
    scaled = _norm(torch.autograd.grad(loss, pred, torch.full_like(loss, scale), retain_graph=True)[0]) / scale
    return torch.where(torch.isfinite(scaled), scaled, plain)


def _norm(gradient: Tensor | None) -> Tensor | None:
    if gradient is None:
        return None
    return torch.linalg.vector_norm(gradient, dtype=torch.promote_types(gradient.dtype, torch.float32)).float()
