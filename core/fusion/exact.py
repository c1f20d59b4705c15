"""The yardstick of patch attention: errors of given matches, and the nearest patches without any shortcut.

Slow and exact, for checks and measurements; pictures are zero outside, as in the published kernels.
"""

import torch
import torch.nn.functional as F

from .attention import positions


def _patches(pictures: torch.Tensor, patch: int) -> torch.Tensor:
    """The patch around each pixel, zero outside: (P, C, H, W) -> (P, C patch patch, H, W)."""
    flat = F.unfold(pictures, patch, padding=patch // 2)
    return flat.view(len(pictures), -1, *pictures.shape[-2:])


def _take(planes: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Planes (P, C, H, W) at p + flow(p)."""
    x, y = (flow + positions(*flow.shape[-2:], flow.device)).unbind(1)
    index = (y * flow.shape[-1] + x).flatten(1)[:, None].expand(-1, planes.shape[1], -1)
    return planes.flatten(2).gather(2, index).view_as(planes)


def patch_error(target: torch.Tensor, source: torch.Tensor, flow: torch.Tensor, patch: int) -> torch.Tensor:
    """Sum over patch and channels of (target - source at p + flow(p)) squared, (P, H, W).

    target, source: (P, C, H, W); flow: (P, 2, H, W) int64, channel 0 = dx, inside the frame.
    """
    return (_patches(target, patch) - _take(_patches(source, patch), flow)).square().sum(dim=1)


def pair_error(
    first: torch.Tensor, first_flow: torch.Tensor, second: torch.Tensor, second_flow: torch.Tensor, patch: int
) -> torch.Tensor:
    """How far two sources disagree: sum over the patch of their squared difference, (P, H, W)."""
    difference = _take(_patches(first, patch), first_flow) - _take(_patches(second, patch), second_flow)
    return difference.square().sum(dim=1)


def nearest_patches(
    target: torch.Tensor, source: torch.Tensor, patch: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The flow (1, 2, H, W) to the nearest patch anywhere in the source, and its error (1, H, W).

    target, source: (1, C, H, W). Of equally near ones, the first in reading order. Memory grows with
    the square of the number of pixels: for small pictures.
    """
    height, width = target.shape[-2:]
    wanted, offered = (_patches(x.double(), patch)[0].flatten(1) for x in (target, source))
    errors = wanted.square().sum(0)[:, None] + offered.square().sum(0)[None] - 2 * wanted.T @ offered
    error, index = errors.min(dim=1)
    place = torch.stack((index % width, index // width)).view(2, height, width)
    return (place - positions(height, width, target.device))[None], error.view(1, height, width)
