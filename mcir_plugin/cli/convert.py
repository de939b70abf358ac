"""Flags of ``basicsr convert``. Imports no torch."""
from __future__ import annotations

import argparse

DESCRIPTION = ('Turn a published weight file into one that BasicSR loads: one set of parameters under "params", on the '
               'CPU, names without the prefix of DataParallel. Python objects in a file are refused, never run.')


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Define the arguments."""
    parser.description = DESCRIPTION
    parser.add_argument('source', metavar='IN', help='file to read, written by torch.save')
    parser.add_argument('target', metavar='OUT', help='file to write')
    parser.add_argument('--key', metavar='NAME',
                        help='which parameters, where IN holds several sets: params, params_ema, model, ...')
    network = parser.add_mutually_exclusive_group()
    network.add_argument('--network', metavar='YAML',
                         help='write only if this network loads them strictly, e.g. "{type: FFANet}"')
    network.add_argument('-opt', '--opt', metavar='FILE.yml', help='the same for network_g of an option file')
    parser.add_argument('--force', action='store_true', help='replace OUT if it exists')
