"""Likeness by features: temporal consistency, CLIP-I, CLIP-T and DINO similarity, all cosines from -1 to 1.

A feature net turns images into rows of numbers; which one it was decides what a figure means, so always say.
With CLIP's image half, likeness to reference pictures is CLIP-I and to a text CLIP-T; with DINO it is the
DINO score of DreamBooth (Ruiz et al. 2022) that VCD's Table 2 reports.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..optical_flow import Report

Features = Callable[[Tensor], Tensor]  # images (N, H, W, 3) in 0..1 -> rows (N, D)
AT_ONCE = 8  # images handed to a net together


@dataclass(frozen=True)
class FeatureScores:
    """Cosines of a clip of F frames; empty where nothing was there to compare with.

    consistency: of neighbouring frames, F - 1 numbers: temporal consistency, as in VCD's Table 2. A still has
    1, so read it beside the flow. likeness: of each frame to the references, mean over these: CLIP-I, or
    DINO. text: of each frame to a text: CLIP-T (not scaled as CLIPScore is).
    """

    consistency: tuple[float, ...]
    likeness: tuple[float, ...] = ()
    text: tuple[float, ...] = ()


def extract(net: Features, images: Tensor, report: Report | None = None) -> Tensor:
    """Features (N, D) float32 on the CPU of images (N, H, W, 3) in 0..1, a few at a time.

    report(done, total) is called after each few; it may raise to stop. Raises ValueError for no such images.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or not len(images):
        raise ValueError(f"Images are {tuple(images.shape)}, expected (images, height, width, 3).")
    rows = []
    for start in range(0, len(images), AT_ONCE):
        rows.append(net(images[start : start + AT_ONCE]).float().cpu())
        if report is not None:
            report(min(start + AT_ONCE, len(images)), len(images))
    return torch.cat(rows)


def consistency(features: Tensor) -> Tensor:
    """Cosine of the features (F, D) of each two neighbouring frames, (F - 1,)."""
    return torch.cosine_similarity(features[:-1], features[1:], dim=-1)


def likeness(features: Tensor, references: Tensor) -> Tensor:
    """Mean cosine of each row of features (F, D) to all references (N, D), (F,).

    Raises ValueError when the two have another number of features, as those of two nets do.
    """
    if features.shape[1:] != references.shape[1:]:
        raise ValueError(
            f"The clip has {features.shape[-1]} features, what it is compared with "
            f"{references.shape[-1]}; both must come from one net."
        )
    return torch.cosine_similarity(features[:, None], references[None], dim=-1).mean(1)


def score(
    net: Features, frames: Tensor, references: Tensor | None = None, text: Tensor | None = None,
    report: Report | None = None,
) -> FeatureScores:  # fmt: skip
    """Scores of a clip (F, H, W, 3) in 0..1; references: images (N, h, w, 3); text: features (D,)."""
    rows = extract(net, frames, report)
    found = {"consistency": consistency(rows)}
    if references is not None:
        found["likeness"] = likeness(rows, extract(net, references))
    if text is not None:
        found["text"] = likeness(rows, text.float().cpu()[None])
    return FeatureScores(**{name: tuple(values.tolist()) for name, values in found.items()})
