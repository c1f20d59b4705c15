"""How steady a clip is: what is left between neighbouring frames once its motion has been taken out."""

import torch

from ..optical_flow import PairFlows, consistent, warp
from .motion import Rated
from .quality import splits, unit

Flows = torch.Tensor | PairFlows | Rated  # (2, H, W) for each pair


def warped_difference(frames: torch.Tensor, backward: Flows, forward: Flows) -> torch.Tensor:
    """Mean |frame_t - warp(frame_(t-1))| of each pair, (F - 1,), 0..255, lower is steadier.

    Counted where the flow holds: following backward and then forward flow leads back within 1 px. A pair
    without one such pixel gives NaN. The flow may be that of another clip (a clean guide), so that flicker
    does not judge itself.

    frames: (F, H, W, 3), uint8 or 0..1. backward, forward: (2, H, W) pixels for each pair, as a tensor or one
    after the other, see `core.optical_flow`; both are gone through side by side.
    """
    for name, flow in (("Backward", backward), ("Forward", forward)):
        if len(flow) != len(frames) - 1:
            raise ValueError(
                f"{name} flow is for {len(flow)} pairs of frames, the clip has {len(frames) - 1}."
            )
    result = []
    for t, (back, fore) in enumerate(zip(backward, forward, strict=True)):
        images = unit(frames[t : t + 2]).permute(0, 3, 1, 2) * 255  # 2 3 H W
        trusted = consistent(back[None], fore[None])[0]
        difference = (images[1:] - warp(images[:1], back[None])).abs().mean(dim=1)[0]
        result.append(difference[trusted].mean())
    return torch.stack(result)


def level_spread(frames: torch.Tensor) -> float:
    """Flicker in brightness: standard deviation over frames of a frame's mean level, 0..255 scale."""
    levels = torch.cat([part.mean(dim=(1, 2, 3)) for part in splits(frames)])
    return float((levels * 255).std(correction=0))
