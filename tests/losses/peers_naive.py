"""The peer losses and the forms of the SPN loss once more, from their formulas, with torchvision's layers and autograd.

Every image goes through the network anew, distances are written out, and nothing of the package is used.
"""
import math

import numpy as np
import torch
import torch.nn.functional as F
from spn_naive import ELEMENTWISE, naive_features
from torch import Tensor

VGG19 = {'relu1_1': 1, 'relu2_1': 6, 'relu3_1': 11}  # counted by hand from the table of the VGG paper


class Setting:
    """Layers of a VGG and how distances are taken in it.

    Args:
        layers (nn.Sequential): torchvision's.
        positions (list[int]): Of the layers that are compared.
        weights (list[float]): Their weights.
        criterion (str): A key of ELEMENTWISE, or ``cosine``.
        reduction (str): ``mean`` or ``sum``.
        norms (bool): ``use_input_norm`` and ``range_norm``.
    """

    def __init__(self, layers, positions, weights, criterion='l1', reduction='mean', **norms):
        self.layers, self.positions, self.weights, self.norms = layers, positions, weights, norms
        self.criterion, self.reduction = criterion, reduction

    def distances(self, pred: Tensor, reference: Tensor, masks: list[Tensor] | None = None) -> list[Tensor]:
        """One distance per layer; elements may be weighted by a mask of the size of the layer."""
        of_pred = naive_features(self.layers, self.positions, pred, **self.norms)
        of_reference = naive_features(self.layers, self.positions, reference, **self.norms)
        found = []
        for index, (a, b) in enumerate(zip(of_pred, of_reference, strict=True)):
            if self.criterion == 'cosine':
                found.append((1 - cosine(a, b)).mean())
                continue
            values = ELEMENTWISE[self.criterion](a, b) * (1 if masks is None else masks[index])
            found.append(values.sum() / (values.numel() if self.reduction == 'mean' else 1))
        return found

    def total(self, distances: list[Tensor]) -> Tensor:
        """Sum over layers with their weights."""
        return sum(weight * distance for weight, distance in zip(self.weights, distances, strict=True))


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine between the channels of every position; vectors far below the size of 1 count as none."""
    return (a * b).sum(1) / ((a**2).sum(1) + 1e-6).sqrt() / ((b**2).sum(1) + 1e-6).sqrt() + 1 - (
        (a**2).sum(1) / ((a**2).sum(1) + 1e-6) + (b**2).sum(1) / ((b**2).sum(1) + 1e-6)) / 2


def naive_difference(setting, pred, negatives, masks=None):
    each = [setting.total(setting.distances(pred, negative, masks and masks[k])) for k, negative in
            enumerate(negatives)]
    return -sum(each) / len(each), each


def naive_hinge(setting, pred, negatives, margin, masks=None):
    """With masks, the first of which is of pixels: over those alone, what their own mean lacks to the margin."""
    _, each = naive_difference(setting, pred, negatives, masks)
    shares = [mask[0].mean() for mask in masks] if masks else [1.] * len(each)
    lacking = [share * F.relu(margin - distance / share) for share, distance in zip(shares, each, strict=True) if share]
    return sum(lacking) / len(each), each


def naive_ratio(setting, pred, positives, negatives, eps, shares=None):
    shares = shares or [1] * len(negatives)
    near = [setting.distances(pred, positive) for positive in positives]
    far = [setting.distances(pred, negative) for negative in negatives]
    value = 0
    for layer, weight in enumerate(setting.weights):
        above = sum(distances[layer] for distances in near) / len(near)
        below = sum(share * distances[layer] for share, distances in zip(shares, far, strict=True)) / sum(shares)
        value = value + weight * above / (below + eps)
    return value, [setting.total(distances) for distances in far]


def naive_infonce(setting, pred, positives, negatives, tau):
    near = [setting.distances(pred, positive) for positive in positives]
    far = [setting.distances(pred, negative) for negative in negatives]
    value = 0
    for layer, weight in enumerate(setting.weights):
        for distances in near:
            logits = torch.stack([-distances[layer], *(-others[layer] for others in far)])[None] / tau
            value = value + weight * F.cross_entropy(logits, torch.zeros(1, dtype=torch.long)) / len(near)
    return value, [setting.total(distances) for distances in far]


def naive_masks(pred: Tensor, negative: Tensor, gt: Tensor, sizes: list[tuple[int, int]]) -> list[Tensor]:
    """Share of pixels where the output is worse, for every element of maps of some sizes, in loops."""
    pred, negative, gt = (np.asarray(image.detach().reshape(-1, *image.shape[-3:])) for image in (pred, negative, gt))
    worse = np.abs(pred - gt).sum(1) > np.abs(negative - gt).sum(1)
    found = []
    for height, width in sizes:
        mask = np.zeros((len(worse), 1, height, width))
        for y in range(height):
            for x in range(width):
                rows = slice(y * worse.shape[1] // height, math.ceil((y + 1) * worse.shape[1] / height))
                columns = slice(x * worse.shape[2] // width, math.ceil((x + 1) * worse.shape[2] / width))
                mask[:, 0, y, x] = worse[:, rows, columns].mean((1, 2))
        found.append(torch.from_numpy(mask))
    return found


def psnr_of_batch(image: Tensor, gt: Tensor) -> float:
    """Mean PSNR of images in [0, 1]."""
    errors = ((image - gt)**2).detach().numpy()
    return float(np.mean([-10 * math.log10(error.mean()) for error in errors]))


def agrees(criterion, pred: Tensor, naive, **given) -> Tensor:
    """Compare term, distances and gradient of a loss with those of a naive value; returns the gradient."""
    ours, theirs = (pred.detach().clone().requires_grad_() for _ in range(2))
    term, distances = criterion.score(ours, **given)
    term.backward()
    value, expected = naive(theirs)
    (criterion.loss_weight * value).backward()
    torch.testing.assert_close(term.detach(), criterion.loss_weight * value.detach(), rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(distances, torch.stack(expected).detach(), rtol=1e-6, atol=1e-12)
    error, size = (ours.grad - theirs.grad).norm(), theirs.grad.norm()
    assert error <= 1e-6 * size, (error, size)
    return ours.grad
