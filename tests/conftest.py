"""Shared fixtures: the pack importable as `choreographer`, and a real ComfyUI in this process.

The repository root is registered as a package without running its `__init__` (which needs a host), so the
tests of `core/` run where ComfyUI does not exist.
"""

import os
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACK = "choreographer"

# `python -m pytest` puts the current folder in front, where our `nodes/` would hide ComfyUI's `nodes.py`
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]

if PACK not in sys.modules:
    pack = types.ModuleType(PACK)
    pack.__path__ = [str(ROOT)]
    sys.modules[PACK] = pack

from choreographer.devtools import torchvision_shim  # noqa: E402

torchvision_shim.install()  # before a test imports diffusers or transformers, which import torchvision


def pytest_collection_modifyitems(items):
    """Skip what needs a CUDA device where there is none; torch is imported only when such a test is there."""
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def comfy_path() -> Path:
    """The folder of a real ComfyUI."""
    path = os.environ.get("COMFYUI_PATH")
    if not path:
        pytest.skip("COMFYUI_PATH is not set; `python dev.py test` sets it")
    assert (Path(path) / "main.py").is_file(), f"COMFYUI_PATH is {path}, and there is no ComfyUI in it"
    return Path(path)


@pytest.fixture(scope="session")
def comfy_host(comfy_path) -> Path:
    """A real ComfyUI, imported into this process, on the CPU where there is no CUDA device; its folder."""
    from choreographer.devtools.pack import import_host

    return import_host()
