"""Uni-ControlNet files, whose names are those of the original Stable Diffusion code.

A file may hold a whole Stable Diffusion besides; only `local_adapter.` and `global_adapter.` are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from ..files import read_weights, unwrap, write_weights
from ..motion.detect import TITLES, detect_layout
from ..motion.layouts import OWN
from .network import UniConfig, UniControlNet

LOCAL, GLOBAL = "local_adapter.", "global_adapter."
OWN_FIELDS = ("heads", "norm_groups", "content_of")  # what shapes do not show; files of ours say it
FIRST = "local_adapter.input_blocks.0.0.weight"
MODULATED = {"norm1": "norm_in", "norm2": "norm_out"}
RESBLOCK = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
    "conv": "op",  # of a downsampler
}


def read_uni_controlnet(source, ops=nn, device=None, dtype=None) -> UniControlNet:
    """Read a Uni-ControlNet from a path or a state dict: published files, and our own.

    Layers come from `ops`, weights go to `device` and `dtype` (None: as in the file). Raises ValueError,
    naming what a file is or where it differs.
    """
    if isinstance(source, Mapping):
        state, metadata, name = unwrap(dict(source)), {}, "the state dict"
    else:
        (state, metadata), name = read_weights(source), Path(source).name
    found = {key: tensor for key, tensor in state.items() if key.startswith((LOCAL, GLOBAL))}
    if FIRST not in found:
        looks = TITLES.get(detect_layout(state))
        raise ValueError(
            f"'{name}' is not a Uni-ControlNet: expected keys such as {FIRST}, "
            f"got {', '.join(list(state)[:3])}" + (f"; it looks like {looks}" if looks else "")
        )
    net = UniControlNet(_config(found, json.loads(metadata.get(OWN, "{}")), name), ops=ops, device="meta")
    names = published_names(net)
    _check(found, {theirs: net.state_dict()[ours] for ours, theirs in names.items()}, name)
    weights = {ours: found[theirs].to(device=device, dtype=dtype) for ours, theirs in names.items()}
    net.load_state_dict(weights, assign=True)
    return net


def save_uni_controlnet(net: UniControlNet, path, metadata: Mapping | None = None) -> None:
    """Write a net under published names; what shapes do not show, and `metadata`, go into the metadata."""
    sizes = {name: getattr(net.config, name) for name in OWN_FIELDS}
    text = json.dumps({**(metadata or {}), **sizes})
    write_weights(published_weights(net), path, {"format": "pt", OWN: text})


def published_weights(net: UniControlNet) -> dict[str, Tensor]:
    """A net's weights under published names; with one on the device "meta" it tells names and shapes."""
    weights = net.state_dict()
    return {theirs: weights[ours] for ours, theirs in published_names(net).items()}


def published_names(net: UniControlNet) -> dict[str, str]:
    """Our name of each weight -> the published one."""
    return {key: _published(key, net) for key in net.state_dict()}


def _published(key: str, net: UniControlNet) -> str:
    half, _, rest = key.partition(".")
    if half == "content":
        return GLOBAL + re.sub(r"^(ff\d)\.(\d)", lambda m: f"{m[1]}.net.{2 * int(m[2])}", rest)
    part, _, rest = rest.partition(".")
    if part == "time_embedding":
        return f"{LOCAL}time_embed.{2 * (int(rest[7]) - 1)}{rest[8:]}"
    if part == "feature_extractor":
        return LOCAL + part + "." + _extractor(rest)
    number, _, rest = rest.partition(".")
    if part == "zero_convs":
        last = int(number) == len(net.local.input_blocks)
        return f"{LOCAL}middle_block_out.0.{rest}" if last else f"{LOCAL}zero_convs.{number}.0.{rest}"
    if part == "middle_block":
        return f"{LOCAL}middle_block.{number}.{_layer(rest, RESBLOCK)}"
    place, _, rest = rest.partition(".")
    first_of_level = int(number) % (net.config.layers_per_block + 1) == 1
    names = {**RESBLOCK, **MODULATED} if first_of_level else RESBLOCK
    return f"{LOCAL}input_blocks.{number}.{place}.{_layer(rest, names)}"


def _extractor(rest: str) -> str:
    part, number, kind = rest.split(".")
    if part == "stem":
        return f"pre_extractor.{2 * int(number)}.{kind}"  # every other one is a SiLU
    return f"extractors.{number}.0.{kind}" if part == "levels" else f"zero_convs.{number}.{kind}"


def _layer(rest: str, names: Mapping[str, str]) -> str:
    if rest.startswith("transformer_blocks."):
        return rest
    head, _, tail = rest.partition(".")
    return f"{names.get(head, head)}.{tail}" if tail else rest


def _config(state: Mapping[str, Tensor], own: Mapping, name: str) -> UniConfig:
    """The configuration that shapes show."""
    takes_maps = re.compile(r"input_blocks\.(\d+)\.0\.norm_in\.conv_gamma\.weight")
    modulated = sorted(int(found[1]) for key in state if (found := takes_maps.search(key)))
    if len(modulated) < 2:
        raise ValueError(f"'{name}' lacks the layers of a Uni-ControlNet that take in the maps (norm_in)")
    firsts = [f"{LOCAL}input_blocks.{number}" for number in modulated]
    texts = [key for key in state if key.startswith(LOCAL) and key.endswith("attn2.to_k.weight")]
    content = state.get(f"{GLOBAL}norm1.weight")
    return UniConfig(
        channels=tuple(_shape(state, f"{first}.0.in_layers.2.weight", name)[0] for first in firsts),
        attends=tuple(f"{first}.1.norm.weight" in state for first in firsts),
        layers_per_block=modulated[1] - modulated[0] - 1,
        context=_shape(state, texts[0] if texts else "attn2.to_k.weight", name)[1],
        latent=_shape(state, FIRST, name)[1],
        features=tuple(_shape(state, f"{first}.0.norm_in.conv_gamma.weight", name)[1] for first in firsts),
        content=0 if content is None else len(content),
        **{field: own[field] for field in OWN_FIELDS if field in own},
    )


def _shape(state: Mapping[str, Tensor], key: str, name: str) -> tuple[int, ...]:
    if key not in state:
        raise ValueError(f"'{name}' is a Uni-ControlNet that lacks {key}")
    return tuple(state[key].shape)


def _check(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], name: str) -> None:
    """Raise ValueError naming missing, unexpected and misshaped keys."""
    differ = [f"missing {key}" for key in expected if key not in found]
    differ += [f"unexpected {key}" for key in found if key not in expected]
    differ += [
        f"{key} is {tuple(t.shape)}, expected {tuple(expected[key].shape)}"
        for key, t in found.items()
        if key in expected and t.shape != expected[key].shape
    ]
    if differ:
        raise ValueError(f"'{name}' is nearest to a Uni-ControlNet, but differs at: {'; '.join(differ[:5])}")
