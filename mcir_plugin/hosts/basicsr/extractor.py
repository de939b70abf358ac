"""``spn_opt.extractor`` in BasicSR: networks of its registry, or one that the model trains, such as ``net_d``."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import basicsr.archs  # noqa: F401  (fills the registry)
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from mcir_plugin.config import ConfigError, LossOptions
from mcir_plugin.config.errors import raise_if_any
from mcir_plugin.history.copies import seeded
from mcir_plugin.hosts import extractor
from mcir_plugin.hosts.basicsr.lookup import lookup, misfits
from mcir_plugin.losses import NetworkFeatures

WHERE = 'train.spn_opt.extractor'


def of_model(spn: LossOptions, model: Any) -> NetworkFeatures | None:
    """Return the extractor of a model's loss, None for a VGG, which the loss builds itself.

    Raises:
        ConfigError: The model has no network of the name that the options give.
        McirError: See :func:`mcir_plugin.hosts.extractor.build_extractor`.
    """

    def find(name: str) -> nn.Module:
        network = getattr(model, name, None)
        if not isinstance(network, nn.Module):
            raise ConfigError(f'{WHERE}.name: {type(model).__name__} has no network {name!r}. '
                              'Use a model type that trains a discriminator, or extractor: {type: network, ...}')
        return model.get_bare_model(network)

    return extractor.build_extractor(spn, _build, find)


def require_extractor(spn: LossOptions, opt: Mapping[str, Any]) -> str:
    """Make sure before data are loaded that the extractor can be had; return in one line what was found.

    Args:
        spn (LossOptions): Options of the loss.
        opt (Mapping): Those of the whole run.

    Raises:
        ConfigError: The option file describes no such network, or it cannot be built.
        FeatureWeightsError: There is no usable weight file.
        LossInputError: ``layer_weights`` names a layer that the network does not have.
    """

    def find(name: str) -> nn.Module:
        key = name.replace('net_', 'network_', 1)
        if key == 'network_g':
            raise ConfigError(f'{WHERE}.name: {name} is the network that the term trains. Use the discriminator, net_d')
        if not isinstance(opt.get(key), Mapping):
            raise ConfigError(f'{WHERE}.name: received {name!r}, but the option file has no {key}. Use a model type '
                              'that trains a discriminator, or extractor: {type: network, ...}')
        with seeded(0):  # the weights do not matter, and the run's random numbers are left alone
            return _build(dict(opt[key]), key)

    return extractor.require_extractor(spn, _build, find)


def _build(block: dict[str, Any], where: str = f'{WHERE}.network') -> nn.Module:
    """Build a network as ``build_network`` does, but say nothing: BasicSR opens its log at the first line of it."""
    raise_if_any(misfits(ARCH_REGISTRY, block, where))
    try:
        return lookup(ARCH_REGISTRY, block['type'])(**{key: value for key, value in block.items() if key != 'type'})
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError(f'{where}: {block["type"]} cannot be built ({error}). Correct its options') from error
