"""Package metadata. BasicSR itself has no wheel, so it is built from source once by pip or uv."""
from pathlib import Path

from setuptools import find_packages, setup

setup(
    name='mcir-plugin',
    version='0.1.0',
    description='Model-contrastive training (MCIR, SPN loss) for any BasicSR option file',
    long_description=Path(__file__).with_name('README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['mcir_plugin', 'mcir_plugin.*']),
    python_requires='>=3.10,<3.13',  # BasicSR's own setup.py fails on Python 3.13
    install_requires=[
        'torch>=2.1',
        'torchvision>=0.16',
        'basicsr>=1.4.2',
        'lmdb>=1.4',
        'numpy>=1.23',
        'opencv-python>=4.7',
        'pyyaml>=6.0',
        'tqdm>=4.64',
    ],
    extras_require={
        'mmengine': ['mmengine>=0.10.4,<0.11'],
        'quickstart': ['scikit-image>=0.20'],
        'test': ['pytest>=7.4', 'hypothesis>=6.80', 'ruff>=0.4', 'scikit-image>=0.20'],
    },
    entry_points={'console_scripts': ['basicsr = mcir_plugin.cli:main']},
)
