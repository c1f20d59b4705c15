"""A folder of real clips with tracks: what curation writes and the trainer reads.

    dataset.json            size, and of each clip: name, source, scene, stride, motion, kind, caption
    NAME/0000.png ...       its frames
    NAME/tracks.safetensors `tracks` (N, F, 2) float32 pixels, `visible` (N, F) bool

Captions may be edited, clips deleted from the list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file

from ..files import write_text, write_weights
from .grid_tracks import TrackedClip

INDEX, TRACKS = "dataset.json", "tracks.safetensors"
VERSION = 1
NEEDED = ("name", "kind", "caption")  # of each clip


def write_clip(
    folder: Path, name: str, images: np.ndarray, paths: torch.Tensor, visible: torch.Tensor
) -> None:
    """Write one clip: images (F, H, W, 3) uint8 RGB, paths (N, F, 2), visible (N, F).

    Frames of a clip of that name that was there are gone. Raises OSError for what cannot be written.
    """
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)
    for old in own.glob("*.png"):
        old.unlink()
    for number, image in enumerate(images):
        if not cv2.imwrite(str(own / f"{number:04}.png"), image[..., ::-1]):
            raise OSError(f"Could not write frame {number} of {own}")
    write_weights({"tracks": paths.float(), "visible": visible}, own / TRACKS)


def write_index(folder: Path, size: tuple[int, int], clips: list[Mapping], left_out: list[Mapping]) -> None:
    """Write the list of clips, under a temporary name first: what it names is there."""
    told = {"version": VERSION, "size": list(size), "clips": clips, "left_out": left_out}
    write_text(json.dumps(told, indent=1), folder / INDEX)


def read_index(folder: Path) -> dict:
    """The list of clips of a folder; ValueError where there is none of this version or it is broken."""
    path = Path(folder) / INDEX
    try:
        told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except json.JSONDecodeError as error:
        raise ValueError(f"'{path}' is no JSON, line {error.lineno}: {error.msg}") from error
    if not isinstance(told, dict) or told.get("version") != VERSION:
        raise ValueError(f"'{folder}' is no folder of curated clips: it has no {INDEX} of version {VERSION}")
    for number, clip in enumerate(told["clips"], 1):
        missing = [name for name in NEEDED if name not in clip]
        if missing:
            raise ValueError(
                f"'{path}': clip {number}, '{clip.get('name')}', has no {' and no '.join(missing)}"
            )
    return told


def read_clip(folder: Path, told: Mapping) -> TrackedClip:
    """One clip of a folder's list; raises ValueError when frames of it are missing or cannot be read."""
    own = Path(folder) / told["name"]
    tensors = load_file(own / TRACKS)
    paths = sorted(own.glob("*.png"))
    if len(paths) != tensors["tracks"].shape[1]:
        raise ValueError(f"'{own}' has {len(paths)} frames, its tracks have {tensors['tracks'].shape[1]}")
    images = np.stack([_read_frame(path) for path in paths])
    tracks, visible = (tensors[name].numpy() for name in ("tracks", "visible"))
    return TrackedClip(images.astype(np.float32) / 255, tracks, visible, told["caption"])


def _read_frame(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    if image is None:
        raise ValueError(f"'{path}' is no picture that can be read")
    return image[..., ::-1]


def read_datasets(*folders: Path) -> tuple[tuple[int, int], Iterator[tuple[TrackedClip, str]]]:
    """Size (width, height), and all clips of some folders with their kinds, one at a time.

    Raises ValueError when the folders' sizes differ.
    """
    lists = {Path(folder): read_index(folder) for folder in folders}
    sizes = sorted({tuple(told["size"]) for told in lists.values()})
    if len(sizes) != 1:
        told = ", ".join(f"{width}x{height}" for width, height in sizes)
        raise ValueError(f"The folders hold clips of different sizes: {told}")
    clips = (
        (read_clip(folder, entry), entry["kind"]) for folder, told in lists.items() for entry in told["clips"]
    )
    return sizes[0], clips
