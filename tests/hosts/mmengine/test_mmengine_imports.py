"""What an import brings along: never BasicSR, never the Runner, and nothing at all for the core."""
import subprocess
import sys

import pytest

BLOCK = """
import sys
from importlib.abc import MetaPathFinder


class Blocked(MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None):
        if fullname.split('.')[0] in {blocked!r}:
            raise ModuleNotFoundError(f'{{fullname}} is blocked in this test', name=fullname)


sys.meta_path.insert(0, Blocked())
"""
CORE = """
import torch
import mcir_plugin
net = torch.nn.Conv2d(3, 3, 3, padding=1)
term = mcir_plugin.ContrastTerm(mcir_plugin.HistoryBank(net),
                                mcir_plugin.SPNLoss(vgg_weights='random:0', layer_weights={'relu1_1': 1.0}))
lq = torch.rand(1, 3, 16, 16)
term(net(lq), lq, step=1).backward()
term.update(1)
"""
HOST = """
from mmengine.registry import HOOKS, MODELS
import mcir_plugin.hosts.mmengine
HOOKS.build(dict(type='HistoryNegativeHook'))
MODELS.build(dict(type='mcir.SPNLoss', vgg_weights='random:0'))
assert 'mmengine.runner' not in sys.modules
"""


@pytest.mark.parametrize(('blocked', 'code'), [(('basicsr', 'mmengine'), CORE), (('basicsr', ), HOST)],
                         ids=['core without either', 'mmengine without basicsr'])
def test_works_without(blocked, code):
    subprocess.run([sys.executable, '-c', BLOCK.format(blocked=blocked) + code], check=True)


def test_package_imports_no_toolbox():
    code = 'import sys, mcir_plugin\nassert not {"torch", "mmengine", "basicsr"} & set(sys.modules)'
    subprocess.run([sys.executable, '-c', code], check=True)
