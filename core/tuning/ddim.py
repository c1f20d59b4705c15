"""DDIM with eta 0, downwards and upwards: sampling, and inversion of a clip to the noise it would come from.

Noise levels are sigmas and clips are x = clean + sigma noise, as the host has them; published code works on
z = x sqrt(a) with a = 1 / (1 + sigma^2). In these units a step of DDIM (Song et al. 2021, Eq. 13) is Euler's:

    x' = x + (sigma' - sigma) e,   e = (x - D) / sigma

D, the model's prediction of the clean clip, is what makes it right for models that predict noise and for
those that predict v.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..schedules import TRAIN_STEPS

Denoise = Callable[[Tensor, float], Tensor]  # noisy clip and its sigma -> clean clip


def step(x: Tensor, noise: Tensor, sigma: float, target: float) -> Tensor:
    """One step of DDIM from one noise level to another, up or down."""
    return x + (target - sigma) * noise


def noise_of(denoise: Denoise, x: Tensor, sigma: float) -> Tensor:
    """The noise that the model sees in x at a level above 0."""
    return (x - denoise(x, sigma)) / sigma


def invert(
    denoise: Denoise, x: Tensor, sigmas: list[float], refine: int = 0, report: Callable | None = None
) -> Tensor:
    """The noise that sampling with DDIM turns into the clean clip x, at the highest of `sigmas`.

    sigmas: a sampler's, falling; they are walked upwards, from the last. A step from sigma to sigma' uses the
    noise that the model sees at sigma' in z of the clip before the step, as Tune-A-Video does: of the ways to
    begin this one errs least. refine: how many times it is then looked for again in the clip after the step;
    sampling uses exactly that, so each turn brings the round trip closer. report(done, total, x) after each
    step; it may raise to stop.
    """
    levels = sigmas[::-1]
    for number, (sigma, target) in enumerate(zip(levels, levels[1:], strict=False), 1):
        same_z = unscaled(scaled(x, sigma), target)
        ahead = step(x, noise_of(denoise, same_z, target), sigma, target)
        for _ in range(refine):
            ahead = step(x, noise_of(denoise, ahead, target), sigma, target)
        x = ahead
        if report is not None:
            report(number, len(levels) - 1, x)
    return x


def sample(denoise: Denoise, x: Tensor, sigmas: list[float]) -> Tensor:
    """DDIM from x at the first of `sigmas` down to the last."""
    for sigma, target in zip(sigmas, sigmas[1:], strict=False):
        x = step(x, noise_of(denoise, x, sigma), sigma, target)
    return x


def published_times(steps: int, offset: int = 1, train_steps: int = TRAIN_STEPS) -> list[int]:
    """The training steps that diffusers' DDIM visits, falling: evenly spaced, from `offset`."""
    return [i * (train_steps // steps) + offset for i in reversed(range(steps))]


def published_sigmas(times: list[int], kept: Tensor) -> list[float]:
    """Their noise levels, and the one below the last, by the shares of signal `kept` (T,).

    A time before 0 has that of time 0 (diffusers' set_alpha_to_one = False).
    """
    below = times[-1] - len(kept) // len(times)
    shares = kept[torch.tensor([*times, max(below, 0)])].double()
    return ((1 - shares) / shares).sqrt().tolist()


def scaled(x: Tensor, sigma: float) -> Tensor:
    """The clip in published code's units: z = x / sqrt(1 + sigma^2)."""
    return x / (1 + sigma**2) ** 0.5


def unscaled(z: Tensor, sigma: float) -> Tensor:
    """The reverse of `scaled`."""
    return z * (1 + sigma**2) ** 0.5
