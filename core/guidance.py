"""Guidance: how predictions under several conditions become one (classifier-free; camera-free).

All hold for predicted noise and for predicted clean latents alike: their factors sum to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import torch
from torch import Tensor

EQ5, EXTRAPOLATE = "eq5", "extrapolate"
FORMS = (EQ5, EXTRAPOLATE)


class Pair(NamedTuple):
    """Predictions with the prompt and with the negative prompt, of one shape; None where not evaluated."""

    cond: Tensor
    uncond: Tensor | None = None


def classifier_free(pair: Pair, scale: float) -> Tensor:
    """Classifier-free guidance (Ho and Salimans 2021): uncond + scale * (cond - uncond)."""
    return pair.cond if pair.uncond is None else pair.uncond + scale * (pair.cond - pair.uncond)


def on_channels(pair: Pair, scale: float, channels: int, axis: int) -> Tensor:
    """Classifier-free guidance on the first `channels` of `axis`; the others are as with the prompt."""
    rest = pair.cond.shape[axis] - channels
    first = classifier_free(pair, scale).narrow(axis, 0, channels)
    return torch.cat((first, pair.cond.narrow(axis, channels, rest)), dim=axis)


def trajectory_change(form: str, base: Pair, driven: Pair, scale: float) -> Tensor:
    """The direction that camera-free guidance adds to classifier-free guidance of the base net.

    "eq5" (Image Conductor Eq. 5): driven - base, both with the prompt; `driven.uncond` is not needed.
    "extrapolate": the same between the two after classifier-free guidance with `scale`, which makes factor 1
    the driven net's own result. `base` is the ControlNet without LoRA, `driven` with it. Raises ValueError
    for another form.
    """
    if form == EQ5:
        return driven.cond - base.cond
    if form == EXTRAPOLATE:
        return classifier_free(driven, scale) - classifier_free(base, scale)
    raise ValueError(f"Camera-free guidance has the forms {', '.join(FORMS)}, not '{form}'")


def camera_free(form: str, base: Pair, driven: Pair, scale: float, trajectory_scale: float) -> Tensor:
    """Camera-free guidance: the base net's guided prediction, pushed along the driven net's trajectory.

    A trajectory scale of 0 turns it off. See `trajectory_change` for the forms; raises ValueError as it.
    """
    change = trajectory_change(form, base, driven, scale)
    return classifier_free(base, scale) + trajectory_scale * change


def evaluate(run: Callable[[Sequence], list[Tensor]], conditions: Sequence) -> tuple[list[Tensor], bool]:
    """Predictions for all `conditions`: in one call of `run`, or one by one where that needs too much memory.

    `run` takes as many entries as there are conditions, None for those to leave out, and gives one tensor
    each. Also returns whether one call was enough, so that the next step need not try again.
    """
    with suppress(torch.cuda.OutOfMemoryError):
        return run(conditions), True
    return one_by_one(run, conditions), False


def one_by_one(run: Callable[[Sequence], list[Tensor]], conditions: Sequence) -> list[Tensor]:
    """`evaluate` with a call for each condition."""
    places = range(len(conditions))
    return [run([conditions[i] if i == j else None for i in places])[j] for j in places]
