"""Without spn_opt the plugin changes nothing: bit for bit the weights of stock BasicSR, with workers and without."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

STOCK = """
import sys, types
from torchvision.transforms import functional
old = types.ModuleType('torchvision.transforms.functional_tensor')  # gone since torchvision 0.17
old.rgb_to_grayscale = functional.rgb_to_grayscale
sys.modules.setdefault(old.__name__, old)
from basicsr.train import train_pipeline
assert 'mcir_plugin' not in sys.modules
train_pipeline('.')
"""


@pytest.mark.parametrize('workers', [0, 2])
def test_plain_run_equals_stock_basicsr(options, train, lmdb_pairs, workers):
    opt = options(spn=False, total_iter=8)
    opt['datasets']['train']['num_worker_per_gpu'] = workers
    files = {key: root.removesuffix('.lmdb') for key, root in lmdb_pairs(2).items()}
    opt['datasets']['val'] = {'type': 'PairedImageDataset', 'name': 'Val', 'io_backend': {'type': 'disk'}, **files}
    opt['val'] = {'val_freq': 4, 'save_img': False, 'metrics': {
        'psnr': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': False}}}
    ours = train(opt)
    Path('stock.yml').write_text(yaml.safe_dump({**opt, 'name': 'stock'}))
    subprocess.run([sys.executable, '-c', STOCK, '-opt', 'stock.yml'], check=True,
                   env={**os.environ, 'OMP_NUM_THREADS': '1'})
    for iteration in (4, 8, 'latest'):
        files = [torch.load(folder / f'models/net_g_{iteration}.pth', weights_only=True)
                 for folder in (ours.folder, Path('experiments/stock'))]
        for key in ('params', 'params_ema'):
            assert files[0][key].keys() == files[1][key].keys()
            assert all(torch.equal(files[0][key][name], files[1][key][name]) for name in files[0][key])
    stock_log = next(Path('experiments/stock').glob('*.log')).read_text()
    assert [line.split('psnr: ')[1] for line in ours.log.splitlines() if 'psnr: ' in line][1:] == \
        [line.split('psnr: ')[1] for line in stock_log.splitlines() if 'psnr: ' in line][1:]

