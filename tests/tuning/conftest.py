"""A small diffusers UNet with seeded weights, and manifests of published files."""

import gzip
import json
from pathlib import Path

import pytest
import torch
from choreographer.core.training.base_model import make_unet
from choreographer.devtools.golden_weights import weight_of

MANIFESTS = Path(__file__).resolve().parents[1] / "data" / "manifests"


def filled(module):
    """Seeded weights everywhere, those that start at zero included."""
    with torch.no_grad():
        for name, weight in module.named_parameters():
            weight.copy_(weight_of(name, weight.shape))
    return module.eval()


@pytest.fixture(scope="session")
def unet():
    return filled(make_unet((32, 64), context=24, heads=4)).requires_grad_(False)


@pytest.fixture(scope="session")
def manifest():
    """Function: name -> state dict of a published file on the device "meta"."""

    def read(name):
        shapes = json.loads(gzip.decompress((MANIFESTS / f"{name}.json.gz").read_bytes()))
        return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}

    return read
