"""Image Conductor's guidance: noise predictions, and what Eq. 5 and the other form make of them."""

import re
from collections.abc import Iterator
from pathlib import Path

from safetensors.torch import load_file

from core.guidance import Pair, camera_free, classifier_free

from .finding import Finding, relative


def check_camera_free(path: Path) -> Iterator[Finding]:
    """Every `FORM_cfgA_trajsB` and `code_object_mode_cfgA` from the four predictions in the file."""
    data = load_file(path)
    base = Pair(data["eps_base_cond"], data["eps_base_uncond"])
    driven = Pair(data["eps_obj_cond"], data["eps_obj_uncond"])
    for name, reference in data.items():
        if found := re.fullmatch(r"(\w+)_cfg([\d.]+)_trajs([\d.]+)", name):
            ours = camera_free(found[1], base, driven, float(found[2]), float(found[3]))
        elif found := re.fullmatch(r"code_object_mode_cfg([\d.]+)", name):
            ours = classifier_free(driven, float(found[1]))
        else:
            continue
        yield Finding(name, relative(ours, reference))
