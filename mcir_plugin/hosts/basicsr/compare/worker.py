"""One run in a process of its own: ``basicsr train --auto_resume``, then the evaluation of its final weights.

    python -m mcir_plugin.hosts.basicsr.compare.worker OPTIONS.yml RUN_FOLDER [--evaluate-only]

It ends when its standard input does, so that nothing goes on training when the command that started it is killed.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from pathlib import Path

import torch

from mcir_plugin.config import load_options
from mcir_plugin.errors import McirError
from mcir_plugin.hosts.basicsr import entry
from mcir_plugin.hosts.basicsr.compare.evaluate import FINAL, evaluate

RESOURCES = 'resources.json'


def main(arguments: list[str] | None = None) -> int:
    """Run the worker. Returns 0, or 2 if the input is wrong; the message goes to standard error."""
    parser = argparse.ArgumentParser(prog='basicsr compare (worker)')
    parser.add_argument('options')
    parser.add_argument('run', type=Path)
    parser.add_argument('--evaluate-only', action='store_true')
    args = parser.parse_args(arguments)
    threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        if not args.evaluate_only and not (args.run / FINAL).is_file():
            entry.train(['-opt', args.options, '--auto_resume'])
            _note_resources(args.run / RESOURCES)
        evaluate(args.run, load_options(args.options))
    except McirError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def peak_memory() -> dict[str, float | str]:
    """Return the largest memory so far in MB: of the tensors on the GPU, else of the whole process."""
    if torch.cuda.is_available():
        return {'device': torch.cuda.get_device_name(), 'kind': 'tensors on the GPU',
                'megabytes': torch.cuda.max_memory_allocated() / 2**20}
    import resource  # not on Windows
    unit = 1 if sys.platform == 'darwin' else 1024
    return {'device': f'CPU, {torch.get_num_threads()} thread(s)', 'kind': 'resident memory of the process',
            'megabytes': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20}


def _note_resources(path: Path) -> None:
    partial = path.with_name(f'.{path.name}.{os.getpid()}.part')
    partial.write_text(json.dumps(peak_memory(), indent=2) + '\n', encoding='utf-8')
    os.replace(partial, path)


def _end_with_input() -> None:
    while os.read(0, 1024):  # not sys.stdin, whose lock would be held while the interpreter shuts down
        pass
    os._exit(3)  # files are written under temporary names and renamed: ending at any moment leaves none half-written


if __name__ == '__main__':
    sys.exit(main())
