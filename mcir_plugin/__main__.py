"""``python -m mcir_plugin``: the same as the ``basicsr`` command, for torchrun and machines without scripts."""
import sys

from mcir_plugin.cli import main

if __name__ == '__main__':
    sys.exit(main())
