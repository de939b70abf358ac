"""A precision that this machine cannot compute in is refused before any step, on whatever PyTorch is installed."""
import pytest
import torch
from torch import nn

from mcir_plugin.config import ConfigError, HistoryOptions
from mcir_plugin.history import HistoryBank
from mcir_plugin.hosts.guard import Names
from mcir_plugin.hosts.term import build_term
from mcir_plugin.losses import SPNLoss


def can_convolve(dtype):
    try:
        return nn.Conv2d(3, 3, 3, dtype=dtype)(torch.zeros(1, 3, 4, 4, dtype=dtype)).dtype == dtype
    except RuntimeError:
        return False


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16', 'float8_e4m3fn'])  # no PyTorch convolves in the last one
def test_term_and_bank_refuse_what_pytorch_cannot_do(dtype):
    network = nn.Conv2d(3, 3, 3, padding=1)
    loss = SPNLoss(vgg_weights='random:0', layer_weights={'relu1_2': 1.0})
    history = HistoryOptions(precision=dtype)
    if can_convolve(getattr(torch, dtype)):
        build_term(network, history, loss, 0)
        assert next(loss.extractor.features.parameters()).dtype == getattr(torch, dtype)
        return
    said = f'^train.history_opt.precision: PyTorch .* cannot compute in {dtype} on cpu.* Use bfloat16'
    with pytest.raises(ConfigError, match=said):
        build_term(network, history, loss, 0)
    with pytest.raises(ConfigError, match='^Hook.history.precision: '):
        build_term(network, history, loss, 0, names=Names(history='Hook.history'))
    assert next(loss.extractor.features.parameters()).dtype == torch.float32, 'nothing is changed'
    with pytest.raises(ValueError, match='^precision: PyTorch'):
        HistoryBank(network, precision=dtype)
