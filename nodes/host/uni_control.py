"""Uni-ControlNet in the host: one net for any of seven kinds of map, and tokens for a picture's content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import comfy.latent_formats
import comfy.model_management
import comfy.ops
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...core.uni_control.layouts import read_uni_controlnet
from ...core.uni_control.network import CONDITIONS, latent_content, stack_maps
from .clip_control import ClipControl, ControlOptions, check_text
from .control import apply_control
from .hooks import SCHEDULE_FRAMES
from .nets import load_net


def load_uni_file(path: str) -> ModelPatcher:
    """Load a UNI_CONTROLNET; the host picks the precision, casts and offloads. Raises ValueError."""
    return load_net(read_uni_controlnet, path)


class UniControl(ClipControl):
    """One application of a Uni-ControlNet: its net and the maps that it is given."""

    what = "The Uni-ControlNet"

    def __init__(self, net: ModelPatcher, maps: Mapping[str, Tensor], options: ControlOptions):
        """Take maps by kind, (F, 3, H, W) in 0..1 each; raises ValueError as `stack_maps`."""
        stack_maps({kind: clip[:1] for kind, clip in maps.items()})
        super().__init__(net, options)
        self.maps = dict(maps)
        self._features: tuple | None = None  # those of the last window, and what they are for

    def copy(self) -> UniControl:
        """A copy that shares net and maps; the host's nodes chain it to other ControlNets."""
        copied = UniControl(self.net, self.maps, self.options)
        self.copy_to(copied)
        return copied

    def residuals(
        self, x: Tensor, t: Tensor, text: Tensor, frames: int, index: Sequence[int], transformer_options: dict
    ) -> tuple[Sequence[Tensor], Tensor]:
        """The net's residuals, alike for all conditions. Raises ValueError where the maps do not fit."""
        conditions = x.shape[0] // len(index)
        strength = self.frame_strength(frames, index)
        return self.net.model.local(
            self.model_sampling.calculate_input(t, x).to(text.dtype),
            self.model_sampling.timestep(t).float(),
            text,
            self._features_of(x, text.dtype, frames, index),
            strength.repeat(conditions) if torch.is_tensor(strength) else strength,
        )

    def cleanup(self) -> None:
        """After sampling."""
        self._features = None
        super().cleanup()

    def _features_of(self, x: Tensor, dtype: torch.dtype, frames: int, index: Sequence[int]) -> list[Tensor]:
        """The maps' features for each row of `x`; the steps of a window share them."""
        asked = (frames, *index), x.device, dtype, tuple(x.shape[2:])
        if self._features is None or self._features[0] != asked:
            stacked = self._stacked(index, frames, x.device, dtype)
            self._features = asked, self.net.model.local.features(stacked, asked[-1])
        return [level.repeat(x.shape[0] // len(level), 1, 1, 1) for level in self._features[1]]

    def _stacked(self, index: Sequence[int], frames: int, device, dtype: torch.dtype) -> Tensor:
        """The maps of some frames of a clip; one row where one map a kind serves all.

        Only those that are given come from the CPU.
        """
        for kind, clip in self.maps.items():
            if len(clip) not in (1, frames):
                raise ValueError(
                    f"There are {len(clip)} {kind} maps, the clip has {frames} frames; give one map, or "
                    "one a frame"
                )
        chosen = {k: clip if len(clip) == 1 else clip[list(index)] for k, clip in self.maps.items()}
        return stack_maps({kind: clip.to(device, dtype) for kind, clip in chosen.items()})


def encode_content(net: ModelPatcher, images: Tensor, clip_vision=None, vae=None) -> Tensor:
    """Pictures (F, H, W, 3) as the net's content tokens take them: (F, content). Raises ValueError."""
    config = net.model.config
    if not config.content:
        raise ValueError("This Uni-ControlNet takes no content: its file has no global adapter")
    if config.content_of == "latent":
        if vae is None:
            raise ValueError("This Uni-ControlNet takes content from latents: connect the checkpoint's VAE")
        return latent_content(comfy.latent_formats.SD15().process_in(vae.encode(images[..., :3])))
    if clip_vision is None:
        raise ValueError(
            "This Uni-ControlNet takes content from CLIP: connect 'Load CLIP Vision' with CLIP ViT-L/14"
        )
    found = clip_vision.encode_image(images[..., :3], crop="center")["image_embeds"].float()
    if found.shape[1] != config.content:
        raise ValueError(
            f"This CLIP vision model gives content {found.shape[1]} wide, the Uni-ControlNet takes "
            f"{config.content} (CLIP ViT-L/14)"
        )
    return found


def with_content(conditioning: list, net: ModelPatcher, content: Tensor, strength: float) -> list:
    """A copy of a CONDITIONING with content tokens after its text, one set or one a frame.

    With one a frame it says for how many frames, as a prompt schedule does. Raises ValueError for a text of
    another count or width.
    """
    comfy.model_management.load_models_gpu([net])
    adapter = net.model.content
    with torch.inference_mode():
        found = adapter(content.to(net.load_device, torch.float32))
        tokens = (found * strength).float().cpu()
    made = []
    for text, part in conditioning:
        check_text(text, tokens.shape[-1], UniControl.what)
        rows = max(len(text), len(tokens))
        if len(text) not in (1, rows) or len(tokens) not in (1, rows):
            raise ValueError(
                f"The prompt has {len(text)} frames, the content {len(tokens)}; expected one or as many"
            )
        pair = text.expand(rows, -1, -1), tokens.to(text).expand(rows, -1, -1)
        each = {SCHEDULE_FRAMES: rows} if len(tokens) > 1 else {}
        made.append([torch.cat(pair, dim=1), {**part, **each}])
    return made


def apply_uni_control(
    prompts: tuple[list, list],
    net: ModelPatcher,
    maps: Mapping[str, Tensor],
    options: ControlOptions,
    content: Tensor | None = None,
    content_strength: float = 1.0,
) -> tuple[list, list]:
    """Positive and negative prompt with the net on copies of both.

    maps: by kind, (F, H, W, 3) in 0..1, may be none; content: from `encode_content`, or None. The negative
    prompt gets the tokens of zeros, as published. Raises ValueError for content of another count than maps.
    """
    if content is not None and content_strength:
        check_count(maps, content)
        positive, negative = prompts
        nothing = torch.zeros_like(content[:1])
        prompts = (
            with_content(positive, net, content, content_strength),
            with_content(negative, net, nothing, content_strength),
        )
    if not maps or not options.strength:
        return prompts
    planes = {kind: clip[..., :3].movedim(-1, 1) for kind, clip in maps.items()}
    return tuple(apply_control(prompts, lambda: UniControl(net, planes, options)))


def check_count(maps: Mapping[str, Tensor], content: Tensor) -> None:
    """Raise ValueError unless maps and content are one for all frames, or as many."""
    for kind, clip in maps.items():
        if len(clip) != len(content) and min(len(clip), len(content)) > 1:
            raise ValueError(
                f"There are {len(content)} content images and {len(clip)} {kind} maps; give one for all "
                "frames, or one a frame"
            )


def applied(net: ModelPatcher, maps: Mapping[str, Tensor], content: bool) -> str:
    """What is used and what is not, in one line: "applied: canny, midas; absent: hed, ..."."""
    used = [*(kind for kind in CONDITIONS if kind in maps), *(["content"] if content else [])]
    kinds = (*CONDITIONS, "content") if net.model.config.content else CONDITIONS
    absent = [kind for kind in kinds if kind not in used]
    return f"applied: {', '.join(used) or 'nothing'}; absent: {', '.join(absent) or 'nothing'}"
