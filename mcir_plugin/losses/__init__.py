"""The contrastive losses and their feature extractor, and losses of published recipes, in pure PyTorch."""
from torch import nn

from mcir_plugin.config.loss_options import LOSS_BLOCKS
from mcir_plugin.losses.ccr_loss import CCRLoss
from mcir_plugin.losses.cr_loss import CRLoss
from mcir_plugin.losses.feature_loss import FeatureLoss
from mcir_plugin.losses.features import VGGFeatures
from mcir_plugin.losses.network_features import NetworkFeatures
from mcir_plugin.losses.pcl_loss import PCLLoss
from mcir_plugin.losses.psnr_loss import PSNRLoss, psnr_loss
from mcir_plugin.losses.spn_loss import SPNLoss
from mcir_plugin.losses.ssim_loss import SSIMLoss
from mcir_plugin.losses.vgg_weights import locate_weights
from mcir_plugin.losses.weight_files import FeatureWeightsError

LOSSES: dict[str, type[FeatureLoss]] = {name: globals()[name] for name in LOSS_BLOCKS}
"""The contrastive losses by name. The table itself is that of their option blocks; hosts register what is here."""

RECIPE_LOSSES: dict[str, type[nn.Module]] = {'PSNRLoss': PSNRLoss, 'SSIMLoss': SSIMLoss}
"""Reconstruction losses of published recipes by name, which hosts register as well."""

__all__ = [
    'LOSSES',
    'RECIPE_LOSSES',
    'CCRLoss',
    'CRLoss',
    'FeatureLoss',
    'FeatureWeightsError',
    'NetworkFeatures',
    'PCLLoss',
    'PSNRLoss',
    'SPNLoss',
    'SSIMLoss',
    'VGGFeatures',
    'locate_weights',
    'psnr_loss',
]
