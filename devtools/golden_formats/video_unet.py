"""Image Conductor's UNet with motion modules and both ControlNets: one evaluation, and the sampling loop.

Runs inside the environment, on diffusers' UNet.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from core.control.lora import BASE, MIXES, LoraMix
from core.control.network import Residuals, VideoControlNet
from core.guidance import Pair, classifier_free
from core.motion.attach import MotionState, attach
from core.motion.layouts import part_names, read_motion_module
from core.motion.model import MotionConfig, MotionModel
from core.motion.sites import find_sites
from core.schedules import alphas_cumprod

from .. import torchvision_shim
from ..golden_weights import fill
from .ddim_schedule import ddim_step
from .finding import Finding, relative
from .video_controlnet import condition_of, golden_net, read_golden, sizes_of

FINAL_ALPHA = 1.0  # the published scheduler's share of signal after the last step
TIME_STEPS = 1000


def check_unet(path: Path) -> Iterator[Finding]:
    """`noise_*`: without ControlNets, with the image net's residuals, and with both nets'."""
    about, data = read_golden(path)
    text, frames = data["encoder_hidden_states"], data["latents"].shape[2]
    unet = golden_unet(about, frames)
    found: dict[str, Residuals] = {}
    for name in re.findall(r"[bd]_\w+", about["residuals"]):
        own, control = read_golden(path.with_name(f"{name}.safetensors"))
        kind = "flow" if "flow" in control else "image"
        found[kind] = residuals_of(golden_net(own, kind), condition_of(control), data["timestep"], text)
    image, both = found["image"], _sum(*found.values())
    for name, residuals in (("noise_plain", None), ("noise_image", image), ("noise_image_flow", both)):
        ours = unet(data["latents"], data["timestep"], text, residuals)
        yield Finding(name, relative(ours, data[name]))


def check_sampling(path: Path) -> Iterator[Finding]:
    """`after_stepN` and `final`: DDIM with both nets and guidance, under the LoRA that the name ends with."""
    about, data = read_golden(path)
    mix = MIXES[path.stem.rpartition("_")[2]]
    predict = predictor(about, data, mix)
    kept, x, times = alphas_cumprod("linear"), data["latents"], data["timesteps"].tolist()
    text, stride = data["text_uncond_cond"], TIME_STEPS // len(times)
    for number, time in enumerate(times, 1):
        uncond, cond = predict(x.expand(2, -1, -1, -1, -1), torch.tensor([time]), text).chunk(2)
        before = kept[time - stride] if time >= stride else torch.tensor(FINAL_ALPHA)
        noise = classifier_free(Pair(cond, uncond), float(about["cfg"]))
        x = ddim_step(x, noise, kept[time], before).float()
        name = "final" if number == len(times) else f"after_step{number}"
        if name in data:
            yield Finding(name, relative(x, data[name]))


def predictor(about: dict[str, str], data: dict[str, Tensor], mix: LoraMix):
    """Function: latents B C F h w, time step, text B T D -> noise of the UNet with both nets' residuals."""
    frames = data["latents"].shape[2]
    unet = golden_unet(about, frames)
    image = torch.zeros(1, frames, 5, *data["latents"].shape[3:])
    image[0, 0, :4], image[0, 0, 4] = data["image_latent"][0, :, 0], 1.0
    nets = (
        partial(residuals_of, golden_net(about, "image"), image),
        partial(residuals_of, golden_net(about, "flow", mix), data["flow"].transpose(1, 2), mix=mix),
    )
    return lambda x, time, text: unet(x, time, text, _sum(*(net(time, text) for net in nets)))


def residuals_of(
    net: VideoControlNet, condition: Tensor, time: Tensor, text: Tensor, mix: LoraMix = BASE
) -> Residuals:
    """The net's residuals for text states B T D, every frame with the same."""
    with torch.no_grad():
        return net(condition, time, text.repeat_interleave(condition.shape[1], 0), mix=mix)


def _sum(*residuals: Residuals) -> Residuals:
    downs = zip(*(each.down for each in residuals), strict=True)
    return Residuals(tuple(sum(parts) for parts in downs), sum(each.mid for each in residuals))


def golden_unet(about: dict[str, str], frames: int):
    """Function: latents B C F h w, time step, text B T D, residuals or None -> noise, of the filled UNet."""
    torchvision_shim.install()
    from diffusers import UNet2DConditionModel

    sizes = sizes_of(about)
    seed = int(about.get("seed", 0))
    unet = UNet2DConditionModel(
        block_out_channels=sizes["channels"], cross_attention_dim=sizes["context"], attention_head_dim=8
    ).eval()
    unet.load_state_dict(fill({name: t.shape for name, t in unet.state_dict().items()}, seed))
    state = MotionState(frames=frames)
    motion = golden_motion(sizes["channels"], seed)
    attach(motion, find_sites(unet, motion.config.mid_block), state)

    def predict(latents: Tensor, time: Tensor, text: Tensor, residuals: Residuals | None = None) -> Tensor:
        down, mid = residuals or (None, None)
        with torch.no_grad():
            noise = unet(
                latents.transpose(1, 2).flatten(0, 1),
                time,
                text.repeat_interleave(frames, 0),
                down_block_additional_residuals=down,
                mid_block_additional_residual=mid,
            ).sample
        return noise.unflatten(0, (-1, frames)).transpose(1, 2)

    return predict


def golden_motion(channels: tuple[int, ...], seed: int) -> MotionModel:
    """The filled motion modules of a UNet of these widths, as in AnimateDiff v3."""
    config = MotionConfig(channels=channels)
    empty, names = MotionModel(config, device="meta"), part_names(config.attentions)
    shapes = {}
    for (site, _), module in zip(config.sites(), empty.sites, strict=True):
        own = module.state_dict()
        for theirs, (ours, third) in names.items():
            tensor = own[ours] if third is None else own[ours].chunk(3)[third]
            shapes[f"{site}.temporal_transformer.{theirs}"] = tensor.shape
    return read_motion_module(fill(shapes, seed)).eval()
