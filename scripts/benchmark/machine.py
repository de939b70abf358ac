"""What a result was measured on."""
from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import torch


def describe(device: torch.device) -> dict[str, object]:
    """Return the machine and the versions that a timing depends on."""
    packages = ('torch', 'torchvision', 'basicsr', 'numpy')
    facts: dict[str, object] = {
        'device': torch.cuda.get_device_name(device) if device.type == 'cuda' else _cpu(),
        'threads': torch.get_num_threads(), 'system': platform.platform(terse=True),
        'python': platform.python_version(), **{name: version(name) for name in packages}}
    if device.type == 'cuda':
        facts.update(cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version(),
                     tf32_convolutions=torch.backends.cudnn.allow_tf32)
    return facts


def _cpu() -> str:
    info = Path('/proc/cpuinfo')
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.partition(':')[2].strip() for line in lines if line.startswith('model name')), '')
    instructions = next((line.split() for line in lines if line.startswith('flags')), [])
    known = [name for name in ('avx2', 'avx512f', 'avx512_bf16', 'amx_bf16') if name in instructions]
    return f'{model or platform.processor()} ({" ".join(known)})'
