"""The README's example runs as it stands, and its option reference is up to date."""
import re
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]


def test_plain_pytorch_example(tmp_path, monkeypatch):
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    code = re.search(r'<!-- example:begin -->\n```python\n(.*?)```\n<!-- example:end -->', text, re.S)[1]
    assert len(code.splitlines()) <= 30
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, 'README.md', 'exec'), names)  # what a reader pastes
    saved = torch.load('checkpoint.pth', weights_only=True)
    names['bank'].load_state_dict(saved['bank'])
    assert names['loss'].isfinite() and names['bank'].ages(5) == [5, 5, 5, 5]


def test_option_reference_is_up_to_date():
    done = subprocess.run([sys.executable, 'scripts/option_reference.py', '--check'], cwd=ROOT, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout + done.stderr
