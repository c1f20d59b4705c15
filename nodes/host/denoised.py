"""Act on a model's prediction of the clean clip, for the length of one sampling run.

The host calls `sampler_post_cfg_function`s with the whole clip, after guidance and outside context windows.
Stock samplers take what these give for the model's own prediction, be they ancestral, SDE or multi-step.
"""

from __future__ import annotations

from collections.abc import Callable

import comfy.model_patcher
from torch import Tensor

BISECTIONS = 20  # of the percent range: finer than a thousand training steps


def with_post_cfg(extra_args: dict, change: Callable[[dict], Tensor]) -> dict:
    """A sampler's `extra_args` with one more post-CFG function; the given ones stay as they are."""
    options = comfy.model_patcher.set_model_options_post_cfg_function({**extra_args["model_options"]}, change)
    return {**extra_args, "model_options": options}


def percent_of(model_sampling, sigma: float) -> float:
    """How far sampling is at `sigma`, 0..1: the inverse of the host's `percent_to_sigma`."""
    low, high = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if model_sampling.percent_to_sigma(middle) > sigma else (low, middle)
    return high


def step_of(sigmas: list[float], sigma: float) -> int:
    """The step that a model call belongs to: the last whose sigma is not below the call's.

    Samplers also call the model between two sigmas; such calls belong to the step that they started from.
    """
    return max(sum(known >= sigma * (1 - 1e-4) for known in sigmas) - 1, 0)


def steps_at(model_sampling, sigmas: list[float], percents: tuple[float, ...]) -> frozenset[int]:
    """The steps of a run that begin at or first after given percents of sampling.

    Percents before the run's first sigma (a low denoise) or after its last one (an early end) have no step.
    """
    steps, highest = set(), float(model_sampling.sigma_max)
    for percent in percents:
        at = min(model_sampling.percent_to_sigma(percent), highest) * (1 + 1e-4)
        step = next((i for i, sigma in enumerate(sigmas[:-1]) if sigma <= at), len(sigmas) - 2)
        if sigmas[-1] <= at and (step > 0 or at <= sigmas[0] * (1 + 1e-3)):
            steps.add(step)
    return frozenset(steps)
