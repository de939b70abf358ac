"""Small option dictionaries of the pairs of model type and network that stand in BasicSR's option files.

Each is shaped like the stock file of its pair: the same blocks, losses, optimizers and data set type; smaller networks,
patches and numbers of iterations. ``perceptual_opt`` names a tiny loss instead of VGG-19, whose weights are a download.
"""
from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Options = dict[str, Any]

STEPS = 3
SPN = {'type': 'SPNLoss', 'vgg_weights': 'random:0', 'layer_weights': {'relu1_1': 1.0}}
HISTORY = {'update_iter': [1, 2], 'decay': [0.0, 0.1]}  # the first negative is the network of the step before

RGB_MEAN = [0.4488, 0.4371, 0.4040]
TINY_PERCEPTUAL = {'type': 'TinyPerceptual', 'perceptual_weight': 1.0, 'style_weight': 0}
KERNELS = ['iso', 'aniso', 'generalized_iso', 'generalized_aniso', 'plateau_iso', 'plateau_aniso']
KERNEL_SHARES = [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]
DEGRADATION = {
    'resize_prob': [0.2, 0.7, 0.1], 'resize_range': [0.15, 1.5], 'gaussian_noise_prob': 0.5, 'noise_range': [1, 30],
    'poisson_scale_range': [0.05, 3], 'gray_noise_prob': 0.4, 'jpeg_range': [30, 95], 'second_blur_prob': 0.8,
    'resize_prob2': [0.3, 0.4, 0.3], 'resize_range2': [0.3, 1.2], 'gaussian_noise_prob2': 0.5, 'noise_range2': [1, 25],
    'poisson_scale_range2': [0.05, 2.5], 'gray_noise_prob2': 0.4, 'jpeg_range2': [30, 95], 'gt_size': 64,
    'queue_size': 4,
}
KERNEL_OPTIONS = {
    'blur_kernel_size': 21, 'kernel_list': KERNELS, 'kernel_prob': KERNEL_SHARES, 'sinc_prob': 0.1,
    'blur_sigma': [0.2, 3], 'betag_range': [0.5, 4], 'betap_range': [1, 2], 'blur_kernel_size2': 21,
    'kernel_list2': KERNELS, 'kernel_prob2': KERNEL_SHARES, 'sinc_prob2': 0.1, 'blur_sigma2': [0.2, 1.5],
    'betag_range2': [0.5, 4], 'betap_range2': [1, 2], 'final_sinc_prob': 0.8,
}
GAN = {'gan_opt': {'type': 'GANLoss', 'gan_type': 'vanilla', 'real_label_val': 1.0, 'fake_label_val': 0.0,
                   'loss_weight': 5e-3}, 'net_d_iters': 1, 'net_d_init_iters': 0}
COSINE = {'type': 'CosineAnnealingRestartLR', 'periods': [STEPS], 'restart_weights': [1], 'eta_min': 1e-7}


def adam(lr: float = 1e-3) -> Options:
    """Return an optimizer block."""
    return {'type': 'Adam', 'lr': lr, 'weight_decay': 0, 'betas': [0.9, 0.99]}


def pixel(kind: str = 'L1Loss', weight: float = 1.0, reduction: str = 'mean') -> Options:
    """Return a pixel loss block."""
    return {'type': kind, 'loss_weight': weight, 'reduction': reduction}


@dataclass(frozen=True)
class Case:
    """One pair of model type and network.

    Attributes:
        model (str): ``model_type``.
        network (Mapping): ``network_g``.
        data (str): Key of :func:`train_data`.
        train (Mapping): Blocks of ``train`` beyond the usual ones.
        scale (int): Of super-resolution.
        size (int): Ground-truth patch, pixels.
        data_extra (Mapping): Options of the data set beyond the usual ones.
        top (Mapping): Further options at the top level.
        batch (int): Samples per step.
        ema (float): ``ema_decay``.
        joined (str): Name in the log of the value that the term joins.
        equal_in_eval (bool): Whether the network computes the same in training and in evaluation mode; not so with
            batch statistics or dropped paths.
    """

    model: str
    network: Mapping[str, Any]
    data: str = 'images'
    train: Mapping[str, Any] = field(default_factory=dict)
    scale: int = 4
    size: int = 32
    data_extra: Mapping[str, Any] = field(default_factory=dict)
    top: Mapping[str, Any] = field(default_factory=dict)
    batch: int = 2
    ema: float = 0.999
    joined: str = 'l_pix'
    equal_in_eval: bool = True

    @property
    def name(self) -> str:
        """Return a name fit for a test and for an experiment folder."""
        return f'{self.model}-{self.network["type"]}'

    def options(self, sources: Callable[[str, int], Options], spn: bool = True) -> Options:
        """Return the complete option dictionary.

        Args:
            sources (Callable): ``sources(kind, scale)`` returns the paths of a data set.
            spn (bool): Add ``spn_opt`` and ``history_opt``, and nothing else.
        """
        train = {'ema_decay': self.ema, 'optim_g': adam(), 'total_iter': STEPS, 'warmup_iter': -1,
                 'scheduler': {'type': 'MultiStepLR', 'milestones': [2], 'gamma': 0.5}, 'pixel_opt': pixel(),
                 **self.train}
        if spn:
            train.update(spn_opt=SPN, history_opt=HISTORY)
        return copy.deepcopy({
            'name': self.name, 'model_type': self.model, 'scale': self.scale, 'num_gpu': 0, 'manual_seed': 0,
            **self.top,
            'datasets': {'train': train_data(self, sources(self.data, self.scale))},
            'network_g': dict(self.network),
            'path': {'pretrain_network_g': None, 'strict_load_g': True, 'resume_state': None},
            'train': train,
            'logger': {'print_freq': 1, 'save_checkpoint_freq': STEPS, 'use_tb_logger': False,
                       'wandb': {'project': None, 'resume_id': None}},
            'dist_params': {'backend': 'nccl', 'port': 29500},
        })


def train_data(case: Case, sources: Options) -> Options:
    """Return ``datasets.train`` for a case: its data set type with LMDB, and the loader."""
    clips = {'dataroot_flow': None, 'interval_list': [1], 'random_reverse': False}
    kinds: dict[str, Options] = {
        'images': {'type': 'PairedImageDataset'},
        'stills': {'type': 'PairedImageDataset'},
        'blind': {'type': 'RealESRGANDataset', **KERNEL_OPTIONS},
        'reds': {'type': 'REDSDataset', **clips, 'val_partition': 'REDS4', 'num_frame': 5},
        'reds recurrent': {'type': 'REDSRecurrentDataset', **clips, 'val_partition': 'REDS4', 'num_frame': 3,
                           'test_mode': False},
        'vimeo recurrent': {'type': 'Vimeo90KRecurrentDataset', **clips, 'num_frame': -1, 'flip_sequence': False},
        'faces': {'type': 'FFHQDataset', 'mean': [0.5] * 3, 'std': [0.5] * 3},
    }
    return {'name': 'Real', **kinds[case.data], **sources, 'io_backend': {'type': 'lmdb'}, 'gt_size': case.size,
            'use_hflip': True, 'use_rot': True, 'num_worker_per_gpu': 0, 'batch_size_per_gpu': case.batch,
            'dataset_enlarge_ratio': 1, 'prefetch_mode': None, **case.data_extra}


def _sr(network: str, scale: int, **options: Any) -> Options:
    return {'type': network, 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'upscale': scale,
            **options}


def _rrdb(**options: Any) -> Options:
    return {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4,
            **options}


def _gan(discriminator: Options, top: Options | None = None, **train: Any) -> Options:
    return {'top': {'network_d': {'num_in_ch': 3, 'num_feat': 4, **discriminator}, **(top or {})},
            'train': {'optim_d': adam(1e-4), 'pixel_opt': pixel(weight=1e-2), 'perceptual_opt': TINY_PERCEPTUAL, **GAN,
                      **train}}


VGG_STYLE = {'type': 'VGGStyleDiscriminator', 'input_size': 128}
UNET = {'type': 'UNetDiscriminatorSN', 'skip_connection': True}
FACE_CRITIC = {'type': 'HiFaceGANDiscriminator', 'num_out_ch': 3, 'conditional_d': True, 'norm_d': 'spectralinstance'}
# the stock file also names a GANFeatLoss, which BasicSR no longer has
FACE_LOSSES = {'pixel_opt': None, 'gan_opt': {**GAN['gan_opt'], 'type': 'MultiScaleGANLoss', 'gan_type': 'lsgan'}}
STYLE_LOSSES = {'pixel_opt': None, 'optim_d': adam(), 'gan_opt': {'type': 'GANLoss', 'gan_type': 'wgan_softplus',
                                                                  'loss_weight': 1.0},
                'r1_reg_weight': 10, 'path_batch_shrink': 2, 'path_reg_weight': 2, 'net_g_reg_every': 4,
                'net_d_reg_every': 16, 'mixing_prob': 0.9, 'net_d_iters': 1, 'net_d_init_iters': 0}
UNUSED = {'find_unused_parameters': True}
RECURRENT = {'data': 'reds recurrent', 'top': UNUSED, 'batch': 1,
             'train': {'fix_flow': 2, 'flow_lr_mul': 0.125, 'scheduler': COSINE, 'pixel_opt': pixel('CharbonnierLoss')}}
BASICVSR = {'type': 'BasicVSR', 'num_feat': 8, 'num_block': 1, 'spynet_path': None}

CASES = [
    Case('EDVRModel', {'type': 'EDVR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_frame': 5,
                       'deformable_groups': 2, 'num_extract_block': 1, 'num_reconstruct_block': 1,
                       'center_frame_idx': None, 'hr_in': False, 'with_predeblur': False, 'with_tsa': True},
         data='reds', size=64, top=UNUSED,
         train={'tsa_iter': 2, 'dcn_lr_mul': 1, 'scheduler': COSINE,
                'pixel_opt': pixel('CharbonnierLoss', reduction='sum')}),
    Case('ESRGANModel', _rrdb(), data='stills', size=128, joined='l_g_pix', **_gan(VGG_STYLE)),
    Case('HiFaceGANModel', {'type': 'HiFaceGAN', 'num_in_ch': 3, 'num_feat': 4, 'use_vae': False, 'z_dim': 256,
                            'crop_size': 64, 'norm_g': 'spectralspadebatch3x3', 'is_train': False},
         scale=1, size=64, ema=0, equal_in_eval=False, joined='l_g_percep', **_gan(FACE_CRITIC, **FACE_LOSSES)),
    Case('RealESRGANModel', _rrdb(), data='blind', size=64, joined='l_g_pix',
         **_gan(UNET, {'l1_gt_usm': True, 'percep_gt_usm': True, 'gan_gt_usm': False, **DEGRADATION},
                pixel_opt=pixel())),
    Case('RealESRNetModel', _rrdb(), data='blind', size=64, top={'gt_usm': True, **DEGRADATION}),
    Case('SRGANModel', _sr('MSRResNet', 4), data='stills', size=128, joined='l_g_pix', **_gan(VGG_STYLE)),
    Case('SRModel', {'type': 'ECBSR', 'num_in_ch': 1, 'num_out_ch': 1, 'num_block': 2, 'num_channel': 8,
                     'with_idt': False, 'act_type': 'prelu', 'scale': 2}, scale=2, ema=0, data_extra={'color': 'y'}),
    Case('SRModel', _sr('EDSR', 2, res_scale=1, img_range=255., rgb_mean=RGB_MEAN), scale=2),
    Case('SRModel', _sr('MSRResNet', 4)),
    Case('SRModel', _sr('RCAN', 2, num_group=1, squeeze_factor=4, res_scale=1, img_range=255., rgb_mean=RGB_MEAN),
         scale=2),
    Case('SRModel', _rrdb()),
    Case('StyleGAN2Model', {'type': 'StyleGAN2Generator', 'out_size': 32, 'num_style_feat': 8, 'num_mlp': 1,
                            'channel_multiplier': 1, 'resample_kernel': [1, 3, 3, 1], 'lr_mlp': 0.01}, data='faces',
         top={'network_d': {'type': 'StyleGAN2Discriminator', 'out_size': 32, 'channel_multiplier': 1,
                            'resample_kernel': [1, 3, 3, 1]}, 'val': {'val_freq': 5000, 'save_img': False}},
         train=STYLE_LOSSES),
    Case('SwinIRModel', {'type': 'SwinIR', 'upscale': 2, 'in_chans': 3, 'img_size': 16, 'window_size': 8,
                         'img_range': 1., 'depths': [2], 'embed_dim': 8, 'num_heads': [2], 'mlp_ratio': 2,
                         'upsampler': 'pixelshuffle', 'resi_connection': '1conv'}, scale=2, equal_in_eval=False),
    Case('VideoRecurrentGANModel', BASICVSR, data='reds recurrent', size=256, batch=1, joined='l_g_pix',
         **_gan({**VGG_STYLE, 'input_size': 256}, UNUSED, lr_flow=0.0, fix_flow=None)),
    Case('VideoRecurrentModel', BASICVSR, **{**RECURRENT, 'data': 'vimeo recurrent'}, size=256),
    Case('VideoRecurrentModel', {'type': 'BasicVSRPlusPlus', 'mid_channels': 8, 'num_blocks': 1,
                                 'is_low_res_input': True, 'spynet_path': None}, **RECURRENT, size=256),
    Case('VideoRecurrentModel', {'type': 'IconVSR', 'num_feat': 8, 'num_block': 1, 'keyframe_stride': 5,
                                 'temporal_padding': 2, 'spynet_path': None, 'edvr_path': None}, **RECURRENT, size=256,
         data_extra={'num_frame': 5}),
]
