"""Where the weights of the feature extractor come from: the published files, a file of the user's, or a seed.

Files are torchvision's (https://pytorch.org/vision/stable/models/vgg.html): a state dict with keys
``features.N.weight``. They are read with ``weights_only=True``, so a file cannot run code.
"""
import logging
import math
import os
import re
from collections.abc import Iterable
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor

from mcir_plugin.losses.vgg_layout import Shapes, check_type, layers_up_to, parameter_shapes
from mcir_plugin.losses.weight_files import (
    BASE_URL,
    PRETRAINED_FOLDER,
    FeatureWeightsError,
    check_state_dict,
    find_published,
    places,
    read_state_dict,
)

WeightsSource = str | os.PathLike[str] | None

FILE_NAMES = {
    'vgg11': 'vgg11-8a719046.pth',
    'vgg13': 'vgg13-19584684.pth',
    'vgg16': 'vgg16-397923af.pth',
    'vgg19': 'vgg19-dcbb9e9d.pth',
    'vgg11_bn': 'vgg11_bn-6002323d.pth',
    'vgg13_bn': 'vgg13_bn-abd245e5.pth',
    'vgg16_bn': 'vgg16_bn-6c64b313.pth',
    'vgg19_bn': 'vgg19_bn-c79401a0.pth',
}

logger = logging.getLogger('mcir_plugin')


def locate_weights(vgg_type: str, vgg_weights: WeightsSource = None) -> Path:
    """Find the weight file of a VGG, and download it if it is nowhere.

    Without ``vgg_weights``, the published file of exactly this type is looked for in ``experiments/pretrained_models/``
    (BasicSR's folder, relative to the working directory), then in the torch hub cache; then it is downloaded into that
    cache, unless the environment says ``MCIR_OFFLINE=1``.

    Args:
        vgg_type (str): ``vgg11``, ``vgg13``, ``vgg16``, ``vgg19``, or one of these with ``_bn``.
        vgg_weights (str | PathLike | None): A file of your own. Default: None, which searches.

    Returns:
        Path: An existing file. It has not been opened.

    Raises:
        FeatureWeightsError: The file does not exist, or was not found and could not be downloaded.
        ValueError: Unknown ``vgg_type``, or ``random:<seed>``, which has no file.
    """
    check_type(vgg_type)
    if vgg_weights is not None:
        return _existing_file(vgg_weights)
    return find_published(FILE_NAMES[vgg_type]) or _download(vgg_type, places(FILE_NAMES[vgg_type])[-1])


def load_weights(vgg_type: str, vgg_weights: WeightsSource, layers: Iterable[str]) -> dict[str, Tensor]:
    """Load the tensors of a VGG up to the deepest of some layers.

    Args:
        vgg_type (str): As for :func:`locate_weights`.
        vgg_weights (str | PathLike | None): None (search), the path of a file, or ``random:<seed>``: normally
            distributed convolution weights with variance 2 / fan-in (He et al., ICCV 2015), zero bias, identity batch
            normalisation. The same seed gives the same weights in every process, and the global random state stays
            as it is.
        layers (Iterable[str]): Layer names such as ``relu3_3``; a file needs to cover no more than these.

    Returns:
        dict[str, Tensor]: ``features.N.<parameter>`` to a float32 tensor on the CPU, in the order of the network.

    Raises:
        FeatureWeightsError: No usable file; the message names the file and what is wrong with it.
        ValueError: Unknown type or layer, or a malformed ``random:<seed>``.
    """
    needed = parameter_shapes(layers_up_to(vgg_type, layers))
    seed = random_seed(vgg_weights)
    if seed is not None:
        return _random_weights(needed, seed)
    path = locate_weights(vgg_type, vgg_weights)
    state = read_state_dict(path)
    check_state_dict(state, vgg_type, needed, path)
    return {key: state[key].float() for key in needed}


def random_seed(vgg_weights: WeightsSource) -> int | None:
    """The seed in ``random:<seed>``, and None for anything that is not such a request.

    Raises:
        ValueError: It begins like one, but what follows is no whole number from 0 to 2**63 - 1.
    """
    if not isinstance(vgg_weights, str) or vgg_weights.partition(':')[0] != 'random':
        return None
    digits = re.fullmatch(r'random:([0-9]{1,19})', vgg_weights)
    if digits is None or int(digits[1]) >= 2**63:
        raise ValueError(f'vgg_weights is {vgg_weights!r}; random weights are asked for by random:<seed> with a whole '
                         'number from 0 to 2**63 - 1, for example random:0.')
    return int(digits[1])


def _existing_file(vgg_weights: str | os.PathLike[str]) -> Path:
    if random_seed(vgg_weights) is not None:
        raise ValueError(f'vgg_weights is {vgg_weights!r}: these weights are drawn, there is no file to locate.')
    if not isinstance(vgg_weights, (str, os.PathLike)):
        raise TypeError(f'vgg_weights must be a path, random:<seed> or None, received {vgg_weights!r}.')
    path = Path(vgg_weights).expanduser()
    if not path.is_file():
        raise FeatureWeightsError(f'vgg_weights: there is no file {str(path)!r} (looked for from {Path.cwd()}). '
                                  'Correct the path, or leave it out to have the published file searched for.')
    return path


def _download(vgg_type: str, target: Path) -> Path:
    url = BASE_URL + target.name
    if os.environ.get('MCIR_OFFLINE', '0') not in ('', '0'):
        raise _not_found(vgg_type, target, 'MCIR_OFFLINE is set')
    logger.warning('Downloading the %s weights of the feature extractor from %s to %s', vgg_type, url, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # writes to a temporary file beside the target, and compares the hash that the file name carries
        torch.hub.download_url_to_file(url, str(target), hash_prefix=target.stem.rpartition('-')[2])
    except (OSError, HTTPException, RuntimeError) as error:
        raise _not_found(vgg_type, target, f'{type(error).__name__}: {error}') from error
    return target


def _not_found(vgg_type: str, cached: Path, reason: str) -> FeatureWeightsError:
    pretrained = PRETRAINED_FOLDER.absolute()
    return FeatureWeightsError(
        f'The {vgg_type} weights {cached.name} are neither in {pretrained} nor in {cached.parent}, and were not '
        f'downloaded from {BASE_URL}{cached.name} ({reason}). Provide them in one of three ways:\n'
        f'  1. put {cached.name} into {pretrained} or into {cached.parent};\n'
        f'  2. name a file in the options: "vgg_weights: /path/to/{cached.name}";\n'
        '  3. use seeded random weights instead: "vgg_weights: random:0".')


def _random_weights(shapes: Shapes, seed: int) -> dict[str, Tensor]:
    # drawn from the first layer on, so a layer's weights do not depend on how deep the network goes
    generator = torch.Generator('cpu').manual_seed(seed)
    weights = {}
    for key, shape in shapes.items():
        if len(shape) == 4:
            noise = torch.randn(shape, generator=generator, device='cpu', dtype=torch.float32)
            weights[key] = noise * math.sqrt(2 / math.prod(shape[1:]))
        else:
            value = 1. if key.endswith(('.weight', '.running_var')) else 0.
            weights[key] = torch.full(shape, value, device='cpu', dtype=torch.float32)
    return weights
