"""How steady a clip is: what is left between neighbouring frames once its motion has been taken out."""

import torch

from ..optical_flow import consistent, warp
from .quality import splits, unit


def warped_difference(frames: torch.Tensor, backward: torch.Tensor, forward: torch.Tensor) -> torch.Tensor:
    """Mean |frame_t - warp(frame_(t-1))| of each pair, (F - 1,), 0..255, lower is steadier.

    Counted where the flow holds: following backward and then forward flow leads back within 1 px. A pair
    without one such pixel gives NaN. The flow may be that of another clip (a clean guide), so that flicker
    does not judge itself.

    frames: (F, H, W, 3), uint8 or 0..1. backward, forward: (F - 1, 2, H, W) pixels, see `core.optical_flow`.
    """
    pairs = (len(frames) - 1, 2, *frames.shape[1:3])
    for name, flow in (("Backward", backward), ("Forward", forward)):
        if tuple(flow.shape) != pairs:
            raise ValueError(f"{name} flow is {tuple(flow.shape)}, the clip needs {pairs}.")
    result = []
    for t in range(len(frames) - 1):
        images = unit(frames[t : t + 2]).permute(0, 3, 1, 2) * 255  # 2 3 H W
        trusted = consistent(backward[t : t + 1], forward[t : t + 1])[0]
        difference = (images[1:] - warp(images[:1], backward[t : t + 1])).abs().mean(dim=1)[0]
        result.append(difference[trusted].mean())
    return torch.stack(result)


def level_spread(frames: torch.Tensor) -> float:
    """Flicker in brightness: standard deviation over frames of a frame's mean level, 0..255 scale."""
    levels = torch.cat([part.mean(dim=(1, 2, 3)) for part in splits(frames)])
    return float((levels * 255).std(correction=0))
