"""Names that BasicSR and the packages built on it read, to catch a typo in a block that BasicSR itself never checks.

Gathered from the code and the option files of BasicSR, HAT and Real-ESRGAN. An unknown name is reported only when it is
close to a known one: other packages bring options of their own.
"""
import re
from collections.abc import Iterator, Mapping, Set
from difflib import get_close_matches
from typing import Any

CLOSE = 0.8  # difflib ratio


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DEGRADATION = _names("""
    resize_prob resize_range gaussian_noise_prob noise_range poisson_scale_range gray_noise_prob jpeg_range
    second_blur_prob resize_prob2 resize_range2 gaussian_noise_prob2 noise_range2 poisson_scale_range2
    gray_noise_prob2 jpeg_range2
""")
_TOP_LEVEL = _DEGRADATION | _names("""
    name model_type scale num_gpu manual_seed datasets network_g network_d path train val logger dist_params dist rank
    world_size auto_resume is_train root_path find_unused_parameters suffix crop_border save_img gt_size queue_size
    gt_usm l1_gt_usm percep_gt_usm gan_gt_usm high_order_degradation tile imports
""")
_DATASET = _DEGRADATION | _names("""
    name type phase scale dataroot_gt dataroot_lq dataroot_flow meta_info meta_info_file filename_tmpl io_backend
    cache_data num_frame padding use_duf_downsampling val_partition test_mode gt_size interval_list random_reverse
    flip_sequence use_hflip use_rot use_shuffle num_worker_per_gpu batch_size_per_gpu dataset_enlarge_ratio
    prefetch_mode num_prefetch_queue pin_memory persistent_workers color mean std blur_kernel_size kernel_list
    kernel_prob sinc_prob blur_sigma betag_range betap_range blur_kernel_size2 kernel_list2 kernel_prob2 sinc_prob2
    blur_sigma2 betag_range2 betap_range2 final_sinc_prob pair_by pair_list allow_unused_gt max_center_crop edge_decay
    use_rot90 use_quarter_flip sampling crops_per_image max_bad_images allow_grey allow_16bit
""")
_TRAIN = _names("""
    ema_decay optim_g optim_d scheduler total_iter warmup_iter fix_flow flow_lr_mul lr_flow dcn_lr_mul tsa_iter
    pixel_opt perceptual_opt gan_opt ldl_opt feature_matching_opt net_d_iters net_d_init_iters net_g_reg_every
    net_d_reg_every r1_reg_weight path_batch_shrink path_reg_weight mixing_prob spn_opt history_opt neg_iter neg_decay
    neg_start grad_clip
""")
_PATH = _names("""
    pretrain_network_g pretrain_network_d strict_load_g strict_load_d param_key_g param_key_d resume_state
    ignore_resume_networks experiments_root results_root root models training_states log visualization
""")
_BLOCKS: dict[str, frozenset[str]] = {
    'train': _TRAIN,
    'path': _PATH,
    'val': _names('val_freq save_img suffix metrics pbar flip_seq center_frame_only num_val_samples tile'),
    'logger': _names('print_freq save_checkpoint_freq use_tb_logger wandb keep_last keep_every'),
    'dist_params': _names('backend port'),
}
_PER_NETWORK = ('network', 'optim', 'pretrain_network', 'strict_load', 'param_key')  # followed by _g, _d, ...


def warn_unknown_keys(opt: Mapping[str, Any]) -> list[str]:
    """Find names in BasicSR's own blocks that are probably misspelt.

    Args:
        opt (Mapping): The options of the whole run.

    Returns:
        list[str]: One sentence per name that is unknown but close to a known one, ready for the log.
    """
    endings = {str(name).removeprefix('network_') for name in opt if str(name).startswith('network_')}
    own = {f'{name}_{ending}' for name in _PER_NETWORK for ending in endings}
    warnings = list(_misspelt(opt, _TOP_LEVEL | own, ''))
    for name, known in _BLOCKS.items():
        warnings += _misspelt(opt.get(name), known | own, f'{name}.')
    datasets = opt.get('datasets')
    for phase, block in datasets.items() if isinstance(datasets, Mapping) else ():
        warnings += _misspelt(block, _DATASET, f'datasets.{phase}.')
    return warnings


def _misspelt(block: Any, known: Set[str], where: str) -> Iterator[str]:
    for name in block if isinstance(block, Mapping) else ():
        close = get_close_matches(str(name), known, n=1, cutoff=CLOSE) if name not in known else []
        if close and not _extends(str(name), close[0]):
            yield f'{where}{name} is not a BasicSR option; did you mean {close[0]}? Nothing in BasicSR reads {name}'


def _extends(name: str, option: str) -> bool:
    """Say whether a name is an option with an ending of its own (pixel_opt2, dataroot_gt_left): surely on purpose."""
    return re.match(re.escape(option) + r'(\d+$|_.)', name) is not None
