"""Networks and models as third parties write them: several outputs, several inputs, reshaped or processed outputs.

Every model calls its network and its criterion in its own way. Registered on import.
"""
from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import ARCH_REGISTRY, MODEL_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F


class Upscaler(nn.Module):
    """x2 super-resolution by one hidden layer; the base of all networks here."""

    def __init__(self, num_feat: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, num_feat, 3, 1, 1)
        self.last = nn.Conv2d(num_feat, 12, 3, 1, 1)

    def features(self, x: Tensor) -> Tensor:
        """Return the hidden layer."""
        return torch.tanh(self.first(x))

    def image(self, x: Tensor) -> Tensor:
        """Return the image of shape (N, 3, 2 H, 2 W)."""
        return F.pixel_shuffle(self.last(self.features(x)), 2)

    def forward(self, x: Tensor) -> Any:
        """Return the image."""
        return self.image(x)


@ARCH_REGISTRY.register()
class TupleNet(Upscaler):
    """Returns the features before the image."""

    def forward(self, x: Tensor) -> Any:
        return self.features(x), self.image(x)


@ARCH_REGISTRY.register()
class ListNet(Upscaler):
    """Returns a coarse and a fine image of one size; only the second is compared with the ground truth."""

    def forward(self, x: Tensor) -> Any:
        fine = self.image(x)
        return [F.avg_pool2d(fine, 3, 1, 1), fine]


@ARCH_REGISTRY.register()
class DictNet(Upscaler):
    """Returns a dictionary with a nested one."""

    def forward(self, x: Tensor) -> Any:
        return {'mask': None, 'aux': [self.features(x)], 'final': {'image': self.image(x)}}


@ARCH_REGISTRY.register()
class NoiseNet(Upscaler):
    """Takes the noise level as a second input and a switch by keyword."""

    def forward(self, x: Tensor, sigma: Tensor, *, gain: float = 1.0) -> Any:
        return self.image(x * (1 + sigma.view(-1, 1, 1, 1))) * gain


@ARCH_REGISTRY.register()
class FramesNet(Upscaler):
    """Returns (N, T, C, H, W): a darker, the plain and a brighter image."""

    def forward(self, x: Tensor) -> Any:
        return torch.stack([self.image(x * gain) for gain in (0.5, 1.0, 1.5)], dim=1)


@ARCH_REGISTRY.register()
class LockedNet(Upscaler):
    """Cannot be deep-copied."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        raise RuntimeError('holds a lock')


@ARCH_REGISTRY.register()
class PlainNet(Upscaler):
    """Returns the image."""


class OddModel(SRModel):
    """A training step of its own around ``predict``, the pair that is shown to the criterion."""

    def optimize_parameters(self, current_iter: int) -> None:
        self.optimizer_g.zero_grad()
        pred, target = self.predict()
        l_pix = self.cri_pix(pred, target)
        l_pix.backward()
        self.optimizer_g.step()
        self.log_dict = self.reduce_loss_dict(OrderedDict(l_pix=l_pix))

    def predict(self) -> tuple[Tensor, Tensor]:
        raise NotImplementedError


@MODEL_REGISTRY.register()
class TupleModel(OddModel):
    def predict(self):
        return self.net_g(self.lq)[1], self.gt


@MODEL_REGISTRY.register()
class DictModel(OddModel):
    def predict(self):
        return self.net_g(self.lq)['final']['image'], self.gt


@MODEL_REGISTRY.register()
class NoiseModel(OddModel):
    """Draws another noise level and gain at each step: the negatives must see the very same ones."""

    def predict(self):
        sigma = torch.rand(self.lq.shape[0])
        return self.net_g(self.lq, sigma, gain=1 + torch.rand(1).item()), self.gt


@MODEL_REGISTRY.register()
class FlatFramesModel(OddModel):
    def predict(self):
        output = self.net_g(self.lq)
        return output.view(-1, *output.shape[2:]), self.gt.repeat_interleave(3, dim=0)


@MODEL_REGISTRY.register()
class CentreFrameModel(OddModel):
    """Compares one frame only, as models do that see their neighbours as context."""

    def predict(self):
        return self.net_g(self.lq)[:, 1], self.gt


@MODEL_REGISTRY.register()
class TurnedModel(OddModel):
    """Compares images that lie on their side: a view of the output in another order."""

    def predict(self):
        return self.net_g(self.lq).transpose(-1, -2), self.gt.transpose(-1, -2)


@MODEL_REGISTRY.register()
class TwicePredictingModel(OddModel):
    """Runs the network on a mirrored input as well, before it asks the criterion about the first output."""

    def predict(self):
        output = self.net_g(self.lq)
        self.mirrored = self.net_g(self.lq.flip(-1))
        return output, self.gt


@MODEL_REGISTRY.register()
class ClampingModel(OddModel):
    """Shows the criterion an output of the same size that is not the network's own."""

    def predict(self):
        return self.net_g(self.lq).clamp(0, 1), self.gt


@MODEL_REGISTRY.register()
class ShrinkingModel(OddModel):
    """Shows the criterion nothing that the network returned, nor anything of that size."""

    def predict(self):
        return F.avg_pool2d(self.net_g(self.lq), 2), F.avg_pool2d(self.gt, 2)


@MODEL_REGISTRY.register()
class DetachingModel(SRModel):
    """Logs a detached copy of its loss."""

    def optimize_parameters(self, current_iter: int) -> None:
        self.optimizer_g.zero_grad()
        l_pix = self.cri_pix(self.net_g(self.lq), self.gt)
        l_pix.backward()
        self.optimizer_g.step()
        self.log_dict = self.reduce_loss_dict({'l_pix': l_pix.detach()})


@MODEL_REGISTRY.register()
class SummingModel(OddModel):
    """Asks its criterion twice and logs the sum."""

    def optimize_parameters(self, current_iter: int) -> None:
        self.optimizer_g.zero_grad()
        l_pix = sum(self.cri_pix(output, self.gt) for output in self.net_g(self.lq))
        l_pix.backward()
        self.optimizer_g.step()
        self.log_dict = self.reduce_loss_dict(OrderedDict(l_pix=l_pix))
