"""Weights of the golden networks: made from each weight's name and shape. Runs inside the environment."""

import math
import zlib
from collections.abc import Mapping

import torch
from torch import Tensor

SPREAD = 0.1  # of norm weights
LORA_SHARE = 0.25  # how much smaller a LoRA's second matrix is drawn


def weight_of(name: str, shape: tuple[int, ...], seed: int = 0, spread: float = SPREAD) -> Tensor:
    """The float32 weight of that name and shape: seeded by the CRC of the name, scaled by its fan-in.

    Weights of one dimension whose name ends with "weight" are norms, spread around 1; the others are biases.
    """
    number = (zlib.crc32(name.encode()) + seed) & 0xFFFFFFFF
    drawn = torch.randn(tuple(shape), generator=torch.Generator("cpu").manual_seed(number))
    if len(shape) > 1:
        return drawn * (math.prod(shape[1:]) ** -0.5 * (LORA_SHARE if ".lora_B." in name else 1.0))
    return 1.0 + spread * drawn if name.endswith("weight") else 0.02 * drawn


def fill(shapes: Mapping[str, tuple[int, ...]], seed: int = 0, spread: float = SPREAD) -> dict[str, Tensor]:
    """Weights of all names; position tables are not filled (they are computed), and are left out."""
    return {
        name: weight_of(name, shape, seed, spread)
        for name, shape in shapes.items()
        if not name.endswith(".pos_encoder.pe")
    }
