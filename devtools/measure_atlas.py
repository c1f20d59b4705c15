"""`dev.py measure atlas`: atlases of `count` sprite clips of 16 frames at 128 x 72.

How closely each shows its clip, how well its foreground matches the mask, how long the fit takes, and how far
a spot that is painted on one frame lies from the sprite's true track on every other.
"""

import time

import numpy as np

from .measure import write_rows
from .pack import register_pack

FRAMES, HEIGHT, WIDTH, RADIUS = 16, 72, 128, 3.0
SOLID = ("circle", "square", "star", "face")  # at its centre a ring shows the ground


def spot(frame, centre):
    """A frame (H, W, 3) with a spot painted on it in colours that differ."""
    import torch

    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    inside = (x - float(centre[0])) ** 2 + (y - float(centre[1])) ** 2 < RADIUS**2
    return torch.where(inside[..., None], 1 - frame.round(), frame)


def centre_of(change):
    """Where a change (H, W, 3) lies, (x, y)."""
    weight = np.abs(change).sum(-1)
    weight = np.where(weight > 0.3 * weight.max(), weight, 0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.array([(weight * axis).sum() / weight.sum() for axis in (x, y)])


def measure_atlas(options):
    """Fit, render, paint and compare."""
    register_pack()
    import torch
    from choreographer.core.atlas.fit import AtlasSettings, Clip, fit_atlas
    from choreographer.core.atlas.model import render
    from choreographer.core.atlas.propagate import propagate
    from choreographer.core.data.render import render as draw
    from choreographer.core.data.scene import sample_scene
    from choreographer.core.keyframes import Keyframe, Keyframes

    rows, sheet = [], []
    for seed in range(options.seed, options.seed + options.count):
        shape = SOLID[seed % len(SOLID)]
        scene = sample_scene(np.random.default_rng(seed), FRAMES, sprites=1, shape=shape)
        world = draw(scene, HEIGHT, WIDTH)
        images, masks = torch.from_numpy(world.images), torch.from_numpy(world.masks[0])
        started = time.monotonic()
        atlas = fit_atlas(Clip(images, masks.float()), AtlasSettings(steps=options.fit_steps))
        seconds, shown = time.monotonic() - started, render(atlas)
        points = torch.cat([atlas.frame_points(frame) for frame in range(FRAMES)])
        found = (atlas.alpha(points)[:, 0] > 0.5).view(masks.shape)
        track, middle = world.tracks[0], FRAMES // 2
        edit = Keyframe(spot(images[middle], track[middle]), middle)
        made = render(atlas, propagate(atlas, Keyframes((edit,)), images), images)
        offset = centre_of((made - images)[middle].numpy()) - track[middle]  # of the spot itself
        errors = [
            np.linalg.norm(centre_of((made - images)[f].numpy()) - track[f] - offset) for f in range(FRAMES)
        ]
        rows.append(
            {
                "clip": world.caption,
                "seconds": seconds,
                "psnr": float(-10 * torch.log10((shown - images).square().mean())),
                "iou": float((found & masks).sum() / (found | masks).sum()),
                "edit_px_mean": float(np.mean(errors)),
                "edit_px_most": float(np.max(errors)),
            }
        )
        print(rows[-1], flush=True)
        sheet.append(np.concatenate([made[f].numpy() for f in (0, middle, FRAMES - 1)], 1))
    write_rows(options.out, "atlas", rows, sheet)
