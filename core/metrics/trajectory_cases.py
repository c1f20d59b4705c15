"""The evaluation sets of trajectory control in the sprite world: image, prompt, wanted tracks; a judgement.

ObjMC is measured at the sprites' middles, CamMC at the view's motion, both in pixels of a 128-pixel frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch

from ..data.free_motion import FREELY, STILL
from ..data.render import render_images
from ..data.scene import SIZE, Scene, Sprite
from ..data.shapes import HUES
from ..trajectory.evaluation import camera_set, object_set
from ..trajectory.sample import Sampled, sample
from .sprite_paths import find_sprites, follow_sprites
from .trajectory_error import trajectory_error
from .view_motion import view_motion

ROLES = ("camera", "object")
SHAPES = ("circle", "square", "star", "cross")  # with their middle inside
GROUNDS = ("brick", "stone", "water")  # sand is too smooth for its motion to be followed
RADIUS = {1: 22.0, 2: 17.0}  # pixels, by number of sprites: two on opposite tracks do not touch


@dataclass(frozen=True, eq=False)
class Case:
    """One thing to make: tracks `wanted` at F frames, from the `image` (H, W, 3) 0..1 of a `scene`."""

    role: str
    name: str
    seed: int
    wanted: Sampled
    scene: Scene
    image: np.ndarray

    @property
    def prompt(self) -> str:
        """What the image shows; not where it goes."""
        return self.scene.caption

    @property
    def colours(self) -> tuple[str, ...]:
        """Of the sprites, all different."""
        return tuple(sprite.colour for sprite in self.scene.sprites)


@dataclass(frozen=True)
class Judgement:
    """Figures of a clip, in pixels of a 128-pixel frame.

    error: ObjMC or CamMC. background: how far the view moves a frame. lost: share of the frames in which the
    sprite (camera: the view's motion) was not found; it counts as at rest there.
    """

    error: float
    background: float
    lost: float


def case_names() -> list[tuple[str, str]]:
    """Role and name of the twenty sets."""
    return [("camera", name) for name in camera_set()] + [("object", name) for name in object_set()]


def make_case(role: str, name: str, seed: int, frames: int = 16) -> Case:
    """A set with sprites and a ground drawn from the seed; the sprites lie where object tracks begin."""
    rng = np.random.default_rng([crc32(name.encode()), seed])
    tracks = (camera_set() if role == "camera" else object_set())[name]
    wanted = sample(tracks, frames, (SIZE, SIZE))
    starts = wanted.paths[:, 0].numpy() if role == "object" else np.full((1, 2), SIZE / 2)
    hue, motion = int(rng.integers(len(HUES))), FREELY if role == "object" else STILL
    colours = tuple(list(HUES)[(hue + len(HUES) // 2 * i) % len(HUES)] for i in range(len(starts)))
    sprites = tuple(
        Sprite(SHAPES[rng.integers(len(SHAPES))], colour, "plain", RADIUS[len(starts)], start[None],
               np.zeros(1), motion, depth=number)
        for number, (colour, start) in enumerate(zip(colours, starts, strict=True))
    )  # fmt: skip
    ground = GROUNDS[rng.integers(len(GROUNDS))]
    middle = np.full((1, 2), SIZE / 2)
    scene = Scene(sprites, ground, int(rng.integers(1 << 31)), middle, np.ones(1), "")
    return Case(role, name, seed, wanted, scene, render_images(scene)[0])


def judge(case: Case, images: np.ndarray) -> Judgement:
    """Measure a clip (F, H, W, 3) in 0..1 that was made for a case."""
    found, things = find_sprites(images, case.colours)
    view = view_motion(images, things)
    start = case.wanted.paths[:, 0].numpy()
    if case.role == "camera":
        paths = view.follow(start)
        seen = np.broadcast_to(np.concatenate(([True], view.found)), paths.shape[:2])
    else:
        beside = (
            find_sprites(case.image[None], case.colours)[0][:, 0] - start
        )  # a star's middle is not its path
        paths, seen = follow_sprites(found - beside[:, None], start)
    error = trajectory_error(
        torch.from_numpy(paths), torch.tensor(seen), case.wanted, stated=case.wanted.size
    )
    return Judgement(error.mean(case.role), view.speed, error.lost)
