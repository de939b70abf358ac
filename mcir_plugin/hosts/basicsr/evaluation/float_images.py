"""Images as the network gave them, in a validation that rounds them to 8 bits before it computes a metric.

BasicSR's validation loops hand ``tensor2img(...)`` to the metrics. Within a validation that needs it, ``tensor2img``
returns the same uint8 image, which also carries the float image that it was rounded from. Nothing is looked up by
order or by name, so frames of clips, several data sets and several processes cannot be mixed up.
"""
from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from types import ModuleType
from typing import Any

import numpy as np
from basicsr.utils import img_util

from mcir_plugin.hosts.basicsr.compat.swap import swapped


class RoundedImage(np.ndarray):
    """A uint8 image that knows what it was rounded from.

    What is derived from it (a crop, a copy) does not know: a wrong float image would be worse than none.

    Attributes:
        unrounded (ndarray | None): The same image in float, [0, 1], clamped, in the same order of channels.
    """

    unrounded: np.ndarray | None = None


def with_unrounded(image: np.ndarray, unrounded: np.ndarray) -> RoundedImage:
    """Return ``image`` carrying ``unrounded``."""
    carrying = image.view(RoundedImage)
    carrying.unrounded = unrounded
    return carrying


def modules_binding(cls: type, name: str) -> list[ModuleType]:
    """Return the modules that define a class and its bases, where they have a global of this name."""
    modules = dict.fromkeys(sys.modules[base.__module__] for base in cls.__mro__ if base.__module__ in sys.modules)
    return [module for module in modules if hasattr(module, name)]


@contextmanager
def keeping_floats(cls: type) -> Iterator[None]:
    """Inside the block, ``tensor2img`` as the modules of a model class call it returns :class:`RoundedImage`."""
    with ExitStack() as stack:
        for module in (img_util, *modules_binding(cls, 'tensor2img')):
            stack.enter_context(swapped(module, 'tensor2img', _keeping(module.tensor2img)))
        yield


def _keeping(host_function: Callable[..., Any]) -> Callable[..., Any]:

    @wraps(host_function)
    def tensor2img(tensor: Any, rgb2bgr: bool = True, out_type: Any = np.uint8, min_max: Any = (0, 1)) -> Any:
        image = host_function(tensor, rgb2bgr, out_type, min_max)
        if out_type is not np.uint8 or not isinstance(image, np.ndarray):
            return image
        return with_unrounded(image, host_function(tensor, rgb2bgr, np.float32, min_max))

    return tensor2img
