"""Video ControlNet files: SparseCtrl, Image Conductor's image and flow nets, diffusers' folders.

All name the encoder's weights as ours are named; only the motion modules' are turned into ours, by the same
table as motion module files. LoRA weights are in `lora_files`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from ..files import CONFIG, read_weights, unwrap
from ..motion.detect import detect_layout, refusal
from ..motion.layouts import fuse_module, part_names, site_key
from ..motion.transformer import TemporalTransformer
from .lora import PREFIX, ROLES
from .lora_files import Pairs, load_lora, split_lora
from .network import LATENT_STRIDE, ControlConfig, VideoControlNet

WHAT = "video ControlNet"
LAYOUTS = ("sparsectrl_rgb", "sparsectrl_scribble", "flow_controlnet")
EMBEDDING = "controlnet_cond_embedding"
IMAGE_CHANNELS, FLOW_CHANNELS = 5, 2  # 4 latent + 1 mask; dx, dy
# What diffusers' SparseControlNetModel could also be told to compute, and we do not.
_FIXED = {
    "act_fn": "silu",
    "controlnet_conditioning_channel_order": "rgb",
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_scale_factor": 1,
    "norm_eps": 1e-5,
    "only_cross_attention": False,
    "resnet_time_scale_shift": "default",
}


def read_video_controlnet(
    source, ops=nn, device=None, dtype=None, parts: Mapping | None = None
) -> VideoControlNet:
    """Read a video ControlNet from a path (file or diffusers folder) or a state dict.

    Knows SparseCtrl RGB and scribble, Image Conductor's image net and its flow net with or without LoRA,
    other widths of these, and diffusers' SparseControlNetModel. `parts` are files (or state dicts) by role,
    "camera" or "object", that hold LoRAs of the net and nothing else; they come before those in `source`.
    Layers come from `ops`, weights go to `device` and `dtype` (None: as in the file). Position tables are
    recomputed, and may be absent; so may LoRAs, wholly or at some layers: see `missing_parts`. Raises
    ValueError, with the nearest layout or the first keys that differ, for anything else.
    """
    state, metadata, name = _read(source)
    layout = detect_layout(state)
    if layout not in LAYOUTS:
        raise ValueError(refusal(name, state, layout, "controlnet", WHAT))
    base, found = split_lora(state, name)
    if not base:
        raise ValueError(
            f"'{name}' holds LoRA weights alone ({', '.join(found)}): load the ControlNet's own file, and "
            "give this one as its LoRA part"
        )
    config = _config(base, metadata, name)
    weights, differ = _weights(base)
    model = VideoControlNet(config, ops=ops, device="meta")
    _check(weights, differ, model.state_dict(), name)
    model.load_state_dict({key: t.to(device=device, dtype=dtype) for key, t in weights.items()}, assign=True)
    loras = {role: (pairs, name) for role, pairs in found.items()}
    loras.update({role: _read_part(role, part) for role, part in (parts or {}).items()})
    for role, (pairs, of) in loras.items():
        load_lora(model, role, pairs, of, ops, device, dtype)
    return model


def _read(source) -> tuple[dict[str, Tensor], Mapping[str, str], str]:
    """Tensors, metadata and name of a path or a state dict."""
    if isinstance(source, Mapping):
        return unwrap(dict(source)), {}, "the state dict"
    return *read_weights(source), Path(source).name


def _read_part(role: str, source) -> tuple[Pairs, str]:
    """LoRA matrices of a role, and the name of their file; raises ValueError for a file of other weights."""
    state, _, name = _read(source)
    base, found = split_lora(state, name)
    if base:
        raise ValueError(
            f"'{name}' is no LoRA part of a video ControlNet: it has other weights, such as "
            f"{next(iter(base))}"
        )
    if role not in found:
        raise ValueError(f"'{name}' holds the {', '.join(found)} LoRA, expected the {role} LoRA")
    return found[role], name


def missing_parts(model: VideoControlNet) -> list[str]:
    """What a flow net's file and parts did not hold of its LoRAs, a line for each role; [] when complete."""
    lines = []
    for role in ROLES:
        if model.lora is None or role not in model.lora.roles:
            lines.append(f"no {role} LoRA")
        elif gaps := model.lora.gaps.get(role):
            lines.append(f"no {role} LoRA at {len(gaps)} layers: {', '.join(gaps[:5])}")
    return lines if model.config.kind == "flow" else []


def published_weights(model: VideoControlNet) -> dict[str, Tensor]:
    """Weights of `model` under the names of SparseCtrl's and Image Conductor's files, q, k and v apart.

    Position tables and LoRAs are left out (see `lora_files`). `read_video_controlnet` reads it back; with a
    model on the device "meta" it tells the names and shapes of a file.
    """
    weights = {key: t for key, t in model.state_dict().items() if not key.startswith(PREFIX)}
    for site, module in model.named_modules():
        if not isinstance(module, TemporalTransformer):
            continue
        own = {key: weights.pop(f"{site}.{key}") for key in module.state_dict()}
        for theirs, (ours, third) in part_names(len(module.attentions)).items():
            tensor = own[ours] if third is None else own[ours].chunk(3)[third]
            weights[f"{site}.temporal_transformer.{theirs}"] = tensor
    return weights


def _config(state: Mapping[str, Tensor], metadata: Mapping[str, str], name: str) -> ControlConfig:
    """The configuration: from shapes, and from diffusers' `config.json` what shapes do not show."""
    levels = _count(state, r"down_blocks\.(\d+)\.")
    table = next((t for key, t in state.items() if key.endswith((".pos_encoder.pe", ".pos_embed.pe"))), None)
    return ControlConfig(
        channels=tuple(
            _shape(state, f"down_blocks.{i}.resnets.0.conv1.weight", name)[0] for i in range(levels)
        ),
        attends=tuple(_count(state, rf"down_blocks\.{i}\.attentions\.(\d+)\.") > 0 for i in range(levels)),
        layers_per_block=_count(state, r"down_blocks\.0\.resnets\.(\d+)\."),
        context=_shape(state, "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", name)[1],
        latent=_shape(state, "conv_in.weight", name)[1],
        max_frames=ControlConfig.max_frames if table is None else table.shape[-2],
        clip_norm=not any(".temporal_transformer." in key for key in state),  # diffusers' own computation
        **_condition(state, name),
        **(_diffusers_fields(json.loads(metadata[CONFIG]), name) if CONFIG in metadata else {}),
    )


def _condition(state: Mapping[str, Tensor], name: str) -> dict:
    """Fields of the configuration that say what the condition is."""
    if f"{EMBEDDING}.weight" not in state:
        blocks = range(1, _count(state, rf"{EMBEDDING}\.blocks\.(\d+)\."), 2)
        first, entries, *_ = _shape(state, f"{EMBEDDING}.conv_in.weight", name)
        widths = (_shape(state, f"{EMBEDDING}.blocks.{i}.weight", name)[0] for i in blocks)
        return {"kind": "pixels", "condition": entries, "embedding": (first, *widths)}
    entries = _shape(state, f"{EMBEDDING}.weight", name)[1]
    if entries == FLOW_CHANNELS * LATENT_STRIDE**2:
        return {"kind": "flow", "condition": FLOW_CHANNELS}
    if entries == IMAGE_CHANNELS:
        return {"kind": "image", "condition": IMAGE_CHANNELS}
    raise ValueError(
        f"'{name}' embeds a condition of {entries} channels; expected {IMAGE_CHANNELS} (4 latent, 1 mask) or "
        f"{FLOW_CHANNELS * LATENT_STRIDE**2} (flow)"
    )


def _diffusers_fields(config: Mapping, name: str) -> dict[str, int]:
    """Heads and norm groups of a SparseControlNetModel; raises ValueError for what we do not compute."""
    for field, ours in _FIXED.items():
        if config.get(field, ours) != ours:
            raise ValueError(f"'{name}' has {field} {config[field]!r} in its config.json; expected {ours!r}")
    values = {
        # diffusers calls the number of heads `attention_head_dim`
        "heads": config.get("num_attention_heads") or config.get("attention_head_dim"),
        "motion_heads": config.get("motion_num_attention_heads"),
        "norm_groups": config.get("norm_num_groups"),
    }
    for field, value in values.items():
        if isinstance(value, list) and len(set(value)) == 1:
            values[field] = value[0]
        elif value is not None and not isinstance(value, int):
            raise ValueError(f"'{name}' has {field} {value!r} in its config.json; expected one number")
    return {field: value for field, value in values.items() if value is not None}


def _weights(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Our state dict, and what is missing or unexpected in the motion modules."""
    weights, sites, differ = {}, {}, []
    for key, tensor in state.items():
        if (found := site_key(key)) is None:
            weights[key] = tensor
        else:
            sites.setdefault(found[0], {})[found[1]] = tensor
    for site, parts in sites.items():
        fused, missing, unexpected = fuse_module(parts, attentions=1)
        weights.update({f"{site}.{key}": tensor for key, tensor in fused.items()})
        differ += [f"missing {site}.temporal_transformer.{key}" for key in missing]
        differ += [f"unexpected {site}.temporal_transformer.{key}" for key in unexpected]
    return weights, differ


def _check(
    weights: Mapping[str, Tensor], differ: list[str], expected: Mapping[str, Tensor], name: str
) -> None:
    """Raise ValueError naming missing, unexpected and misshaped keys."""
    differ = differ or [
        *(f"missing {key}" for key in expected if key not in weights),
        *(f"unexpected {key}" for key in weights if key not in expected),
    ]
    if differ:
        raise ValueError(f"'{name}' is nearest to a {WHAT}, but differs at: {'; '.join(differ[:5])}")
    for key, tensor in weights.items():
        if tensor.shape != expected[key].shape:
            raise ValueError(
                f"'{name}' has a misshaped weight at {key}: expected {tuple(expected[key].shape)}, "
                f"got {tuple(tensor.shape)}"
            )


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """How many numbers the keys that start with `pattern` have in its group."""
    return len({match[1] for key in state if (match := re.match(pattern, key))})


def _shape(state: Mapping[str, Tensor], key: str, name: str) -> tuple[int, ...]:
    """Shape of a matrix or a kernel; raises ValueError when there is none of that name."""
    if key not in state or state[key].ndim < 2:
        raise ValueError(f"'{name}' is nearest to a {WHAT}, but differs at: missing {key}")
    return tuple(state[key].shape)
