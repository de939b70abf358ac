"""Two real processes without ``manual_seed``, of which BasicSR then draws another one on each rank."""
import torch
from test_distributed import launch, load


def test_one_history_without_manual_seed(options, tmp_path):
    opt = options(history_opt={'update_iter': [1, 2, 3, 4], 'negatives_per_iter': 1}, total_iter=4)
    del opt['manual_seed']
    launch(tmp_path, 'two', opt, 2)
    for step in range(1, 5):
        ranks = [load(tmp_path / f'step{step}_of_2_rank{rank}.pth') for rank in (0, 1)]
        assert ranks[0]['drawn'] == ranks[1]['drawn']
        first, second = (rank['bank'] for rank in ranks)
        assert all(torch.equal(value, second[name]) for name, value in first.items() if torch.is_tensor(value))
