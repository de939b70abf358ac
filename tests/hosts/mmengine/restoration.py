"""A model after MMagic's contract (network ``generator``, loss ``pixel_loss``, three modes), its data, its losses."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel, BaseModule, ImgDataPreprocessor
from mmengine.registry import DATASETS, METRICS, MODELS
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset


@MODELS.register_module()
class TinySR(BaseModule):
    """A small residual network for x2."""

    def __init__(self, channels: int = 8, broken_past: bool = False, init_cfg: Any = None) -> None:
        super().__init__(init_cfg)
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.tail = nn.Conv2d(channels, 12, 3, padding=1)
        self.broken_past = broken_past

    def forward(self, x: Tensor) -> Tensor:
        output = functional.pixel_shuffle(self.tail(torch.tanh(self.norm(self.head(x)))), 2)
        if self.broken_past and not self.training:
            return output * float('nan')
        return output + functional.interpolate(x, scale_factor=2, mode='bilinear')


@MODELS.register_module()
class MeanL1(nn.Module):
    """The mean absolute difference, with a buffer that checkpoints hold under ``pixel_loss.scale``."""

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.register_buffer('scale', torch.tensor(loss_weight))

    def forward(self, *images: Tensor) -> Tensor:
        pred, target = images
        return self.scale * (pred - target).abs().mean()


@MODELS.register_module()
class TwoPartLoss(MeanL1):
    """Returns a tuple with a None, as perceptual losses do."""

    def forward(self, x: Tensor, gt: Tensor) -> tuple[None, Tensor]:
        return None, super().forward(x, gt)


@MODELS.register_module()
class PairPreprocessor(ImgDataPreprocessor):
    """Brings inputs and ground truth to [0, 1] and stacks them."""

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        data = super().forward(data, training)
        for sample in data['data_samples']:
            sample.gt_img = self.cast_data(sample.gt_img).float() / 255
        return data


@MODELS.register_module()
class RestorationModel(BaseModel):
    """Network, losses and the three modes. ``answer`` is how the losses are handed to mmengine."""

    def __init__(self, generator: dict, pixel_loss: dict | None, perceptual_loss: dict | None = None,
                 data_preprocessor: dict | None = None, answer: str = 'loss', init_cfg: Any = None) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.generator = MODELS.build(generator)
        self.pixel_loss = pixel_loss and MODELS.build(pixel_loss)
        self.perceptual_loss = perceptual_loss and MODELS.build(perceptual_loss)
        self.answer = answer

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor') -> Any:
        output = self.generator(inputs)
        if mode == 'tensor':
            return output
        gt = torch.stack([sample.gt_img for sample in data_samples])
        if mode == 'predict':
            return [BaseDataElement(error=float((o - g).abs().mean())) for o, g in zip(output, gt, strict=True)]
        if self.answer == 'processed':
            output = output[..., 1:, 1:].flatten(2)
            gt = gt[..., 1:, 1:].flatten(2)
        losses = self._pixel(output, gt)
        if self.perceptual_loss is not None:
            losses['loss_perceptual'] = self.perceptual_loss(x=output, gt=gt)[1]
        return losses

    def _pixel(self, output: Tensor, gt: Tensor) -> dict[str, Any]:
        if self.pixel_loss is None:
            return {}
        value = self.pixel_loss(output, gt)
        answers = {'loss': {'loss': value}, 'named': {'loss_l1': value}, 'list': {'loss_l1': [value]},
                   'scaled': {'loss_l1': value * 1.0}, 'apart': {'loss_rest': value * 1.0, 'l1': value},
                   'processed': {'loss': value}}
        return answers[self.answer]


@MODELS.register_module()
class ModelWithUnusedLoss(RestorationModel):
    """Has a loss that it never asks."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.unused = MeanL1()


@DATASETS.register_module()
class FolderPairs(Dataset):
    """Pairs of PNG files of the same names in the folders ``lq`` and ``gt``, as uint8 tensors of shape (3, H, W)."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)
        self.names = sorted(path.name for path in (self.root / 'gt').iterdir())

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        lq, gt = (torch.from_numpy(cv2.imread(str(self.root / kind / self.names[index]))).permute(2, 0, 1)
                  for kind in ('lq', 'gt'))
        return {'inputs': lq, 'data_samples': BaseDataElement(gt_img=gt)}


@METRICS.register_module()
class MeanError(BaseMetric):
    """The mean of what the model reports per image."""

    def process(self, data_batch: Any, data_samples: list) -> None:
        self.results += [sample['error'] for sample in data_samples]

    def compute_metrics(self, results: list) -> dict[str, float]:
        return {'error': sum(results) / len(results)}
