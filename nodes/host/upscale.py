"""Enlarge clips frame by frame: with any UPSCALE_MODEL of the host, or without one."""

from __future__ import annotations

from collections.abc import Callable

import comfy.model_management
import comfy.utils
import torch.nn.functional as F
from torch import Tensor

TILE, OVERLAP = 512, 32  # pixels of the frame that the upscaler sees at once
SMALLEST = 128  # pixels of a tile; with less memory than that takes, it is an error
NEED = 384.0  # bytes for each byte of a tile, larger as it becomes: the host's own estimate


def upscale_clip(images: Tensor, scale: float, model=None, report: Callable[[int, int], None] | None = None):
    """Images (F, H, W, 3) in 0..1 at `scale` times their size, rounded to whole pixels.

    model: UPSCALE_MODEL as the stock loader gives it, whose own factor does not matter; None = bicubic. Only
    one frame at a time is on the device. At scale 1 without a model the images come back as they are.
    """
    size = tuple(max(round(n * scale), 1) for n in images.shape[1:3])
    if model is None and size == tuple(images.shape[1:3]):
        return images
    device = comfy.model_management.get_torch_device()
    if model is not None:
        pixels = TILE * TILE * 3 * images.element_size() * max(model.scale, 1.0)
        need = comfy.model_management.module_size(model.model) + pixels * NEED
        comfy.model_management.free_memory(need, device)
        model.to(device)
    try:
        tile, where = TILE, images.device if model is None else "cpu"
        made = images.new_empty(
            len(images), *size, images.shape[3], device=where
        )  # the only copy of the large clip
        for number, image in enumerate(images):
            large = image.movedim(-1, 0)[None]
            if model is not None:
                large, tile = _enlarged(large.to(device), model, tile)
            made[number] = _resized(large, size)[0].movedim(0, -1)
            if report is not None:
                report(number + 1, len(images))
    finally:
        if model is not None:
            model.to("cpu")
    return made.clamp_(0, 1)


def _enlarged(picture: Tensor, model, tile: int) -> tuple[Tensor, int]:
    """1 x 3 x H x W by the model's own factor, in tiles halved until memory suffices; and their side."""
    while True:
        try:
            made = comfy.utils.tiled_scale(
                picture, model, tile, tile, OVERLAP, upscale_amount=model.scale, output_device="cpu"
            )
            return made, tile
        except comfy.model_management.OOM_EXCEPTION:
            tile //= 2
            if tile < SMALLEST:
                raise


def _resized(picture: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(picture.shape[-2:]) == size:
        return picture
    return F.interpolate(picture, size, mode="bicubic", antialias=True, align_corners=False)
