"""What an installation brings along."""
import os
import shutil
import subprocess
import sys
from importlib.metadata import Distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def metadata(folder, hosts):
    """Run setup.py in a copy, as pip does; returns the process and the required packages without an extra."""
    for name in ('setup.py', 'pyproject.toml', 'README.md'):
        shutil.copy(ROOT / name, folder)
    environment = {name: value for name, value in os.environ.items() if name != 'MCIR_HOSTS'}
    environment.update({} if hosts is None else {'MCIR_HOSTS': hosts})
    done = subprocess.run([sys.executable, 'setup.py', '-q', 'egg_info'], cwd=folder, env=environment, text=True,
                          capture_output=True, check=False)
    if done.returncode:
        return done, set()
    requires = Distribution.at(folder / 'mcir_plugin.egg-info').requires
    return done, {line.split('>')[0] for line in requires if 'extra ==' not in line}


@pytest.mark.parametrize(('hosts', 'brings'), [(None, True), ('basicsr', True), ('mmengine', False), ('none', False)])
def test_basicsr_comes_along_unless_it_is_left_out(hosts, brings, tmp_path):
    done, required = metadata(tmp_path, hosts)
    assert done.returncode == 0, done.stderr
    assert ('basicsr' in required) == brings
    assert {'torch', 'torchvision', 'numpy', 'opencv-python', 'lmdb', 'pyyaml', 'tqdm'} == required - {'basicsr'}


def test_unknown_host_is_refused(tmp_path):
    done, _ = metadata(tmp_path, 'basicssr')
    assert done.returncode != 0 and "MCIR_HOSTS is 'basicssr'; it must be one of basicsr, mmengine, none" in done.stderr
