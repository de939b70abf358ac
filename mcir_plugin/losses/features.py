"""The frozen VGG in whose feature space the SPN loss measures distances."""
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mcir_plugin.losses.frozen_layers import FrozenConv2d, LeanMaxPool2d, MaskReLU
from mcir_plugin.losses.vgg_layout import layers_up_to
from mcir_plugin.losses.vgg_weights import WeightsSource, load_weights

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


class VGGFeatures(nn.Module):
    """Features of images at named layers of an ImageNet VGG (Simonyan and Zisserman, ICLR 2015), frozen.

    The network is built up to the deepest layer asked for and no further. It stays in eval mode, its parameters take
    no gradient, and it computes in the dtype of its own weights, also under autocast: float32, or float64 after
    ``.double()``, or less after :meth:`compute_in`. Layers are named ``conv{b}_{i}``, ``bn{b}_{i}`` (``_bn`` types),
    ``relu{b}_{i}`` and ``pool{b}``.

    Args:
        layers (Iterable[str]): Names of the layers whose output is returned.
        vgg_type (str): ``vgg11``, ``vgg13``, ``vgg16``, ``vgg19``, or one of these with ``_bn``. Default: ``vgg16``.
        weights (str | PathLike | None): The path of a weight file, ``random:<seed>``, or None, which searches for the
            published file and downloads it as a last resort. Default: None.
        use_input_norm (bool): Normalise images in [0, 1] by the ImageNet mean and standard deviation. Default: True.
        range_norm (bool): Map images in [-1, 1] to [0, 1] first. Default: False.

    Raises:
        FeatureWeightsError: There are no usable weights.
        ValueError: Unknown type or layer, or a malformed ``random:<seed>``.
    """

    def __init__(self,
                 layers: Iterable[str],
                 vgg_type: str = 'vgg16',
                 weights: WeightsSource = None,
                 use_input_norm: bool = True,
                 range_norm: bool = False) -> None:
        super().__init__()
        self.layers = tuple(layers)
        self.vgg_type = vgg_type
        self.use_input_norm = use_input_norm
        self.range_norm = range_norm
        self._names = layers_up_to(vgg_type, self.layers)
        tensors = load_weights(vgg_type, weights, self.layers)
        self.features = self._build(tensors)
        self.load_state_dict(tensors)
        self.register_buffer('mean', torch.tensor(_IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(_IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)
        self.eval()

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute the features of a batch.

        Args:
            x (Tensor): of shape (N, C, H, W), or (N, T, C, H, W) with the frames folded into the batch; C is 3, or 1,
                which is repeated to 3. Floating point, in [0, 1] ([-1, 1] with ``range_norm``).

        Returns:
            list[Tensor]: One tensor of shape (N or N * T, channels, height, width) per layer, in that order.

        Raises:
            TypeError: The image is not floating point.
            ValueError: Another number of dimensions or channels, or an image too small for the deepest layer.
        """
        self._check(x)
        outputs = {}
        with torch.autocast(x.device.type, enabled=False):
            x = self._normalise(x)
            for name, layer in zip(self._names, self.features, strict=True):
                x = layer(x)
                if name in self.layers:
                    outputs[name] = x
        return [outputs[name] for name in self.layers]

    def train(self, mode: bool = True) -> 'VGGFeatures':
        """Stay in eval mode, whatever mode the surrounding module is put into."""
        return super().train(False)

    def compute_in(self, dtype: torch.dtype) -> 'VGGFeatures':
        """Let the layers compute in ``dtype``; images are still normalised in the precision that they had so far.

        Args:
            dtype (torch.dtype): ``torch.bfloat16`` or ``torch.float16``, which halves the memory of the features and
                is faster on hardware made for it, or back to ``torch.float32``.
        """
        self.features.to(dtype)
        return self

    @property
    def min_size(self) -> int:
        """Smallest height and width, in pixels, that the pooling up to the deepest layer leaves something of."""
        return 2**sum(isinstance(layer, nn.MaxPool2d) for layer in self.features)

    def _build(self, tensors: dict[str, Tensor]) -> nn.Sequential:
        modules: list[nn.Module] = []
        for index, name in enumerate(self._names):
            if name.startswith('conv'):
                channels_out, channels_in = tensors[f'features.{index}.weight'].shape[:2]
                # skip_init leaves the global random state alone
                modules.append(nn.utils.skip_init(FrozenConv2d, channels_in, channels_out, 3, padding=1))
            elif name.startswith('bn'):
                modules.append(nn.BatchNorm2d(len(tensors[f'features.{index}.weight'])))
            elif name.startswith('relu'):
                modules.append(self._relu(index))
            else:
                modules.append(LeanMaxPool2d(2))
        return nn.Sequential(*modules)

    def _relu(self, index: int) -> nn.ReLU:
        inplace = self._names[index - 1] not in self.layers
        kept = self._names[index] in self.layers  # by the caller, so that autograd may keep it as well
        return MaskReLU() if inplace and not kept else nn.ReLU(inplace)

    def _check(self, x: Tensor) -> None:
        shape = tuple(x.shape)
        if not x.is_floating_point():
            raise TypeError(f'Features need floating point images, received {x.dtype}.')
        if len(shape) not in (4, 5) or shape[-3] not in (1, 3):
            raise ValueError(f'Features need images of shape (N, C, H, W) or (N, T, C, H, W) with 1 or 3 channels, '
                             f'received {shape}.')
        if min(shape[-2:]) < self.min_size:
            raise ValueError(f'Images of {shape[-2]} x {shape[-1]} pixels are too small for {self._names[-1]} of '
                             f'{self.vgg_type}, which needs {self.min_size} x {self.min_size}: train on larger patches '
                             'or choose shallower layers.')

    def _normalise(self, x: Tensor) -> Tensor:
        x = x.to(self.mean.dtype)  # float32 even where the layers compute in less
        if x.dim() == 5:
            x = x.flatten(0, 1)
        x = x.expand(-1, 3, -1, -1)
        if self.range_norm:
            x = (x + 1) / 2
        if self.use_input_norm:
            x = (x - self.mean) / self.std
        dtype = self.features[0].weight.dtype
        # 1.4 times as fast on a CPU, whose kernels do without it in float64; see docs/benchmarks
        by_pixel = dtype != torch.float64 and (x.device.type == 'cpu' or dtype != torch.float32)
        return x.to(dtype, memory_format=torch.channels_last if by_pixel else torch.preserve_format)
