"""What image prompts are worth, measured on the demo model: subject likeness and what the caption says.

For each subject a clip is sampled from its caption under several ways to be told what it looks like, from the
same noise. Likeness is the cosine between features of the subject's picture and of the subject found in the
clip; `looks` is whether colour and shape are the right ones, which needs no learnt features; `caption` the
share of shape and motion words that are seen. Differences are paired over subjects, with a 95 % interval.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..data.measure import look as sight
from ..data.measure import sprite_mask
from ..image_prompt.picture import prepare, resized
from ..metrics.interval import interval
from .ablation import Configuration, sample_clips
from .image_prompt import denoise_clips, look
from .losses import Diffusion
from .subjects import PICTURE_SIZE, SubjectClips

SCHEDULE = "linear"
TOGETHER = 4  # clips sampled at once
STEPS, GUIDANCE = 8, 3.5  # of sampling; more guidance spoils frames of the fine path
TEXT, COARSE, FINE = "text only", "coarse", "coarse and fine"
WAYS = (TEXT, COARSE, FINE)


@dataclass(frozen=True)
class Score:
    """What one clip shows, each 0..1 (likeness -1..1)."""

    likeness: float
    looks: float
    caption: float


class Told:
    """A `PromptFamily` as the ablation's sampler sees a model: prompts, then none, some with pictures.

    way: "text only" leaves the picture out, "coarse" puts it in the prompt, "coarse and fine" also in the
    attention.
    """

    def __init__(self, family, way: str, words: list[str], pictures: Tensor, looks: Tensor, seed: int):
        """Take the subjects of the clips that are sampled together."""
        self.family, self.way, self.words, self.device = family, way, words, family.device
        self.looks, self.diffusion = looks.to(self.device), Diffusion((SCHEDULE,), self.device)
        generator = torch.Generator().manual_seed(seed)
        self.noise = torch.randn(looks.shape, generator=generator).to(self.device)
        self.tokens = family.tokens(pictures.to(self.device))

    def predict(self, noisy: Tensor, steps: Tensor, texts: list[str], frames: int) -> Tensor:
        """Noise of clips folded as (B F, 4, h, w), the prompted ones first, then as many without prompt."""
        count = len(self.words)
        clips, null = noisy.unflatten(0, (-1, frames)), self.family.prompt.config.null_text
        given = [*texts[:count], *[null] * count]
        tokens = [None] * 2 * count if self.way == TEXT else [*self.tokens, *[None] * count]
        weights = None
        if self.way == TEXT:  # the model as it is, without the trained weights too
            self.family.state.active = False
            return self.family.denoise(noisy, steps, self.family.context(given, given, tokens), frames)
        if self.way == FINE:
            look(self.family, self.looks, steps[:count], self.noise, self.diffusion, tuple(noisy.shape[2:]))
            weights = torch.cat((torch.eye(count), torch.zeros(count, count)))
        context = self.family.context(given, [*self.words, *self.words], tokens)
        return denoise_clips(self.family, clips, steps, context, weights).flatten(0, 1)


@torch.inference_mode()
def sampled(family, way: str, data: SubjectClips, picks: Sequence[int], frames: int, seed: int) -> Tensor:
    """Clips (len(picks), frames, 4, h, w) of the subjects `picks`; the same noise for every way."""
    found = []
    for start in range(0, len(picks), TOGETHER):
        rows = list(picks[start : start + TOGETHER])
        pictures = torch.stack([data.pictures[row][0].float() / 255 for row in rows])
        looks = torch.stack([data.looks[row][0].float() for row in rows])
        told = Told(family, way, [data.words[row] for row in rows], pictures, looks, seed + start)
        shape = (len(rows), frames, *data.clips[rows[0]].shape[1:])
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed + start))
        texts = [data.texts[row] for row in rows]
        found.append(sample_clips(told, Configuration(SCHEDULE, False), noise, texts, STEPS, GUIDANCE).cpu())
    return torch.cat(found)


def score(frames: np.ndarray, about: dict, picture: Tensor, features: Callable[[Tensor], Tensor]) -> Score:
    """Scores of a clip (F, H, W, 3) in 0..1 whose subject is `about`, with its picture (3, S, S)."""
    seen = sight(frames)
    words = [seen.shape == about["shape"]]
    if about["motion"].startswith("moving"):
        words.append(seen.direction == about["motion"].split()[-1])
    looks = np.mean([seen.colour == about["colour"], seen.shape == about["shape"]])
    return Score(likeness(frames, picture, features), float(looks), float(np.mean(words)))


def likeness(frames: np.ndarray, picture: Tensor, features: Callable[[Tensor], Tensor]) -> float:
    """Mean cosine between features of the picture and of each frame's subject; 0 where it has none."""
    found = []
    for frame in frames:
        mask = sprite_mask(frame)
        if mask.any():
            part = prepare(torch.from_numpy(frame).float(), torch.from_numpy(mask).float()).image
            found.append(resized(part, PICTURE_SIZE))
    if not found:
        return 0.0
    wanted, seen = features(resized(picture, PICTURE_SIZE)[None]), features(torch.stack(found))
    return float(torch.cosine_similarity(seen, wanted).sum() / len(frames))


def measure(family, data: SubjectClips, decode, features, ways=WAYS, clips: int = 64, frames=16, seed=0):
    """Scores of each way, in the order of the subjects: name -> list of Score.

    decode: latents (F, 4, h, w) -> frames (F, H, W, 3) numpy in 0..1. features: pictures (N, 3, S, S) ->
    (N, D).
    """
    picks = range(min(clips, len(data.clips)))
    scores = {}
    for way in ways:
        made = sampled(family, way, data, picks, frames, seed)
        pictures = [data.pictures[row][0].float() / 255 for row in picks]
        scores[way] = [
            score(decode(clip), data.about[row], picture, features)
            for clip, row, picture in zip(made, picks, pictures, strict=True)
        ]
    return scores


def table(scores: dict[str, list[Score]]) -> str:
    """Markdown: every way's means with intervals, and each way's gain over the one before it."""
    fields = ("likeness", "looks", "caption")
    lines = ["| | " + " | ".join(fields) + " |", "|---" * (len(fields) + 1) + "|"]
    names = list(scores)
    for number, name in enumerate(names):
        lines.append(_row(name, [[getattr(one, field) for one in scores[name]] for field in fields]))
        if number:
            pairs = list(zip(scores[name], scores[names[number - 1]], strict=True))
            gains = [[getattr(a, field) - getattr(b, field) for a, b in pairs] for field in fields]
            lines.append(_row(f"{name} - {names[number - 1]}", gains))
    return "\n".join(lines) + "\n"


def _row(name: str, columns: list[list[float]]) -> str:
    cells = ("{:.3f} ({:.3f} to {:.3f})".format(*interval(column)) for column in columns)
    return f"| {name} | {' | '.join(cells)} |"
