"""The video ControlNets of Image Conductor: 12 + 1 residuals; weights follow from their names.

Runs inside the environment.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from core.control.layouts import published_weights, read_video_controlnet
from core.control.network import ControlConfig, VideoControlNet

from .golden_formats.finding import Finding, relative
from .golden_weights import fill

# What a file calls the module whose output it holds. Such a probe may hold the first clips and frames only.
PROBES = {
    "probe_cond_embedding": "controlnet_cond_embedding",
    "probe_conv_in": "conv_in",
    "probe_time_embedding": "time_embedding",
    "probe_down0_resnet0": "down_blocks.0.resnets.0",
    "probe_down0_attn0": "down_blocks.0.attentions.0",
    "probe_down0_motion0": "down_blocks.0.motion_modules.0",
}


def check_video_controlnet(path: Path) -> Iterator[Finding]:
    """Residuals, their slices and statistics, and the probes inside the network, without LoRA."""
    with safe_open(path, "pt") as file:
        about = file.metadata() or {}
    data = load_file(path)
    condition = condition_of(data)
    clips, frames = len(data["encoder_hidden_states"]), condition.shape[1]
    net = golden_net(about, "flow" if "flow" in data else "image")
    seen = watch(net, [key for key in PROBES if key in data])
    with torch.no_grad():
        down, mid = net(
            condition, data["timestep"], data["encoder_hidden_states"].repeat_interleave(frames, 0)
        )
    residuals = {**{f"down_{i}": x for i, x in enumerate(down)}, "mid": mid}
    strides = data.get("strides", torch.ones(len(residuals), dtype=torch.long)).tolist()
    for (name, x), stride in zip(residuals.items(), strides, strict=True):
        yield from compare(name, x.unflatten(0, (clips, frames)).transpose(1, 2), stride, data)
    for name, x in seen.items():
        yield Finding(name, relative(like(x, data[name], frames), data[name]))


def golden_net(about: dict[str, str], kind: str) -> VideoControlNet:
    """The network that a file's metadata describes, filled; a `config` that is no JSON means SD1.5's size."""
    text = about.get("config", "")
    sizes = json.loads(text) if text.startswith("{") else {}
    config = ControlConfig(
        channels=tuple(sizes.get("block_out_channels", ControlConfig.channels)),
        context=sizes.get("cross_attention_dim", ControlConfig.context),
        kind=kind,
        condition=2 if kind == "flow" else 5,
    )
    shapes = {name: x.shape for name, x in published_weights(VideoControlNet(config, device="meta")).items()}
    return read_video_controlnet(fill(shapes, int(about.get("seed", 0)))).eval()


def condition_of(data: dict[str, Tensor]) -> Tensor:
    """The condition B F C H W: the flow, or latents of frame 0 with the mask of each frame."""
    if "flow" in data:
        return data["flow"].transpose(1, 2)
    latent, mask = data["image_latent_frame0"], data["mask_frame_values"]
    clips, channels, height, width = latent.shape
    condition = latent.new_zeros(clips, len(mask), channels + 1, height, width)
    condition[:, 0, :channels] = latent
    condition[:, :, channels] = mask[:, None, None]
    return condition


def compare(name: str, ours: Tensor, stride: int, data: dict[str, Tensor]) -> Iterator[Finding]:
    """One residual B C F H W with what the file has of it: all of it, each `stride`-th value, statistics."""
    if name in data:
        yield Finding(name, relative(ours, data[name]))
    if f"{name}_slice" in data:
        yield Finding(f"{name}_slice", relative(ours.flatten()[::stride], data[f"{name}_slice"]))
    if f"{name}_stats" in data:
        mean, spread, largest, power = data[f"{name}_stats"].double()
        x = ours.double()
        yield Finding(f"{name}_stats mean", float((x.mean() - mean).abs() / spread))  # the mean may be near 0
        yield Finding(f"{name}_stats spread", relative(x.std(), spread))
        yield Finding(f"{name}_stats max", relative(x.abs().max(), largest))
        yield Finding(f"{name}_stats squares", relative(x.square().sum(), power))


def watch(net: VideoControlNet, probes: list[str]) -> dict[str, Tensor]:
    """A dictionary that gets the outputs of the probed modules when the network runs."""
    seen = {}
    for probe in probes:

        def keep(module, inputs, output, probe=probe):
            seen[probe] = output

        net.get_submodule(PROBES[probe]).register_forward_hook(keep)
    return seen


def like(ours: Tensor, reference: Tensor, frames: int) -> Tensor:
    """Our output of a module in the axes of `reference`, cut to its first clips and frames.

    Ours has one entry where all of the batch share it: the time embedding, and zero latents in one cell.
    """
    if reference.ndim == 2:
        return ours.expand_as(reference)
    if len(ours) > 1:
        return ours.unflatten(0, (-1, frames)).transpose(1, 2)[: reference.shape[0], :, : reference.shape[2]]
    return ours.unsqueeze(2).expand_as(reference)
