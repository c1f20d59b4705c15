"""Beta schedules: how fast noise is added, and the sigmas a sampler walks through.

The names are those of the papers. ComfyUI calls two of them otherwise: its "linear" is `scaled_linear` here,
and its "sqrt_linear" is `linear` here; `comfy_settings` translates.
"""

from typing import NamedTuple

import torch

TRAIN_STEPS = 1000


class Schedule(NamedTuple):
    """First and last beta; `scaled` interpolates their square roots instead of the betas themselves."""

    start: float
    end: float
    scaled: bool


SCHEDULES = {
    "linear": Schedule(0.00085, 0.012, False),  # CCDM config C; AnimateDiff v1, v2, v3
    "scaled_linear": Schedule(0.00085, 0.012, True),  # Stable Diffusion 1.5; CCDM configs A and B
    "linear 0.0008-0.012": Schedule(0.0008, 0.012, False),  # CCDM section 3.1
    "linear 0.0001-0.02": Schedule(0.0001, 0.02, False),  # CCDM section 6 (over-exposed); DDPM
}


def _find(name: str) -> Schedule:
    """The schedule of that name, or one sentence that lists the names."""
    if name not in SCHEDULES:
        raise ValueError(f"Beta schedule is {name!r}, expected one of {', '.join(map(repr, SCHEDULES))}.")
    return SCHEDULES[name]


def betas(name: str, steps: int = TRAIN_STEPS) -> torch.Tensor:
    """Noise variance added at each training step, (steps,) float64, in (0, 1), rising.

    Raises ValueError for an unknown name or fewer than two steps.
    """
    schedule = _find(name)
    if steps < 2:
        raise ValueError(f"A beta schedule needs at least 2 steps, got {steps}.")
    if not schedule.scaled:
        return torch.linspace(schedule.start, schedule.end, steps, dtype=torch.float64)
    return torch.linspace(schedule.start**0.5, schedule.end**0.5, steps, dtype=torch.float64) ** 2


def alphas_cumprod(name: str, steps: int = TRAIN_STEPS) -> torch.Tensor:
    """Share of signal variance left after each step, prod(1 - beta), (steps,) float64, in (0, 1), falling."""
    return torch.cumprod(1 - betas(name, steps), dim=0)


def sigmas(name: str, steps: int = TRAIN_STEPS) -> torch.Tensor:
    """Noise to signal ratio sqrt((1 - a) / a), (steps,) float64, from sigma_min up to sigma_max."""
    kept = alphas_cumprod(name, steps)
    return ((1 - kept) / kept).sqrt()


def comfy_settings(name: str, steps: int = TRAIN_STEPS) -> dict:
    """The same schedule as the `sampling_settings` dict that ComfyUI's `ModelSamplingDiscrete` reads.

    There "sqrt_linear" means evenly spaced betas and "linear" means evenly spaced square roots.
    """
    schedule = _find(name)
    return {
        "beta_schedule": "linear" if schedule.scaled else "sqrt_linear",
        "linear_start": schedule.start,
        "linear_end": schedule.end,
        "timesteps": steps,
    }
