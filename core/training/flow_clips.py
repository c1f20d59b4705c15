"""A folder of encoded clips with the tracks of a grid of points, from which flow maps are drawn in training.

It is a `latents` folder with more in it: `latents.safetensors` also has `tracks` (M, N, F, 2) float32 in
pixels and `visible` (M, N, F) bool, `captions.json` also the `kinds` of the clips, their `size` (width,
height), and whether they may be played backwards. So no step waits for a picture.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from ..data.free_motion import KINDS, free_scene
from ..data.grid_tracks import draw_tracked
from ..data.scene import SIZE
from ..files import write_text, write_weights
from .latents import encode_images

LATENTS, CAPTIONS = "latents.safetensors", "captions.json"


@dataclass(frozen=True, eq=False)
class TrackedLatents:
    """M encoded clips and points followed through them.

    clips: (M, F, 4, h, w), the UNet's latent units. tracks: (M, N, F, 2) pixels of `size` (width, height).
    visible: (M, N, F) bool. captions, kinds: M each; a kind is one of `KINDS`. reversible: M flags, whether a
    clip may be played backwards, as those of the sprite world may: their captions can be turned round.
    """

    clips: Tensor
    tracks: Tensor
    visible: Tensor
    captions: tuple[str, ...]
    kinds: tuple[str, ...]
    reversible: tuple[bool, ...]
    size: tuple[int, int]

    def of_kinds(self, *kinds: str) -> TrackedLatents:
        """Those of some kinds; raises ValueError when there is none."""
        rows = [i for i, kind in enumerate(self.kinds) if kind in kinds]
        if not rows:
            raise ValueError(
                f"No clip is of kind {' or '.join(kinds)}, there are {', '.join(sorted(set(self.kinds)))}"
            )
        told = (tuple(values[i] for i in rows) for values in (self.captions, self.kinds, self.reversible))
        return TrackedLatents(self.clips[rows], self.tracks[rows], self.visible[rows], *told, self.size)


def read_flow_clips(*folders: Path) -> TrackedLatents:
    """The clips of finished folders together.

    Raises ValueError for a folder without tracks, and for clips of different sizes.
    """
    return joined([_read(Path(folder)) for folder in folders])


def joined(parts: Sequence[TrackedLatents]) -> TrackedLatents:
    """All clips of some parts; raises ValueError when they differ in size, frames or tracks."""
    shapes = {(part.size, part.clips.shape[1:], part.tracks.shape[1:]) for part in parts}
    if len(shapes) > 1:
        told = ", ".join(f"{w}x{h} with {clip[0]} frames" for (w, h), clip, _ in sorted(shapes))
        raise ValueError(f"The clips with tracks differ: {told}; give clips of one size and length")
    return TrackedLatents(
        *(torch.cat([getattr(part, name) for part in parts]) for name in ("clips", "tracks", "visible")),
        *(sum((getattr(part, name) for part in parts), ()) for name in ("captions", "kinds", "reversible")),
        parts[0].size,
    )


def _read(folder: Path) -> TrackedLatents:
    tensors = load_file(folder / LATENTS) if (folder / LATENTS).exists() else {}
    if "tracks" not in tensors:
        raise ValueError(f"No clips with tracks in {folder}; make them first with the `flow_clips` recipe.")
    told = json.loads((folder / CAPTIONS).read_text(encoding="utf-8"))
    names = ("clips", "kinds", "reversible", "size")
    return TrackedLatents(
        tensors["clips"], tensors["tracks"], tensors["visible"], *(tuple(told[name]) for name in names)
    )


def encode_clips(encode, clips, size, reversible, report=None) -> TrackedLatents:
    """Encode pairs of a `TrackedClip` and its kind, in any iterable, all of `size` (width, height).

    encode: images (F, H, W, 3) float32 numpy in 0..1 -> latents (F, 4, h, w). report(done): called after each
    clip. Raises ValueError when there is none.
    """
    parts = []
    for done, (clip, kind) in enumerate(clips, 1):
        tensors = encode(clip.images), torch.from_numpy(clip.paths).float(), torch.from_numpy(clip.visible)
        told = (clip.caption,), (kind,), (reversible,)
        parts.append(TrackedLatents(*(tensor[None] for tensor in tensors), *told, tuple(size)))
        if report:
            report(done)
    if not parts:
        raise ValueError("There are no clips to encode.")
    return joined(parts)


def build_flow_clips(encoder, folder, clips, size=(SIZE, SIZE), reversible=True, progress=print) -> None:
    """Encode clips as `encode_clips` does, by the demo's encoder, and write the folder."""

    def report(done):
        if done % 100 == 0:
            progress(f"{done} clips")

    data = encode_clips(lambda images: encode_images(encoder, images), clips, size, reversible, report)
    told = {"stills": [], "clips": data.captions, "size": data.size}
    told |= {name: getattr(data, name) for name in ("kinds", "reversible")}
    _write(Path(folder), {name: getattr(data, name) for name in ("clips", "tracks", "visible")}, told)


def _write(folder: Path, tensors: dict[str, Tensor], told: dict) -> None:
    """Both files; the tensors come last, for they say that the folder is finished."""
    write_text(json.dumps(told), folder / CAPTIONS)
    write_weights(tensors, folder / LATENTS)


def sprite_clips(count: int, frames: int, seed: int):
    """`count` clips of the sprite world, the kinds in turn: pairs of a `TrackedClip` and its kind."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        yield draw_tracked(free_scene(rng, frames, kind)), kind
