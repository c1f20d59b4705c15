"""VideoBooth's whole UNet, on diffusers' UNet: a clip that sees a picture, one that does not, guidance.

Runs inside the environment.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from core.guidance import Pair, on_channels
from core.image_prompt.attach import PromptState, attach, find_blocks
from core.image_prompt.layouts import read_image_prompt
from core.image_prompt.names import published
from core.image_prompt.network import ImagePrompt, ImagePromptConfig
from core.schedules import alphas_cumprod

from .. import torchvision_shim
from .finding import Finding, relative
from .image_prompt import read_golden, weights_of

KINDS = ("down_block_types", "up_block_types")
FIELDS = ("sample_size", "layers_per_block", "block_out_channels", "cross_attention_dim", "norm_num_groups")
SCHEDULE = "linear 0.0001-0.02"
CFG = 4.0
PUBLISHED_CHANNELS = 3  # those that guidance acts on


def check_prompted_unet(path: Path) -> Iterator[Finding]:
    """`eps_cond`, `eps_uncond`, the noised picture and the guided prediction where the file has them."""
    about, data = read_golden(path)
    config = json.loads(about["config"])
    run = golden_unet(about, config)
    time, null = int(about["timestep"]), data["uncond"]
    if "exemplar_x0" in data:
        kept = alphas_cumprod(SCHEDULE)[time].float()
        noised = kept.sqrt() * data["exemplar_x0"] + (1 - kept).sqrt() * data["exemplar_noise"]
        yield Finding("exemplar_t", relative(noised, data["exemplar_t"]))
    cond = run(data["z"], time, data["cond"], data["exemplar_t"], null)
    uncond = run(data["z"], time, null)
    yield Finding("eps_cond", relative(cond, data["eps_cond"]))
    yield Finding("eps_uncond", relative(uncond, data["eps_uncond"]))
    if "eps_cfg4_first_half" in data:
        ours = on_channels(Pair(cond, uncond), CFG, PUBLISHED_CHANNELS, axis=1)
        yield Finding("eps_cfg4_first_half", relative(ours, data["eps_cfg4_first_half"]))


def golden_unet(about: dict[str, str], config: dict):
    """A function of the filled UNet: clip B C F h w, time, text, picture or None, its text -> noise."""
    torchvision_shim.install()
    from diffusers import UNet2DConditionModel

    kinds = {key: [kind.replace("3D", "2D") for kind in config[key]] for key in KINDS}
    sizes = {key: config[key] for key in (*FIELDS, "attention_head_dim")}
    unet = UNet2DConditionModel(**sizes, **kinds).eval()
    watermark = () if "watermark_zero_out := 0" in about["source"] else config["block_out_channels"][:3]
    shape = ImagePromptConfig(
        places=tuple(block.place for block in find_blocks(unet)),
        text=True,
        fine=True,
        temporal=True,
        cleaner=tuple(watermark),
        cleaner_layers=config["layers_per_block"],
    )
    empty = ImagePrompt(replace(shape, cleaner_groups=config["norm_num_groups"]), device="meta")
    named = {**unet.state_dict(), **published(empty.state_dict(), shape)}
    weights = weights_of(about, {key: tensor.shape for key, tensor in named.items()})
    unet.load_state_dict({key: weights[key] for key in unet.state_dict()})
    prompt, state = read_image_prompt(weights, groups=config["norm_num_groups"]).eval(), PromptState()
    attach(prompt, unet, state, shared_norm=True)
    return partial(predict, unet, state)


def predict(
    unet, state: PromptState, clip: Tensor, time: int, text: Tensor, picture=None, null=None
) -> Tensor:
    """Noise B C F h w; the picture, B C F h w, goes through the UNet first, with the text `null`."""
    frames = clip.shape[2]
    state.frames, state.pictures, state.weights = frames, {}, None

    def run(x: Tensor, text: Tensor) -> Tensor:
        rows = x.transpose(1, 2).flatten(0, 1)
        with torch.no_grad():
            y = unet(rows, time, text.repeat_interleave(frames, 0)).sample
        return y.unflatten(0, (-1, frames)).transpose(1, 2)

    if picture is not None:
        state.capture = {}
        run(picture, null)
        state.pictures, state.capture = state.capture, None
        state.weights = torch.eye(len(clip)).repeat_interleave(frames, 0)
    return run(clip, text)
