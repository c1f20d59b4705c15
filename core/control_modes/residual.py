"""Which parts of a clip keep their noise: those that do not change, or that only move.

For `core.residual_noise`; Control-A-Video (Chen et al. 2023) renews noise where the source changes by more
than 0.1.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ..optical_flow import consistent, dis_flow

THRESHOLD = 0.1  # of 0..1
IN_PLACE, ALONG_FLOW = "in place", "along flow"
WAYS = (IN_PLACE, ALONG_FLOW)


def noise_motion(
    images: Tensor, size: tuple[int, int], way: str, threshold: float = THRESHOLD
) -> tuple[Tensor, Tensor]:
    """Flow (F - 1, 2, h, w) in cells of the noise and where it is kept, (F - 1, h, w), from a source clip.

    images: (F, H, W, 3) in 0..1; size: (h, w) of the noise. in place: noise stays where no pixel of a cell
    changes by more than the threshold, as published. along flow: noise goes where the picture goes, and is
    kept where the way back leads to its start and the picture is the same there.

    Raises ValueError for another way, or a clip of fewer than 2 frames.
    """
    if way not in WAYS:
        raise ValueError(f"Residual noise moves '{way}', expected one of {', '.join(WAYS)}.")
    if len(images) < 2:
        raise ValueError(f"Residual noise needs a source of at least 2 frames, got {len(images)}.")
    images = images[..., :3]
    planes = images.movedim(-1, 1).float()
    if way == IN_PLACE:
        change = (planes[1:] - planes[:-1]).abs().amax(1, keepdim=True)
        kept = functional.adaptive_max_pool2d(change, size)[:, 0] <= threshold
        return planes.new_zeros(len(images) - 1, 2, *size), kept
    back, ahead = dis_flow(images, backward=True), dis_flow(images)
    cells = back.new_tensor([size[1] / images.shape[2], size[0] / images.shape[1]]).view(1, 2, 1, 1)
    kept = functional.adaptive_avg_pool2d(consistent(back, ahead)[:, None].float(), size)[:, 0] > 0.5
    return functional.adaptive_avg_pool2d(back, size) * cells, kept
