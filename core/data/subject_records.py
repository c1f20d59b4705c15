"""Clips with pictures of their subject, from real videos or the sprite world: what image prompts train on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from ..image_prompt.picture import prepare
from ..refine.boxes import Box
from .render import Renderer, render_images
from .scene import SIZE, Scene, sample_scene
from .subject_boxes import Entry, read_dataset
from .video import fitted, read_frames

TURN = 30.0  # degrees of affine variation at most
JITTER = (0.01, 0.2)  # of the box's size that each edge moves by
VARIANTS = 4


class Record(NamedTuple):
    """A clip before it is encoded.

    images: (F, H, W, 3) float32 in 0..1; views: pictures 3 x S x S of its subject, each S its own; about: at
    least its `text` and the subject's `word` in it.
    """

    images: np.ndarray
    views: list[Tensor]
    about: dict


def sprite_records(
    count: int, frames: int, seed: int, size: tuple[int, int] = (SIZE, SIZE), variants: int = VARIANTS
) -> Iterator[Record]:
    """Clips of the sprite world with one sprite, at `size` (width, height), and pictures of it elsewhere."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        scene = sample_scene(rng, frames, sprites=1)
        views = [sprite_picture(scene, rng) for _ in range(variants)]
        yield Record(render_images(scene, size[1], size[0]), views, describe(scene))


def describe(scene: Scene) -> dict:
    """Caption without what only the picture tells (colour and texture), the subject's word, and its looks."""
    (sprite,) = scene.sprites
    camera = f", {scene.camera}" if scene.camera else ""
    article = "an" if sprite.shape[0] in "aeiou" else "a"
    looks = {"shape": sprite.shape, "colour": sprite.colour, "texture": sprite.texture}
    text = f"{article} {sprite.shape} {sprite.motion} on {scene.ground}{camera}"
    return {"text": text, "word": sprite.shape, "motion": sprite.motion, "identity": sprite.identity, **looks}


def sprite_picture(scene: Scene, rng) -> Tensor:
    """The scene's sprite on white, turned and cut out by a box that is a little off: 3 x S x S."""
    (sprite,) = scene.sprites
    still = replace(sprite, path=np.full((1, 2), SIZE / 2), angle=sprite.angle[:1], radius=36.0)
    alone = replace(scene, sprites=(still,), centre=np.full((1, 2), SIZE / 2), zoom=np.ones(1))
    image, owner = Renderer(alone).frame(0)
    return varied(np.clip(image, 0, 1), (owner == 0).astype(np.float32), None, rng)


def varied(image: np.ndarray, mask: np.ndarray | None, box: Box | None, rng) -> Tensor:
    """A subject's picture H x W x 3 as it is trained on: turned by up to 30 degrees, perhaps mirrored.

    The subject is where `mask` (H x W) is 1, or in `box`; each edge of the box moves by 1 to 20 percent.
    """
    height, width = image.shape[:2]
    centre = box.centre if box is not None else ((width - 1) / 2, (height - 1) / 2)
    turn = cv2.getRotationMatrix2D(centre, float(rng.uniform(-TURN, TURN)), 1.0)
    turned = _turned(image, turn, (1.0, 1.0, 1.0))
    cover = None if mask is None else _turned(mask, turn, 0.0)
    if box is not None:
        corners = (
            np.array([(x, y, 1.0) for x in (box.left, box.right) for y in (box.top, box.bottom)]) @ turn.T
        )
        box = Box(*corners.min(0), *corners.max(0)).inside((width, height))
    else:
        box = prepare(turned, cover).box
    sides = np.tile(box.size, 2) * rng.choice([-1, 1], 4)
    picture = prepare(turned, cover, Box(*(np.array(box) + sides * rng.uniform(*JITTER, 4)))).image
    return picture.flip(2) if rng.random() < 0.5 else picture


def _turned(part: np.ndarray, turn: np.ndarray, fill) -> Tensor:
    size = part.shape[1], part.shape[0]
    return torch.from_numpy(cv2.warpAffine(part, turn, size, flags=cv2.INTER_LINEAR, borderValue=fill))


def read_records(
    path: Path, frames: int, size: tuple[int, int], seed: int = 0, variants: int = VARIANTS
) -> Iterator[Record]:
    """The clips of a data set, their first `frames` frames at `size` (width, height), with pictures.

    Clips with fewer frames are left out; at the end one line of the log names them. The pictures come from
    frames with a box, in turn. Raises ValueError for a data set or a clip that cannot be read.
    """
    rng, kept, short = np.random.default_rng(seed), 0, []
    for entry in read_dataset(path):
        clip = [fitted(frame, size) for frame in islice(read_frames(entry.video), frames)]
        if len(clip) == frames:
            images = np.stack(clip).astype(np.float32) / 255
            about = {"text": entry.text, "word": entry.word, "subject": entry.subject}
            kept += 1
            yield Record(images, _views(entry, rng, variants), about)
        else:
            short.append(Path(entry.video).name)
    if short:
        told = "%d of %d clips have fewer than %d frames and are left out: %s"
        logging.warning(told, len(short), kept + len(short), frames, ", ".join(short))


def _views(entry: Entry, rng, variants: int) -> list:
    """Varied pictures of the subject."""
    numbers = sorted(map(int, entry.boxes))
    chosen = [numbers[i * len(numbers) // variants] for i in range(variants)]
    frames = {n: next(read_frames(entry.video, n, n + 1)).astype(np.float32) / 255 for n in set(chosen)}
    return [varied(frames[n], None, Box(*entry.boxes[str(n)][:4]), rng) for n in chosen]
