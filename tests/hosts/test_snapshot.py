"""Snapshots of a step that was not finite: bounded in number and size, whole or not at all."""
import torch

from mcir_plugin.hosts import snapshot
from mcir_plugin.hosts.snapshot import write_snapshot


def test_only_the_newest_three_of_a_rank_stay(tmp_path):
    (tmp_path / 'net_g_1.pth').write_bytes(b'not mine')
    for step in range(1, 8):
        for rank in (0, 1):
            write_snapshot(tmp_path, step, rank, {'losses': {'l_pix': float('nan')}})
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f'diverged_iter_{step}_rank{rank}.pth' for step in (5, 6, 7) for rank in (0, 1)] + ['net_g_1.pth']


def test_what_would_be_too_large_is_left_out_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(snapshot, 'LIMIT', 4000)
    parts = {'losses': {'l_pix': 1.0}, 'history': {'bank': [torch.zeros(2000)]}, 'params': {'w': torch.ones(500)}}
    said = write_snapshot(tmp_path, 3, 0, parts)
    saved = torch.load(tmp_path / 'diverged_iter_3_rank0.pth', weights_only=True)
    assert saved['left_out'] == ['history'] and 'history' not in saved
    assert torch.equal(saved['params']['w'], torch.ones(500))
    assert 'without history' in said and (tmp_path / 'diverged_iter_3_rank0.pth').stat().st_size < 8000


def test_a_failure_to_write_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    def fail(content, path):
        path.write_bytes(b'half of it')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(torch, 'save', fail)
    said = write_snapshot(tmp_path, 3, 0, {'losses': {}})
    assert 'No snapshot could be saved' in said and 'No space left' in said and list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_said(tmp_path):
    assert 'No snapshot could be saved' in write_snapshot(tmp_path / 'gone', 3, 0, {})
