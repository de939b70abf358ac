"""One training run through BasicSR's SRModel, mmengine's Runner and a plain loop: same gradients, same history."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.optimizer import register_optimizer_step_pre_hook

from mcir_plugin import HistoryBank  # the package comes before basicsr: it mends its import
from mcir_plugin.losses import LOSSES

STEPS, SEED, LR = 50, 3, 0.05
SPN = {'type': 'SPNLoss', 'loss_weight': 0.05, 'vgg_weights': 'random:0', 'layer_weights': {'relu1_2': 1.0}}
CCR = {**SPN, 'type': 'CCRLoss', 'loss_weight': 0.02}
HISTORY = {'update_iter': [7, 20], 'decay': [0.1, 0.5], 'negatives_per_iter': 1}


class SmallNet(nn.Module):
    """Convolution, BatchNorm, convolution; the sum with its input."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.tail = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.tail(torch.relu(self.norm(self.head(x))))


@pytest.fixture(scope='module')
def start() -> dict[str, Tensor]:
    """The weights that every run starts from."""
    torch.manual_seed(1)
    return SmallNet().state_dict()


@pytest.fixture(scope='module')
def batches() -> list[tuple[Tensor, Tensor]]:
    """Noisy and clean patches of photographs, in [0, 1], one batch per step."""
    import skimage
    folder = Path(skimage.__file__).parent / 'data'
    images = [cv2.imread(str(folder / name))[:256, :256] for name in ('astronaut.png', 'chelsea.png')]
    generator = torch.Generator().manual_seed(0)
    made = []
    for step in range(STEPS):
        gt = torch.stack([torch.from_numpy(image[step:step + 16, 3 * step:3 * step + 16]).permute(2, 0, 1) / 255
                          for image in images])
        made.append((gt + 0.1 * torch.randn(gt.shape, generator=generator), gt))
    return made


@contextmanager
def recorded(gradients: list[dict[str, Tensor]], network: Callable[[], nn.Module]) -> Iterator[None]:
    """Collect the gradients with which each optimizer step is made."""

    def record(*_: Any) -> None:
        gradients.append({name: p.grad.clone() for name, p in network().named_parameters()})

    handle = register_optimizer_step_pre_hook(record)
    try:
        yield
    finally:
        handle.remove()


def through_plain_pytorch(batches, start, folder, options=SPN):
    network, gradients = SmallNet(), []
    network.load_state_dict(start)
    optimizer = torch.optim.SGD(network.parameters(), lr=LR)
    bank = HistoryBank(network, **HISTORY, seed=SEED, factory=SmallNet)
    term = LOSSES[options['type']](**{name: value for name, value in options.items() if name != 'type'})
    with recorded(gradients, lambda: network):
        for step, (lq, gt) in enumerate(batches, 1):
            output = network(lq)
            loss = functional.l1_loss(output, gt) + term(output, bank.negatives(lq), gt=gt, lq=lq)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            bank.update(step)
    return gradients, bank


def through_basicsr(batches, start, folder, options):
    from basicsr.models import build_model
    from basicsr.utils.registry import ARCH_REGISTRY
    if 'SmallNet' not in ARCH_REGISTRY:
        ARCH_REGISTRY.register(SmallNet)
    torch.save({'params': start}, folder / 'start.pth')
    model = build_model({
        'model_type': 'SRModel', 'num_gpu': 0, 'dist': False, 'rank': 0, 'world_size': 1, 'is_train': True,
        'manual_seed': SEED, 'network_g': {'type': 'SmallNet'}, 'logger': {'print_freq': 1000},
        'path': {'pretrain_network_g': str(folder / 'start.pth'), 'experiments_root': str(folder)},
        'train': {'optim_g': {'type': 'SGD', 'lr': LR}, 'scheduler': {'type': 'MultiStepLR', 'milestones': [1000]},
                  'total_iter': STEPS, 'pixel_opt': {'type': 'L1Loss'}, 'spn_opt': options, 'history_opt': HISTORY}})
    gradients = []
    with recorded(gradients, lambda: model.net_g):
        for step, (lq, gt) in enumerate(batches, 1):
            model.feed_data({'lq': lq, 'gt': gt})
            model.optimize_parameters(step)
    return gradients, model.contrast.term.bank


def through_mmengine(batches, start, folder, options):
    from mmengine.model import BaseModel
    from mmengine.registry import MODELS
    from mmengine.runner import Runner

    import mcir_plugin.hosts.mmengine  # noqa: F401  (registers the hook)

    class SmallModel(BaseModel):
        """After MMagic's contract."""

        def __init__(self, generator: dict) -> None:
            super().__init__()
            self.generator, self.pixel_loss = MODELS.build(generator), nn.L1Loss()

        def forward(self, inputs: Tensor, data_samples: Tensor | None = None, mode: str = 'tensor') -> Any:
            output = self.generator(inputs)
            return {'loss': self.pixel_loss(output, data_samples)} if mode == 'loss' else output

    for module in (SmallNet, SmallModel):
        MODELS.register_module(module=module, force=True)
    torch.save({'state_dict': {f'generator.{name}': value for name, value in start.items()}}, folder / 'start_mm.pth')
    runner = Runner(
        {'type': 'SmallModel', 'generator': {'type': 'SmallNet'}}, str(folder), experiment_name=f'conform{folder}',
        train_dataloader=torch.utils.data.DataLoader(
            [{'inputs': lq, 'data_samples': gt} for lq, gt in batches], batch_size=None),
        train_cfg={'by_epoch': False, 'max_iters': STEPS}, optim_wrapper={'optimizer': {'type': 'SGD', 'lr': LR}},
        default_hooks={'checkpoint': None, 'sampler_seed': None}, load_from=str(folder / 'start_mm.pth'),
        custom_hooks=[{'type': 'HistoryNegativeHook', 'spn': options, 'history': HISTORY}], randomness={'seed': SEED},
        default_scope='mmengine', cfg={'model': {'generator': {'type': 'SmallNet'}}}, log_level='WARNING')
    gradients = []
    with recorded(gradients, lambda: runner.model.generator):
        runner.train()
    hook = next(hook for hook in runner.hooks if hasattr(hook, 'contrast'))
    return gradients, hook.contrast.term.bank


@pytest.mark.parametrize('options', [SPN, CCR], ids=['SPN', 'CCR'])
@pytest.mark.parametrize('host', [through_basicsr, through_mmengine])
def test_same_gradients_and_history_as_a_plain_loop(host, options, batches, start, tmp_path):
    expected, history = through_plain_pytorch(batches, start, tmp_path, options)
    gradients, bank = host(batches, start, tmp_path, options)
    assert len(expected) == len(gradients) == STEPS
    for step, (ours, theirs) in enumerate(zip(gradients, expected, strict=True), 1):
        for name, gradient in theirs.items():
            assert torch.allclose(ours[name], gradient, rtol=1e-4, atol=1e-7), (step, name)
    assert bank.refreshed_at == history.refreshed_at == [49, 40]
    assert torch.equal(bank.draw.get_state(), history.draw.get_state())
    for copy, reference in zip(bank.copies, history.copies, strict=True):
        for (name, value), other in zip(copy.state_dict().items(), reference.state_dict().values(), strict=True):
            assert torch.allclose(value, other, rtol=1e-5, atol=1e-7), name


@pytest.mark.parametrize('options', [SPN, CCR], ids=['SPN', 'CCR'])
def test_the_term_matters_to_these_gradients(options, batches, start, tmp_path):
    """Without it the comparison above would prove nothing."""
    with_term, _ = through_plain_pytorch(batches[:2], start, tmp_path, options)
    without, _ = through_plain_pytorch(batches[:2], start, tmp_path, {**options, 'loss_weight': 0.0})
    assert not torch.allclose(with_term[0]['tail.weight'], without[0]['tail.weight'], rtol=1e-2)
