"""``import basicsr`` on torchvision >= 0.17."""
import sys
from importlib.util import find_spec
from types import ModuleType

MISSING = 'torchvision.transforms.functional_tensor'


def provide_functional_tensor() -> None:
    """Offer ``rgb_to_grayscale`` under its old module name, which BasicSR's degradations import.

    Applies where torchvision no longer has the module. Can go when BasicSR imports it from
    ``torchvision.transforms.functional``.
    """
    if MISSING in sys.modules or find_spec(MISSING) is not None:
        return
    from torchvision.transforms.functional import rgb_to_grayscale
    module = ModuleType(MISSING, 'Stands in for a module that torchvision removed in 0.17; made by mcir_plugin.')
    module.rgb_to_grayscale = rgb_to_grayscale
    sys.modules[MISSING] = module


def offer_moved_names() -> None:
    """Offer the YCbCr conversions in ``basicsr.utils.matlab_functions`` as well, where HAT imports them.

    Applies where they are missing there: BasicSR 1.4 moved them to ``basicsr.utils.color_util``. Can go when HAT
    follows.
    """
    from basicsr.utils import color_util, matlab_functions
    for name in ('rgb2ycbcr', 'bgr2ycbcr', 'ycbcr2rgb', 'ycbcr2bgr'):
        if not hasattr(matlab_functions, name):
            setattr(matlab_functions, name, getattr(color_util, name))
