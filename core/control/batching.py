"""Run a video ControlNet for clips that need different LoRA mixes, without computing anything twice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .lora import LoraMix
from .network import Residuals, VideoControlNet


def residuals_of_clips(
    net: VideoControlNet,
    condition: Tensor,
    timestep: Tensor,
    context: Tensor,
    mixes: Sequence[LoraMix],
    strength: float | Tensor = 1.0,
) -> Residuals:
    """Residuals (B F) C H W of B clips with one condition, where each clip has a LoRA mix of its own.

    The net never sees the latents, so clips with the same text and mix get the same residuals: each is
    computed once. Camera-free guidance evaluates the prompt with the LoRA and without: only what differs
    between them costs.

    Args:
        net: the loaded net.
        condition: 1 F C H W, see `VideoControlNet.forward`; so are `timestep` and `strength`.
        timestep: (B F), alike for all clips: they are at the same step of sampling.
        context: text states (B F) x T x D.
        mixes: one a clip.
        strength: a number or (F,).
    """
    texts, times = context.chunk(len(mixes)), timestep.chunk(len(mixes))
    same = [_first_like(i, texts, mixes) for i in range(len(mixes))]
    found: dict[int, tuple[Tensor, ...]] = {}
    for mix in dict.fromkeys(mixes):
        clips = [i for i in sorted(set(same)) if mixes[i] == mix]
        text, time = torch.cat([texts[i] for i in clips]), torch.cat([times[i] for i in clips])
        down, mid = net(condition, time, text, strength, mix)
        parts = zip(*(x.chunk(len(clips)) for x in (*down, mid)), strict=True)
        found.update((i, part) for i, part in zip(clips, parts, strict=True))
    *down, mid = (torch.cat([found[i][place] for i in same]) for place in range(len(found[0])))
    return Residuals(tuple(down), mid)


def _first_like(index: int, texts: Sequence[Tensor], mixes: Sequence[LoraMix]) -> int:
    """The first clip that has the text and mix of clip `index`."""
    return next(
        i
        for i in range(index + 1)
        if i == index or mixes[i] == mixes[index] and torch.equal(texts[i], texts[index])
    )
