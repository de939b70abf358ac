"""Gradients computed before the backward pass that they belong to: their way down, and a value that has one."""
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class _KnownGradient(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradient: Tensor, image: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        ctx.dtype = image.dtype
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[None, None, Tensor]:
        if torch.is_grad_enabled():  # once_differentiable would miss it where the incoming gradient is a constant
            raise RuntimeError('A contrastive loss can be differentiated only once: call backward() without '
                               'create_graph, or take derivatives of second order of the other terms alone.')
        return None, None, (grad_output * ctx.saved_tensors[0]).to(ctx.dtype)


def with_gradient(value: Tensor, gradient: Tensor, image: Tensor) -> Tensor:
    """Return ``value`` as a function of ``image`` with the given gradient.

    Args:
        value (Tensor): A scalar.
        gradient (Tensor): d value / d image, of the shape of ``image``; it may have a higher precision.
        image (Tensor): The leaf or intermediate result that the gradient flows into.

    Returns:
        Tensor: The scalar, differentiable once; a backward pass with ``create_graph=True`` raises a RuntimeError.
    """
    return _KnownGradient.apply(value, gradient, image)


class _Handover(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, gradients: list[Tensor], *features: Tensor) -> Tensor:
        ctx.gradients = gradients
        return features[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        handed = tuple(ctx.gradients)
        ctx.gradients.clear()
        return None, *handed


def pull_back(gradients: list[Tensor], features: Sequence[Tensor], image: Tensor) -> Tensor:
    """Return the gradient of ``image`` from those of its features, as ``torch.autograd.grad`` does, in less memory.

    Autograd owns the gradients then: it adds to them in place, and lets go of each as soon as it has been used.

    Args:
        gradients (list[Tensor]): One per feature, of its shape; nobody else may hold them. The list is emptied.
        features (Sequence[Tensor]): Made of ``image``; their graph is used up.
        image (Tensor): Requires a gradient.
    """
    gradient, = torch.autograd.grad(_Handover.apply(gradients, *features), image)
    return gradient
