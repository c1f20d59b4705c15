"""The sprite world as the host's IMAGE, TRACKS and MASK."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from ...core.data.render import render
from ...core.data.scene import sample_scene
from .progress import reporter

ANY = "random"
STILL_CAMERA = "still"
MULTIPLE = 8  # pixels a latent


@dataclass(frozen=True)
class WorldSettings:
    """What to draw; "random" anywhere leaves it open.

    `words` has shape, colour and motion of the first sprite, and the ground.
    """

    frames: int
    width: int
    height: int
    seed: int
    words: dict = field(default_factory=dict)
    camera: str = ANY
    sprites: str = ANY


def draw_world(settings: WorldSettings):
    """IMAGE (F, H, W, 3) in 0..1, TRACKS, MASK (F, H, W) of the first sprite, caption.

    TRACKS is {"track_path": float (F, N, 2) pixels, x then y, "track_visibility": bool (F, N)}, where
    a pixel's middle is at a half.
    Raises ValueError for sides that are no multiples of 8.
    """
    if settings.width % MULTIPLE or settings.height % MULTIPLE:
        raise ValueError(f"The clip is {settings.width}x{settings.height}, expected multiples of {MULTIPLE}.")
    fixed = {name: word for name, word in settings.words.items() if word != ANY}
    camera = {ANY: None, STILL_CAMERA: ""}.get(settings.camera, settings.camera)
    count = None if settings.sprites == ANY else int(settings.sprites)
    scene = sample_scene(np.random.default_rng(settings.seed), settings.frames, count, camera, **fixed)
    clip = render(scene, settings.height, settings.width, reporter(), with_flow=False)
    tracks = {
        # the renderer's pixels are at whole numbers, those of tracks have their middles at a half
        "track_path": torch.from_numpy(clip.tracks.swapaxes(0, 1) + 0.5).float(),
        "track_visibility": torch.from_numpy(clip.visible.T.copy()),
    }
    mask = torch.from_numpy(clip.masks[0].astype(np.float32))
    return torch.from_numpy(clip.images).float(), tracks, mask, clip.caption
