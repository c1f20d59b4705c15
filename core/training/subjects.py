"""Clips with pictures of their subject: what image prompts are trained on. The sprite world draws them.

A folder holds `subjects.safetensors`: `clips` (M, F, 4, h, w) and `looks` (M, V, 4, h', w') fp16, V pictures
of each clip's subject as latents, and `pictures` (M, V, 3, S, S) uint8, the same for the picture encoder; and
`subjects.json`: a caption a clip, the word in it that names the subject, and what the subject looks like.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from ..data.subject_records import Record
from ..files import write_text, write_weights
from ..image_prompt.picture import resized

PICTURE_SIZE = 64  # pixels a side of the pictures that the demo's picture encoder takes


class Subjects(NamedTuple):
    """What one step sees."""

    latents: Tensor  # B F 4 h w, clean
    texts: list[str]
    words: list[str]
    pictures: Tensor  # B 3 S S in 0..1
    looks: Tensor  # B 4 h' w', clean

    def to(self, device) -> Subjects:
        """The same with its tensors on a device."""
        return Subjects(*(part.to(device) if isinstance(part, Tensor) else part for part in self))


class SubjectClips:
    """Clips with pictures in memory; `about` are dictionaries of what is seen, where that is known."""

    def __init__(self, clips, texts, words, pictures, looks, about=()):
        """Take M of each; raises ValueError when the numbers differ, or a word is not in its text."""
        counts = {len(part) for part in (clips, texts, words, pictures, looks)}
        if len(counts) != 1:
            raise ValueError(f"Clips, captions, words and pictures differ in number: {sorted(counts)}")
        wrong = next((pair for pair in zip(words, texts, strict=True) if not _has(*pair)), None)
        if wrong is not None:
            raise ValueError(f"The caption '{wrong[1][:80]}' has no word '{wrong[0]}' for the picture")
        self.clips, self.texts, self.words = clips, list(texts), list(words)
        self.pictures, self.looks, self.about = pictures, looks, list(about)

    def draw(self, count: int, frames: int, generator) -> Subjects:
        """`count` runs of `frames` consecutive frames, each with one of its subject's pictures."""
        spare = min(map(len, self.clips), default=0) - frames
        if spare < 0:
            raise ValueError(f"The encoded clips have {spare + frames} frames, the recipe asks for {frames}.")
        picks = torch.randint(len(self.clips), (count,), generator=generator).tolist()
        starts = torch.randint(spare + 1, (count,), generator=generator).tolist()
        views = torch.randint(1 << 30, (count,), generator=generator).tolist()
        rows = [(c, view % len(self.pictures[c])) for c, view in zip(picks, views, strict=True)]
        return Subjects(
            torch.stack([self.clips[c][s : s + frames].float() for c, s in zip(picks, starts, strict=True)]),
            [self.texts[c] for c in picks],
            [self.words[c] for c in picks],
            torch.stack([_unit(self.pictures[c][v]) for c, v in rows]),
            torch.stack([self.looks[c][v].float() for c, v in rows]),
        )


def _has(word: str, text: str) -> bool:
    return bool(word.strip()) and word.strip().lower() in text.lower()


def _unit(picture: Tensor) -> Tensor:
    return picture.float() / 255 if picture.dtype == torch.uint8 else picture


def read_subjects(*folders) -> SubjectClips:
    """Folders of this kind in memory; raises ValueError for one that is not finished."""
    parts = []
    for folder in map(Path, folders):
        if not (folder / "subjects.safetensors").exists():
            raise ValueError(f"No subjects in {folder}; make them first with the `subjects` recipe.")
        tensors = load_file(folder / "subjects.safetensors")
        about = json.loads((folder / "subjects.json").read_text(encoding="utf-8"))
        parts.append((tensors, about))
    joined = {name: torch.cat([t[name] for t, _ in parts]) for name in ("clips", "pictures", "looks")}
    about = [entry for _, entries in parts for entry in entries]
    texts, words = ([entry[name] for entry in about] for name in ("text", "word"))
    return SubjectClips(joined["clips"], texts, words, joined["pictures"], joined["looks"], about)


def write_subjects(folder, data: SubjectClips) -> None:
    """Write a folder that `read_subjects` reads; the tensors come last, for they say that it is finished."""
    write_text(json.dumps(data.about), Path(folder) / "subjects.json")
    tensors = {"clips": data.clips, "pictures": data.pictures, "looks": data.looks}
    write_weights(tensors, Path(folder) / "subjects.safetensors")


def encode_records(
    records: Iterable[Record],
    encode: Callable[[np.ndarray], Tensor],
    look_size: int,
    picture_size: int,
    report=None,
) -> SubjectClips:
    """Records as latents. `encode`: images (N, H, W, 3) float32 in 0..1 -> latents (N, 4, H/8, W/8).

    report(done) is called after each clip. Raises ValueError where there is no record.
    """
    clips, looks, pictures, about = [], [], [], []
    for record in records:
        clips.append(encode(record.images))
        views = torch.stack([resized(view, look_size) for view in record.views])
        looks.append(encode(views.permute(0, 2, 3, 1).contiguous().numpy()))
        small = torch.stack([resized(view, picture_size) for view in record.views])
        pictures.append((small * 255).round().byte())
        about.append(record.about)
        if report is not None:
            report(len(clips))
    if not clips:
        raise ValueError("There is no clip with a subject to train on")
    texts, words = ([entry[name] for entry in about] for name in ("text", "word"))
    return SubjectClips(torch.stack(clips), texts, words, torch.stack(pictures), torch.stack(looks), about)
