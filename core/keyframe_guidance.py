"""Latent guidance: the predicted clean clip is pulled to its keyframes while it is sampled.

The pull acts on the model's prediction of the clean latents, so every sampler takes it for what the model
said. It falls off in time around each keyframe and is scheduled over sampling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .keyframes import Keyframes, falloff

CURVES = ("focus", "constant", "fade")


@dataclass(frozen=True)
class Guidance:
    """How the pull goes.

    `strength` 0..1 times each keyframe's own; `reach` in frames, see `keyframes.falloff`. It acts from
    `start_percent` to `end_percent` of sampling, meanwhile: "focus" draws the reach in, with the square of
    what is left, so that only the keyframes themselves are held at the end; "constant" changes nothing;
    "fade" lets the strength fall to 0. `tone` 0..1, times `strength`, is how much all frames take on the
    keyframes' colours meanwhile, see `match_tone`.
    Raises ValueError for values out of range.
    """

    strength: float = 1.0
    reach: float = 4.0
    start_percent: float = 0.0
    end_percent: float = 1.0
    curve: str = "focus"
    tone: float = 1.0

    def __post_init__(self):
        """Check the values."""
        for name in ("strength", "tone"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name):g}, expected 0 to 1")
        if self.reach < 0:
            raise ValueError(f"reach is {self.reach:g} frames, expected 0 or more")
        if self.end_percent <= self.start_percent:
            raise ValueError(
                f"end_percent is {self.end_percent:g}, "
                f"it must be larger than start_percent, {self.start_percent:g}"
            )
        if self.curve not in CURVES:
            raise ValueError(f"curve is '{self.curve}', expected one of {', '.join(CURVES)}")

    def acts(self, percent: float) -> bool:
        """Whether it acts at `percent` of sampling."""
        return self.start_percent <= percent <= self.end_percent

    def weights(self, keyframes: Keyframes, frames: int, percent: float) -> Tensor:
        """Pull of each keyframe on each frame at `percent` of sampling, (K, F) float32; 0 out of range."""
        if not self.acts(percent):
            return falloff(keyframes, frames, self.reach) * 0
        done = (percent - self.start_percent) / (self.end_percent - self.start_percent)
        reach = self.reach * (1 - done) ** 2 if self.curve == "focus" else self.reach
        strength = self.strength * (1 - done) if self.curve == "fade" else self.strength
        return falloff(keyframes, frames, reach) * strength

    def tones(self, keyframes: Keyframes, frames: int, percent: float) -> Tensor:
        """Share of each keyframe's tone in each frame, (K, F); from one to the next, whatever `reach`."""
        return falloff(keyframes, frames, math.inf) * (self.strength * self.tone * self.acts(percent))

    def steer(self, clean: Tensor, targets: Tensor, keyframes: Keyframes, percent: float) -> Tensor:
        """Predicted clean latents (F, C, h, w) at `percent` of sampling, pulled and toned.

        targets: latents (K, C, h, w) of the `placed` keyframes. Frames that nothing acts on stay to the bit.
        """
        weights, tones = (make(keyframes, len(clean), percent) for make in (self.weights, self.tones))
        clean = pull(clean, targets, weights) if weights.any() else clean
        return match_tone(clean, targets, tones) if tones.any() else clean


def pull(clean: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Mix predicted clean latents (F, C, h, w) with keyframe latents (K, C, h, w) by weights (K, F).

    A frame with weight 1 becomes its keyframe exactly, one with weight 0 stays as it is to the bit.
    """
    weights = weights.to(clean)
    free = (1 - weights.sum(0)).view(-1, 1, 1, 1)
    return free * clean + (weights.T @ targets.to(clean).flatten(1)).view_as(clean)


def match_tone(clean: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Shift colours to those of keyframes: predicted clean latents (F, C, h, w), by weights (K, F).

    The shift takes the median over the picture, a channel, to that of the keyframe latents (K, C, h, w). A
    median follows the background and not what moves before it. A model that makes a scene darker or redder
    than its keyframes show would otherwise jump at each of them.
    """
    weights = weights.to(clean)
    wanted = torch.einsum("kf,kcij->fcij", weights, _median(targets.to(clean)))
    return clean + (wanted - weights.sum(0).view(-1, 1, 1, 1) * _median(clean))


def _median(latents: Tensor) -> Tensor:
    """Per frame and channel, (F, C, 1, 1)."""
    return latents.flatten(2).median(-1).values[..., None, None]
