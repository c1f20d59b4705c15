"""Nets of core as models of the host: it picks their precision, casts, offloads and patches them."""

from __future__ import annotations

from collections.abc import Callable

import comfy.model_management
import comfy.ops
import torch
from comfy.model_patcher import ModelPatcher
from torch import nn


def load_net(read: Callable[..., nn.Module], path: str, *more, **options) -> ModelPatcher:
    """A net from a file by a reader of core, in the precision that the host picks for UNets here.

    `options` are the reader's; a `dtype` there is taken in its place. Raises ValueError as the reader.
    """
    ops, device = comfy.ops.manual_cast, comfy.model_management.unet_offload_device()
    dtype = options.pop("dtype", None) or comfy.model_management.unet_dtype()
    return as_patcher(read(path, *more, ops=ops, device=device, dtype=dtype, **options))


def difference_dtype() -> torch.dtype:
    """The host's precision for UNets, but fp16 for its fp8: most small differences to weights are 0 there."""
    dtype = comfy.model_management.unet_dtype()
    return torch.float16 if dtype.itemsize == 1 else dtype


def as_patcher(net: nn.Module) -> ModelPatcher:
    """A net as a ModelPatcher, so that the host can load and patch it."""
    return ModelPatcher(
        net.eval(),
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )
