"""Crop and tile geometry of the published VCD workflow: whole pixels, so all must be equal."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from core.refine.boxes import Box, crop_region, guide_scale
from core.refine.tiles import padded_tiles, spread

from .finding import Finding, relative

CELL = 8  # pixels a latent


def check_geometry(path: Path) -> Iterator[Finding]:
    """Face crops, their enlargement, the tiles of Ultimate SD Upscale, and evenly spread tiles."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for number, case in enumerate(content.get("face_crops", ())):
        yield from check_face_crop(f"face crop {number}", case)
    for number, case in enumerate(content.get("usdu", ())):
        yield from check_padded_tiles(f"padded tiles {number}", case)
    for number, case in enumerate(content.get("tiled_diffusion_split", ())):
        (width, height), (wide, high), overlap = case["latent"], case["tile"], case["overlap"]
        ours = [(x, y) for y in spread(height, high, overlap) for x in spread(width, wide, overlap)]
        yield Finding(f"spread tiles {number}", relative(ours, case["boxes"]), 0.0)


def check_face_crop(name: str, case: dict) -> Iterator[Finding]:
    """The region around a box, and its size after enlargement to a guide size."""
    region = crop_region(Box(*case["bbox"]), case["crop_factor"], tuple(case["image"]))
    yield Finding(name, relative(region, case["crop_region"]), 0.0)
    for key, wanted in case.items():
        sizes = re.fullmatch(r"guide(\d+)_max(\d+)_crop_region", key)
        if sizes:
            scale = guide_scale(region.size, int(sizes[1]), int(sizes[2]))
            pixels = [int(length * scale) for length in region.size]
            yield Finding(f"{name} enlarged by", relative(scale, wanted["upscale"]), 1e-5)
            yield Finding(f"{name} enlarged to", relative(pixels, wanted["size"]), 0.0)
            yield Finding(f"{name} in latents", relative([n // CELL for n in pixels], wanted["latent"]), 0.0)


def check_padded_tiles(name: str, case: dict) -> Iterator[Finding]:
    """What each tile keeps and samples, in the order of the file."""
    width, height = case["image"]
    side = -(-(case["tile"] + case["padding"]) // CELL) * CELL
    ours = padded_tiles((height, width), case["tile"], case["padding"])
    kept, sampled = ([(t.left, t.top, t.right, t.bottom) for t in tiles] for tiles in zip(*ours, strict=True))
    yield Finding(f"{name} keep", relative(kept, [tile["mask_rect"] for tile in case["tiles"]]), 0.0)
    yield Finding(f"{name} sample", relative(sampled, [tile["crop"] for tile in case["tiles"]]), 0.0)
    sizes = [tile["process_size"] for tile in case["tiles"]]
    yield Finding(f"{name} work at", relative([[side, side]] * len(sizes), sizes), 0.0)
