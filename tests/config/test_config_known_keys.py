"""Typos in blocks that BasicSR itself never checks."""
import pytest

from mcir_plugin.hosts.basicsr.known_keys import warn_unknown_keys

STOCK = {
    'name': 'x', 'model_type': 'SRModel', 'scale': 4, 'num_gpu': 1, 'manual_seed': 0,
    'datasets': {'train': {'name': 'DIV2K', 'type': 'PairedImageDataset', 'dataroot_gt': 'a', 'dataroot_lq': 'b',
                           'meta_info_file': 'c', 'filename_tmpl': '{}', 'io_backend': {'type': 'lmdb'}, 'gt_size': 96,
                           'use_hflip': True, 'use_rot': True, 'num_worker_per_gpu': 6, 'batch_size_per_gpu': 16,
                           'dataset_enlarge_ratio': 100, 'prefetch_mode': None},
                 'val_1': {'name': 'Set5', 'type': 'PairedImageDataset', 'dataroot_gt': 'a', 'dataroot_lq': 'b'}},
    'network_g': {'type': 'EDSR', 'num_in_ch': 3}, 'network_d': {'type': 'UNet'},
    'path': {'pretrain_network_g': None, 'strict_load_g': True, 'resume_state': None, 'param_key_g': 'params'},
    'train': {'ema_decay': 0.999, 'optim_g': {}, 'scheduler': {}, 'total_iter': 1, 'warmup_iter': -1, 'pixel_opt': {},
              'perceptual_opt': {}, 'gan_opt': {}, 'net_d_iters': 1, 'net_d_init_iters': 0, 'spn_opt': {},
              'history_opt': {}},
    'val': {'val_freq': 1, 'save_img': False, 'pbar': False, 'metrics': {}},
    'logger': {'print_freq': 100, 'save_checkpoint_freq': 1, 'use_tb_logger': True, 'wandb': {}},
    'dist_params': {'backend': 'nccl', 'port': 29500},
}


def test_a_stock_file_gives_no_warning():
    assert warn_unknown_keys(STOCK) == []


@pytest.mark.parametrize(('block', 'typo', 'meant'), [
    ([], 'modle_type', 'model_type'), ([], 'manual_sed', 'manual_seed'), ([], 'dataset', 'datasets'),
    (['train'], 'totl_iter', 'total_iter'), (['train'], 'warmup_iters', 'warmup_iter'), (['train'], 'spn_op',
    'spn_opt'),
    (['train'], 'histroy_opt', 'history_opt'), (['train'], 'pixle_opt', 'pixel_opt'),
    (['path'], 'pretrain_netwrk_g', 'pretrain_network_g'), (['path'], 'resume_sate', 'resume_state'),
    (['val'], 'val_frq', 'val_freq'), (['val'], 'save_imgs', 'save_img'), (['logger'], 'print_frequ', 'print_freq'),
    (['dist_params'], 'backnd', 'backend'), (['datasets', 'train'], 'use_hflips', 'use_hflip'),
    (['datasets', 'val_1'], 'datarot_gt', 'dataroot_gt'), (['datasets', 'train'], 'meta_info_fil', 'meta_info_file'),
])
def test_typos_in_known_blocks(block, typo, meant):
    opt = {typo: 1}
    for name in reversed(block):
        opt = {name: opt}
    assert warn_unknown_keys(opt) == [f'{".".join([*block, typo])} is not a BasicSR option; did you mean {meant}? '
                                      f'Nothing in BasicSR reads {typo}']


@pytest.mark.parametrize('opt', [
    {'my_package': 1, 'train': {'edge_opt': {}, 'pixel_opt2': {}, 'perceptual_opt_hf': {}}},
    {'network_t': {}, 'path': {'pretrain_network_t': 'x', 'strict_load_t': True}, 'train': {'optim_t': {}}},
    {'datasets': {'train': {'dataroot_gt_left': 'x', 'resize_prob3': 1, 'anything': 2}}},
    {'train': None, 'val': 3, 'datasets': [1], 'logger': [], 4: 5}, {'datasets': {'train': None, 3: 'x'}}, {},
])
def test_names_of_other_packages_are_let_through(opt):
    assert warn_unknown_keys(opt) == []
