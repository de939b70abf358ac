"""Layer names of the VGG networks in the order of torchvision's ``features``, without importing torchvision."""

_CONVS_PER_BLOCK = {
    'vgg11': (1, 1, 2, 2, 2),
    'vgg13': (2, 2, 2, 2, 2),
    'vgg16': (2, 2, 3, 3, 3),
    'vgg19': (2, 2, 4, 4, 4),
}
VGG_TYPES = tuple(name + suffix for name in _CONVS_PER_BLOCK for suffix in ('', '_bn'))


def layer_names(vgg_type: str) -> list[str]:
    """List the layers of ``torchvision.models.<vgg_type>().features``.

    Layer i of block b is called ``conv{b}_{i}``, ``bn{b}_{i}`` (only in the _bn variants) and ``relu{b}_{i}``; a block
    ends with ``pool{b}``.

    Args:
        vgg_type (str): One of vgg11, vgg13, vgg16, vgg19, or one of these with _bn.

    Returns:
        list[str]: One name per module, so the index of a name is its index in ``features``.

    Raises:
        KeyError: If there is no such network.
    """
    kinds = ('conv', 'bn', 'relu') if vgg_type.endswith('_bn') else ('conv', 'relu')
    names = []
    for block, convs in enumerate(_CONVS_PER_BLOCK[vgg_type.removesuffix('_bn')], start=1):
        names += [f'{kind}{block}_{i}' for i in range(1, convs + 1) for kind in kinds]
        names.append(f'pool{block}')
    return names
