"""Recipe: Tune-A-Video, a UNet's queries and a fresh attention over frames, tuned on one clip.

    AdamW 3e-5 (betas 0.9, 0.999, weight decay 0.01, clip 1.0), 300 to 500 steps, timesteps drawn evenly

The decay acts on the differences to the model's queries, so it pulls to the model, not to zero.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..image_prompt.attach import find_blocks
from ..tuning.network import TuningConfig, VideoTuning
from .loop import Plan, Trainer
from .losses import per_item

LEARNING_RATE = 3e-5
NOISE, VELOCITY = "noise", "v"
TARGETS = (NOISE, VELOCITY)


class Noised(NamedTuple):
    """A noisy clip, what the model should predict for it, and its training step; one a clip."""

    noisy: Tensor
    target: Tensor
    steps: Tensor


def noised(latents: Tensor, kept: Tensor, target: str, generator: torch.Generator) -> Noised:
    """Clips (B, F, C, h, w) with fresh noise in every frame, all of a clip at one evenly drawn step.

    kept: (T,) share of signal at each training step. target: what the model predicts, "noise" or "v"
    (Salimans and Ho 2022: sqrt(a) noise - sqrt(1 - a) clean). Raises ValueError for another.
    """
    if target not in TARGETS:
        raise ValueError(f"The model predicts '{target}', expected one of {', '.join(TARGETS)}.")
    steps = torch.randint(len(kept), (len(latents),), generator=generator)
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    share = per_item(kept[steps].to(latents), latents)
    signal, spread = share.sqrt(), (1 - share).sqrt()
    wanted = noise if target == NOISE else signal * noise - spread * latents
    return Noised(signal * latents + spread * noise, wanted, steps.to(latents.device))


def tuning_plan(
    steps: int, folder: Path, learning_rate: float = LEARNING_RATE, seed: int = 0, **more
) -> Plan:
    """A plan with the paper's optimizer: a constant rate, and the last weights, not an average."""
    options = {"average": 0.0, "constant": True, "betas": (0.9, 0.999), "weight_decay": 0.01, **more}
    return Plan(steps, folder, learning_rate, seed=seed, **options)


def fresh_tuning(unet, shared_norm: bool = False, name: str = "") -> VideoTuning:
    """A tuning for every transformer block of a UNet that changes nothing yet; seed torch before."""
    places = tuple(block.place for block in find_blocks(unet))
    return VideoTuning(TuningConfig(places, shared_norm=shared_norm, name=name))


def train_tuning(family, tuning: VideoTuning, latents: Tensor, kept: Tensor, target: str, plan: Plan,
                 progress=None, stop=None) -> dict:  # fmt: skip
    """Tune on one clip (F, C, h, w), in place; returns the state dict of `tuning`.

    `family` has `predict_clip(noisy, steps)`: clips (B, F, C, h, w) and steps (B,) -> what its model predicts
    for them with the tuning attached and the clip's prompt. `kept` and `target` as in `noised`.
    """
    tuning.freeze_norms()

    def loss(_step: int, generator: torch.Generator) -> Tensor:
        drawn = noised(latents[None], kept, target, generator)
        predicted = family.predict_clip(drawn.noisy, drawn.steps)
        return (predicted.float() - drawn.target).square().mean()

    return Trainer({"tuning": tuning}, loss, plan, progress, stop).resume().run().averaged()["tuning"]
