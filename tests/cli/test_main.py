"""The command as a user starts it."""
import subprocess
import sys
from pathlib import Path

import pytest

from mcir_plugin.cli import main
from mcir_plugin.cli.main import RUNNERS


@pytest.mark.parametrize('arguments', [['--help'], *([name, '--help'] for name in RUNNERS)])
def test_help_imports_neither_torch_nor_basicsr(arguments):
    code = ('import sys\nfrom mcir_plugin.cli import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n'
            '    assert end.code == 0\nassert not {"torch", "basicsr", "numpy"} & set(sys.modules)')
    done = subprocess.run([sys.executable, '-c', code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 'usage: basicsr' in done.stdout


@pytest.mark.parametrize('command', list(RUNNERS))
def test_without_basicsr_the_command_says_what_to_install(command):
    code = ('import sys\nfrom importlib.machinery import PathFinder as Finder\nfind = Finder.find_spec\n'
            'Finder.find_spec = lambda name, *rest: None if name == "basicsr" else find(name, *rest)\n'
            'from mcir_plugin.cli import main\nsys.exit(main(sys.argv[1:]))')
    given = {'convert': ['a.pth', 'b.pth'], 'report': ['folder'], 'compare': ['-opt', 'x.yml', '--variants', 'none']}
    done = subprocess.run([sys.executable, '-c', code, command, *given.get(command, ['-opt', 'x.yml'])],
                          capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f'basicsr {command}: BasicSR is not installed here') and 'pip install' in done.stderr


def test_module_and_console_script_are_the_same_command():
    script = Path(sys.executable).with_name('basicsr')
    texts = [subprocess.run([*command, '--version'], capture_output=True, text=True, check=True).stdout
             for command in ([sys.executable, '-m', 'mcir_plugin'], [str(script)])]
    assert texts[0] == texts[1] and texts[0].startswith('mcir-plugin ')


@pytest.mark.parametrize('arguments', [[], ['trian'], ['train'], ['train', '-opt']])
def test_wrong_command_line_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2 and 'usage' in capsys.readouterr().err


def test_importing_the_package_is_cheap():
    code = ('import sys, mcir_plugin\nassert not {"torch", "basicsr", "numpy", "yaml"} & set(sys.modules)\n'
            'assert "HistoryBank" in dir(mcir_plugin)')
    subprocess.run([sys.executable, '-c', code], check=True)


def test_unknown_public_name():
    import mcir_plugin
    with pytest.raises(AttributeError, match='SPNLos'):
        mcir_plugin.SPNLos  # noqa: B018
