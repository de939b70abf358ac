"""All our losses in mmengine's MODELS, under the scope ``mcir``: ``MODELS.build(dict(type='mcir.SPNLoss'))``."""
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import Registry

from mcir_plugin.losses import LOSSES, RECIPE_LOSSES

SCOPE = 'mcir'
MODELS = Registry('model', parent=MMENGINE_MODELS, scope=SCOPE, locations=['mcir_plugin.hosts.mmengine'])
for loss in (*LOSSES.values(), *RECIPE_LOSSES.values()):
    MODELS.register_module(module=loss)
