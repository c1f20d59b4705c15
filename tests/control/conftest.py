"""Small video ControlNets with random weights, manifests of published files, golden files."""

import gzip
import json
from pathlib import Path

import pytest
import torch
from choreographer.core.control.network import ControlConfig, VideoControlNet
from choreographer.devtools.golden_weights import weight_of

DATA = Path(__file__).resolve().parents[1] / "data"
SMALL = {"channels": (32, 64, 64), "attends": (True, True, False), "context": 24, "heads": 4}


@pytest.fixture(scope="session")
def golden_folder():
    return DATA / "golden" / "image_conductor"


@pytest.fixture(scope="session")
def manifest():
    """Function: name -> state dict of a published file on the device "meta"."""

    def read(name):
        shapes = json.loads(gzip.decompress((DATA / "manifests" / f"{name}.json.gz").read_bytes()))
        return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}

    return read


@pytest.fixture(scope="session")
def filled():
    """Function: fill every weight of a module, those that start at zero included."""

    def fill(module):
        with torch.no_grad():
            for name, weight in module.named_parameters():
                weight.copy_(weight_of(name, weight.shape))
        return module.eval()

    return fill


@pytest.fixture(scope="session")
def small(filled):
    """Function: kind -> a small network with random weights."""

    def make(kind="image"):
        condition = {"image": 5, "pixels": 4, "flow": 2}[kind]
        return filled(VideoControlNet(ControlConfig(**SMALL, kind=kind, condition=condition)))

    return make
