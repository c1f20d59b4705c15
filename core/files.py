"""Weights in files: only tensors are read, never code; a refusal is one sentence; written whole or not."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

CONFIG = "config"  # metadata key of a diffusers config.json, as text
WRAPPERS = ("state_dict", "controlnet", "string_to_param")
# What torch.load raises for damaged bytes; found by cutting and flipping them.
BROKEN = (
    RuntimeError, EOFError, ValueError, LookupError, OSError,
    AttributeError, TypeError, AssertionError, struct.error,
)  # fmt: skip
FOLDER_NAMES = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.fp16.safetensors",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.fp16.bin",
)


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, and metadata, of a .safetensors, .ckpt, .pt, .pth or .bin file or a diffusers folder.

    Wrappings ({"state_dict": ...} and others in WRAPPERS, a `module.` prefix) are taken off and values that
    are no tensors dropped. The kind of a file is told from its first bytes, not its name. A diffusers
    `config.json` beside the weights is given as metadata["config"]. Raises ValueError for a file that is
    missing, truncated, of another kind, or that needs unpickling of anything but tensors.
    """
    path = _weights_path(Path(path))
    kind = _kind(path)
    metadata = _diffusers_config(path)
    if kind == "safetensors":
        state, own = _read_safetensors(path)
        return unwrap(state, path.name), {**metadata, **own}
    return unwrap(_read_torch(path), path.name), metadata


def unwrap(value, name: str = "the file") -> dict[str, Tensor]:
    """Tensors by name from what a checkpoint holds, without inner dicts, `module.` prefixes and non-tensors.

    Raises ValueError when there are no tensors.
    """
    while isinstance(value, dict):
        inner = next((value[key] for key in WRAPPERS if isinstance(value.get(key), dict)), None)
        if inner is None:
            break
        value = inner
    tensors = {k: v for k, v in value.items() if isinstance(v, Tensor)} if isinstance(value, dict) else {}
    if not tensors:
        raise ValueError(f"'{name}' holds no weights: expected tensors by name, found {type(value).__name__}")
    while all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): tensor for key, tensor in tensors.items()}
    return tensors


def first_process() -> bool:
    """Whether this is the first of the processes that train together, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def write_whole(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Let `write(part)` make a file beside `path`, then give it that name; returns `path`.

    So the file appears whole or not at all, and what was there stays until then. Folders are made as needed.
    Of several processes that train together only the first writes.
    """
    path = Path(path)
    if first_process():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        try:
            write(part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return path


def write_weights(
    tensors: Mapping[str, Tensor], path: str | Path, metadata: dict[str, str] | None = None
) -> Path:
    """Write tensors as .safetensors, as `write_whole` does; returns the path."""
    kept = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
    return write_whole(path, lambda part: save_file(kept, part, metadata))


def write_text(text: str, path: str | Path) -> Path:
    """Write a text in UTF-8, as `write_whole` does; returns the path."""
    return write_whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def _weights_path(path: Path) -> Path:
    if path.is_dir():
        found = next((path / name for name in FOLDER_NAMES if (path / name).is_file()), None)
        if found is None:
            raise ValueError(
                f"Folder '{path.name}' holds no weights: expected one of {', '.join(FOLDER_NAMES)}"
            )
        return found
    if not path.is_file():
        raise ValueError(f"Weights file '{path.name}' does not exist at {path.parent}")
    return path


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(64)
    if head[8:9] == b"{":  # first: its length may begin with the byte that a pickle begins with
        return "safetensors"
    if head[:2] == b"PK" or head[:1] == b"\x80":
        return "torch"
    if head.startswith(b"version https://git-lfs"):
        raise ValueError(
            f"'{path.name}' is a git-lfs pointer, not the weights; fetch the file itself with `git lfs pull`"
        )
    shown = head[:16].decode("ascii", "replace").encode("ascii", "replace").decode("ascii").strip()
    raise ValueError(
        f"'{path.name}' is not a weights file (safetensors or PyTorch): "
        + (f"it starts with {shown!r}" if head else "it is empty")
    )


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return load_file(path), metadata
    except safetensors.SafetensorError as error:
        raise ValueError(f"'{path.name}' is truncated or damaged ({error}); download it again") from None


def _read_torch(path: Path):
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(
            f"'{path.name}' is damaged, or holds Python objects besides tensors, which could run code: "
            "it is not opened; convert it to safetensors"
        ) from None
    except BROKEN:
        raise ValueError(f"'{path.name}' is truncated or damaged; download it again") from None


def _diffusers_config(path: Path) -> dict[str, str]:
    config = path.parent / "config.json"
    if path.name not in FOLDER_NAMES or not config.is_file():
        return {}
    text = config.read_text(encoding="utf-8")
    try:
        json.loads(text)
    except json.JSONDecodeError:
        raise ValueError(
            f"'{config.parent.name}/config.json' is not valid JSON; download the folder again"
        ) from None
    return {CONFIG: text}
