"""Draw a scene: frames with exact tracks, masks, flow and depth order."""

from dataclasses import dataclass

import cv2
import numpy as np

from .scene import SIZE
from .shapes import colour, face_paint, ground_texture, signed_distance, texture_gain

TILE = 512  # world pixels after which the ground repeats


@dataclass(frozen=True)
class Clip:
    """A drawn clip with its ground truth; N sprites, F frames, lengths in pixels of this frame size.

    images (F, H, W, 3) float32 0..1; tracks (N, F, 2) sprite centres, x then y; masks (N, F, H, W) bool,
    visible part; visible (N, F) bool; flow (F-1, 2, H, W) float32, dx then dy from frame t to t+1, None where
    it was not asked for; caption; identities (N,).
    """

    images: np.ndarray
    tracks: np.ndarray
    masks: np.ndarray
    visible: np.ndarray
    flow: np.ndarray | None
    caption: str
    identities: tuple


class Renderer:
    """Draws the frames of one scene at `height` x `width`; lengths scale with the shorter side."""

    def __init__(self, scene, height=SIZE, width=SIZE):
        self.scene, self.height, self.width = scene, height, width
        self.scale = min(height, width) / SIZE
        self.middle = np.array([(width - 1) / 2, (height - 1) / 2])
        self.ground = ground_texture(scene.ground, scene.ground_seed, TILE)

    def to_frame(self, points, t):
        """World points (..., 2) -> pixels of frame t."""
        return (np.asarray(points) - self.scene.centre[t]) * self.scene.zoom[t] * self.scale + self.middle

    def to_world(self, pixels, t):
        """Pixels (..., 2) of frame t -> world points."""
        return (np.asarray(pixels) - self.middle) / (self.scene.zoom[t] * self.scale) + self.scene.centre[t]

    def frame(self, t):
        """Image (H, W, 3) float32 0..1 and owner (H, W): -1 ground, else the index of the sprite in front."""
        image = self._ground(t)
        owner = np.full((self.height, self.width), -1, np.int8)
        order = sorted(range(len(self.scene.sprites)), key=lambda i: self.scene.sprites[i].depth)
        for i in order:
            self._paint(image, owner, i, t)
        return image, owner

    def flow(self, t, owner):
        """Exact flow (2, H, W) from frame t to t + 1, given frame t's owners."""
        x, y = np.meshgrid(np.arange(self.width), np.arange(self.height))
        pixels = np.stack([x, y], -1).astype(np.float64)
        target = self.to_frame(self.to_world(pixels, t), t + 1)
        for i, sprite in enumerate(self.scene.sprites):
            here = owner == i
            offset = self.to_world(pixels[here], t) - sprite.path[t]
            turned = offset @ _rotation(sprite.angle[t + 1] - sprite.angle[t]).T
            target[here] = self.to_frame(turned + sprite.path[t + 1], t + 1)
        return (target - pixels).astype(np.float32).transpose(2, 0, 1)

    def _ground(self, t):
        # cv2 maps output pixel -> source pixel with WARP_INVERSE_MAP: world = pixel / zoom + corner
        step = 1 / (self.scene.zoom[t] * self.scale)
        corner = self.to_world((0.0, 0.0), t)
        matrix = np.array([[step, 0, corner[0]], [0, step, corner[1]]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(
            self.ground, matrix, (self.width, self.height), flags=flags, borderMode=cv2.BORDER_WRAP
        )

    def _paint(self, image, owner, i, t):
        sprite = self.scene.sprites[i]
        radius = sprite.radius * self.scene.zoom[t] * self.scale
        centre = self.to_frame(sprite.path[t], t)
        low = np.maximum(np.floor(centre - 1.6 * radius), 0).astype(int)
        high = np.minimum(np.ceil(centre + 1.6 * radius) + 1, (self.width, self.height)).astype(int)
        if (high <= low).any():
            return
        y, x = np.mgrid[low[1] : high[1], low[0] : high[0]].astype(np.float32)
        local = (np.stack([x, y], -1) - centre) @ _rotation(sprite.angle[t]) / radius
        u, v = local[..., 0], local[..., 1]
        distance = signed_distance(sprite.shape, u, v) * radius
        alpha = np.clip(0.5 - distance, 0, 1)[..., None].astype(np.float32)
        rgb = self._surface(sprite, u, v)
        window = np.s_[low[1] : high[1], low[0] : high[0]]
        image[window] += alpha * (rgb - image[window])
        owner[window][alpha[..., 0] > 0.5] = i

    @staticmethod
    def _surface(sprite, u, v):
        gain = texture_gain(sprite.texture, u, v) * (1.04 - 0.12 * (u + v))
        rgb = np.clip(colour(sprite.colour) * gain[..., None], 0, 1).astype(np.float32)
        if sprite.shape == "face":
            face_paint(sprite.identity, u, v, rgb)
        return rgb


def render(scene, height=SIZE, width=SIZE, report=None, with_flow=True):
    """Draw the whole clip with its ground truth, flow only `with_flow`.

    Returns `Clip`; `report(done, total)` is called after each frame.
    """
    renderer = Renderer(scene, height, width)
    drawn = []
    for t in range(scene.frames):
        drawn.append(renderer.frame(t))
        if report:
            report(t + 1, scene.frames)
    owners = np.stack([owner for _, owner in drawn])
    masks = np.stack([owners == i for i in range(len(scene.sprites))])
    tracks = np.stack([[renderer.to_frame(s.path[t], t) for t in range(scene.frames)] for s in scene.sprites])
    return Clip(
        images=np.clip(np.stack([image for image, _ in drawn]), 0, 1),
        tracks=tracks.astype(np.float32),
        masks=masks,
        visible=masks.any(axis=(2, 3)),
        flow=_flow(renderer, owners) if with_flow else None,
        caption=scene.caption,
        identities=tuple(s.identity for s in scene.sprites),
    )


def _flow(renderer, owners):
    """Exact flow (F - 1, 2, H, W) of a clip, given its owners (F, H, W)."""
    flow = np.zeros((len(owners) - 1, 2, *owners.shape[1:]), np.float32)
    for t in range(len(flow)):
        flow[t] = renderer.flow(t, owners[t])
    return flow


def render_images(scene, height=SIZE, width=SIZE, frames=None):
    """Only the images (F, H, W, 3) of the named frames (all when None): the fast path for training."""
    renderer = Renderer(scene, height, width)
    return np.clip(
        np.stack([renderer.frame(t)[0] for t in (range(scene.frames) if frames is None else frames)]), 0, 1
    )


def _rotation(angle):
    """Matrix that turns column vectors by `angle` (clockwise on screen, since y points down)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])
