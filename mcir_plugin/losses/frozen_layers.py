"""Layers whose weights are never trained: they keep for the backward pass only what the gradient of their input needs.

Autograd keeps every input of a convolution, for the gradient of weights that have none here, and eight bytes for every
element that a pooling let through. The gradients below are the same; they are differentiable once.
"""
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


class FrozenConv2d(nn.Conv2d):
    """``nn.Conv2d`` with a stride of 1 and without a gradient of its weights; keeps nothing but the weights."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve images of shape (N, C, H, W)."""
        return _Convolution.apply(x, self.weight, self.bias, self.padding)


class MaskReLU(nn.ReLU):
    """``nn.ReLU(inplace=True)`` that keeps one byte per element, for outputs that nobody else keeps."""

    def __init__(self) -> None:
        super().__init__(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Overwrite a tensor of any shape."""
        return _MaskReLU.apply(x) if torch.is_grad_enabled() and x.requires_grad else super().forward(x)


class LeanMaxPool2d(nn.MaxPool2d):
    """``nn.MaxPool2d`` that keeps its input alone and looks for the maxima again in the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool images of shape (N, C, H, W)."""
        return _MaxPool.apply(x, super().forward)


class _Convolution(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.padding = padding
        return functional.conv2d(x, weight, bias, padding=padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        with torch.autocast(grad.device.type, enabled=False):  # a caller's autocast must not reach into here
            return functional.conv_transpose2d(grad, *ctx.saved_tensors, padding=ctx.padding), None, None, None


class _MaskReLU(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        ctx.save_for_backward(x > 0)
        return x.relu_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * ctx.saved_tensors[0]


class _MaxPool(torch.autograd.Function):

    @staticmethod
    def forward(ctx: Any, x: Tensor, pool: Any) -> Tensor:
        ctx.save_for_backward(x)
        ctx.pool = pool
        return pool(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            pooled = ctx.pool(x)
        return torch.autograd.grad(pooled, x, grad)[0], None
