"""Manifests of published files, a small UNet of diffusers, filled models."""

import gzip
import json
from pathlib import Path

import pytest
import torch
from choreographer.devtools.golden_weights import weight_of

DATA = Path(__file__).resolve().parents[1] / "data"
GOLDEN = DATA / "golden" / "image_prompt"


@pytest.fixture(scope="session")
def manifest():
    """Function: name -> state dict of a published file on the device "meta"."""

    def read(name):
        shapes = json.loads(gzip.decompress((DATA / "manifests" / f"{name}.json.gz").read_bytes()))
        return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}

    return read


@pytest.fixture(scope="session")
def filled():
    """Function: fill every weight of a module."""

    def fill(module):
        with torch.no_grad():
            for name, weight in module.named_parameters():
                weight.copy_(weight_of(name, weight.shape))
        return module.eval()

    return fill


@pytest.fixture
def unet(filled):
    """A small UNet of diffusers with three levels, the deepest without attention."""
    from choreographer.core.training.base_model import make_unet

    return filled(make_unet(widths=(32, 64, 64), context=24, heads=4))
