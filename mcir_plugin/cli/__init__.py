"""The ``basicsr`` command. Parsing and ``--help`` import neither torch nor BasicSR."""
from mcir_plugin.cli.main import main

__all__ = ['main']
