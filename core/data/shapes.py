"""What sprites and grounds look like.

Soft shape masks, sprite textures, faces with an identity, tileable grounds.

All arrays are float32 numpy. Sprite-local coordinates `u` (right) and `v` (down) are -1..1 across the
sprite's radius. Sprites are saturated and grounds are not, so that a sprite can be found again in a generated
picture by its saturation alone (see `data.measure`).
"""

import colorsys

import numpy as np

SHAPES = ("circle", "square", "triangle", "star", "ring", "cross", "face")
HUES = {
    "red": 0,
    "orange": 30,
    "yellow": 56,
    "green": 120,
    "cyan": 180,
    "blue": 225,
    "purple": 280,
    "pink": 325,
}
TEXTURES = ("plain", "stripes", "dots", "checks")
GROUNDS = {  # base colour in 0..1, amplitude of the pattern
    "grass": ((0.44, 0.50, 0.38), 0.10),
    "sand": ((0.76, 0.72, 0.62), 0.07),
    "water": ((0.46, 0.53, 0.58), 0.08),
    "brick": ((0.56, 0.47, 0.43), 0.10),
    "stone": ((0.34, 0.34, 0.36), 0.09),
}


def colour(name):
    """RGB in 0..1 of a named sprite colour; pink is lighter, so that it keeps apart from red and purple."""
    saturation, value = (0.62, 1.0) if name == "pink" else (0.88, 0.92)
    return np.array(colorsys.hsv_to_rgb(HUES[name] / 360, saturation, value), np.float32)


def signed_distance(shape, u, v):
    """Approximate distance to the outline in units of the radius.

    Negative inside. `u`, `v` of any equal shape.
    """
    radius = np.hypot(u, v)
    if shape in ("circle", "face"):
        return radius - 0.95
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) - 0.80
    if shape == "triangle":
        return np.maximum(v - 0.70, 0.866 * np.abs(u) - 0.5 * v - 0.55)
    if shape == "ring":
        return np.abs(radius - 0.70) - 0.27
    if shape == "cross":
        arms = np.minimum(
            np.maximum(np.abs(u) / 0.95, np.abs(v) / 0.30), np.maximum(np.abs(u) / 0.30, np.abs(v) / 0.95)
        )
        return (arms - 1) * 0.30
    if shape == "star":
        angle = np.arctan2(u, -v)
        sector = np.abs((angle + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)
        return _star_edge(radius, sector)
    raise ValueError(f"Unknown shape {shape!r}; expected one of {', '.join(SHAPES)}.")


def _star_edge(radius, sector, outer=1.05, inner=0.46):
    """Distance to the straight edge from an outer tip (sector 0) to an inner corner (sector pi/5)."""
    tip = np.array([outer, 0.0])
    corner = inner * np.array([np.cos(np.pi / 5), np.sin(np.pi / 5)])
    edge = corner - tip
    normal = np.array([edge[1], -edge[0]]) / np.hypot(*edge)
    if normal @ tip < 0:
        normal = -normal
    return (radius * np.cos(sector) - tip[0]) * normal[0] + (radius * np.sin(sector) - tip[1]) * normal[1]


def texture_gain(texture, u, v):
    """Brightness factor (about 0.8..1.1) that a texture gives at a sprite-local point."""
    if texture == "stripes":
        return 0.95 + 0.15 * np.sign(np.sin(3.5 * np.pi * u))
    if texture == "checks":
        return 0.95 + 0.15 * np.sign(np.sin(3 * np.pi * u) * np.sin(3 * np.pi * v))
    if texture == "dots":
        dot = np.hypot((2 * u) % 1 - 0.5, (2 * v) % 1 - 0.5)
        return np.where(dot < 0.25, 0.78, 1.05)
    if texture == "plain":
        return np.ones_like(u)
    raise ValueError(f"Unknown texture {texture!r}; expected one of {', '.join(TEXTURES)}.")


def face_paint(identity, u, v, rgb):
    """Eyes, mouth and a mark on top of a face's colour.

    Arguments: `identity` int, the same face for the same number; `u`, `v` (h, w); `rgb` (h, w, 3), changed in
    place.
    """
    rng = np.random.default_rng(10_000 + identity)
    gap, height, size = rng.uniform(0.25, 0.45), rng.uniform(-0.35, -0.1), rng.uniform(0.12, 0.2)
    smile, width, dark = (
        rng.uniform(-0.5, 0.6),
        rng.uniform(0.25, 0.5),
        np.array([0.12, 0.08, 0.10], np.float32),
    )
    for side in (-1, 1):
        rgb[np.hypot(u - side * gap, v - height) < size] = dark
    mouth = np.abs(v - 0.42 + smile * (u**2 - 0.1)) < 0.08
    rgb[mouth & (np.abs(u) < width)] = dark
    angle = rng.uniform(0, 2 * np.pi)
    mark = np.hypot(u - 0.65 * np.cos(angle), v - 0.65 * np.sin(angle)) < rng.uniform(0.15, 0.25)
    rgb[mark] = colour(list(HUES)[rng.integers(len(HUES))])


def ground_texture(kind, seed, size):
    """A tileable ground picture `(size, size, 3)` in 0..1.

    Slow noise plus the pattern that gives the ground its name.
    """
    base, amplitude = GROUNDS[kind]
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    turn = 2 * np.pi
    wave = sum(
        rng.normal() * np.cos(turn * (i * x + j * y) + rng.uniform(0, turn)) / (1 + i + j)
        for i in range(4)
        for j in range(4)
    )
    if kind == "brick":
        row = np.floor(y * 24)
        pattern = np.where(np.minimum((y * 24) % 1, (x * 12 + 0.5 * (row % 2)) % 1) < 0.18, 1.3, -0.2)
    elif kind == "water":
        pattern = np.sin(turn * (14 * y + 0.4 * np.sin(turn * 3 * x + rng.uniform(0, turn))))
    elif kind == "grass":
        pattern = np.sin(turn * (22 * x + 0.8 * np.sin(turn * 6 * y))) * np.sin(
            turn * 9 * y + rng.uniform(0, turn)
        )
    elif kind == "sand":
        pattern = np.sin(turn * (7 * x + 6 * y + 0.5 * np.sin(turn * 2 * x)))
    else:
        cells = np.sin(turn * (5 * x + rng.uniform())) * np.sin(turn * (6 * y + rng.uniform()))
        pattern = np.sign(cells) * np.abs(cells) ** 0.5
    level = amplitude * (0.7 * pattern + 0.5 * wave)
    tint = rng.uniform(0.94, 1.06) * np.array(base, np.float32)
    return np.clip(tint + level[..., None] * tint / tint.mean(), 0, 1).astype(np.float32)
