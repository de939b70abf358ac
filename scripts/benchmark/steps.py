"""One training step in every way that is compared: without the term, as released, and with the plugin."""
from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models import vgg16

from mcir_plugin import ContrastTerm, HistoryBank, SPNLoss

LAMBDA = 1e-3
WEIGHTS = {'relu1_2': 0.2, 'relu2_2': 0.3, 'relu3_3': 0.5}
POSITIONS = {3: 0.2, 8: 0.3, 15: 0.5}  # of the same layers in torchvision's list
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass
class Setup:
    """What all steps share.

    Attributes:
        network (nn.Module): Under training.
        lq (Tensor): of shape (N, C, H, W), in [0, 1].
        gt (Tensor): of shape (N, C, scale * H, scale * W), in [0, 1].
        negatives (int): N of the exact mode.
        autocast (torch.dtype | None): Precision of mixed precision training, None without.
    """

    network: nn.Module
    lq: Tensor
    gt: Tensor
    negatives: int
    autocast: torch.dtype | None = None

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-6)  # small: a benchmark must not diverge
        self.iteration = 0

    @property
    def device(self) -> torch.device:
        """Where everything is."""
        return self.lq.device

    def forward(self) -> Tensor:
        """Run the network."""
        with self.mixed():
            return self.network(self.lq)

    def mixed(self) -> AbstractContextManager:
        """Mixed precision, if it is asked for."""
        return torch.autocast(self.device.type, self.autocast) if self.autocast else nullcontext()

    def finish(self, total: Tensor) -> None:
        """Do the rest of a step."""
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        self.iteration += 1

    def pixel_loss(self, pred: Tensor) -> Tensor:
        """L1, the criterion of all of these networks."""
        return nn.functional.l1_loss(pred.float() if self.autocast else pred, self.gt)

    def spn_loss(self, layers: dict[str, float] | None = None) -> SPNLoss:
        """The loss of the plugin; random weights cost what pre-trained ones cost."""
        loss = SPNLoss(LAMBDA, layers or WEIGHTS, vgg_weights='random:0').to(self.device)
        return loss.to(self.lq.dtype)


def baseline(setup: Setup) -> Callable[[], None]:
    """The step without the term."""

    def step() -> None:
        setup.finish(setup.pixel_loss(setup.forward()))

    return step


def plugin(setup: Setup, term: ContrastTerm) -> Callable[[], None]:
    """The step with the term, its history updated."""

    def step() -> None:
        pred = setup.forward()
        pixel = setup.pixel_loss(pred)
        with setup.mixed():
            added = term(pred, setup.lq, step=setup.iteration + 1, reference=pixel)
        setup.finish(pixel if added is None else pixel + added)
        term.update(setup.iteration)

    return step


class Released:
    """What the released code of the method does, written anew from its description: for every negative a perceptual
    distance of its own, with the features of the prediction computed again, in the order of operations that autograd
    prescribes.

    Args:
        setup (Setup): What all steps share.
        past (list[nn.Module]): The history models.
        loss (SPNLoss): Its weights are taken.
    """

    def __init__(self, setup: Setup, past: list[nn.Module], loss: SPNLoss) -> None:
        self.setup = setup
        self.past = past
        layers = vgg16(weights=None).features[:max(POSITIONS) + 1].to(setup.lq)
        layers.load_state_dict(loss.extractor.features.state_dict(prefix=''))
        self.layers = layers.requires_grad_(False).eval()
        for layer in self.layers:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False
        self.mean, self.std = (torch.tensor(values).view(1, 3, 1, 1).to(setup.lq) for values in (MEAN, STD))

    def term(self, pred: Tensor) -> Tensor:
        """- lambda / N * sum over negatives of their perceptual distance."""
        total = 0.
        for past in self.past:
            with torch.no_grad():
                negative = past(self.setup.lq)
            for weight, a, b in zip(POSITIONS.values(), self.features(pred), self.features(negative), strict=True):
                total = total + weight * nn.functional.l1_loss(a, b)
        return -LAMBDA * total / len(self.past)

    def features(self, image: Tensor) -> list[Tensor]:
        """Outputs at the positions."""
        return list(self._outputs((image.to(self.mean) - self.mean) / self.std))

    def _outputs(self, x: Tensor) -> Iterator[Tensor]:
        for position, layer in enumerate(self.layers):
            x = layer(x)
            if position in POSITIONS:
                yield x

    def __call__(self) -> None:
        """Make a step."""
        pred = self.setup.forward()
        with self.setup.mixed():
            total = self.setup.pixel_loss(pred) + self.term(pred)
        self.setup.finish(total)


def parts(setup: Setup, term: ContrastTerm) -> dict[str, Callable[[], None]]:
    """The unavoidable parts beside the baseline: F and V without gradient, V forward and backward."""
    network, extractor = copy.deepcopy(setup.network).eval().requires_grad_(False), term.loss.extractor
    image = torch.rand_like(setup.gt)

    @torch.no_grad()
    def forward() -> None:
        with setup.mixed():
            network(setup.lq)

    @torch.no_grad()
    def features() -> None:
        extractor(image)

    def features_and_gradient() -> None:
        leaf = image.detach().requires_grad_()
        outputs = extractor(leaf)
        torch.autograd.grad(outputs, leaf, [torch.ones_like(output) for output in outputs])

    return {'part_F': forward, 'part_V': features, 'part_V_backward': features_and_gradient}


def history(setup: Setup, count: int, **options: object) -> HistoryBank:
    """The published history, or one of another number of negatives with the same intervals again and again."""
    intervals = [(100, 200, 500, 1000)[k % 4] for k in range(count)]
    return HistoryBank(setup.network, intervals, **options)
