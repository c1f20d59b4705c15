"""Look at a clip and say which sprite it shows and how it moves: what a generated clip is judged by.

Nothing here is learnt. Sprites are saturated and grounds are not, so a sprite is the saturated region; its
colour is the nearest named hue, its shape the best-fitting template, its motion the path of its centre.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from .scene import DIRECTIONS
from .shapes import HUES, SHAPES, colour, signed_distance

SATURATION = 0.28  # max - min of RGB above which a pixel belongs to a sprite
TEMPLATE = 32


@dataclass(frozen=True)
class Sighting:
    """What was seen.

    Colour and shape of the largest sprite over the clip's frames; `direction` "left", "right", "up", "down"
    or "" when it moves less than `STILL` pixels of a 128-pixel frame; `path` (F, 2), NaN where nothing was
    found.
    """

    colour: str
    shape: str
    direction: str
    path: np.ndarray


STILL = 6.0


def sprite_mask(image):
    """(H, W, 3) in 0..1 -> bool (H, W).

    The largest saturated region, holes kept; empty when there is none.
    """
    smooth = cv2.GaussianBlur(np.ascontiguousarray(image, dtype=np.float32), (3, 3), 0)
    mask = (smooth.max(-1) - smooth.min(-1) > SATURATION).astype(np.uint8)
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(closed)
    if count < 2:
        return np.zeros(mask.shape, bool)
    best = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    if stats[best, cv2.CC_STAT_AREA] < 0.004 * mask.size:
        return np.zeros(mask.shape, bool)
    return (labels == best) & (mask > 0)


def named_colour(image, mask):
    """The sprite colour nearest to the median hue inside the mask.

    Lightness tells pink from red and purple.
    """
    pixels = image[mask]
    saturated = pixels[pixels.max(1) - pixels.min(1) > 0.3]
    rgb = np.median(saturated if len(saturated) > 8 else pixels, axis=0)
    direction = (rgb - rgb.min()) / max(float(rgb.max() - rgb.min()), 1e-6)
    gaps = {}
    for name in HUES:
        known = colour(name)
        gaps[name] = float(np.abs(direction - (known - known.min()) / (known.max() - known.min())).sum())
    return min(gaps, key=gaps.get)


@cache
def _templates():
    """(name, turn) -> (32, 32) mask of the shape in its bounding box, over the turns a sprite can have."""
    grid = np.linspace(-1.4, 1.4, 96)
    u, v = np.meshgrid(grid, grid)
    found = {}
    for name in SHAPES:
        if name == "face":
            continue
        for turn in np.linspace(-0.25, 0.25, 5):
            c, s = np.cos(turn), np.sin(turn)
            found[name, round(float(turn), 2)] = _boxed(
                signed_distance(name, c * u + s * v, c * v - s * u) < 0
            )
    return found


def _boxed(mask):
    """Crop a mask to its bounding square and scale it to TEMPLATE pixels, as float."""
    ys, xs = np.nonzero(mask)
    side = max(np.ptp(xs), np.ptp(ys)) + 1
    cy, cx = (ys.min() + ys.max() + 1) / 2, (xs.min() + xs.max() + 1) / 2
    matrix = np.array([[side / TEMPLATE, 0, cx - side / 2], [0, side / TEMPLATE, cy - side / 2]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(mask.astype(np.float32), matrix, (TEMPLATE, TEMPLATE), flags=flags)


def named_shape(image, mask):
    """The shape whose template overlaps the mask best; a round one with dark paint inside is a face."""
    overlap = _overlaps(_boxed(mask))
    name = max(overlap, key=overlap.get)[0]
    return "face" if name in ("circle", "ring") and _painted(image, _filled(mask)) else name


def _painted(image, filled):
    """Whether a region is a disc with dark spots that are not a ring's hole."""
    solid = max(value for (name, _), value in _overlaps(_boxed(filled)).items() if name == "circle")
    inside = cv2.erode(filled.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    dark = (image.max(-1) < 0.45) & inside
    share = dark.sum() / max(inside.sum(), 1)
    return solid > 0.85 and 0.015 < share < 0.5 and _central(dark, filled) < 0.5


def _overlaps(seen):
    return {
        key: float(np.minimum(seen, t).sum() / np.maximum(seen, t).sum()) for key, t in _templates().items()
    }


def _filled(mask):
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros(mask.shape, np.uint8), outlines, -1, 1, cv2.FILLED) > 0


def _central(dark, filled):
    """Share of the disc's middle (40 % of its radius) that is dark.

    High for a ring's hole, low for a face.
    """
    ys, xs = np.nonzero(filled)
    y, x = np.mgrid[0 : filled.shape[0], 0 : filled.shape[1]]
    near = np.hypot(y - ys.mean(), x - xs.mean()) < 0.4 * np.sqrt(filled.sum() / np.pi)
    return float(dark[near].mean())


def look(images):
    """(F, H, W, 3) in 0..1 -> Sighting.

    Colour and shape by vote over the frames, direction by the centre's path.
    """
    colours, shapes, path = [], [], []
    for image in images:
        mask = sprite_mask(image)
        if not mask.any():
            path.append((np.nan, np.nan))
            continue
        ys, xs = np.nonzero(_filled(mask))
        path.append((xs.mean(), ys.mean()))
        if xs.min() > 1 and ys.min() > 1 and xs.max() < image.shape[1] - 2 and ys.max() < image.shape[0] - 2:
            colours.append(named_colour(image, mask))
            shapes.append(named_shape(image, mask))
        else:
            colours.append(named_colour(image, mask))
    path = np.array(path)
    return Sighting(_vote(colours), _vote(shapes), _direction(path, min(images.shape[1:3])), path)


def _vote(words):
    return max(sorted(set(words)), key=words.count) if words else ""


def _direction(path, side):
    """Compass word of the displacement fitted over the seen frames."""
    seen = np.flatnonzero(~np.isnan(path[:, 0]))
    if len(seen) < 3:
        return ""
    slope = np.polyfit(seen, path[seen], 1)[0] * (len(path) - 1) * 128 / side
    if np.abs(slope).max() < STILL:
        return ""
    return max(DIRECTIONS, key=lambda word: float(np.dot(DIRECTIONS[word], slope)))
