"""Initial noise of a clip in which objects move: the ground's noise rests, each object's goes with it.

Where a thing appears is settled in the noisiest steps, by the noise. Noise that all frames share holds the
ground still (VCD Eq. 4 at gamma 1) and everything else with it; noise of its own in each frame lets things go
where a ControlNet sends them, and the ground trembles. So each has its own here: a layer for the ground, and
one for each object, which is seen around its track and moves along it (noise that goes with the picture:
Chang et al. 2024, "How I Warped Your Noise"; here by whole cells, so that nothing has to be resampled).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..noise import check_gamma, gaussian_prior, seeded
from .sample import Sampled


@dataclass(frozen=True)
class Layers:
    """How alike neighbouring frames are, -1 to 1, on the ground and around an object, and how far that is.

    radius: in pixels of the frame size that the tracks are sampled for, above 0. Raises ValueError.
    """

    ground: float = 1.0
    objects: float = 0.9
    radius: float = 96.0

    def __post_init__(self):
        """Check the numbers."""
        check_gamma(self.ground)
        check_gamma(self.objects)
        if not self.radius > 0:
            raise ValueError(f"Radius around the tracks is {self.radius:g} pixels, expected above 0")


def moving_noise(tracks: Sampled, shape: tuple[int, int, int], seed: int, layers: Layers) -> Tensor:
    """Noise of a clip along the tracks of objects, (F, C, h, w) float32 on the CPU; shape is (C, h, w).

    Tracks of the camera and tracks at rest belong to the ground, and so does a track where it is not seen.
    The ground is exactly `gaussian_prior` of the seed. Every object has a draw of its own, moved by whole
    cells of the latent, and where two are near the nearer one counts; so the values of a frame are N(0, 1)
    and independent of each other, as in all of `core.noise`.
    """
    frames, (_, height, width) = tracks.paths.shape[1], shape
    generator = seeded(seed)
    noise = gaussian_prior(frames, shape, layers.ground, generator)
    kept = [i for i, track in enumerate(tracks.tracks) if track.role == "object" and _moves(tracks.paths[i])]
    if not kept:
        return noise
    cell = torch.tensor([side / cells for side, cells in zip(tracks.size, (width, height), strict=True)])
    paths, visible = tracks.paths[kept], tracks.visible[kept]
    nearest = torch.stack(
        [
            _nearest(*at, cell, (height, width), layers.radius)
            for at in zip(paths.unbind(1), visible.unbind(1), strict=True)
        ]
    )
    steps = ((paths - paths[:, :1]) / cell).round().long()
    for number, step in enumerate(steps):
        layer = gaussian_prior(frames, shape, layers.objects, generator)
        for frame, (x, y) in enumerate(step.tolist()):
            moved = layer[frame].roll((y, x), (-2, -1))
            noise[frame] = torch.where(nearest[frame] == number, moved, noise[frame])
    return noise


def _moves(path: Tensor) -> bool:
    return bool((path != path[:1]).any())


def _nearest(places: Tensor, visible: Tensor, cell: Tensor, sides: tuple[int, int], radius: float) -> Tensor:
    """The number of the place nearest to the middle of each cell within the radius, -1 = none: (h, w).

    places: (N, 2) pixels, of which those that are `visible` (N,) count; cell: its width and height in pixels.
    """
    rows, columns = (
        (torch.arange(side) + 0.5) * size for side, size in zip(sides, cell.flip(0), strict=True)
    )
    x, y = places[..., None, None].unbind(1)  # N 1 1
    far = ((columns - x) ** 2 + (rows[:, None] - y) ** 2).sqrt()
    least, number = far.where(visible[:, None, None], torch.inf).min(0)
    return number.where(least < radius, -1)
