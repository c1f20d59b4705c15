"""`dev.py measure seams`: a flat gradient refined in tiles, and how much larger its steps are at the seams.

In tiles that agree (Refine Tiles) against the independent tiles of the published workflow, one after the
other with padding, from the same latent and noise. The figure is the mean step of brightness between
neighbouring columns (and rows) within four pixels of a tile's edge, over that elsewhere: 1 = no seam.
"""

import numpy as np

from .measure import Demo, write_rows

SIDE, TILE, OVERLAP, PADDING, DENOISE = 256, 128, 32, 16, 0.2
CELL = 8


def gradient(frames, side=SIDE):
    """A clip (F, H, W, 3) of one smooth diagonal gradient, grey, 0.35 to 0.65."""
    import torch

    ramp = torch.linspace(0.35, 0.65, 2 * side - 1)
    place = torch.arange(side)
    return ramp[place[:, None] + place[None, :]][None, :, :, None].repeat(frames, 1, 1, 3)


def independent(demo, second, images, tile, padding):
    """The published way: each padded tile alone, its kept part pasted hard; images (F, H, W, 3)."""
    import torch
    from choreographer.core.refine.tiles import padded_tiles

    made = torch.zeros_like(images)
    for kept, sampled in padded_tiles(tuple(images.shape[1:3]), tile, padding):
        part = images[:, sampled.top : sampled.bottom, sampled.left : sampled.right]
        done = second.run(demo.model, demo.vae, part)
        inside = np.s_[:, kept.top - sampled.top : kept.bottom - sampled.top]
        across = np.s_[:, :, kept.left - sampled.left : kept.right - sampled.left]
        made[:, kept.top : kept.bottom, kept.left : kept.right] = done[inside][across]
    return made


def measure_seams(options):
    """Both ways on `count` seeds."""
    demo, images, rows, sheet = Demo(options.demo), gradient(8), [], []
    import torch
    from choreographer.core.metrics.seams import seam_ratio
    from choreographer.core.refine.tiles import Tiling
    from choreographer.nodes.host.refine import Pass, refine_tiles
    from choreographer.nodes.host.sampling import SamplerSettings
    from choreographer.nodes.host.tiles import TileOptions

    prompt = [demo.clip.encode_from_tokens_scheduled(demo.clip.tokenize(text)) for text in ("", "")]
    tiling = TileOptions(TILE // CELL, OVERLAP // CELL)
    tiles = Tiling(SIDE // CELL, SIDE // CELL, tiling.tile, tiling.overlap).tiles
    inner = sorted({edge * CELL for tile in tiles for edge in tile} - {0, SIDE})
    for seed in range(options.count):
        settings = SamplerSettings(seed, options.steps, options.cfg, "euler", "normal", DENOISE)
        second = Pass(settings, options.gamma, *prompt)
        with torch.inference_mode():
            ours = refine_tiles(demo.model, demo.vae, images, second, tiling)
            theirs = independent(demo, second, images, TILE, PADDING)
            whole = second.run(demo.model, demo.vae, images)
        rows.append(
            {
                "seed": seed,
                "in step": seam_ratio(ours, inner),
                "independent": seam_ratio(theirs, [TILE]),
                "whole, at the same places": seam_ratio(whole, inner),
            }
        )
        print(rows[-1], flush=True)
        sheet.append(np.concatenate([part[0].numpy() for part in (images, ours, theirs)], 1))
    for name in ("in step", "independent", "whole, at the same places"):
        values = np.array([row[name] for row in rows])
        print(f"{name}: step at seams over step elsewhere {values.mean():.3f} (largest {values.max():.3f})")
    write_rows(options.out, "seams", rows, sheet)
