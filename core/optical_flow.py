"""Dense optical flow with OpenCV, warping along it, and where it can be trusted.

Flow is float32 `(N, 2, H, W)` in pixels, channel 0 = dx: forward flow of a pair says where pixel p of the
first frame lies in the second, p + flow(p); backward flow says where pixel p of the second frame came from in
the first.

Frames are one clip of host images, `(F, H, W, 3)` RGB: uint8 is taken as it is, floating point is taken as
0..1, clamped and rounded to 8 bits, which is what OpenCV's algorithms work on.

DIS is the accurate one (use it for warping); Farneback with the CCDM numbers is what published flow ratings
use.
"""

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import torch
import torch.nn.functional as F

FARNEBACK = {
    "pyr_scale": 0.5,
    "levels": 3,
    "winsize": 15,
    "iterations": 3,
    "poly_n": 5,
    "poly_sigma": 1.2,
    "flags": 0,
}
DIS_SMALLEST = 16  # pixels; on less its pyramid has no level
Report = Callable[[int, int], None]  # pairs done, pairs in all; may raise to stop


def _check_clip(frames: torch.Tensor) -> None:
    """Raise ValueError unless frames are (F, H, W, 3)."""
    if frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(f"Frames are {tuple(frames.shape)}, expected (frames, height, width, 3).")


def to_bytes(frames: torch.Tensor) -> np.ndarray:
    """One clip as 8-bit RGB, (F, H, W, 3); floating point is read as 0..1. ValueError if no such clip."""
    _check_clip(frames)
    if frames.dtype == torch.uint8:
        return frames.cpu().numpy()
    if not frames.is_floating_point():
        raise ValueError(f"Frames are {frames.dtype}, expected uint8, or floating point from 0 to 1.")
    return (frames.float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


def grey(frames: torch.Tensor) -> np.ndarray:
    """Luma (Rec. 601, OpenCV's rounding) of one clip, (F, H, W) uint8."""
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in to_bytes(frames)])


def check_pairs(frames: torch.Tensor) -> None:
    """Raise ValueError unless frames are (F, H, W, 3), two or more."""
    _check_clip(frames)
    if len(frames) < 2:
        raise ValueError(f"Optical flow needs at least 2 frames, got {len(frames)}.")


class PairFlows:
    """The flow of each two neighbouring frames, (2, H, W) pixels, found one after the other when asked for.

    `pair_flow(first, second) -> (H, W, 2)` is called with grey frames. Nothing is kept: only two frames are
    held as bytes at a time. Raises ValueError for fewer than two frames.
    """

    def __init__(self, frames: torch.Tensor, pair_flow: Callable, backward: bool, report: Report | None):
        check_pairs(frames)
        self.frames, self.pair_flow, self.backward, self.report = frames, pair_flow, backward, report

    def __len__(self) -> int:
        return len(self.frames) - 1

    def __iter__(self) -> Iterator[torch.Tensor]:
        (second,) = grey(self.frames[:1])
        for i in range(len(self)):
            first, (second,) = second, grey(self.frames[i + 1 : i + 2])
            found = self.pair_flow(second, first) if self.backward else self.pair_flow(first, second)
            if self.report is not None:
                self.report(i + 1, len(self))
            yield torch.from_numpy(found).permute(2, 0, 1).contiguous()


def farneback_pairs(frames: torch.Tensor, backward: bool = False, report: Report | None = None) -> PairFlows:
    """`farneback_flow` one pair at a time."""
    return PairFlows(
        frames, lambda a, b: cv2.calcOpticalFlowFarneback(a, b, None, **FARNEBACK), backward, report
    )


def farneback_flow(
    frames: torch.Tensor, backward: bool = False, report: Report | None = None
) -> torch.Tensor:
    """Farneback flow (2003) between neighbouring frames, (F - 1, 2, H, W) pixels, with CCDM's parameters.

    frames: (F, H, W, 3), uint8 or 0..1. backward: from each second frame to its first.
    """
    return torch.stack(list(farneback_pairs(frames, backward, report)))


def check_dis(frames: torch.Tensor) -> None:
    """Raise ValueError unless frames are (F, H, W, 3), large enough for DIS flow."""
    _check_clip(frames)
    if min(frames.shape[1:3]) < DIS_SMALLEST:
        size = f"{frames.shape[2]}x{frames.shape[1]}"
        raise ValueError(f"Frames are {size}, DIS flow needs at least {DIS_SMALLEST}x{DIS_SMALLEST}.")


def dis_pairs(frames: torch.Tensor, backward: bool = False, report: Report | None = None) -> PairFlows:
    """`dis_flow` one pair at a time."""
    check_dis(frames)
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return PairFlows(frames, lambda a, b: dis.calc(a, b, None), backward, report)


def dis_flow(frames: torch.Tensor, backward: bool = False, report: Report | None = None) -> torch.Tensor:
    """DIS flow (Kroeger et al. 2016, medium preset) between neighbouring frames, (F - 1, 2, H, W) pixels.

    frames: (F, H, W, 3), uint8 or 0..1, at least 16 pixels each way. backward: from each second frame to its
    first.
    """
    return torch.stack(list(dis_pairs(frames, backward, report)))


def _positions(flow: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each pixel points to, p + flow(p): x and y, each (N, H, W) in pixels."""
    height, width = flow.shape[-2:]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None]
    x = torch.arange(width, device=flow.device, dtype=flow.dtype)[None, :]
    return x + flow[:, 0], y + flow[:, 1]


def warp(image: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Image sampled bilinearly at p + flow(p), outside taken from the nearest edge; (N, C, H, W).

    With backward flow this brings a first frame to where the second one has it. image: (N, C, H, W) floating
    point, any range; flow: (N, 2, H, W) in pixels, channel 0 = dx.
    """
    expected = (image.shape[0], 2, *image.shape[2:])
    if tuple(flow.shape) != expected:
        raise ValueError(f"Flow is {tuple(flow.shape)}, an image of {tuple(image.shape)} needs {expected}.")
    height, width = image.shape[-2:]
    x, y = _positions(flow.to(image.dtype))
    grid = torch.stack((2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1), dim=-1)  # N H W 2
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)


def consistent(flow: torch.Tensor, opposite: torch.Tensor, tolerance: float = 1.0) -> torch.Tensor:
    """Where following the flow and then the opposite flow leads back, (N, H, W) bool.

    flow, opposite: (N, 2, H, W), backward and forward flow of the same pairs, in either order; the mask
    belongs to the frame that `flow` starts from, and is False where the flow leaves the frame. tolerance: how
    far, in pixels, the way back may end from its start.
    """
    height, width = flow.shape[-2:]
    x, y = _positions(flow)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return inside & ((flow + warp(opposite, flow)).norm(dim=1) < tolerance)
