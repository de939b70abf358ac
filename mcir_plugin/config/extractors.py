"""``train.spn_opt.extractor``: a network of the host's registry as feature extractor, instead of a VGG."""
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mcir_plugin.config.errors import show
from mcir_plugin.config.kinds import Choice, Text, refuse
from mcir_plugin.config.schema import option

OF_A_VGG = ('vgg_type', 'vgg_weights', 'use_input_norm')
_NAME = 'Name of the kind of extractor.'


@dataclass(frozen=True)
class NetworkBlock:
    """A network of a registry: a mapping with its type and its own options, which are checked when it is built."""

    def describe(self) -> str:
        """Return the allowed values in words."""
        return 'a mapping such as {type: UNetDiscriminatorSN, num_in_ch: 3, num_feat: 64}'

    def parse(self, value: Any, where: str) -> dict[str, Any]:
        """Return a new dict."""
        if not isinstance(value, Mapping) or not isinstance(value.get('type'), str):
            raise refuse(value, where, self)
        return dict(value)


@dataclass(frozen=True)
class NetworkOptions:
    """A frozen network of the registry, such as a discriminator, trained or random."""

    type: str = option('network', _NAME, Choice(('network', )))
    network: dict[str, Any] = option({}, 'The network, as network_d: type and its options.', NetworkBlock(),
                                     shown='to be given')
    weights: str = option('', 'Its weights: a file, with keys bare or under params, params_ema or state_dict; or drawn '
                          'at random.', Text('path of a weight file or random:<seed>'), shown='to be given')

    @staticmethod
    def check(given: dict[str, Any], where: str) -> Iterator[str]:
        """Yield what is wrong between options."""
        for name in ('network', 'weights'):
            if name not in given:
                yield f'{where}.{name}: is missing; it has no default'
        yield from seed_problems(given.get('weights'), f'{where}.weights')


@dataclass(frozen=True)
class LiveOptions:
    """A network that the model trains beside the restorer, as it is in each step: the discriminator of a GAN."""

    type: str = option('live', _NAME, Choice(('live', )))
    name: str = option('net_d', 'Attribute of the model that holds the network.', Text('name of an attribute'))


EXTRACTOR_BLOCKS: dict[str, type] = {'network': NetworkOptions, 'live': LiveOptions}


def extractor_problems(given: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield the options of a loss that do not go with an extractor of one's own.

    Args:
        given (Mapping): The options of the loss as written.
        where (str): Their option path.
    """
    for name in OF_A_VGG:
        if given.get(name) is not None:
            yield (f'{where}.{name}: received {show(given[name])}, but has no effect with {where}.extractor, which '
                   'replaces the VGG and takes images as they are. Remove one of the two')
    if given.get('layer_weights') is None:
        yield (f'{where}.layer_weights: is missing; with {where}.extractor it names modules of that network, such as '
               '{conv1: 0.5, conv2: 0.5}')


def seed_problems(weights: str | None, where: str) -> Iterator[str]:
    """Yield what is wrong with ``random:<seed>``; anything else is a path."""
    name, _, seed = (weights or '').partition(':')
    if name == 'random' and not (seed.isascii() and seed.isdigit()):
        yield (f'{where}: received {weights!r}, must be random:<seed> with an integer seed >= 0, '
               'such as random:0. For a file of this name, write ./random')
