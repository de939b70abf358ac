"""Package metadata. BasicSR itself has no wheel, so it is built from source once by pip or uv.

An extra can add a dependency but not take one away, so what is left out is said by the environment:
``MCIR_HOSTS=mmengine pip install '.[mmengine]'`` and ``MCIR_HOSTS=none pip install .`` bring no BasicSR.
"""
import os
from pathlib import Path

from setuptools import find_packages, setup

HOSTS = {'basicsr': ['basicsr>=1.4.2'], 'mmengine': [], 'none': []}  # mmengine itself comes by its extra
chosen = os.environ.get('MCIR_HOSTS', 'basicsr')
if chosen not in HOSTS:
    raise SystemExit(f'MCIR_HOSTS is {chosen!r}; it must be one of {", ".join(HOSTS)}, or not set (basicsr).')

setup(
    name='mcir-plugin',
    version='0.1.0',
    description='Model-contrastive training (MCIR, SPN loss) for any BasicSR option file',
    long_description=Path(__file__).with_name('README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['mcir_plugin', 'mcir_plugin.*']),
    package_data={'mcir_plugin.report': ['*.jinja']},
    python_requires='>=3.10,<3.13',  # BasicSR's own setup.py fails on Python 3.13
    install_requires=[
        'torch>=2.1',
        'torchvision>=0.16',
        *HOSTS[chosen],
        'lmdb>=1.4',
        'numpy>=1.23',
        'opencv-python>=4.7',
        'pyyaml>=6.0',
        'tqdm>=4.64',
    ],
    extras_require={
        'mmengine': ['mmengine>=0.10.4,<0.11'],
        'lpips': ['lpips>=0.1.4'],
        'quickstart': ['scikit-image>=0.20'],
        'report': ['matplotlib>=3.7', 'jinja2>=3.0'],
        'spandrel': ['spandrel>=0.4.2'],
        'test': ['pytest>=7.4', 'hypothesis>=6.80', 'ruff>=0.4', 'scikit-image>=0.20', 'scipy>=1.10', 'spandrel>=0.4.2',
                 'matplotlib>=3.7', 'jinja2>=3.0', 'lpips>=0.1.4'],
    },
    entry_points={'console_scripts': ['basicsr = mcir_plugin.cli:main']},
)
