"""How much fine detail a clip has: what averaging over frames may cost."""

import torch
import torch.nn.functional as F

from .quality import LUMA, splits


def sharpness(frames: torch.Tensor) -> torch.Tensor:
    """Variance of the Laplacian of each frame's luma, (F,), on a scale of 0..255.

    frames: (F, H, W, 3), uint8 or 0..1. Edges are continued. Noise counts as detail.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(f"Frames are {tuple(frames.shape)}, expected (frames, height, width, 3).")
    return torch.cat([_detail(part) for part in splits(frames)])


def _detail(frames: torch.Tensor) -> torch.Tensor:
    luma = frames @ torch.tensor(LUMA, dtype=torch.float64, device=frames.device) * 255  # F H W
    wide = F.pad(luma[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    around = wide[:, :-2, 1:-1] + wide[:, 2:, 1:-1] + wide[:, 1:-1, :-2] + wide[:, 1:-1, 2:]
    return (around - 4 * luma).flatten(1).var(dim=1, correction=0)
