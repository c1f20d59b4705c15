"""Initial noise of a clip: how the noise of one frame relates to the noise of the others.

Every function gives `(F, *shape)` float32 on the CPU (for latents `shape` is `(C, h, w)`), each value N(0, 1)
on its own and independent of every other channel and pixel of its frame. Only the covariance over frames
differs.

Normals are drawn frame by frame, so a short clip's noise is exactly the beginning of a longer clip's noise
under the same seed, for any frame size, and the noise does not depend on the device that samples.
"""

import math
from dataclasses import dataclass

import torch

SEED_RANGE = 2**64
LAYOUTS = ("per-frame seeds", "shared", "mixed", "reshuffled windows")


def seeded(seed: int) -> torch.Generator:
    """A CPU generator at that seed (taken modulo 2**64)."""
    return torch.Generator("cpu").manual_seed(seed % SEED_RANGE)


def normals(frames: int, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Independent frames, (frames, *shape), drawn one frame after the other.

    One draw for the whole clip would not do: torch rounds a draw up to 16 values, so where a frame's size is
    no multiple of 16 the last values of a clip would depend on its length.
    """
    if frames < 1:
        raise ValueError(f"Noise needs at least 1 frame, got {frames}.")
    return torch.stack([torch.randn(shape, generator=generator) for _ in range(frames)])


def check_gamma(gamma: float) -> None:
    """Raise ValueError unless gamma, a correlation between neighbouring frames, lies in [-1, 1]."""
    if not -1.0 <= gamma <= 1.0:
        raise ValueError(f"gamma is {gamma}, expected a correlation from -1 to 1.")


def check_ratio(ratio: float) -> None:
    """Raise ValueError unless ratio, the share of variance that frames have in common, lies in [0, 1]."""
    if not 0.0 <= ratio <= 1.0:
        raise ValueError(f"ratio is {ratio}, expected a share of the shared noise from 0 to 1.")


def check_window(window: int, stride: int) -> None:
    """Raise ValueError unless 1 <= stride <= window."""
    if window < 1:
        raise ValueError(f"window is {window}, expected at least 1 frame.")
    if not 1 <= stride <= window:
        raise ValueError(f"stride is {stride}, expected 1 to the window length, {window}.")


def correlate(noise: torch.Tensor, gamma: float, first: torch.Tensor | None = None) -> torch.Tensor:
    """AR(1) over the first axis: x_0 = e_0, x_t = gamma x_(t-1) + sqrt(1 - gamma^2) e_t.

    With the same normals this is the sample L e of the covariance gamma^|m-n| (L its Cholesky factor; VCD Eq.
    4), in O(F), and it stays valid where that matrix is singular (gamma = 1 or -1).

    noise: (F, ...) independent N(0, 1); first: (...) the frame just before noise[0], or None at the start of
    a clip.
    """
    check_gamma(gamma)
    fresh = (1.0 - gamma * gamma) ** 0.5
    frames = []
    previous = first
    for normal in noise:
        previous = normal if previous is None else gamma * previous + fresh * normal
        frames.append(previous)
    return torch.stack(frames)


def gaussian_prior(
    frames: int,
    shape: tuple[int, ...],
    gamma: float,
    generator: torch.Generator,
    first: torch.Tensor | None = None,
) -> torch.Tensor:
    """3-D Gaussian prior (VCD Eq. 4): covariance gamma^|m-n| over frames, independent elsewhere.

    first: the last frame drawn so far, shape `shape`; with the same generator the clip goes on as if drawn
    at once.
    """
    check_gamma(gamma)
    if first is not None and tuple(first.shape) != tuple(shape):
        raise ValueError(f"The carried frame is {tuple(first.shape)}, the clip's frames are {tuple(shape)}.")
    return correlate(normals(frames, shape, generator), gamma, first)


def per_frame_seeds(frames: int, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Frame i is drawn from seed + i (CCDM configuration A); frames are independent."""
    return torch.cat([normals(1, shape, seeded(seed + i)) for i in range(frames)])


def shared(frames: int, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """All frames have the same noise (CCDM configuration B); covariance 1 between any two frames."""
    return normals(1, shape, seeded(seed)).repeat(frames, *[1] * len(shape))


def mixed(frames: int, shape: tuple[int, ...], seed: int, ratio: float) -> torch.Tensor:
    """sqrt(ratio) base + sqrt(1 - ratio) difference: covariance `ratio` between any two frames.

    One base for the clip, one difference a frame (VideoFusion, Luo et al. 2023, Eq. 4; PYoCo's "mixed" noise,
    Ge et al. 2023). ratio in [0, 1]: 0 is independent frames, 1 is one shared frame.
    """
    check_ratio(ratio)
    generator = seeded(seed)
    base = normals(1, shape, generator)
    return ratio**0.5 * base + (1.0 - ratio) ** 0.5 * normals(frames, shape, generator)


def turned(base: torch.Tensor, residual: torch.Tensor, ratio: float) -> torch.Tensor:
    """cos(ratio pi / 2) base + sin(ratio pi / 2) residual (Free-Bloom, Huang et al. 2023; its ratio is 0.1).

    Two noises of one shape; ratio 0 is the base, 1 the residual, and the variance stays 1 in between.
    """
    check_ratio(ratio)
    angle = ratio * math.pi / 2
    return math.cos(angle) * base + math.sin(angle) * residual


def window_order(frames: int, window: int, stride: int, generator: torch.Generator) -> list[int]:
    """Which of the first `window` frames stands at each place of a longer clip (FreeNoise, 2023).

    Qiu et al., section 3.2: each block of `stride` frames after the first window is a shuffle of the block
    `window` frames earlier, so every window that starts at a multiple of `stride` holds the same frames in
    another order. 1 <= stride <= window.
    """
    check_window(window, stride)
    order = list(range(min(frames, window)))
    start = 0
    while len(order) < frames:
        shuffle = torch.randperm(stride, generator=generator)
        order += [order[start + int(i)] for i in shuffle]
        start += stride
    return order[:frames]


def reshuffled_windows(
    frames: int, shape: tuple[int, ...], seed: int, window: int, stride: int
) -> torch.Tensor:
    """Independent noise for the first window, then shuffled repeats of it (FreeNoise); see `window_order`."""
    check_window(window, stride)
    generator = seeded(seed)
    drawn = normals(min(frames, window), shape, generator)
    return drawn[window_order(frames, window, stride, generator)]


@dataclass(frozen=True)
class NoiseLayout:
    """One of LAYOUTS with its numbers, checked when made; those another layout needs are not looked at.

    ratio: share of the shared noise, "mixed"; window, stride: in frames, "reshuffled windows".
    """

    kind: str
    ratio: float = 0.5
    window: int = 16
    stride: int = 4

    def __post_init__(self):
        """Raise ValueError for an unknown layout, or for numbers it cannot use."""
        if self.kind not in LAYOUTS:
            raise ValueError(f"Noise layout is {self.kind!r}, expected one of {LAYOUTS}.")
        if self.kind == "mixed":
            check_ratio(self.ratio)
        if self.kind == "reshuffled windows":
            check_window(self.window, self.stride)

    def draw(self, frames: int, shape: tuple[int, ...], seed: int) -> torch.Tensor:
        """Noise of a clip in this layout, (frames, *shape)."""
        if self.kind == "mixed":
            return mixed(frames, shape, seed, self.ratio)
        if self.kind == "reshuffled windows":
            return reshuffled_windows(frames, shape, seed, self.window, self.stride)
        return (shared if self.kind == "shared" else per_frame_seeds)(frames, shape, seed)
