"""The soak: its figures on made-up records, and some hundred steps of it for real."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / 'scripts' / 'soak'
sys.path.insert(0, str(SOAK))

from soak import summary  # noqa: E402


def record(leak_bytes=0, leak_files=0, slower=1.0, steps=2000, every=20):
    """A process that starts with 100 MB and takes ``leak_bytes`` per step, one more file per ``leak_files`` steps."""
    times = [0.0]
    for step in range(1, steps):
        times.append(times[-1] + 0.01 * slower**(step / steps))
    looks = [{'step': step, 'rss': 100_000_000 + leak_bytes * step, 'threads': 4, 'children': 1,
              'files': 20 + (step // leak_files if leak_files else 0)} for step in range(every, steps + 1, every)]
    return {'times': times, 'looks': looks}


def test_a_sound_process_is_flat():
    found = summary(record(), 0.1)
    assert found['rss_mb_per_1000_steps'] == 0 and found['files_growth'] == found['threads_growth'] == 0
    assert [found[name] for name in ('step_ratio', 'fast_step_ratio')] == pytest.approx([1, 1])
    assert found['step_ms_first'] == pytest.approx(10)


def test_leaks_are_seen():
    found = summary(record(leak_bytes=1000, leak_files=100, slower=2.0), 0.1)
    assert found['rss_mb_per_1000_steps'] == pytest.approx(1.0)
    assert found['files_growth'] >= 10
    # between the middles of the first and the last quarter of the last 90 %: 2 ** (0.75 * 0.9)
    assert found['step_ratio'] == pytest.approx(2**0.675, rel=1e-2)


def test_warm_up_is_left_out():
    grown = record()
    for look in grown['looks'][:9]:
        look['rss'] = 1000
    assert summary(grown, 0.1)['rss_mb_per_1000_steps'] == 0


def test_some_hundred_steps_of_the_real_loop(tmp_path):
    """Open files and threads do not grow. Memory and times say little in so few steps."""
    command = [sys.executable, SOAK / 'soak.py', '--steps', 300, '--every', 10, '--json', tmp_path / 'soak.json',
               '--plot', tmp_path / 'soak.png']
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / 'soak.json').read_text())
    assert [look['step'] for look in result['looks']] == list(range(10, 301, 10))
    assert result['files_growth'] <= 0 and result['threads_growth'] <= 0
    assert abs(result['rss_mb_last'] - result['rss_mb_first']) < 100
    assert result['settings']['negatives'] == 16 and (tmp_path / 'soak.png').read_bytes()[:4] == b'\x89PNG'
