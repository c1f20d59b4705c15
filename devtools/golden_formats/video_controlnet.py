"""The video ControlNets of Image Conductor: 12 + 1 residuals; weights follow from their names.

Runs inside the environment.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from core.control.layouts import published_weights, read_video_controlnet
from core.control.lora import BASE, MIXES, LoraMix, add_lora
from core.control.lora_files import lora_weights
from core.control.network import ControlConfig, VideoControlNet

from ..golden_weights import fill
from .finding import Finding, relative

# What a file calls the module whose output it holds. Such a probe may hold the first clips and frames only.
PROBES = {
    "probe_cond_embedding": "controlnet_cond_embedding",
    "probe_conv_in": "conv_in",
    "probe_time_embedding": "time_embedding",
    "probe_down0_resnet0": "down_blocks.0.resnets.0",
    "probe_down0_attn0": "down_blocks.0.attentions.0",
    "probe_down0_motion0": "down_blocks.0.motion_modules.0",
}
LORA_MIXES = {**MIXES, "both": LoraMix(camera=1.0, object=1.0)}  # by the end of a file's name


def read_golden(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors; what a file says is "as in NAME" comes from the file NAME beside it."""
    with safe_open(path, "pt") as file:
        about = file.metadata() or {}
    data = load_file(path)
    borrowed = re.search(r"([\w, ]+?) as in (\w+)", about.get("config", ""))
    if borrowed:
        other = load_file(path.with_name(f"{borrowed[2]}.safetensors"))
        data.update((key, tensor) for key, tensor in other.items() if key in re.findall(r"\w+", borrowed[1]))
    return about, data


def check_video_controlnet(path: Path) -> Iterator[Finding]:
    """Residuals, their slices and statistics, and the probes inside the network; LoRA as the name says."""
    about, data = read_golden(path)
    lora = re.search(r"_lora_(\w+)$", path.stem)
    mix = LORA_MIXES[lora[1]] if lora else BASE
    condition = condition_of(data)
    clips, frames = len(data["encoder_hidden_states"]), condition.shape[1]
    net = golden_net(about, "flow" if "flow" in data else "image", mix)
    seen = watch(net, [key for key in PROBES if key in data])
    text = data["encoder_hidden_states"].repeat_interleave(frames, 0)
    with torch.no_grad():
        down, mid = net(condition, data["timestep"], text, mix=mix)
    residuals = {**{f"down_{i}": x for i, x in enumerate(down)}, "mid": mid}
    strides = data.get("strides", torch.ones(len(residuals), dtype=torch.long)).tolist()
    for (name, x), stride in zip(residuals.items(), strides, strict=True):
        yield from compare(name, x.unflatten(0, (clips, frames)).transpose(1, 2), stride, data)
    for name, x in seen.items():
        yield Finding(name, relative(like(x, data[name], frames), data[name]))


def sizes_of(about: dict[str, str]) -> dict:
    """Channels and width of the text states that a file's metadata give; none when it is SD1.5's size."""
    text = about.get("config", "")
    sizes = json.loads(text) if text.startswith("{") else {}
    ours = {"block_out_channels": "channels", "cross_attention_dim": "context"}
    named = {ours[key]: value for key, value in sizes.items() if key in ours}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in named.items()}


def golden_net(about: dict[str, str], kind: str, mix: LoraMix = BASE) -> VideoControlNet:
    """The network that a file's metadata describes, filled, with the LoRAs that `mix` needs."""
    config = ControlConfig(**sizes_of(about), kind=kind, condition=2 if kind == "flow" else 5)
    empty = VideoControlNet(config, device="meta")
    named = dict(published_weights(empty))
    rank = about.get("lora_rank") or re.findall(r"rank (\d+)|$", about.get("config", ""))[0]
    for role in mix.acting:
        add_lora(empty, role, int(rank), device="meta")
        named.update(lora_weights(empty, role))
    shapes = {name: tensor.shape for name, tensor in named.items()}
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
