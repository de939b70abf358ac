"""Weight files of random VGGs, a private hub cache and working directory, and a small network."""
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from spn_naive import save_weights, torchvision_layers
from torch import Tensor, nn


class SmallNet(nn.Module):
    """Two convolutions, for images and for clips."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(channels, 4, 3, padding=1), nn.Conv2d(4, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.tail(self.head(x.reshape(-1, *x.shape[-3:])).tanh()).reshape(x.shape)


@pytest.fixture
def small_net() -> Callable[..., SmallNet]:
    """A function that makes networks in float64; each seed gives other weights."""

    def make(seed: int, channels: int = 3) -> SmallNet:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return SmallNet(channels).double()

    return make


@pytest.fixture(scope='session')
def random_vgg(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[nn.Sequential, Path]]:
    """A function from a VGG type to torchvision's layers up to block 3 in float64, and the file with their weights."""
    folder = tmp_path_factory.mktemp('weights')
    made = {}

    def get(vgg_type: str) -> tuple[nn.Sequential, Path]:
        if vgg_type not in made:
            layers = torchvision_layers(vgg_type)
            made[vgg_type] = layers.double(), save_weights(layers.float(), folder / f'{vgg_type}.pth')
            layers.double()
        return made[vgg_type]

    return get


@pytest.fixture
def private_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """BasicSR's folder and the hub's, both empty and below a new working directory, and no way out to the network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('MCIR_OFFLINE', '1')
    hub = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path / 'hub'))
    folders = tmp_path / 'experiments/pretrained_models', tmp_path / 'hub/checkpoints'
    for folder in folders:
        folder.mkdir(parents=True)
    yield folders
    torch.hub.set_dir(hub)
