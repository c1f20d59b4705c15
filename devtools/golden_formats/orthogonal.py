"""Image Conductor Eq. 4: how far two LoRAs' matrices are from orthogonal, under both targets."""

import re
from collections.abc import Iterator
from pathlib import Path

from safetensors.torch import load_file

from core.training.losses import orthogonal_loss

from .finding import Finding, relative

TARGETS = {"eq4": "identity", "zero_target": "zero"}


def check_orthogonal(path: Path) -> Iterator[Finding]:
    """`LAYER_TARGET_fro2` for each pair `LAYER_cam`, `LAYER_obj`; `TARGET_mean_over_layers` for all."""
    data = load_file(path)
    pairs = {
        found[1]: (tensor, data[f"{found[1]}_obj"])
        for name, tensor in data.items()
        if (found := re.fullmatch(r"(\w+)_cam", name))
    }
    for theirs, target in TARGETS.items():
        for layer, (camera, obj) in pairs.items():
            ours = orthogonal_loss([camera], [obj], target)
            yield Finding(f"{layer}_{theirs}_fro2", relative(ours[None], data[f"{layer}_{theirs}_fro2"]))
        every = orthogonal_loss(*zip(*pairs.values(), strict=True), target)
        yield Finding(f"{theirs}_mean", relative(every[None], data[f"{theirs}_mean_over_layers"]))
