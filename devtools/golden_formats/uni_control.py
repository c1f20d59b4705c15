"""Uni-ControlNet: features, residuals, content tokens, and the noise of the host's UNet with all of it.

Runs inside the environment, on a real ComfyUI's UNet.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from core.uni_control.layouts import published_weights, read_uni_controlnet
from core.uni_control.network import UniConfig, UniControlNet

from .. import pack
from ..golden_weights import fill
from .finding import Finding, relative
from .image_prompt import SPREAD, read_golden

UNET = "model.diffusion_model."


def check_uni_controlnet(path: Path) -> Iterator[Finding]:
    """`featN`, `outN`, `global_tokens` and `eps`."""
    about, data = read_golden(path)
    config = json.loads(about["config"])
    net = golden_net(about, config, data["clip"].shape[1])
    with torch.no_grad():
        for number, ours in enumerate(net.local.feature_extractor(data["local_conditions"])):
            yield Finding(f"feat{number}", relative(ours, data[f"feat{number}"]))
        tokens = net.content(data["clip"])
        yield Finding("global_tokens", relative(tokens, data["global_tokens"]))
        time = torch.tensor([float(about["timestep"])])
        text = torch.cat((data["txt"], float(about["global_strength"]) * tokens), dim=1)
        plain = net.local(data["x"], time, text, data["local_conditions"])
        for number, ours in enumerate((*plain.down, plain.mid)):
            yield Finding(f"out{number}", relative(ours, data[f"out{number}"]))
        strength = float(about["local_scales"])
        residuals = net.local(data["x"], time, text, data["local_conditions"], strength)
        unet = host_unet(about, config)
        control = {"output": list(residuals.down), "middle": [residuals.mid]}
        ours = unet(data["x"], time, context=text, control=control, transformer_options={})
    yield Finding("eps", relative(ours, data["eps"]))


def golden_net(about: Mapping[str, str], config: Mapping, content: int) -> UniControlNet:
    """The filled net, read as a file of it is."""
    levels = [2**level for level in range(len(config["channel_mult"]))]
    sizes = UniConfig(
        channels=tuple(config["model_channels"] * factor for factor in config["channel_mult"]),
        attends=tuple(level in config["attention_resolutions"] for level in levels),
        layers_per_block=config["num_res_blocks"],
        context=config["context_dim"],
        latent=config["in_channels"],
        heads=config["num_heads"],
        features=tuple(config["inject_channels"]),
        content=content,
    )
    named = filled(about, published_weights(UniControlNet(sizes, device="meta")))
    net = read_uni_controlnet(named)
    read = UniControlNet(sizes)  # with the heads, which files do not tell
    read.load_state_dict(net.state_dict())
    return read.eval()


def filled(about: Mapping[str, str], weights: Mapping[str, Tensor], part: str = "") -> dict[str, Tensor]:
    """Weights by the file's rule, under the names of `weights`; `part` stands before them in the file."""
    prefix = about["prefix"].replace("<key>", "") + part
    shapes = {prefix + name: tensor.shape for name, tensor in weights.items()}
    found = fill(shapes, int(about.get("seed", 0)), SPREAD)
    return {name.removeprefix(prefix): tensor for name, tensor in found.items()}


def host_unet(about: Mapping[str, str], config: Mapping):
    """ComfyUI's own UNet of these sizes, filled."""
    pack.import_host()
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    layers, levels = config["num_res_blocks"], len(config["channel_mult"])
    attends = [int(2**level in config["attention_resolutions"]) for level in range(levels)]
    unet = UNetModel(
        image_size=32,
        in_channels=config["in_channels"],
        model_channels=config["model_channels"],
        out_channels=config["in_channels"],
        num_res_blocks=[layers] * levels,
        channel_mult=tuple(config["channel_mult"]),
        num_heads=config["num_heads"],
        use_spatial_transformer=True,
        transformer_depth=[depth for depth in attends for _ in range(layers)],
        transformer_depth_output=[depth for depth in attends for _ in range(layers + 1)],
        transformer_depth_middle=1,
        context_dim=config["context_dim"],
        legacy=False,
    )
    unet.load_state_dict(filled(about, unet.state_dict(), UNET))
    return unet.eval()
