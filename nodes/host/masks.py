"""Grounding DINO and SAM from the user's own folders in `models/`."""

from __future__ import annotations

import os
from pathlib import Path

import comfy.model_management as management
import folder_paths

from ...core.identity.text_mask import TextMasker

DINO, SAM = "grounding_dino", "sams"  # folders that other packs use too


def _roots(kind: str) -> list[Path]:
    known = folder_paths.folder_names_and_paths.get(kind, ((), ()))[0]
    return list(dict.fromkeys(map(Path, (*known, os.path.join(folder_paths.models_dir, kind)))))


def model_folders(kind: str) -> list[str]:
    """Names of the folders of one kind that hold a model of the transformers library."""
    return sorted({config.parent.name for root in _roots(kind) for config in root.glob("*/config.json")})


def load_masker(dino: str, sam: str) -> TextMasker:
    """Both models by the names of their folders, on the host's device. ValueError for a missing one."""
    masker, device = TextMasker(find_folder(DINO, dino), find_folder(SAM, sam)), management.get_torch_device()
    weights = management.module_size(masker.finder) + management.module_size(masker.cutter)
    management.free_memory(weights + management.minimum_inference_memory(), device)
    return masker.to(device)


def find_folder(kind: str, name: str) -> Path:
    """The folder of that name in models/KIND; raises ValueError where there is none."""
    found = next((root / name for root in _roots(kind) if (root / name / "config.json").is_file()), None)
    if found is None:
        raise ValueError(
            f"There is no folder '{name}' in models/{kind}; press R in ComfyUI to list them again"
        )
    return found
