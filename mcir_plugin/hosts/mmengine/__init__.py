"""The MMEngine adapter: the only code that imports mmengine. It imports neither its Runner nor BasicSR.

    custom_imports = dict(imports=['mcir_plugin.hosts.mmengine'])
    custom_hooks = [dict(type='HistoryNegativeHook', spn=dict(loss_weight=1e-3))]

    hook.py        HistoryNegativeHook: the history of a network in a model, through one training run
    attachment.py  where the term joins the model's losses, and its log
    steps.py       counts the optimizer's steps
    options.py     the hook's arguments
    registry.py    SPNLoss as ``mcir.SPNLoss`` in MODELS, and the other losses
    resume.py      lets mmengine resume on PyTorch >= 2.6
"""
from mcir_plugin.hosts.mmengine.hook import HistoryNegativeHook
from mcir_plugin.hosts.mmengine.registry import MODELS
from mcir_plugin.hosts.mmengine.resume import allow_resume

__all__ = ['MODELS', 'HistoryNegativeHook', 'allow_resume']

allow_resume()
