"""Results kept by content: a run that was stopped goes on, and what has changed is measured anew."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import cv2
import numpy as np

from .rows import Experiment, Figures, Made

QUALITY = 80  # of contact sheets, WebP
CELL = 80  # pixels a frame on a contact sheet
LABEL = 110  # pixels of a side's name


def digest(*files: Path) -> str:
    """Hash of what is in files."""
    found = hashlib.sha256()
    for file in files:
        found.update(file.read_bytes())
    return found.hexdigest()


def key_of(experiment: Experiment, hashes: dict[str, str], settings: dict) -> str:
    """A name of all that decides an experiment's figures: its version, its weights, its settings."""
    told = [experiment.name, experiment.version, hashes, settings]
    return f"{experiment.name}-{hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]}"


class Shelf:
    """The kept results of one experiment: a folder with a JSON a seed, and one contact sheet."""

    def __init__(self, folder: Path):
        """The folder is made when something is put into it."""
        self.folder = folder

    @property
    def sheet(self) -> Path:
        """The contact sheet of seed 0."""
        return self.folder / "sheet.webp"

    def has(self, seed: int) -> bool:
        """Whether a seed has been measured."""
        return self._file(seed).is_file()

    def read(self, seed: int) -> Figures:
        """Figures of a seed; null stands for NaN."""
        kept = json.loads(self._file(seed).read_text(encoding="utf-8"))
        return {side: {k: np.nan if v is None else v for k, v in row.items()} for side, row in kept.items()}

    def write(self, seed: int, made: Made) -> None:
        """Keep a seed, under a temporary name first, so that a half-written one cannot exist."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if made.strips and seed == 0:
            draw_sheet(made.strips, self.sheet)
        rows = {
            side: {k: float(v) if np.isfinite(v) else None for k, v in row.items()}
            for side, row in made.figures.items()
        }
        partial = self._file(seed).with_suffix(".part")
        partial.write_text(json.dumps(rows, indent=1, allow_nan=False), encoding="utf-8")
        os.replace(partial, self._file(seed))

    def _file(self, seed: int) -> Path:
        return self.folder / f"seed_{seed}.json"


def frames_of(images, count: int = 5) -> list[np.ndarray]:
    """Some frames, evenly spread, of a clip (F, H, W, 3) in 0..1."""
    images = np.asarray(images)
    return [images[i] for i in np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)]


def draw_sheet(strips, file: Path) -> None:
    """Write clips as one WebP: a line a side with its name; strips: side -> frames (H, W, 3) in 0..1."""
    lines = []
    for side, frames in strips.items():
        label = np.full((CELL, LABEL, 3), 255, np.uint8)
        for number, part in enumerate(_broken(side)):
            place = (3, 16 + 14 * number)
            cv2.putText(label, part, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (40, 40, 40), 1, cv2.LINE_AA)
        cells = [
            cv2.resize(np.float32(frame), (CELL, CELL), interpolation=cv2.INTER_AREA) for frame in frames
        ]
        cells = [(cell.clip(0, 1) * 255).round().astype(np.uint8)[..., ::-1] for cell in cells]
        lines.append(np.concatenate([label, *cells], 1))
    width = max(line.shape[1] for line in lines)
    lines = [np.pad(n, ((0, 2), (0, width - n.shape[1]), (0, 0)), constant_values=255) for n in lines]
    cv2.imwrite(str(file), np.concatenate(lines), [cv2.IMWRITE_WEBP_QUALITY, QUALITY])


def _broken(text: str, most: int = 15) -> list[str]:
    """A name in lines of so many letters."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= most:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
