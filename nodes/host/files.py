"""Model files: the folders they are looked for in, and loading them with the host's cast-aware layers."""

from __future__ import annotations

import os

import folder_paths
from comfy.model_patcher import ModelPatcher

from ...core.motion.layouts import read_motion_module
from .nets import load_net

MOTION_MODULES = "animatediff_models"
MOTION_LORAS = "animatediff_motion_lora"
LORAS = "loras"
CONTROLNETS = "controlnet"
IMAGE_PROMPTS = "image_prompt_models"
DIFFUSION_MODELS = "diffusion_models"


def register_folders() -> None:
    """Make ComfyUI look for motion files in `models/` under the names that users of AnimateDiff already have.

    Folders that another pack has registered are kept; the extension set, without which no file is listed, is
    added.
    """
    for kind in (MOTION_MODULES, MOTION_LORAS, IMAGE_PROMPTS):
        folder_paths.add_model_folder_path(kind, os.path.join(folder_paths.models_dir, kind))
        paths, extensions = folder_paths.folder_names_and_paths[kind]
        known = set(extensions) | set(folder_paths.supported_pt_extensions)
        folder_paths.folder_names_and_paths[kind] = (paths, known)


def file_names(kind: str) -> list[str]:
    """Names of the files of one kind, as the drop-down lists show them."""
    return folder_paths.get_filename_list(kind)


def full_path(kind: str, name: str) -> str:
    """Path of a listed file; raises ValueError when it is gone."""
    path = folder_paths.get_full_path(kind, name)
    if path is None:
        folders = ", ".join(folder_paths.get_folder_paths(kind))
        raise ValueError(f"File '{name}' is not in {folders}; press R in ComfyUI to list the folder again")
    return path


def load_motion_module(name: str) -> ModelPatcher:
    """Load a file of the `animatediff_models` folder as a MOTION_MODEL."""
    return load_motion_file(full_path(MOTION_MODULES, name))


def load_motion_file(path: str) -> ModelPatcher:
    """Load a motion module from a path as a MOTION_MODEL, in the precision the host picks for UNets here."""
    return load_net(read_motion_module, path)
