"""The hook's arguments, the registry, and configs as mmengine's users write them."""
import pytest
from mmengine.config import Config
from mmengine.registry import HOOKS, MODELS, Registry

from mcir_plugin.config import ConfigError
from mcir_plugin.hosts.mmengine import HistoryNegativeHook
from mcir_plugin.losses import SPNLoss


def hook(**arguments):
    return HOOKS.build({'type': 'HistoryNegativeHook', **arguments})


def test_defaults_are_the_published_configuration():
    made = hook()
    assert (made.network, made.losses) == ('generator', ('pixel_loss', ))
    assert made.config.spn.loss_weight == 1e-3
    assert made.config.history.update_iter == (100, 200, 500, 1000)
    assert made.config.history.decay == (0.1, ) * 4


@pytest.mark.parametrize(('momentum', 'decay'), [(0.9, (0.1, 0.1)), (1, (0.0, 0.0)), ([0.999, 0.5], (0.001, 0.5))])
def test_momentum_is_one_minus_decay(momentum, decay):
    assert hook(history={'update_iter': [1, 2], 'momentum': momentum}).config.history.decay == decay


@pytest.mark.parametrize(('arguments', 'message'), [
    ({'history': {'momentum': 0.9, 'decay': 0.1}}, 'momentum: received 0.9, but decay is given as well'),
    ({'history': {'momentum': 0}}, r'momentum: received 0, must be a number > 0 and <= 1'),
    ({'history': {'momentum': '0.9'}}, "momentum: received '0.9'"),
    ({'history': {'update_itr': [1]}}, r'history.update_itr.*did you mean update_iter'),
    ({'spn': {'loss_weight': 0}}, 'HistoryNegativeHook.spn.loss_weight: received 0'),
    ({'spn': {'type': 'mcir.DCLoss'}}, "spn.type: received 'DCLoss', must be SPNLoss"),
    ({'spn': [1]}, 'HistoryNegativeHook.spn: received'),
    ({'spn': {'loss_weight': -1}, 'history': {'decay': 2}}, r'(?s)2 problems.*loss_weight.*decay'),
    ({'losses': []}, 'losses: received'),
    ({'losses': 3}, 'losses: received 3'),
    ({'network': None}, 'network: received None'),
])
def test_wrong_arguments_fail_when_the_hook_is_built(arguments, message):
    with pytest.raises(ConfigError, match=message):
        HistoryNegativeHook(**arguments)


def test_loss_builds_under_its_scope_from_the_root_and_from_other_scopes():
    options = {'type': 'mcir.SPNLoss', 'loss_weight': 0.5, 'vgg_weights': 'random:0', 'layer_weights': {'relu1_1': 1.0}}
    other = Registry('model', parent=MODELS, scope='other_toolbox', locations=['restoration'])
    for registry in (MODELS, other):
        loss = registry.build(dict(options))
        assert isinstance(loss, SPNLoss) and loss.loss_weight == 0.5
    assert 'SPNLoss' not in MODELS.module_dict


BASE = """
custom_imports = dict(imports=['mcir_plugin.hosts.mmengine'], allow_failed_imports=False)
spn = dict(type='SPNLoss', loss_weight=1e-3)
custom_hooks = [dict(type='HistoryNegativeHook', spn=spn, history=dict(update_iter=[10, 20]))]
"""
CHILD = """
_base_ = ['./base.py']
_base_.custom_hooks[0].spn.loss_weight = 2e-3
custom_hooks = _base_.custom_hooks
"""
YAML = """
custom_hooks:
  - type: HistoryNegativeHook
    spn: {type: mcir.SPNLoss, loss_weight: 2e-3}
    history: {update_iter: [10, 20], momentum: 0.9}
"""
YAML_CHILD = '_base_: base.yml\nwork_dir: somewhere\n'
LAZY = """
from mcir_plugin.hosts.mmengine import HistoryNegativeHook
from mcir_plugin.losses import SPNLoss
custom_hooks = [dict(type=HistoryNegativeHook, spn=dict(type=SPNLoss, loss_weight=2e-3),
                     history=dict(update_iter=(10, 20)))]
"""


@pytest.mark.parametrize('files', [{'base.py': BASE, 'child.py': CHILD}, {'base.yml': YAML, 'child.yml': YAML_CHILD},
                                   {'child.py': LAZY}], ids=['python', 'yaml', 'lazy'])
def test_config_files(files, tmp_path):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    config = Config.fromfile(str(tmp_path / list(files)[-1]))
    made = HOOKS.build(config.custom_hooks[0])
    assert made.config.spn.loss_weight == 2e-3
    assert made.config.history.update_iter == (10, 20)
    assert made.config.history.decay == (0.1, 0.1)
