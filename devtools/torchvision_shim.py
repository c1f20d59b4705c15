"""Let a CPU build of torch import a torchvision whose operators do not fit it. Runs inside the environment.

torchvision describes the shapes of two of its operators when it is imported, and fails when they do not
exist. Where torch is a CPU build and the operators cannot be loaded, they are defined here by name. Calling
them is an error, and nothing in ComfyUI or this pack does.
"""

import importlib.util
import sys
from pathlib import Path

OPERATORS = ("nms", "qnms")
SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_kept = []  # the definitions live as long as the library object


def is_cpu_build() -> bool:
    """Whether torch was built for no GPU at all, told from its version file without importing it."""
    spec = importlib.util.find_spec("torch")
    if spec is None or sys.platform == "darwin":
        return False
    version = {}
    for line in (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8").splitlines():
        name, separator, value = line.partition("=")
        if separator:
            version[name.split(":")[0].strip()] = value.strip()
    return all(version.get(kind, "None") == "None" for kind in ("cuda", "hip", "xpu"))


def operators_load() -> bool:
    """Whether the operators are there already, or torchvision's own can be loaded into this torch."""
    import torch

    if hasattr(torch.ops.torchvision, OPERATORS[0]):
        return True
    folder = Path(importlib.util.find_spec("torchvision").origin).parent
    for library in (*folder.glob("_C*.so"), *folder.glob("_C*.pyd")):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            return False
        return True
    return False


def install() -> bool:
    """Define the operators if, and only if, they are needed; call it before torchvision is imported.

    Returns True when they were defined here; does nothing a second time, or without torchvision.
    """
    if "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is None:
        return False
    if not is_cpu_build() or operators_load():
        return False
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in OPERATORS:
        library.define(name + SIGNATURE)
    _kept.append(library)
    return True
