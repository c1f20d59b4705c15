"""Recipe: a small Uni-ControlNet on edges, depth and content, on the frozen demo UNet, from sprite stills.

Any of the three may be missing in a step, alone or together, so that one net learns all subsets.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..control_modes.maps import Edges, edge_maps
from ..data.depth import inverse_depth
from ..data.render import Renderer
from ..data.scene import sample_scene
from ..uni_control.layouts import published_names
from ..uni_control.network import UniConfig, UniControlNet, latent_content, stack_maps
from .base_model import unet_key
from .control import encoder_shape
from .diffusion import attention, drop_texts
from .latents import encode_images
from .loop import Trainer
from .losses import Diffusion

FEATURES = (32, 48, 64)  # of the maps, a level; the demo's UNet has three
KINDS = ("canny", "midas")
ABSENT = 0.3  # chance of each condition to be missing
FRAMES = 16  # of the scenes that stills are taken from
WORDS_DROPPED = 0.3  # of the captions, so that maps and content count for something


class Stills(NamedTuple):
    """Pictures with their conditions: latents N 4 h w, maps by kind N H W uint8, captions."""

    latents: Tensor
    maps: dict[str, Tensor]
    captions: list[str]


def draw_stills(encoder, count: int, seed: int, progress=print) -> Stills:
    """Draw and encode `count` frames of random scenes, with their edges and depth."""
    rng = np.random.default_rng(seed)
    latents, maps, captions = [], {kind: [] for kind in KINDS}, []
    while len(captions) < count:
        scenes = [sample_scene(rng, FRAMES) for _ in range(min(16, count - len(captions)))]
        drawn = [(scene, *Renderer(scene).frame(int(rng.integers(FRAMES)))) for scene in scenes]
        images = np.clip(np.stack([image for _, image, _ in drawn]), 0, 1)
        latents.append(encode_images(encoder, images))
        edges = edge_maps(torch.from_numpy(images), Edges())[..., 0]
        depth = torch.from_numpy(np.stack([inverse_depth(scene, owner) for scene, _, owner in drawn]))
        for kind, value in (("canny", edges), ("midas", depth)):
            maps[kind].append((value * 255).round().byte())
        captions += [scene.caption for scene in scenes]
        if len(captions) % 400 == 0:
            progress(f"{len(captions)}/{count} stills")
    return Stills(torch.cat(latents), {kind: torch.cat(parts) for kind, parts in maps.items()}, captions)


def make_uni_control(family) -> UniControlNet:
    """A net for the family's UNet whose encoder starts as a copy of the UNet's; it changes nothing yet."""
    shape = encoder_shape(family.unet)
    config = UniConfig(
        **shape,
        features=FEATURES[: len(shape["channels"])],
        content=latent_content(torch.zeros(1, family.unet.config.in_channels, 8, 8)).shape[1],
        content_of="latent",
    )
    net, own = UniControlNet(config), family.unet.state_dict()
    theirs = {f"local_adapter.{unet_key(key, config.layers_per_block)}": key for key in own}
    copied = {ours: own[theirs[name]] for ours, name in published_names(net).items() if name in theirs}
    net.load_state_dict({**net.state_dict(), **copied})
    return net.to(family.device)


def predict(family, net: UniControlNet, noisy: Tensor, steps: Tensor, texts: list[str], maps: Tensor,
            content: Tensor) -> Tensor:  # fmt: skip
    """Noise prediction (B 4 h w) of the UNet with the net; content (B, 64), zeros where there is none."""
    family.state.active = False
    context = family.text(family.words(texts).to(family.device)).last_hidden_state
    context = torch.cat((context, net.content(content)), dim=1)
    with attention(family.device):
        residuals = net.local(noisy, steps, context, maps)
        return family.unet(
            noisy,
            steps,
            context,
            down_block_additional_residuals=residuals.down,
            mid_block_additional_residual=residuals.mid,
            return_dict=False,
        )[0]


def draw_batch(stills: Stills, count: int, generator) -> tuple[Tensor, list[str], Tensor, Tensor]:
    """Latents, captions, maps B 21 H W and content of so many stills, some conditions missing."""
    picks = torch.randint(len(stills.captions), (count,), generator=generator)
    missing = torch.rand(len(KINDS) + 1, count, generator=generator) < ABSENT
    shown = {
        kind: (stills.maps[kind][picks].float() / 255)[:, None].expand(-1, 3, -1, -1)
        * ~missing[i].view(-1, 1, 1, 1)
        for i, kind in enumerate(KINDS)
    }
    latents = stills.latents[picks].float()
    content = latent_content(latents) * ~missing[-1][:, None]
    return latents, [stills.captions[i] for i in picks], stack_maps(shown), content


def train_uni_control(family, net: UniControlNet, stills: Stills, plan, count: int = 8, progress=None,
                      stop=None) -> dict:  # fmt: skip
    """The net alone; `family` is frozen. Returns its averaged state dict."""
    family.freeze()
    family.motion.requires_grad_(False)
    diffusion = Diffusion(("scaled_linear", "linear"), family.device)

    def loss(_step, generator):
        latents, captions, maps, content = draw_batch(stills, count, generator)
        noisy, noise, steps = diffusion.noised(latents.to(family.device), generator)
        texts = drop_texts(captions, WORDS_DROPPED, generator)
        found = predict(family, net, noisy, steps, texts, maps.to(family.device), content.to(family.device))
        return (found - noise).square().mean()

    return Trainer({"uni": net}, loss, plan, progress, stop).resume().run().averaged()["uni"]
