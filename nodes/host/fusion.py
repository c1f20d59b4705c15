"""Fusion on the host's device, with its progress bar and interrupt."""

import comfy.model_management
import torch

from ...core.fusion.stream import PIXELS, Fusion, collect, fuse, interpolate
from ...core.keyframes import Keyframes
from .progress import reporter

BYTES_MATCHED, BYTES_KEPT = 600, 40  # a pixel: of a pair that is being matched, of a frame in the window


def _device(clip: torch.Tensor, window: int) -> torch.device:
    """The host's device, with room made for fusing a clip (F, H, W, C)."""
    device = comfy.model_management.get_torch_device()
    pixels = clip.shape[1] * clip.shape[2]
    needed = BYTES_MATCHED * max(pixels, PIXELS) + BYTES_KEPT * pixels * (2 * window + 3)
    comfy.model_management.free_memory(needed, device)
    return device


def fuse_images(
    images: torch.Tensor,
    settings: Fusion,
    guide: torch.Tensor | None = None,
    keyframes: Keyframes | None = None,
) -> torch.Tensor:
    """IMAGE batch (F, H, W, C) -> the fused one; see `core.fusion.stream.fuse`."""
    device = _device(images, settings.window)
    return collect(fuse(images, settings, guide, keyframes, device, reporter()), len(images))


def interpolate_images(guide: torch.Tensor, keyframes: Keyframes, settings: Fusion) -> torch.Tensor:
    """Guide (F, H, W, C) and keyframes -> frames (F, H, W, 3); see `core.fusion.stream.interpolate`."""
    device = _device(guide, 0)
    return collect(interpolate(guide, keyframes, settings, device, reporter()), len(guide))
