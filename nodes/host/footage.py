"""Clips to train trajectory control on: images that a graph brings, and folders of curated clips."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import folder_paths
import torch
from torch import Tensor

from ...core.control.network import LATENT_STRIDE
from ...core.data.dataset import INDEX, read_datasets, read_index
from ...core.data.grid_tracks import GRID, TrackedClip
from ...core.training.flow_clips import TrackedLatents, encode_clips, joined
from ...core.trajectory.tracker import grid_points, track_points
from .progress import check_interrupt, track
from .training import own_copy, read_captions

NO_DATASET = "none"


@dataclass(frozen=True, eq=False)
class Footage:
    """Clips of one kind, `frames` frames each, one after the other.

    kind: "camera" or "mixed". images: (N F, H, W, 3) in 0..1. captions: a line a clip, or one for all.
    """

    kind: str
    images: Tensor
    frames: int
    captions: str = ""

    @property
    def texts(self) -> list[str]:
        """A caption for each clip; raises ValueError when images or captions do not come in clips."""
        count, (height, width) = len(self.images), self.images.shape[1:3]
        if count % self.frames:
            raise ValueError(
                f"There are {count} images, expected a multiple of {self.frames}, a clip's frames"
            )
        if height % LATENT_STRIDE or width % LATENT_STRIDE:
            raise ValueError(f"The clips are {width}x{height}, expected multiples of {LATENT_STRIDE}")
        return read_captions(self.captions, count // self.frames)

    def tracked(self) -> Iterator[tuple[TrackedClip, str]]:
        """The clips with a grid of points followed, and their kind."""
        clips = self.images.clone().float().cpu().unflatten(0, (-1, self.frames))
        points = grid_points((clips.shape[3], clips.shape[2]), GRID, GRID)
        for clip, caption in track(list(zip(clips, self.texts, strict=True))):
            paths, visible = track_points(clip, points)
            yield TrackedClip(clip.numpy(), paths.numpy(), visible.numpy(), caption), self.kind


def dataset_names() -> list[str]:
    """Folders of curated clips in ComfyUI's input folder, after "none"."""
    root = Path(folder_paths.get_input_directory())
    return [NO_DATASET, *sorted(path.parent.name for path in root.glob(f"*/{INDEX}"))]


def dataset_folder(name: str) -> Path | None:
    """The folder of that name, None for "none"; raises ValueError when it is not there."""
    root = folder_paths.get_input_directory()
    if name not in dataset_names():
        raise ValueError(f"There is no folder of curated clips '{name}' in {root}")
    return None if name == NO_DATASET else Path(root) / name


def check_lengths(folder: Path | None, frames: int) -> None:
    """Raise ValueError where a clip of a folder has fewer frames than are asked for."""
    for entry in read_index(folder)["clips"] if folder else ():
        found = len(list((folder / entry["name"]).glob("*.png")))
        if found < frames:
            raise ValueError(
                f"Clip '{entry['name']}' of '{folder.name}' has {found} frames, frames is {frames}: ask for "
                "no more, or curate longer clips"
            )


def all_captions(footage: list[Footage], folder: Path | None) -> list[str]:
    """The captions of all clips."""
    texts = [text for part in footage for text in part.texts]
    return texts if folder is None else texts + [entry["caption"] for entry in read_index(folder)["clips"]]


def encode_footage(model, vae, footage: list[Footage], folder: Path | None) -> TrackedLatents:
    """All clips as latents of the model, with tracks.

    Raises ValueError when there is none, or they differ in size or length.
    """

    def encode(images):
        with torch.no_grad():
            encoded = vae.encode(torch.from_numpy(images))
        return model.model.process_latent_in(own_copy(encoded, "cpu"))

    parts = []
    for part in footage:
        size = (part.images.shape[2], part.images.shape[1])
        parts.append(encode_clips(encode, part.tracked(), size, reversible=False))
    if folder is not None:
        size, clips = read_datasets(folder)
        parts.append(encode_clips(encode, clips, size, False, report=lambda _: check_interrupt()))
    if not parts:
        raise ValueError(
            "There is nothing to learn from: connect camera_clips or object_clips, or set dataset"
        )
    return joined(parts)
