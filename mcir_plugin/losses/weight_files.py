"""Reading a weight file, and telling whose weights it holds."""
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mcir_plugin.config.vgg_names import VGG_TYPES, layer_names
from mcir_plugin.errors import McirError
from mcir_plugin.losses.vgg_layout import Shapes, parameter_shapes

WRAPPERS = ('state_dict', 'params', 'params_ema')  # keys under which files hold a state dict, in the order of search

BASE_URL = 'https://download.pytorch.org/models/'  # where torchvision's published files are
PRETRAINED_FOLDER = Path('experiments/pretrained_models')  # BasicSR's, relative to where training is started


class FeatureWeightsError(McirError, RuntimeError):
    """The weights of the feature extractor are missing, unreadable, or those of another network."""


def places(file_name: str) -> tuple[Path, Path]:
    """Return where a published file is looked for: BasicSR's folder, then the cache of torch hub."""
    return PRETRAINED_FOLDER.absolute() / file_name, Path(torch.hub.get_dir(), 'checkpoints', file_name)


def find_published(file_name: str) -> Path | None:
    """Return where a published file lies on this machine, None if it does not."""
    return next((path for path in places(file_name) if path.is_file()), None)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a weight file, bare or under one of :data:`WRAPPERS`; no code in it is run.

    Raises:
        FeatureWeightsError: The file is damaged, holds Python objects, or holds no state dict.
    """
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # a damaged or foreign file can raise nearly anything while it is unpickled
        raise FeatureWeightsError(f'{path} cannot be read as a weight file ({type(error).__name__}): it is truncated, '
                                  'damaged, or holds Python objects, which are refused because they could run code. '
                                  'Replace it.') from error
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise FeatureWeightsError(f'{path} holds a {type(content).__name__}, not a state dict. Give a file of weights, '
                                  'for a VGG that of torchvision.')
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def check_state_dict(state: Mapping[str, Tensor], vgg_type: str, needed: Shapes, path: Path) -> None:
    """Refuse a file that lacks a needed tensor, or whose other layers show that it is another network.

    The latter matters: up to relu3_3, VGG16 and VGG19 have the same shapes, and only what follows tells them apart.

    Args:
        state (Mapping[str, Tensor]): What the file holds.
        vgg_type (str): The type it is meant to be.
        needed (dict[str, tuple[int, ...]]): Keys and shapes of the tensors that are needed.
        path (Path): The file, for the message.

    Raises:
        FeatureWeightsError: Says what is missing or misshapen, and which type the file looks like.
    """
    found = {key: tuple(value.shape) for key, value in state.items()
             if key.startswith('features.') and not key.endswith('.num_batches_tracked')}
    own = parameter_shapes(layer_names(vgg_type))
    problems = [f'{key} is missing' for key in needed if key not in found]
    problems += [f'{key} is {shape}, expected {own.get(key, "no such tensor")}'
                 for key, shape in found.items() if own.get(key) != shape]
    if problems:
        more = f' and {len(problems) - 4} more' if len(problems) > 4 else ''
        raise FeatureWeightsError(f'{path} does not hold the {vgg_type} weights that are needed: '
                                  f'{"; ".join(problems[:4])}{more}. {_describe(found, vgg_type, list(state))}')


def _describe(found: Shapes, vgg_type: str, keys: list[str]) -> str:
    if not found:
        return f'Its keys are not those of a VGG of torchvision: {", ".join(keys[:4]) or "there are none"}.'
    fitting = {}
    for other in VGG_TYPES:
        shapes = parameter_shapes(layer_names(other))
        if found.items() <= shapes.items():
            fitting[other] = found == shapes
    if vgg_type in fitting:
        return 'It covers the first layers only: choose shallower layers, or give a file that reaches further.'
    whole = [other for other, complete in fitting.items() if complete]
    if fitting:
        return f'It looks like {" or ".join(whole or fitting)}: set vgg_type to that, or give a {vgg_type} file.'
    return f'It looks like no VGG of torchvision: give a {vgg_type} file.'
