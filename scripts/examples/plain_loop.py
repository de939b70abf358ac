"""A training loop of your own with history negatives: plain PyTorch, checkpoint and resume included.

    python scripts/examples/plain_loop.py checkpoint.pth 20      # again with 40: continues where it stopped
"""
import sys
from pathlib import Path

import torch
from torch import nn

from mcir_plugin import ContrastTerm, HistoryBank, SPNLoss


def main(checkpoint: str, steps: int) -> None:
    """Train up to optimizer step ``steps``, continuing from the checkpoint if there is one, and save."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    first = 1
    contrast = ContrastTerm(HistoryBank(net, update_iter=(5, 20)), SPNLoss(vgg_weights='random:0'))  # or ImageNet's
    if Path(checkpoint).exists():
        saved = torch.load(checkpoint, weights_only=True)
        for part, name in ((net, 'net'), (optimizer, 'optimizer'), (contrast, 'contrast')):
            part.load_state_dict(saved[name])
        first = saved['step'] + 1
    for step in range(first, steps + 1):
        gt = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(step))  # your data here
        lq = (gt + 0.1).clamp(max=1)
        out = net(lq)
        loss = nn.functional.l1_loss(out, gt) + contrast(out, lq, step=step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        contrast.update(step)
    torch.save({'net': net.state_dict(), 'optimizer': optimizer.state_dict(), 'contrast': contrast.state_dict(),
                'step': steps}, checkpoint)


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]))
