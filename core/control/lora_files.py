"""Image Conductor's LoRA weights in files: together with the base, or each part in a file of its own.

A layer's base weights are `<layer>.base_layer.weight` there, its LoRAs `<layer>.lora_A.cmcm_weights.weight`
(camera), `...omcm_weights...` (object) and `lora_B` alike. Our motion modules compute q, k and v in one
layer: their three LoRAs become one branch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..files import write_weights
from ..motion.layouts import part_names
from ..motion.transformer import TemporalTransformer
from .lora import ROLES, SwitchableLora, lora_layers
from .network import VideoControlNet

ADAPTERS = {"camera": "cmcm_weights", "object": "omcm_weights"}  # what the files call the roles
_ROLES = {adapter: role for role, adapter in ADAPTERS.items()}
_KEY = re.compile(r"^(?P<layer>.+)\.lora_(?P<side>[AB])\.(?P<adapter>[^.]+)\.weight$")
_WRAPPED = ".base_layer."
Pairs = dict[str, dict[str, Tensor]]  # published name of a layer -> {"A": ..., "B": ...}


def split_lora(state: Mapping[str, Tensor], name: str) -> tuple[dict[str, Tensor], dict[str, Pairs]]:
    """Base weights under their plain names, and the LoRA matrices by role and layer.

    Raises ValueError for a LoRA that is neither of the two.
    """
    base: dict[str, Tensor] = {}
    loras: dict[str, Pairs] = {}
    for key, tensor in state.items():
        if ".lora_" not in key:
            base[key.replace(_WRAPPED, ".")] = tensor
            continue
        match = _KEY.match(key)
        if match is None or match["adapter"] not in _ROLES:
            raise ValueError(
                f"'{name}' has an unexpected LoRA weight {key}; expected lora_A and lora_B of "
                f"{' and '.join(_ROLES)}"
            )
        loras.setdefault(_ROLES[match["adapter"]], {}).setdefault(match["layer"], {})[match["side"]] = tensor
    return base, loras


def published_layers(net: VideoControlNet) -> dict[str, tuple[str, int | None]]:
    """Published names of the layers with LoRA -> (our name, which third of the fused q, k, v or None)."""
    layers, names = lora_layers(net), {}
    sites = [site for site, module in net.named_modules() if isinstance(module, TemporalTransformer)]
    for name in layers:
        if not name.startswith(tuple(f"{site}." for site in sites)):
            names[name] = (name, None)
    for site in sites:
        attentions = len(net.get_submodule(site).attentions)
        for theirs, (ours, third) in part_names(attentions).items():
            layer = f"{site}.{ours.removesuffix('.weight')}"
            if layer in layers:  # biases and norms are not
                names[f"{site}.temporal_transformer.{theirs.removesuffix('.weight')}"] = (layer, third)
    return names


def load_lora(
    net: VideoControlNet, role: str, pairs: Pairs, name: str, ops=nn, device=None, dtype=None
) -> None:
    """Give `net`, whose weights are loaded, the LoRA of a role; `net.lora.gaps` gets the layers it lacks.

    Layers it lacks have no branch; where only some of q, k and v are there, the others add zero. Raises
    ValueError for layers that the net has not, a lone A or B, and shapes that do not fit.
    """
    names = published_layers(net)
    _check_pairs(names, pairs, name, role)
    net.lora = net.lora or SwitchableLora()
    ours: dict[str, dict[int | None, dict[str, Tensor]]] = {}
    for theirs, pair in pairs.items():
        layer, third = names[theirs]
        ours.setdefault(layer, {})[third] = pair
    ranks = {layer: len(next(iter(parts.values()))["A"]) for layer, parts in ours.items()}
    net.lora.add(net, role, ranks, ops=ops, device="meta")
    for layer, branch in net.lora.branches(role).items():
        weights = _branch_weights(ours[layer], len(branch.ups))
        _check_shapes(weights, branch.state_dict(), f"'{name}' has a misshaped {role} LoRA at {layer}")
        cast = {key: tensor.to(device=device, dtype=dtype) for key, tensor in weights.items()}
        branch.load_state_dict(cast, assign=True)
    net.lora.gaps[role] = tuple(theirs for theirs in names if theirs not in pairs)


def _check_pairs(names: Mapping[str, tuple], pairs: Pairs, name: str, role: str) -> None:
    wrong = [f"unexpected {layer}" for layer in pairs if layer not in names]
    wrong += [
        f"no lora_{side} of {layer}" for layer, pair in pairs.items() for side in "AB" if side not in pair
    ]
    if wrong:
        raise ValueError(f"The {role} LoRA of '{name}' does not fit this ControlNet: {'; '.join(wrong[:5])}")


def _branch_weights(parts: Mapping[int | None, Mapping[str, Tensor]], count: int) -> dict[str, Tensor]:
    """State dict of one branch from the matrices of its layer, or of q, k and v."""
    if None in parts:
        return {"down.weight": parts[None]["A"], "ups.0.weight": parts[None]["B"]}
    some = next(iter(parts.values()))
    zero = {side: torch.zeros_like(some[side]) for side in "AB"}
    thirds = [parts.get(third, zero) for third in range(count)]
    return {
        "down.weight": torch.cat([third["A"] for third in thirds]),
        **{f"ups.{i}.weight": third["B"] for i, third in enumerate(thirds)},
    }


def _check_shapes(weights: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    for key, tensor in weights.items():
        if tensor.shape != expected[key].shape:
            raise ValueError(f"{what}: expected {tuple(expected[key].shape)}, got {tuple(tensor.shape)}")


def lora_weights(net: VideoControlNet, role: str) -> dict[str, Tensor]:
    """The LoRA of a role under its published names; on the device "meta" it tells the names and shapes."""
    adapter, weights = ADAPTERS[role], {}
    branches = {} if net.lora is None else net.lora.branches(role)
    for theirs, (ours, third) in published_layers(net).items():
        if ours in branches:
            branch = branches[ours]
            down = branch.down.weight if third is None else branch.down.weight.chunk(len(branch.ups))[third]
            weights[f"{theirs}.lora_A.{adapter}.weight"] = down
            weights[f"{theirs}.lora_B.{adapter}.weight"] = branch.ups[third or 0].weight
    return weights


def wrapped_weights(net: VideoControlNet, base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Base weights under published names, and all LoRAs of `net`, as in Image Conductor's single file."""
    layers, wrapped = published_layers(net), {}
    for key, tensor in base.items():
        layer, _, kind = key.rpartition(".")
        wrapped[f"{layer}{_WRAPPED}{kind}" if layer in layers else key] = tensor
    for role in ROLES:
        wrapped.update(lora_weights(net, role))
    return wrapped


def save_lora(net: VideoControlNet, role: str, path: str | Path) -> None:
    """Write one LoRA of `net` as safetensors, for `read_video_controlnet(..., parts=[path])`.

    Raises ValueError when the net has none of that role.
    """
    weights = lora_weights(net, role)
    if not weights:
        raise ValueError(f"The ControlNet has no {role} LoRA to write")
    write_weights(weights, path, {"format": "pt"})
