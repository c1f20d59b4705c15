"""How close a clip is to a reference: PSNR and SSIM.

Clips are `(F, H, W, 3)`, uint8 or floating point 0..1; nothing is rounded. A reference of one frame (a still)
is compared with every frame, as CCDM Table 2 does.
"""

from collections.abc import Iterator
from itertools import repeat

import torch
import torch.nn.functional as F

SPLIT = 8  # frames that are float64 at a time
PSNR_CAP = 60.0  # dB; what equal frames score
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5  # Wang et al. 2004, section III-C
SSIM_K1, SSIM_K2 = 0.01, 0.03
LUMA = (0.299, 0.587, 0.114)  # Rec. 601


def unit(frames: torch.Tensor) -> torch.Tensor:
    """One clip as float64 0..1, (F, H, W, 3); uint8 is divided by 255."""
    return frames.double() / 255 if frames.dtype == torch.uint8 else frames.double()


def splits(frames: torch.Tensor) -> Iterator[torch.Tensor]:
    """A clip as `unit` has it, a few frames at a time."""
    return map(unit, frames.split(SPLIT))


def _pairs(frames: torch.Tensor, reference: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Splits of a clip with those of its reference; a still goes with each."""
    check_pair(frames, reference)
    still = len(reference) == 1
    return zip(splits(frames), repeat(unit(reference)) if still else splits(reference), strict=False)


def check_pair(frames: torch.Tensor, reference: torch.Tensor) -> None:
    """Raise ValueError unless both are (F, H, W, 3) of one size, with as many frames or one reference."""
    for name, clip in (("Frames", frames), ("Reference", reference)):
        if clip.ndim != 4 or clip.shape[-1] != 3:
            raise ValueError(f"{name}: shape {tuple(clip.shape)}, expected (frames, height, width, 3).")
    if frames.shape[1:] != reference.shape[1:]:
        sizes = (
            f"{frames.shape[2]}x{frames.shape[1]}, the reference {reference.shape[2]}x{reference.shape[1]}"
        )
        raise ValueError(f"The clip is {sizes}; scale one of them first.")
    if len(reference) not in (1, len(frames)):
        raise ValueError(
            f"The clip has {len(frames)} frames, the reference {len(reference)}; expected as many, or 1."
        )


def _decibel(error: torch.Tensor) -> torch.Tensor:
    """PSNR of mean squared errors on a 0..1 scale, capped."""
    return (-10 * error.clamp_min(1e-12).log10()).clamp_max(PSNR_CAP)


def _errors(frames: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Mean squared error of each frame, (F,)."""
    return torch.cat([((own - other) ** 2).mean(dim=(1, 2, 3)) for own, other in _pairs(frames, reference)])


def psnr(frames: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """PSNR of each frame, 10 log10(1 / MSE) over its pixels and channels, (F,) in dB, at most 60."""
    return _decibel(_errors(frames, reference))


def psnr_global(frames: torch.Tensor, reference: torch.Tensor) -> float:
    """PSNR of one mean squared error over the whole clip, in dB, <= 60."""
    return float(_decibel(_errors(frames, reference).mean()))


def _blur(images: torch.Tensor) -> torch.Tensor:
    """Gaussian mean around the pixels whose window lies inside, (N, 1, H, W) -> (N, 1, H - 10, W - 10)."""
    offset = torch.arange(SSIM_WINDOW, dtype=images.dtype, device=images.device) - SSIM_WINDOW // 2
    weights = (-(offset**2) / (2 * SSIM_SIGMA**2)).exp()
    weights = weights / weights.sum()
    return F.conv2d(F.conv2d(images, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))


def _luma(frames: torch.Tensor) -> torch.Tensor:
    """Float64 (F, H, W, 3) -> (F, 1, H, W), Rec. 601 on 0..1."""
    return (frames @ torch.tensor(LUMA, dtype=torch.float64, device=frames.device))[:, None]


def ssim(frames: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Structural similarity of each frame (Wang et al. 2004, Eq. 13), (F,) in [-1, 1], 1 for equal frames.

    On luma 0..1, Gaussian window of 11 x 11 pixels with sigma 1.5, population (co)variances, K1 = 0.01, K2 =
    0.03, mean over the pixels whose window lies inside the frame. ValueError for frames smaller than the
    window.
    """
    check_pair(frames, reference)
    if min(frames.shape[1:3]) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs frames of at least 11x11, got {frames.shape[2]}x{frames.shape[1]}.")
    return torch.cat([_ssim(_luma(own), _luma(other)) for own, other in _pairs(frames, reference)])


def _ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """SSIM of each of some luma images (F, 1, H, W); `y` may be one for all."""
    mean_x, mean_y = _blur(x), _blur(y)
    var_x = _blur(x * x) - mean_x**2
    var_y = _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    c1, c2 = SSIM_K1**2, SSIM_K2**2
    likeness = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return (likeness / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean(dim=(1, 2, 3))
