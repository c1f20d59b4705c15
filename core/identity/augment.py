"""Pictures of a subject, varied so that its tokens learn it at any size and place, with words that say so.

VCD takes the augmentation of Custom Diffusion (Kumari et al. 2023): two thirds of the draws scale between a
third and the whole, those under 0.6 are put somewhere on an empty canvas; one third zooms in. Half are
mirrored, seven in ten turned a little.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

FAR, NEAR = ("a far away ", "very small "), ("zoomed in ", "close up ")
SHRINK, SMALL, ZOOM = (1 / 3, 1.0), 0.6, (1.2, 1.4)
SHRINK_SHARE, FLIP_SHARE, TURN_SHARE, TURN = 2 / 3, 0.5, 0.7, 10.0  # degrees
EMPTY = 0.5  # grey of the canvas
CELL = 8  # pixels a latent


@dataclass(frozen=True)
class Change:
    """One variation: scale, place on the canvas (-1..1 of its room), degrees, mirrored; its words."""

    scale: float = 1.0
    place: tuple[float, float] = (0.0, 0.0)
    degrees: float = 0.0
    flipped: bool = False
    prefix: str = ""


def draw_change(generator: torch.Generator, flip: bool = True) -> Change:
    """A random variation; `flip` False never mirrors."""

    def draw(low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    shrinks, word = draw() < SHRINK_SHARE, int(draw() < 0.5)
    scale = draw(*SHRINK) if shrinks else draw(*ZOOM)
    place = draw(-1, 1), draw(-1, 1)
    flipped, turned = draw() < FLIP_SHARE and flip, draw() < TURN_SHARE
    degrees = TURN * float(torch.randn((), generator=generator)) * turned
    if SMALL <= scale <= 1:  # as published: nearly whole pictures are taken whole
        return Change(1.0, (0.0, 0.0), degrees, flipped)
    return Change(scale, place, degrees, flipped, (FAR if shrinks else NEAR)[word])


def apply_change(image: Tensor, mask: Tensor, change: Change, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """A varied picture: (size, size, 3), subject mask and picture mask (size, size), all in 0..1.

    image: (H, W, 3); mask: (H, W). At scale 1 the whole picture fits the square canvas. The picture mask is 1
    where there is picture and 0 on the empty canvas.
    """
    height, width = image.shape[:2]
    scale = change.scale * size / max(height, width)
    pixels = max(round(height * scale), 1), max(round(width * scale), 1)
    planes = torch.cat([image.movedim(-1, 0), mask[None]])[None].float()
    planes = F.interpolate(planes, pixels, mode="bilinear", antialias=True, align_corners=False)
    planes = torch.cat([planes, torch.ones_like(planes[:, :1])], 1)
    grid = _grid(change, size, pixels)
    planes = F.grid_sample(planes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]
    there = planes[4]
    picture = planes[:3] + (1 - there) * EMPTY
    return picture.movedim(0, -1).clamp(0, 1), (planes[3] > 0.5).float(), (there > 0.99).float()


def _grid(change: Change, size: int, pixels: tuple[int, int]) -> Tensor:
    """Where each canvas pixel comes from in a picture of `pixels` (height, width); 1 x size x size x 2."""
    axis = torch.arange(size) + 0.5 - size / 2
    room = [abs(size - n) / 2 for n in pixels[::-1]]
    x = axis[None, :] - change.place[0] * room[0]
    y = axis[:, None] - change.place[1] * room[1]
    turn = torch.deg2rad(torch.tensor(change.degrees))
    u, v = turn.cos() * x + turn.sin() * y, turn.cos() * y - turn.sin() * x
    grid = torch.stack((2 * u / pixels[1], 2 * v / pixels[0]), -1)[None]
    return grid * torch.tensor([-1.0, 1.0]) if change.flipped else grid


@dataclass(frozen=True, eq=False)
class Varied:
    """N varied pictures.

    images: (N, S, S, 3) in 0..1; masks, pictures: (N, 1, S/8, S/8), 1 in latents of the subject and of the
    picture; prefixes: N strings to put before the prompt.
    """

    images: Tensor
    masks: Tensor
    pictures: Tensor
    prefixes: tuple[str, ...]


def check_subjects(images: Tensor, masks: Tensor) -> None:
    """Raise ValueError unless images (N, H, W, 3) each have a mask (N, H, W) that is not empty."""
    fits = images.ndim == 4 and images.shape[3] == 3 and tuple(masks.shape) == tuple(images.shape[:3])
    if not fits or len(images) == 0:
        raise ValueError(
            f"The pictures are {tuple(images.shape)} and the masks {tuple(masks.shape)}, expected "
            "(pictures, height, width, 3) and one mask of the same size for each"
        )
    empty = [i for i, mask in enumerate(masks) if not bool((mask > 0.5).any())]
    if empty:
        raise ValueError(f"The mask of picture {empty[0]} is empty: there is nothing to learn from it")


def vary(
    images: Tensor, masks: Tensor, size: int, count: int, generator: torch.Generator, flip: bool = True
) -> Varied:
    """`count` variations of the pictures in turn (in a new order each round), on canvases of `size` pixels.

    images: (N, H, W, 3) in 0..1; masks: (N, H, W). A variation that loses the subject is taken unchanged.
    Raises ValueError for pictures without a mask, or a size that is no multiple of 8.
    """
    check_subjects(images, masks)
    if size % CELL or size < CELL:
        raise ValueError(f"size is {size}, expected a multiple of {CELL}")
    rows, order = [], []
    while len(rows) < count:
        order = order or torch.randperm(len(images), generator=generator).tolist()
        number, change = order.pop(), draw_change(generator, flip)
        made = apply_change(images[number], masks[number], change, size)
        if not bool(made[1].any()):
            change = Change()
            made = apply_change(images[number], masks[number], change, size)
        rows.append((made[0], _cells(made[1]), _cells(made[2]), change.prefix))
    pictures, subjects, there, prefixes = zip(*rows, strict=True)
    return Varied(torch.stack(pictures), torch.stack(subjects), torch.stack(there), prefixes)


def _cells(mask: Tensor) -> Tensor:
    """Latents (1, h, w) that a mask (H, W) covers by half; at least the best covered one, if any is."""
    share = F.avg_pool2d(mask[None], CELL)
    return ((share >= share.amax().clamp(max=0.5)) & (share > 0)).float()
