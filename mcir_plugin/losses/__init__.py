"""The SPN loss and its feature extractor, in pure PyTorch."""
from mcir_plugin.losses.features import VGGFeatures
from mcir_plugin.losses.spn_loss import SPNLoss, spn_loss
from mcir_plugin.losses.vgg_weights import locate_weights
from mcir_plugin.losses.weight_files import FeatureWeightsError

__all__ = ['FeatureWeightsError', 'SPNLoss', 'VGGFeatures', 'locate_weights', 'spn_loss']
