"""Option files and their typed definitions. Knows no toolbox and imports no torch."""
from mcir_plugin.config.contrast import ContrastConfig, read_contrast
from mcir_plugin.config.errors import ConfigError
from mcir_plugin.config.evaluation import EvaluationConfig, MetricOptions, TileOptions, read_evaluation
from mcir_plugin.config.files import dump_options, load_options
from mcir_plugin.config.loss_options import LOSS_BLOCKS, LossOptions, SPNOptions, parse_loss
from mcir_plugin.config.options import HistoryOptions
from mcir_plugin.config.overrides import apply_overrides
from mcir_plugin.config.recipe import RecipeConfig, read_recipe
from mcir_plugin.config.reference import reference_table
from mcir_plugin.config.retention import RetentionOptions, read_retention, retention_notes
from mcir_plugin.config.schema import option, parse_block
from mcir_plugin.config.vgg_names import VGG_TYPES, layer_names

__all__ = [
    'LOSS_BLOCKS',
    'VGG_TYPES',
    'ConfigError',
    'ContrastConfig',
    'EvaluationConfig',
    'HistoryOptions',
    'LossOptions',
    'MetricOptions',
    'RecipeConfig',
    'RetentionOptions',
    'SPNOptions',
    'TileOptions',
    'apply_overrides',
    'dump_options',
    'layer_names',
    'load_options',
    'option',
    'parse_block',
    'parse_loss',
    'read_contrast',
    'read_evaluation',
    'read_recipe',
    'read_retention',
    'reference_table',
    'retention_notes',
]
