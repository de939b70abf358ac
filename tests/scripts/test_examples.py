"""The loops that no host owns: they run, stay short, and continue bit for bit from their own checkpoints."""
import importlib.util
import sys
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
import torch

EXAMPLES = Path(__file__).resolve().parents[2] / 'scripts' / 'examples'


class StandIn:
    """What the example asks of ``accelerate.Accelerator``, for one process, where the package is not installed."""

    device = torch.device('cpu')

    def __init__(self, gradient_accumulation_steps: int) -> None:
        self.every, self.batches, self.parts = gradient_accumulation_steps, 0, []

    @property
    def sync_gradients(self) -> bool:
        return self.batches % self.every == 0

    def prepare(self, net: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple:
        self.parts = [net, optimizer]
        step, zero_grad = optimizer.step, optimizer.zero_grad
        optimizer.step = lambda: self.sync_gradients and step()
        optimizer.zero_grad = lambda: self.sync_gradients and zero_grad()
        return net, optimizer

    def register_for_checkpointing(self, part) -> None:
        self.parts.append(part)

    @contextmanager
    def accumulate(self, net):
        self.batches += 1
        yield

    def backward(self, loss: torch.Tensor) -> None:
        (loss / self.every).backward()

    def save_state(self, folder: str) -> None:
        Path(folder).mkdir(exist_ok=True)
        torch.save([part.state_dict() for part in self.parts], Path(folder, 'state.pth'))

    def load_state(self, folder: str) -> None:
        for part, state in zip(self.parts, torch.load(Path(folder, 'state.pth'), weights_only=True), strict=True):
            part.load_state_dict(state)


@pytest.fixture
def example(monkeypatch):
    """Return ``example(name)``: a fresh module of an example."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f'{name}.py')
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    if importlib.util.find_spec('accelerate') is None:
        fake = ModuleType('accelerate')
        fake.Accelerator = StandIn
        monkeypatch.setitem(sys.modules, 'accelerate', fake)
    return load


def assert_same(one, other, path='state'):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key, value in one.items():
            assert_same(value, other[key], f'{path}.{key}')
    else:
        assert one == other, path


@pytest.mark.parametrize('path', sorted(EXAMPLES.glob('*.py')), ids=lambda path: path.stem)
def test_at_most_40_lines(path):
    assert len(path.read_text().splitlines()) <= 40


def test_plain_loop_continues_bit_for_bit(example, tmp_path):
    main = example('plain_loop').main
    main(str(tmp_path / 'straight.pth'), 12)
    main(str(tmp_path / 'parts.pth'), 7)
    main(str(tmp_path / 'parts.pth'), 12)
    straight, parts = (torch.load(tmp_path / f'{name}.pth', weights_only=True) for name in ('straight', 'parts'))
    assert straight['contrast']['bank']['_extra_state']['refreshed_at'] == [10, 0]
    straight['contrast'], parts['contrast'] = (dict(saved['contrast']) for saved in (straight, parts))
    for saved in (straight, parts):
        saved['contrast']['bank'] = {k: v for k, v in saved['contrast']['bank'].items() if k != '_extra_state'}
        del saved['optimizer']['param_groups']
    assert_same(straight, parts)


def test_accelerate_loop_counts_steps_and_continues_bit_for_bit(example, tmp_path):
    module = example('accelerate_loop')
    made = []
    original = module.ContrastTerm

    def watched(*args, **kwargs):
        made.append(original(*args, **kwargs))
        return made[-1]

    module.ContrastTerm = watched
    for folder, first, last in (('straight', 1, 12), ('parts', 1, 7), ('parts', 8, 12)):
        module.main(str(tmp_path / folder), first, last)
    straight, _, resumed = (term.bank for term in made)
    assert straight.refreshed_at == resumed.refreshed_at == [10, 0]
    assert_same(dict(straight.named_parameters()), dict(resumed.named_parameters()))
    assert_same(straight.network.state_dict(), resumed.network.state_dict())
