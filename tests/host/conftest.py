"""One real ComfyUI server, started the way `dev.py` starts it, for all tests of this folder."""

import sys
from pathlib import Path

import pytest
from choreographer.devtools.host import Host
from choreographer.devtools.links import link_pack, write_model_paths
from choreographer.devtools.setup import FETCHED, Environment

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def environment(comfy_path, tmp_path_factory) -> Environment:
    """This Python, the ComfyUI of COMFYUI_PATH with the pack linked in, and the demo models."""
    pack = link_pack(ROOT, comfy_path / "custom_nodes")
    paths = write_model_paths(ROOT / "demo", tmp_path_factory.mktemp("paths") / "models.yaml", FETCHED)
    return Environment(Path(sys.executable), comfy_path, pack, paths)


@pytest.fixture(scope="session")
def host(environment, tmp_path_factory):
    """The running server, with folders of its own."""
    with Host(environment, tmp_path_factory.mktemp("host")) as running:
        yield running
