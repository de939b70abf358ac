"""Peak memory of one kind of step, in a process of its own."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

STEPS = 3


def measure(name: str, arguments: list[str]) -> int | None:
    """Return the bytes at the peak of a few steps above the level before the network was built.

    Args:
        name (str): A step, as :func:`modes.make_step` knows it.
        arguments (list[str]): The command line of the benchmark.
    """
    script = Path(__file__).with_name('step_cost.py')
    # glibc gives large blocks back at once only while the threshold for them is fixed
    environment = {**os.environ, 'MALLOC_MMAP_THRESHOLD_': '65536', 'MALLOC_TRIM_THRESHOLD_': '65536'}
    done = subprocess.run([sys.executable, str(script), *arguments, '--memory-of', name], env=environment, text=True,
                          capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f'The process that measures the memory of {name} failed:\n{done.stderr[-2000:]}')
    return json.loads(done.stdout.splitlines()[-1])
