"""An adapter runs when its toolbox is imported, before or after the plugin; a made-up toolbox stands in for one."""
import subprocess
import sys

import pytest

TOOLBOX = 'order.append("toolbox")\nimport toolbox_of_test.part\n'
CODE = """
import sys
sys.path.insert(0, {folder!r})
import builtins
builtins.order = order = []
from mcir_plugin.hosts import when_imported
{statements}
assert order == {expected!r}, order
"""


@pytest.mark.parametrize(('statements', 'expected'), [
    ('when_imported("toolbox_of_test", "adapter_of_test")', []),
    ('when_imported("toolbox_of_test", "adapter_of_test")\nimport toolbox_of_test.part',
     ['prepare', 'toolbox', 'part', 'attach']),
    ('import toolbox_of_test\nwhen_imported("toolbox_of_test", "adapter_of_test")', ['toolbox', 'part', 'attach']),
    ('when_imported("toolbox_of_test", "adapter_of_test")\nimport toolbox_of_test\nimport toolbox_of_test.part',
     ['prepare', 'toolbox', 'part', 'attach']),
    ('from importlib.util import find_spec\nwhen_imported("toolbox_of_test", "adapter_of_test")\n'
     'assert find_spec("toolbox_of_test")\nimport toolbox_of_test', ['prepare', 'toolbox', 'part', 'attach']),
], ids=['never', 'after', 'before', 'twice', 'looked-up-first'])
def test_order(tmp_path, statements, expected):
    (tmp_path / 'toolbox_of_test').mkdir()
    (tmp_path / 'toolbox_of_test' / '__init__.py').write_text(TOOLBOX)
    (tmp_path / 'toolbox_of_test' / 'part.py').write_text('order.append("part")')
    (tmp_path / 'adapter_of_test.py').write_text(
        'def prepare():\n    order.append("prepare")\n\n\ndef attach():\n    order.append("attach")\n')
    code = CODE.format(folder=str(tmp_path), statements=statements, expected=expected)
    subprocess.run([sys.executable, '-c', code], check=True)


def test_failed_import_can_be_tried_again(tmp_path):
    (tmp_path / 'toolbox_of_test.py').write_text('import builtins\nif not order:\n    order.append("failed")\n'
                                                 '    raise ImportError("first try")\norder.append("toolbox")')
    (tmp_path / 'adapter_of_test.py').write_text(
        'def prepare():\n    pass\n\n\ndef attach():\n    order.append("attach")\n')
    statements = ('when_imported("toolbox_of_test", "adapter_of_test")\ntry:\n    import toolbox_of_test\n'
                  'except ImportError:\n    pass\nimport toolbox_of_test')
    code = CODE.format(folder=str(tmp_path), statements=statements, expected=['failed', 'toolbox', 'attach'])
    subprocess.run([sys.executable, '-c', code], check=True)


def test_absent_toolbox_raises_the_ordinary_error():
    code = ('from mcir_plugin.hosts import when_imported\nwhen_imported("no_such_toolbox", "nothing")\n'
            'try:\n    import no_such_toolbox\nexcept ModuleNotFoundError as error:\n'
            '    assert error.name == "no_such_toolbox"\nelse:\n    raise AssertionError')
    subprocess.run([sys.executable, '-c', code], check=True)
