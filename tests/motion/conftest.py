"""Manifests (key -> shape) of published files, and random motion models."""

import gzip
import json
from pathlib import Path

import pytest
import torch

MANIFESTS = Path(__file__).resolve().parents[1] / "data" / "manifests"


@pytest.fixture(scope="session")
def manifest():
    """Function: name -> state dict of zero-stride fp32 tensors of the published shapes (no memory)."""

    def read(name, device="cpu"):
        shapes = json.loads(gzip.decompress((MANIFESTS / f"{name}.json.gz").read_bytes()))
        if device == "meta":
            return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
        return {key: torch.full((), 0.01).expand(shape) for key, shape in shapes.items()}

    return read


@pytest.fixture
def random_weights():
    """Function: fill every parameter of a module with seeded noise, proj_out included."""

    def fill(module, seed=0):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in module.named_parameters():
                spread = weight[0].numel() ** -0.5 if weight.ndim > 1 else 0.1
                weight.copy_(torch.randn(weight.shape, generator=generator) * spread)
                if weight.ndim == 1 and name.endswith("weight"):
                    weight.add_(1.0)
        return module

    return fill
