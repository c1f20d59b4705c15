"""Subject data sets in the host: a folder in the output folder, progress, the user's interrupt."""

from __future__ import annotations

from pathlib import Path

import folder_paths

from ...core.data.subject_boxes import (
    DATASET,
    Finder,
    face_finder,
    known_finder,
    make_dataset,
    mask_finder,
    model_finder,
    parse_keywords,
)
from ...core.data.video import find_videos
from .progress import reporter

FACES, MASKS, KNOWN, MODEL = "faces", "masks", "known", "model"
FINDERS = (FACES, MASKS, KNOWN, MODEL)


def build_dataset(
    videos: str, folder: str, keywords: str, finder: str, source: str, every: int, threshold: float
) -> tuple[str, str]:
    """Path of the data set, and a report of what was kept. Raises ValueError for missing folders."""
    if not videos.strip() or not Path(videos.strip()).is_dir():
        raise ValueError(f"videos is '{videos.strip()}', expected a folder with videos and captions")
    subjects, target = parse_keywords(keywords), output_folder(folder)
    files = find_videos(videos.strip())
    done, report = [], reporter()

    def say(line: str) -> None:
        done.append(line)
        report(len(done), max(len(files), 1))

    counts = make_dataset(files, target, subjects, find(finder, source, threshold), every, say)
    told = [", ".join(f"{count} {why}" for why, count in counts.items()), *done]
    return str(target / DATASET), "\n".join(told)


def find(kind: str, source: str, threshold: float) -> Finder:
    """The finder of a kind. Raises ValueError when its folder is not there."""
    if kind in (MASKS, MODEL) and not Path(source.strip() or "-").is_dir():
        raise ValueError(f"source is '{source.strip()}', expected the folder that the {kind} is in")
    if kind == FACES:
        return face_finder(threshold)
    if kind == MASKS:
        return mask_finder(Path(source.strip()))
    return known_finder() if kind == KNOWN else model_finder(Path(source.strip()), threshold)


def output_folder(name: str) -> Path:
    """A folder inside the output folder. Raises ValueError for a name that leads out of it."""
    root = Path(folder_paths.get_output_directory()).resolve()
    path = (root / name.strip()).resolve()
    if not name.strip() or root not in path.parents:
        raise ValueError(f"folder is '{name}', expected a name inside ComfyUI's output folder")
    return path
