"""What OpenCV's flow, edges, mixing and warping give, and our use of them. Runs inside the environment."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from core.control_modes.flow import farneback, remap, way_back
from core.control_modes.maps import canny, mix

from .finding import Finding, relative

FLOW_BOUND = 1e-5
GAUSSIAN = 256  # OpenCV's flag
VARIANTS = {"gaussian": {"flags": GAUSSIAN}, "poly7_lev1": {"poly_n": 7, "poly_sigma": 1.5, "levels": 1}}


def check_flow_edges(path: Path) -> Iterator[Finding]:
    """`flow_AB[_variant]`, `warp_A_to_B`, `consistency_BA`, `canny_A_LOW_HIGH`, `addweighted_[grey_]tT`."""
    with safe_open(path, "pt") as file:
        base = json.loads((file.metadata() or {}).get("farneback", "{}"))
    data = load_file(path)
    for key, reference in data.items():
        if made := re.fullmatch(r"flow_(\w)(\w)(?:_(\w+))?", key):
            ours = farneback(*_pictures(data, made[1], made[2]), **{**base, **VARIANTS.get(made[3], {})})
            yield Finding(key, relative(ours.permute(1, 2, 0), reference), FLOW_BOUND)
        elif made := re.fullmatch(r"warp_(\w)_to_(\w)", key):
            ours = remap(data[made[1]].numpy(), _flow(data, made[2] + made[1]))
            yield Finding(key, relative(ours, reference), 0.0)
        elif made := re.fullmatch(r"consistency_(\w)(\w)", key):
            ours = way_back(_flow(data, made[1] + made[2]), _flow(data, made[2] + made[1]))
            yield Finding(key, relative(ours, reference), FLOW_BOUND)
        elif made := re.fullmatch(r"canny_(\w)_(\d+)_(\d+)", key):
            ours = canny(data[made[1]].numpy(), float(made[2]), float(made[3]))
            yield Finding(key, relative(ours, reference), 0.0)
        elif made := re.fullmatch(r"addweighted_(grey_)?t([\d.]+)", key):
            yield Finding(key, relative(_mixed(data, bool(made[1]), float(made[2])), reference), 0.0)


def _pictures(data: dict[str, Tensor], *names: str) -> list[np.ndarray]:
    return [data[name].numpy() for name in names]


def _flow(data: dict[str, Tensor], pair: str) -> Tensor:
    return data[f"flow_{pair}"].permute(2, 0, 1).contiguous()


def _mixed(data: dict[str, Tensor], pictures: bool, t: float) -> Tensor:
    """The two pictures, or the first edge map of each, mixed."""
    found = [data["a"], data["b"]]
    if not pictures:
        found = [next(data[key] for key in sorted(data) if key.startswith(f"canny_{x}_")) for x in "ab"]
    first, second = (picture[..., None].expand(-1, -1, 3) for picture in found)
    return (mix(first, second, _third(t)) * 255).round()[..., 0]


def _third(t: float) -> float:
    """A share that a name gives with three digits."""
    return next((part / 3 for part in (1, 2) if abs(part / 3 - t) < 1e-3), t)
