"""The pack and a real ComfyUI in this process, for measuring scripts and tests. Runs inside the environment.

The repository's root becomes the package `choreographer` without running its `__init__`, which needs a host.
"""

import os
import sys
import types
from pathlib import Path

from . import torchvision_shim

ROOT = Path(__file__).resolve().parent.parent
PACK = "choreographer"


def register_pack():
    """Make `import choreographer.core...` work."""
    if PACK not in sys.modules:
        pack = types.ModuleType(PACK)
        pack.__path__ = [str(ROOT)]
        sys.modules[PACK] = pack


def import_host():
    """Import ComfyUI from COMFYUI_PATH, on the CPU where there is no CUDA device; returns its folder."""
    path = os.environ["COMFYUI_PATH"]
    # the repository's own folder goes: there our `nodes/` would hide ComfyUI's `nodes.py`
    sys.path[:] = [
        path,
        *(entry for entry in sys.path if Path(entry or ".").resolve() not in (ROOT, Path(path))),
    ]
    torchvision_shim.install()
    import torch
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
    import comfy.model_management
    import comfy.sd  # noqa: F401

    # now, as main.py does: once imported, the nodes.py of ComfyUI puts comfy/utils.py in front
    import utils.json_util  # noqa: F401

    return Path(path)
