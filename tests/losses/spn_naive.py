"""The SPN loss once more, written from its formula and without the package: the oracle of these tests.

The networks are torchvision's, cut off behind block 3. Every negative gets a perceptual distance of its own, with the
features of the prediction computed again, and the gradient is whatever autograd makes of that.
"""
from itertools import takewhile
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import vgg

CONFIGURATIONS = {'vgg11': 'A', 'vgg13': 'B', 'vgg16': 'D', 'vgg19': 'E'}
# positions in torchvision's `features`, counted by hand from the tables of the VGG paper
POSITIONS = {
    'vgg16': {'relu1_2': 3, 'relu2_2': 8, 'relu3_3': 15},
    'vgg19': {'conv1_2': 2, 'relu1_2': 3, 'pool1': 4, 'relu3_4': 17},
    'vgg16_bn': {'conv1_1': 0, 'bn1_2': 4, 'relu2_2': 12, 'relu3_3': 22},
}
ELEMENTWISE = {
    'l1': lambda a, b: (a - b).abs(),
    'l2': lambda a, b: (a - b) * (a - b),
    'smooth_l1': lambda a, b: torch.where((a - b).abs() < 1, (a - b)**2 / 2, (a - b).abs() - 0.5),
    'charbonnier': lambda a, b: ((a - b)**2 + 1e-12)**0.5,
}


def torchvision_layers(vgg_type: str, blocks: int = 3) -> nn.Sequential:
    """The first blocks of torchvision's `features`, with weights that keep the activations at a size of about one."""
    name, _, norm = vgg_type.partition('_')
    configuration = list(vgg.cfgs[CONFIGURATIONS[name]])
    pools = [index for index, entry in enumerate(configuration) if entry == 'M']
    layers = vgg.make_layers(configuration[:pools[blocks - 1] + 1], batch_norm=bool(norm))
    generator = torch.Generator().manual_seed(3)
    for key, value in layers.state_dict().items():
        if value.dim() == 4:
            value.normal_(0, (2 / value[0].numel())**0.5, generator=generator)
        elif key.endswith(('running_var', 'weight')):
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.is_floating_point():
            value.uniform_(-0.1, 0.1, generator=generator)
    return layers.requires_grad_(False).eval()


def save_weights(layers: nn.Sequential, path: Path) -> Path:
    """Write a file like torchvision's, without the classifier."""
    torch.save({f'features.{key}': value for key, value in layers.state_dict().items()}, path)
    return path


def naive_features(layers: nn.Sequential, positions: list[int], x: Tensor, use_input_norm: bool = True,
                   range_norm: bool = False) -> list[Tensor]:
    """Outputs of the modules at some positions, for one batch of images or clips."""
    x = x.reshape(-1, *x.shape[-3:])
    if x.shape[1] == 1:
        x = torch.cat([x, x, x], dim=1)
    if range_norm:
        x = x * 0.5 + 0.5
    if use_input_norm:
        planes = [(x[:, c] - mean) / std for c, (mean, std) in
                  enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)])]
        x = torch.stack(planes, dim=1)
    outputs = []
    for module in takewhile(lambda _: len(outputs) <= max(positions), layers):
        x = module(x.clone())  # torchvision's ReLU works in place
        outputs.append(x)
    return [outputs[position] for position in positions]


def naive_distance(layers: nn.Sequential, positions: list[int], weights: list[float], pred: Tensor, negative: Tensor,
                   criterion: str = 'l1', reduction: str = 'mean', **norms: bool) -> Tensor:
    """One perceptual distance, with gradient through the prediction."""
    of_pred = naive_features(layers, positions, pred, **norms)
    of_negative = naive_features(layers, positions, negative, **norms)
    total = 0
    for weight, a, b in zip(weights, of_pred, of_negative, strict=True):
        values = ELEMENTWISE[criterion](a, b)
        total = total + weight * (values.sum() / values.numel() if reduction == 'mean' else values.sum())
    return total
