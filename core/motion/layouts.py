"""Motion module files: turn a layout's keys into ours, and write ours back in the published names.

Two spellings exist for the same weights: AnimateDiff's (`temporal_transformer.`, `attention_blocks.0`,
`norms.0`) and diffusers' (`attn1`, `norm1`). Both are read; AnimateDiff's is written, so that other packs can
read our files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path

import torch
from torch import Tensor, nn

from ..files import CONFIG, read_weights, unwrap, write_weights
from .detect import SITE, detect_layout, refusal
from .model import MotionConfig, MotionModel
from .transformer import position_table

OWN = "choreographer"  # metadata key of our own files: JSON with the configuration and what the writer added
BLOCK = "transformer_blocks.0."
KINDS = ("weight", "bias")
# AnimateDiff v1 has a position table of 24 frames; v2 and v3 have 32.
V1_FRAMES = 24

_FROM_DIFFUSERS = (
    (re.compile(r"\.norm([12])\."), lambda m: f".norms.{int(m[1]) - 1}."),
    (re.compile(r"\.attn([12])\."), lambda m: f".attention_blocks.{int(m[1]) - 1}."),
    (re.compile(r"\.norm3\."), lambda m: ".ff_norm."),
    (re.compile(r"\.pos_embed\.pe$"), lambda m: ".attention_blocks.0.pos_encoder.pe"),
)


def site_key(key: str) -> tuple[str, str] | None:
    """(site name, rest in AnimateDiff's spelling) of a motion module's key; None for other keys."""
    match = SITE.search(key)
    if match is None:
        return None
    rest = match["rest"].removeprefix("temporal_transformer.")
    for pattern, spelling in _FROM_DIFFUSERS:
        rest = pattern.sub(spelling, rest)
    return match["site"], rest


def part_names(attentions: int) -> dict[str, tuple[str, int | None]]:
    """AnimateDiff's names in one module -> (our name, which third of the fused qkv weight or None)."""
    names = {
        f"{layer}.{kind}": (f"{layer}.{kind}", None)
        for layer in ("norm", "proj_in", "proj_out")
        for kind in KINDS
    }
    for index in range(attentions):
        theirs, ours = f"{BLOCK}attention_blocks.{index}", f"attentions.{index}"
        for third, letter in enumerate("qkv"):
            names[f"{theirs}.to_{letter}.weight"] = (f"{ours}.qkv.weight", third)
        for kind in KINDS:
            names[f"{theirs}.to_out.0.{kind}"] = (f"{ours}.out.{kind}", None)
            names[f"{BLOCK}norms.{index}.{kind}"] = (f"{ours}.norm.{kind}", None)
    for theirs, ours in (("ff_norm", "norm"), ("ff.net.0.proj", "expand"), ("ff.net.2", "reduce")):
        for kind in KINDS:
            names[f"{BLOCK}{theirs}.{kind}"] = (f"feed_forward.{ours}.{kind}", None)
    return names


def read_motion_module(source, ops=nn, device=None, dtype=None) -> MotionModel:
    """Read a motion module from a path (file or diffusers folder) or a state dict.

    Knows AnimateDiff v1, v2, v3 and anything of that layout and other widths, also inside a whole UNet;
    diffusers' MotionAdapter; and the pack's own files. Layers come from `ops`, weights go to `device` and
    `dtype` (None: as in the file). Raises ValueError, with the nearest layout and the first keys that differ,
    for anything else.
    """
    if isinstance(source, Mapping):
        state, metadata, name = unwrap(dict(source)), {}, "the state dict"
    else:
        (state, metadata), name = read_weights(source), Path(source).name
    layout = detect_layout(state)
    if layout not in ("animatediff", "diffusers"):
        raise ValueError(refusal(name, state, layout, "animatediff", "motion module"))
    parts = {found: tensor for key, tensor in state.items() if (found := site_key(key)) is not None}
    if not any(site.startswith("down_blocks.0.") and rest == "proj_in.weight" for site, rest in parts):
        raise ValueError(f"'{name}' lacks down_blocks.0.motion_modules.0.temporal_transformer.proj_in.weight")
    config = _config(parts, metadata, layout, Path(name).stem if not isinstance(source, Mapping) else "")
    weights = _fuse(parts, config, name)
    model = MotionModel(config, ops=ops, device="meta")
    model.load_state_dict({key: t.to(device=device, dtype=dtype) for key, t in weights.items()}, assign=True)
    return model


def save_motion_module(
    model: MotionModel, path: str | Path, metadata: Mapping[str, object] | None = None
) -> None:
    """Write `model` as safetensors under AnimateDiff's key names.

    The configuration and `metadata` (JSON values) are in the file's metadata under "choreographer".
    """
    parts = {}
    for (site, width), module in zip(model.config.sites(), model.sites, strict=True):
        own = module.state_dict()
        for theirs, (ours, third) in part_names(model.config.attentions).items():
            tensor = own[ours] if third is None else own[ours].chunk(3)[third]
            parts[f"{site}.temporal_transformer.{theirs}"] = tensor
        table = position_table(model.config.max_frames, width)[None]
        for index in range(model.config.attentions):
            key = f"{site}.temporal_transformer.{BLOCK}attention_blocks.{index}.pos_encoder.pe"
            parts[key] = table.to(own["proj_in.weight"].dtype).clone()
    text = json.dumps({**(metadata or {}), "config": asdict(model.config)})
    write_weights(parts, path, {"format": "pt", OWN: text})


def _config(parts: dict, metadata: Mapping[str, str], layout: str, name: str) -> MotionConfig:
    """The configuration: shapes decide the structure, metadata what shapes do not show."""
    sites = {site for site, _ in parts}
    levels = {site.split(".")[1] for site in sites if site.startswith("down_blocks.")}
    widths = [_width(parts, f"down_blocks.{i}.motion_modules.0") for i in range(len(levels))]
    table = next((t for (_, rest), t in parts.items() if rest.endswith("pos_encoder.pe")), None)
    first = f"{BLOCK}attention_blocks."
    found = {
        "channels": tuple(widths),
        "layers_per_block": sum(site.startswith("down_blocks.0.") for site in sites),
        "attentions": len({rest.split(".")[3] for _, rest in parts if rest.startswith(first)}),
        "mid_block": any(site.startswith("mid_block.") for site in sites),
        "max_frames": 32 if table is None else table.shape[-2],
        "name": name,
        "clip_norm": layout == "diffusers",
    }
    found["shared_norm"] = (
        layout == "animatediff" and found["max_frames"] == V1_FRAMES and not found["mid_block"]
    )
    if CONFIG in metadata:
        found.update(_diffusers_fields(json.loads(metadata[CONFIG])))
    if OWN in metadata:
        known = {field.name for field in fields(MotionConfig)}
        own = {k: v for k, v in json.loads(metadata[OWN]).get("config", {}).items() if k in known}
        found.update(own, channels=tuple(widths), name=name)
    return MotionConfig(**found)


def _diffusers_fields(config: Mapping) -> dict[str, int]:
    names = {
        "motion_num_attention_heads": "heads",
        "motion_norm_num_groups": "norm_groups",
        "motion_max_seq_length": "max_frames",
    }
    return {ours: config[theirs] for theirs, ours in names.items() if isinstance(config.get(theirs), int)}


def _width(parts: dict, site: str) -> int:
    tensor = parts.get((site, "proj_in.weight"))
    return 0 if tensor is None else tensor.shape[0]


def fuse_module(
    parts: Mapping[str, Tensor], attentions: int
) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """State dict of one TemporalTransformer from AnimateDiff's names; the missing and the unexpected names.

    Position tables are left out: they are recomputed.
    """
    names = part_names(attentions)
    missing = [theirs for theirs in names if theirs not in parts]
    unexpected = [theirs for theirs in parts if theirs not in names and not theirs.endswith("pos_encoder.pe")]
    thirds: dict[str, list[Tensor]] = {}
    for theirs, (ours, _) in names.items():  # q, k and v follow each other
        if theirs in parts:
            thirds.setdefault(ours, []).append(parts[theirs])
    weights = {ours: found[0] if len(found) == 1 else torch.cat(found) for ours, found in thirds.items()}
    return weights, missing, unexpected


def _fuse(parts: dict, config: MotionConfig, name: str) -> dict[str, Tensor]:
    """Our state dict; raises ValueError naming missing, unexpected and misshaped keys."""
    sites = [site for site, _ in config.sites()]
    differ = [f"unexpected {site}.{rest}" for site, rest in parts if site not in sites]
    weights = {}
    for index, site in enumerate(sites):
        own = {rest: tensor for (at, rest), tensor in parts.items() if at == site}
        fused, missing, unexpected = fuse_module(own, config.attentions)
        differ += [f"missing {site}.temporal_transformer.{key}" for key in missing]
        differ += [f"unexpected {site}.temporal_transformer.{key}" for key in unexpected]
        weights.update({f"sites.{index}.{key}": tensor for key, tensor in fused.items()})
    if differ:
        raise ValueError(
            f"'{name}' is nearest to the AnimateDiff layout, but differs at: {'; '.join(differ[:5])}"
        )
    _check_shapes(weights, config, name)
    return weights


def _check_shapes(weights: dict[str, Tensor], config: MotionConfig, name: str) -> None:
    expected = MotionModel(config, device="meta").state_dict()
    wrong = [key for key, tensor in weights.items() if tensor.shape != expected[key].shape]
    if wrong:
        index, part = wrong[0].split(".", 2)[1:]
        raise ValueError(
            f"'{name}' has a misshaped weight at {config.sites()[int(index)][0]} ({part}): expected "
            f"{tuple(expected[wrong[0]].shape)}, got {tuple(weights[wrong[0]].shape)}"
        )
