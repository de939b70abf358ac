"""From ``spn_opt.extractor`` to the network whose features a loss compares, the same for all hosts."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mcir_plugin.config import LossOptions
from mcir_plugin.history.copies import seeded
from mcir_plugin.hosts.state_dicts import differences
from mcir_plugin.losses import FeatureWeightsError, NetworkFeatures
from mcir_plugin.losses.vgg_weights import load_weights, random_seed
from mcir_plugin.losses.weight_files import read_state_dict

Build = Callable[[dict[str, Any]], nn.Module]


def build_extractor(spn: LossOptions, build: Build, find: Callable[[str], nn.Module]) -> NetworkFeatures | None:
    """Return the extractor that the options name, None where that is a VGG, which the loss builds itself.

    Args:
        spn (LossOptions): Options of the loss.
        build (Callable): From the mapping of a network to the network, by the host's registry.
        find (Callable): From a name to the network of the model that is trained under this name, bare.

    Raises:
        FeatureWeightsError: There is no usable weight file.
        LossInputError: ``layer_weights`` names a layer that the network does not have.
    """
    options = spn.extractor
    if options is None:
        return None
    if options['type'] == 'live':
        return NetworkFeatures(find(options['name']), spn.layer_weights, spn.range_norm, frozen=False)
    network = _built(options['network'], options['weights'], build)
    return NetworkFeatures(network, spn.layer_weights, spn.range_norm)


def require_extractor(spn: LossOptions, build: Build, find: Callable[[str], nn.Module]) -> str:
    """Make sure before training that the extractor can be had; return in one line what was found.

    Args and errors as for :func:`build_extractor`.
    """
    extractor = build_extractor(spn, build, find)
    if extractor is None:
        tensors = load_weights(spn.vgg_type, spn.vgg_weights, list(spn.layer_weights))
        return f'{describe(spn)}: {len(tensors)} tensors'
    return f'{describe(spn)}: {len(extractor.network.state_dict())} tensors'


def describe(spn: LossOptions) -> str:
    """Return in a few words which extractor the options name."""
    options = spn.extractor
    if options is None:
        return f'{spn.vgg_type}, weights {spn.vgg_weights or "as published"}'
    if options['type'] == 'live':
        return f'{options["name"]} of the model, as it is in each step'
    return f'{options["network"]["type"]}, weights {options["weights"]}'


def _built(options: Mapping[str, Any], weights: str, build: Build) -> nn.Module:
    """Build a network without drawing from the random numbers of the run."""
    seed = random_seed(weights)
    with seeded(seed or 0):
        network = build(dict(options))
    if seed is None:
        _load(network, Path(weights).expanduser())
    return network


def _load(network: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise FeatureWeightsError(f'extractor.weights: there is no file {str(path)!r} (looked for from '
                                  f'{Path.cwd()}). Correct the path, or write random:0.')
    saved = {key.removeprefix('module.'): value for key, value in read_state_dict(path).items()}
    differing = list(differences(network.state_dict(), saved))
    if differing:
        raise FeatureWeightsError(f'extractor.weights: {path} does not fit {type(network).__name__}: '
                                  f'{"; ".join(differing)}. Give the file of this network, or correct '
                                  'extractor.network.')
    network.load_state_dict(saved)
