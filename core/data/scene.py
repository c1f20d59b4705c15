"""What happens in a sprite clip, as data.

Sprites with paths, a camera, a ground; drawn from one seed, and told in words.
"""

import re
from dataclasses import dataclass

import numpy as np

from .shapes import GROUNDS, HUES, SHAPES, TEXTURES

DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
MOTIONS = (*(f"moving {d}" for d in DIRECTIONS), "circling", "shaking", "standing still")
CAMERAS = ("", *(f"camera pans {d}" for d in DIRECTIONS), "camera zooms in", "camera zooms out")
SIZE = 128  # the frame size that lengths in pixels refer to


@dataclass(frozen=True)
class Sprite:
    """One sprite: looks, and where it is in the world.

    path: (F, 2) world pixels of the centre, x then y; angle: (F,) radians; radius: world pixels.
    identity: a face's number; other shapes keep it for their texture's phase. A higher depth is in front.
    """

    shape: str
    colour: str
    texture: str
    radius: float
    path: np.ndarray
    angle: np.ndarray
    motion: str
    identity: int = 0
    depth: int = 0


@dataclass(frozen=True)
class Scene:
    """A whole clip before it is drawn.

    `centre` (F, 2) is the world point in mid-frame, `zoom` (F,) pixels a world pixel.
    """

    sprites: tuple
    ground: str
    ground_seed: int
    centre: np.ndarray
    zoom: np.ndarray
    camera: str

    @property
    def frames(self):
        """Number of frames F."""
        return len(self.zoom)

    @property
    def caption(self):
        """One sentence that names subject, motion, ground and camera."""
        subjects = " and ".join(f"{_article(s.colour)} {s.colour} {s.shape} {s.motion}" for s in self.sprites)
        return f"{subjects} on {self.ground}" + (f", {self.camera}" if self.camera else "")


REVERSED = {"left": "right", "right": "left", "up": "down", "down": "up", "in": "out", "out": "in"}


def reversed_caption(caption):
    """The caption of the same clip played backwards."""
    return re.sub(r"\b(left|right|up|down|in|out)\b", lambda word: REVERSED[word.group()], caption)


def sample_scene(rng, frames=16, sprites=None, camera=None, **fixed):
    """Draw a scene.

    Arguments:
        rng: numpy Generator; the same state gives the same scene.
        frames: F, at least 1.
        sprites: 1 or 2; None draws one in three of four scenes.
        camera: one of CAMERAS, or None to draw one (still in half of the scenes).
        fixed: `shape`, `colour`, `motion`, `ground`, `identity` or `texture` of the first sprite and the
            ground.

    Raises: ValueError for an unknown word.
    """
    _check(camera, CAMERAS, "camera")
    for key, known in (
        ("shape", SHAPES),
        ("colour", HUES),
        ("motion", MOTIONS),
        ("ground", GROUNDS),
        ("texture", TEXTURES),
    ):
        _check(fixed.get(key), tuple(known), key)
    count = sprites or (1 if rng.random() < 0.75 else 2)
    ground = fixed.get("ground") or _pick(rng, GROUNDS)
    if camera is None:
        camera = "" if rng.random() < 0.5 else _pick(rng, CAMERAS[1:])
    centre, zoom = _camera_path(rng, camera, frames)
    slow = 0.6 if camera else 1.0
    found = tuple(_sprite(rng, frames, i, count, slow, fixed if i == 0 else {}) for i in range(count))
    return Scene(found, ground, int(rng.integers(1 << 31)), centre, zoom, camera)


def _check(value, known, name):
    if value is not None and value not in known:
        raise ValueError(
            f"Sprite world: {name} is {value!r}; expected one of {', '.join(k or '(none)' for k in known)}."
        )


def _article(word):
    return "an" if word[0] in "aeiou" else "a"


def _pick(rng, words):
    return list(words)[rng.integers(len(words))]


def _sprite(rng, frames, index, count, slow, fixed):
    shape = fixed.get("shape") or _pick(rng, SHAPES)
    motion = fixed.get("motion") or _pick(rng, MOTIONS)
    radius = float(rng.uniform(20, 32) if count == 1 else rng.uniform(16, 24))
    path = _object_path(rng, motion, frames, radius, slow)
    upright = shape in ("square", "triangle", "star", "cross", "face")
    angle = rng.uniform(-0.2, 0.2) + (0 if upright else rng.uniform(0, 6.28)) + np.zeros(frames)
    identity = fixed["identity"] if fixed.get("identity") is not None else int(rng.integers(64))
    texture = fixed.get("texture") or ("plain" if shape == "face" else _pick(rng, TEXTURES))
    return Sprite(
        shape, fixed.get("colour") or _pick(rng, HUES), texture, radius, path, angle, motion, identity, index
    )


def _object_path(rng, motion, frames, radius, slow):
    """World path (F, 2) that stays mostly inside the frame.

    Straight moves pass the middle of the frame half-way, so that where a sprite begins tells where it goes; a
    quarter of them bend into an arc.
    """
    t = np.linspace(0, 1, frames)[:, None] if frames > 1 else np.full((1, 1), 0.5)
    free = SIZE / 2 - radius
    middle = SIZE / 2 + rng.uniform(-0.8, 0.8, 2) * free
    if motion == "standing still":
        return np.repeat(middle[None], frames, 0)
    if motion == "shaking":
        axis = np.array([1.0, 0.0]) if rng.random() < 0.5 else np.array([0.0, 1.0])
        cycles = frames / 16 * rng.uniform(2.5, 4)
        return middle + axis * rng.uniform(4, 7) * np.sin(2 * np.pi * cycles * t + rng.uniform(0, 6))
    if motion == "circling":
        size, sense = rng.uniform(14, 24), rng.choice([-1, 1])
        phase = 2 * np.pi * (sense * frames / 16 * rng.uniform(0.8, 1.1) * t + rng.random())
        hub = SIZE / 2 + rng.uniform(-1, 1, 2) * max(free - size, 0)
        return hub + size * np.concatenate([np.cos(phase), np.sin(phase)], 1)
    heading = np.array(DIRECTIONS[motion.split()[-1]], float)
    length = slow * rng.uniform(2.6, 3.8) * (frames - 1)
    length = min(length, 2 * free + 16)
    middle = np.where(heading != 0, SIZE / 2 + rng.uniform(-8, 8), middle)
    bend = rng.normal(0, 10) if rng.random() < 0.25 else 0.0
    return middle + heading * length * (t - 0.5) + heading[::-1] * bend * (4 * t * (1 - t) - 0.5)


def _camera_path(rng, camera, frames):
    """Camera centre (F, 2) and zoom (F,).

    A pan to the left moves the camera left, so the content moves right.
    """
    t = np.linspace(-0.5, 0.5, frames)[:, None] if frames > 1 else np.zeros((1, 1))
    centre, zoom = np.full((frames, 2), SIZE / 2), np.ones(frames)
    for word in camera.replace("camera", "").split("and"):
        verb, _, way = word.strip().partition(" ")
        if verb == "pans":
            centre = centre + np.array(DIRECTIONS[way]) * rng.uniform(1.6, 2.8) * (frames - 1) * t
        elif verb == "zooms":
            rate = rng.uniform(0.018, 0.032) * (frames - 1) * (1 if way == "in" else -1)
            zoom = zoom * np.exp(rate * t[:, 0])
    return centre, zoom
