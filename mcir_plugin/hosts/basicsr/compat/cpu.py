"""Running on a machine without a GPU: models that say ``.cuda()``, distributed training, resuming."""
from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel
from torch.overrides import TorchFunctionMode

from mcir_plugin.hosts.basicsr.compat.swap import swapped


class StayOnCpu(TorchFunctionMode):
    """Inside a ``with`` block, hard-coded requests for the GPU stay on the CPU."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        """Answer ``Tensor.cuda()`` with the tensor, and ``device='cuda'`` with the CPU."""
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.cuda:
            return args[0]
        if torch.device(kwargs.get('device') or 'cpu').type == 'cuda':
            kwargs['device'] = 'cpu'
        return func(*args, **kwargs)


def on_cpu(cls: type) -> type:
    """Return a model class whose construction, data feed and validation keep off the GPU.

    RealESRNetModel and RealESRGANModel call ``.cuda()`` in ``__init__`` and in their pair pool, the video models
    validate into tensors on 'cuda'. VideoRecurrentModel squeezes its data in place after it has fed them; without a
    copy to the GPU that squeezes what was fed. Applies with ``num_gpu: 0``. Can go when they use ``self.device``.
    """
    methods = {name: getattr(cls, name) for name in ('__init__', '_dequeue_and_enqueue', 'dist_validation')
               if hasattr(cls, name)}
    methods['feed_data'] = _fed_with_views(cls.feed_data)
    return type(cls.__name__, (cls, ), {name: _inside_cpu_mode(method) for name, method in methods.items()})


def _fed_with_views(method: Callable[..., None]) -> Callable[..., None]:

    @wraps(method)
    def feed_data(self: Any, data: dict[str, Any]) -> None:
        method(self, {name: value.view_as(value) if isinstance(value, torch.Tensor) else value
                      for name, value in data.items()})

    return feed_data


def _inside_cpu_mode(method: Callable[..., Any]) -> Callable[..., Any]:

    @wraps(method)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        with StayOnCpu():
            return method(self, *args, **kwargs)

    return wrapper


def init_dist_without_gpu(host_init: Callable[..., None]) -> Callable[..., None]:
    """Wrap ``init_dist``: without a GPU it takes a rank modulo zero devices and asks for nccl.

    Applies where no GPU is visible; gloo is used there. Can go when BasicSR chooses the backend itself.
    """

    @wraps(host_init)
    def init_dist(launcher: str, backend: str = 'nccl', **kwargs: Any) -> None:
        with ExitStack() as stack:
            if torch.cuda.device_count() == 0:
                backend = 'gloo'
                stack.enter_context(swapped(torch.cuda, 'device_count', lambda: 1))
                stack.enter_context(swapped(torch.cuda, 'set_device', lambda device: None))
            if launcher == 'slurm':
                stack.enter_context(_slurm_backend(backend))
                host_init(launcher, **kwargs)
            else:
                host_init(launcher, backend=backend, **kwargs)

    return init_dist


def _slurm_backend(backend: str) -> Any:
    """BasicSR hands the backend to its slurm starter by position; keep ours, whatever ``dist_params`` says."""
    from basicsr.utils import dist_util
    start = dist_util._init_dist_slurm
    return swapped(dist_util, '_init_dist_slurm', lambda _, **kwargs: start(backend, **kwargs))


def model_to_device_without_gpu(host_method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``BaseModel.model_to_device``: DistributedDataParallel on the CPU takes no device ids.

    Applies to distributed runs with ``num_gpu: 0``. Can go when BasicSR leaves ``device_ids`` out there.
    """

    @wraps(host_method)
    def model_to_device(self: Any, net: torch.nn.Module) -> torch.nn.Module:
        if self.opt['dist'] and self.device.type == 'cpu':
            return DistributedDataParallel(
                net.to(self.device), find_unused_parameters=self.opt.get('find_unused_parameters', False))
        return host_method(self, net)

    return model_to_device


def filter_any_layout(host_function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Wrap ``filter2D``: it asks for a ``view`` of the padded image, which fails on a channels-last layout.

    On the CPU noise, JPEG and resizing of Real-ESRGAN's degradations keep the layout that JPEG returns; on the GPU
    they do not. Applies to images that are not contiguous. Can go when BasicSR says ``reshape`` there.
    """

    @wraps(host_function)
    def filter2D(img: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
        return host_function(img.contiguous(), kernel)

    return filter2D
