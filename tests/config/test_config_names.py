"""Names of VGG layers, and what importing the option layer brings in."""
import subprocess
import sys
from pathlib import Path

import pytest

from mcir_plugin.config import VGG_TYPES, layer_names

ROOT = Path(__file__).resolve().parents[2]
LETTER = {'A': 'vgg11', 'B': 'vgg13', 'D': 'vgg16', 'E': 'vgg19'}  # names of the configurations in the VGG paper
KIND = {'Conv2d': 'conv', 'BatchNorm2d': 'bn', 'ReLU': 'relu', 'MaxPool2d': 'pool'}


@pytest.mark.parametrize('vgg_type', VGG_TYPES)
def test_layers_stand_where_torchvision_has_them(vgg_type):
    torch = pytest.importorskip('torch')
    vgg = pytest.importorskip('torchvision.models.vgg')
    letter = {name: letter for letter, name in LETTER.items()}[vgg_type.removesuffix('_bn')]
    with torch.device('meta'):
        features = vgg.make_layers(vgg.cfgs[letter], batch_norm=vgg_type.endswith('_bn'))
    expected, block, index = [], 1, 0
    for module in features:
        kind = KIND[type(module).__name__]
        index += kind == 'conv'
        expected.append(f'pool{block}' if kind == 'pool' else f'{kind}{block}_{index}')
        if kind == 'pool':
            block, index = block + 1, 0
    assert layer_names(vgg_type) == expected


def test_published_layers():
    names = layer_names('vgg16')
    assert [names.index(name) for name in ('relu1_2', 'relu2_2', 'relu3_3')] == [3, 8, 15]
    with pytest.raises(KeyError):
        layer_names('vgg17')


def test_the_option_layer_imports_neither_torch_nor_a_toolbox():
    code = ('import sys, mcir_plugin.config\n'
            'print(sorted({"torch", "torchvision", "basicsr", "numpy", "cv2"} & set(sys.modules)))')
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == '[]'
