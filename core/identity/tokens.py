"""Extended ID tokens (VCD): rows of a text encoder's input that stand for one person, animal or thing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..files import read_weights, write_weights, write_whole

START = "#42170 #47629 #43514 #43514"  # VCD's: rows of CLIP's vocabulary ("ktn", "pll", "ucd" twice)
SLOT, CLASS = "[id]", "[class]"
KEYS = ("emb_params", "*", "clip_l")  # names under which SD1.5 rows are published, best known first


@dataclass(frozen=True, eq=False)
class IdTokens:
    """vectors: (N, width) float32, N tokens; name: how prompts call them, as in `embedding:name`."""

    name: str
    vectors: Tensor

    def __post_init__(self):
        """Raise ValueError for a name that prompts cannot hold, or vectors that are none."""
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise ValueError(
                f"ID tokens are called '{self.name}', expected letters, digits, '_', '-' and '.'"
            )
        shape = tuple(self.vectors.shape)
        if len(shape) != 2 or 0 in shape or not bool(torch.isfinite(self.vectors).all()):
            raise ValueError(f"ID tokens '{self.name}' are {shape}, expected (tokens, width), all finite")

    def check_width(self, width: int) -> None:
        """Raise ValueError unless the tokens fit a text encoder of that width."""
        if self.vectors.shape[1] != width:
            raise ValueError(
                f"ID tokens '{self.name}' are {self.vectors.shape[1]} wide, this text encoder takes {width}: "
                "they were made for another kind of model"
            )


class TokenRows(nn.Module):
    """ID tokens as the one thing a training run trains: `vectors` (N, width)."""

    def __init__(self, start: Tensor):
        """Begin at rows (N, width), which are copied."""
        super().__init__()
        self.vectors = nn.Parameter(start.detach().float().clone())

    def learnt(self) -> Tensor:
        """A copy of the rows on the CPU."""
        return self.vectors.detach().cpu().clone()


def fill_prompt(template: str, name: str, class_word: str) -> str:
    """The prompt of a template such as "photo of a [id] [class]", with the tokens as `embedding:name`.

    Raises ValueError when the template has no place for the tokens, or one that the tokenizer cannot find.
    """
    if not re.search(rf"(^|\s){re.escape(SLOT)}", template):
        raise ValueError(f"The prompt is '{template}', expected {SLOT} as a word of its own in it")
    return template.replace(SLOT, f"embedding:{name}").replace(CLASS, class_word.strip()).strip()


def read_id_tokens(path: str | Path, name: str = "") -> IdTokens:
    """ID tokens of a file: VCD's (`string_to_param`), ours (`emb_params`), `clip_l`, or a single matrix.

    Any textual-inversion embedding of one text encoder is one. `name` is the file's own where it is empty.
    Raises ValueError for a file that is damaged or holds anything else.
    """
    path = Path(path)
    tensors, _ = read_weights(path)
    key = next((key for key in KEYS if key in tensors), None)
    found = tensors[key] if key else next(iter(tensors.values()))
    if (key is None and len(tensors) > 1) or found.ndim not in (1, 2) or not found.is_floating_point():
        first = ", ".join(f"{key} {tuple(value.shape)}" for key, value in list(tensors.items())[:3])
        raise ValueError(f"'{path.name}' is no embedding: expected one matrix (tokens, width), got {first}")
    vectors = found.detach().float().reshape(-1, found.shape[-1]).clone()
    return IdTokens(name or re.sub(r"[^\w.-]", "_", path.stem), vectors)


def write_id_tokens(tokens: IdTokens, path: str | Path, metadata: dict[str, str] | None = None) -> Path:
    """Write tokens as .safetensors (`emb_params`) or, for any other ending, in VCD's layout; the path.

    Both are what ComfyUI's `embedding:` syntax and other packs read; metadata goes into .safetensors only.
    The file appears whole or not at all.
    """
    path, vectors = Path(path), tokens.vectors.float().cpu().contiguous()
    if path.suffix == ".safetensors":
        return write_weights({"emb_params": vectors}, path, {**(metadata or {}), "format": "pt"})
    return write_whole(path, lambda part: torch.save({"string_to_param": {"*": vectors}}, part))
