"""Which layers and tensors a VGG consists of."""
import re
from collections.abc import Iterable, Sequence

from mcir_plugin.config.vgg_names import VGG_TYPES, layer_names

Shapes = dict[str, tuple[int, ...]]

_CHANNELS = (64, 128, 256, 512, 512)  # of the five blocks


def check_type(vgg_type: str) -> None:
    """Raise a ValueError unless this is one of the eight published types."""
    if vgg_type not in VGG_TYPES:
        raise ValueError(f'vgg_type is {vgg_type!r}; it must be one of {", ".join(VGG_TYPES)}.')


def layers_up_to(vgg_type: str, layers: Iterable[str]) -> list[str]:
    """Names of all layers from the first to the deepest of ``layers``, in the order of torchvision's ``features``.

    Raises:
        ValueError: Unknown type, no layer, or one that this type does not have.
    """
    check_type(vgg_type)
    names, wanted = list(layer_names(vgg_type)), list(layers)
    unknown = [layer for layer in wanted if layer not in names]
    if unknown or not wanted:
        what = f'{vgg_type} has no layer {unknown[0]!r}' if unknown else 'no layer is given'
        raise ValueError(f'{what}; choose from {", ".join(names)}.')
    return names[:1 + max(names.index(layer) for layer in wanted)]


def parameter_shapes(names: Sequence[str]) -> Shapes:
    """Keys and shapes of the tensors of a VGG that consists of these layers.

    Args:
        names (Sequence[str]): Names of the layers from the first on, as :func:`layers_up_to` gives them.

    Returns:
        dict[str, tuple[int, ...]]: ``features.N.<parameter>`` to its shape, in the order of the network.
    """
    shapes: Shapes = {}
    channels_in = 3
    for index, name in enumerate(names):
        kind, block = re.fullmatch(r'([a-z]+)(\d).*', name).groups()
        channels = _CHANNELS[int(block) - 1]
        if kind == 'conv':
            shapes[f'features.{index}.weight'] = (channels, channels_in, 3, 3)
            shapes[f'features.{index}.bias'] = (channels,)
            channels_in = channels
        elif kind == 'bn':
            for part in ('weight', 'bias', 'running_mean', 'running_var'):
                shapes[f'features.{index}.{part}'] = (channels,)
    return shapes
