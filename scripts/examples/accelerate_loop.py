"""History negatives in a loop that a launcher owns: Hugging Face Accelerate; Lightning's hooks have the same places.

    accelerate launch scripts/examples/accelerate_loop.py state_folder 1 20    # then 21 40
"""
import sys

import torch
from accelerate import Accelerator
from torch import nn

from mcir_plugin import ContrastTerm, HistoryBank, SPNLoss


def main(folder: str, first: int, last: int) -> None:
    """Train optimizer steps ``first`` to ``last`` of two batches each; past the first, from the state in ``folder``."""
    accelerator = Accelerator(gradient_accumulation_steps=2)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1))
    net, optimizer = accelerator.prepare(net, torch.optim.Adam(net.parameters(), lr=1e-3))
    spn = SPNLoss(vgg_weights='random:0').to(accelerator.device)  # without vgg_weights: ImageNet's
    contrast = ContrastTerm(HistoryBank(net, update_iter=(5, 20)), spn)
    accelerator.register_for_checkpointing(contrast)  # it has state_dict and load_state_dict
    if first > 1:
        accelerator.load_state(folder)
    for batch in range(2 * (first - 1), 2 * last):
        step = batch // 2 + 1  # steps of the optimizer, not batches
        gt = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(batch)).to(accelerator.device)
        lq = (gt + 0.1).clamp(max=1)
        with accelerator.accumulate(net):
            out = net(lq)
            accelerator.backward(nn.functional.l1_loss(out, gt) + contrast(out, lq, step=step))
            optimizer.step()
            optimizer.zero_grad()
        if accelerator.sync_gradients:  # Lightning: on_train_batch_end, when global_step has grown
            contrast.update(step)
    accelerator.save_state(folder)


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
