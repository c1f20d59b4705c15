"""Scenes that move as people draw, not only as words say: what trajectory control is trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..trajectory.sample import sample_track
from ..trajectory.timing import EASE
from ..trajectory.track import Point, Track
from .scene import CAMERAS, MOTIONS, SIZE, Scene, Sprite, sample_scene

KINDS = ("camera", "object", "mixed")  # what moves: the view alone, sprites alone, both
WORDED = 0.5  # share of the scenes that move as their caption says
STILL = "standing still"
FREELY = "moving"  # what the caption says of a sprite on a drawn path
REACH = 44.0  # pixels of a 128-pixel frame that a free camera goes at most, each way
ZOOM = 0.48  # the same for the logarithm of its zoom
CURVES = ("pchip", "catmull-rom", "linear")


def free_scene(rng, frames: int = 16, kind: str = "mixed") -> Scene:
    """Draw a scene of one of KINDS from a numpy Generator.

    Half of them move by `sample_scene`'s words; in the others sprites go along random curves and the camera
    by random amounts, and the caption leaves open where to. Raises ValueError for another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"Kind of scene is '{kind}', expected one of {', '.join(KINDS)}")
    worded, moving = rng.random() < WORDED, [motion for motion in MOTIONS if motion != STILL]
    camera = CAMERAS[1 + rng.integers(len(CAMERAS) - 1)] if worded and kind != "object" else ""
    scene = sample_scene(rng, frames, camera=camera, motion=moving[rng.integers(len(moving))])
    if kind == "camera":
        sprites = (replace(s, path=s.path[:1].repeat(frames, 0), motion=STILL) for s in scene.sprites)
        scene = replace(scene, sprites=tuple(sprites))
    elif not worded:
        scene = replace(scene, sprites=tuple(_freed(rng, sprite, frames) for sprite in scene.sprites))
    if kind != "object" and not worded:
        centre, zoom = _free_camera(rng, frames)
        scene = replace(scene, centre=centre, zoom=zoom)
    return scene


def _freed(rng, sprite: Sprite, frames: int) -> Sprite:
    """The sprite on a curve through two to five random points, as a user's track would be."""
    room = max(1 - 2 * sprite.radius / SIZE, 0.2) * rng.uniform(0.3, 1.0)
    points = 0.5 + room * (rng.random((rng.integers(2, 6), 2)) - 0.5) + rng.uniform(-0.1, 0.1, 2)
    if len(points) > 2 and rng.random() < 0.25:
        points[-1] = points[0]  # there and back, or a loop
    timing = ("points", "length")[rng.integers(2)]
    track = Track(tuple(Point(float(x), float(y)) for x, y in points), curve=_curve(rng), timing=timing)
    return replace(sprite, path=sample_track(track, frames, (SIZE, SIZE))[0], motion=FREELY)


def _curve(rng) -> str:
    return CURVES[rng.integers(len(CURVES))]


def _free_camera(rng, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Centre (F, 2) and zoom (F,): from the middle to a random view, in three of ten scenes back again."""
    way = EASE["there and back"] if rng.random() < 0.3 else EASE["linear"]
    share = way(np.linspace(0, 1, frames)) if frames > 1 else np.zeros(1)
    zooms, pans = rng.random(2) < (0.5, 0.8)
    goal = rng.uniform(-REACH, REACH, 2) * (pans or not zooms)
    return SIZE / 2 + goal * share[:, None], np.exp(rng.uniform(-ZOOM, ZOOM) * zooms * share)
