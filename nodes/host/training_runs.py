"""Where a training run keeps what it has learnt so far, and the files that finished runs are saved under."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import comfy.model_management
import folder_paths
import torch
from torch import Tensor

RUNS = "choreographer_training"  # folder for unfinished runs, in the output folder
SAVE_PREFIX = "save_prefix"  # the setting that does not change what is learnt


def asked(settings) -> dict:
    """What a dataclass of settings says about the training; not what its file is called."""
    return {key: value for key, value in asdict(settings).items() if key != SAVE_PREFIX}


def check_prefix(settings) -> None:
    """Raise ValueError for a save_prefix that leads out of the models' folder."""
    saved_as = Path(getattr(settings, SAVE_PREFIX, ""))
    if saved_as.is_absolute() or ".." in saved_as.parts:
        raise ValueError(f"save_prefix is '{saved_as}', expected a name inside the folder of such models")


def run_folder(prefix: str, settings, told: tuple, *groups: Tensor | Iterable[Tensor]) -> Path:
    """The folder that only the same settings, texts, models and clips find again.

    told: values that have a `repr` of their own. groups: a tensor counts with all its bytes, several with
    their sums. Raises ValueError as `check_prefix` does.
    """
    check_prefix(settings)
    digest = hashlib.sha256(repr((sorted(asked(settings).items()), *told)).encode())
    for group in groups:
        if isinstance(group, Tensor):
            counted = group.cpu().contiguous()
        else:
            counted = torch.stack([value.detach().cpu().double().sum() for value in group])
        digest.update(counted.numpy().tobytes())
    return Path(folder_paths.get_output_directory()) / RUNS / f"{prefix}{digest.hexdigest()[:16]}"


def drop_run(folder: Path) -> None:
    """Remove what a finished run kept, and its folder if nothing else is in it."""
    for kept in ("checkpoint.pt", "loss.png"):
        (folder / kept).unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def precision(device) -> str:
    """The precision of a plan on this device."""
    return "bf16" if comfy.model_management.is_device_cuda(device) else "fp32"


def numbered_path(kind: str, prefix: str) -> Path:
    """A path that is still free, `prefix` and a number, in the first folder of one kind of model."""
    root = folder_paths.get_folder_paths(kind)[0]
    Path(root).mkdir(parents=True, exist_ok=True)
    folder, name, counter, *_ = folder_paths.get_save_image_path(prefix, root)
    return Path(folder) / f"{name}_{counter:05}_.safetensors"
