"""Uni-ControlNet in the host: one net for any of seven kinds of map, and tokens for a picture's content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import comfy.latent_formats
import comfy.model_management
import comfy.ops
import torch
from comfy.controlnet import ControlBase
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...core.prompts.schedule import check_range, values_at
from ...core.uni_control.layouts import read_uni_controlnet
from ...core.uni_control.network import CONDITIONS, UniControlNet, latent_content, stack_maps
from .control import ControlOptions, apply_control, check_fit, clip_frames_of
from .patching import frame_index

WHAT = "The Uni-ControlNet"


def load_uni_file(path: str) -> ModelPatcher:
    """Load a UNI_CONTROLNET; the host picks the precision, casts and offloads. Raises ValueError."""
    return uni_patcher(
        read_uni_controlnet(
            path,
            ops=comfy.ops.manual_cast,
            device=comfy.model_management.unet_offload_device(),
            dtype=comfy.model_management.unet_dtype(),
        )
    )


def uni_patcher(net: UniControlNet) -> ModelPatcher:
    """A core UniControlNet as a UNI_CONTROLNET: a ModelPatcher, so that the host can load it."""
    return ModelPatcher(
        net.eval(),
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


class UniControl(ControlBase):
    """One application of a Uni-ControlNet: its net and the maps that it is given."""

    reads_context_window = True

    def __init__(self, net: ModelPatcher, maps: Mapping[str, Tensor], options: ControlOptions):
        """Take maps by kind, (F, 3, H, W) in 0..1 each; raises ValueError as `stack_maps`."""
        super().__init__()
        stack_maps({kind: clip[:1] for kind, clip in maps.items()})
        self.net, self.maps, self.options = net, dict(maps), options
        self.set_cond_hint(None, options.strength, (options.start_percent, options.end_percent))
        self.model_sampling = None

    def copy(self) -> UniControl:
        """A copy that shares net and maps; the host's nodes chain it to other ControlNets."""
        copied = UniControl(self.net, self.maps, self.options)
        self.copy_to(copied)
        return copied

    def get_models(self) -> list[ModelPatcher]:
        """What the host loads for sampling."""
        return [*super().get_models(), self.net]

    def pre_run(self, model, percent_to_timestep_function) -> None:
        """Before sampling: check that the net was made for this model. Raises ValueError."""
        super().pre_run(model, percent_to_timestep_function)
        check_fit(self.net.model, model, WHAT)
        self.model_sampling = model.model_sampling

    def cleanup(self) -> None:
        """After sampling."""
        self.model_sampling = None
        super().cleanup()

    def get_control(self, x_noisy, t, cond, batched_number, transformer_options) -> dict | None:
        """Residuals for the UNet's skips and middle, as the host's `apply_control` takes them.

        `x_noisy` ((C F), 4, h, w) for C conditions, `t` its sigmas; raises ValueError where the maps do not
        fit the clip.
        """
        previous = self.previous_controlnet
        if previous is not None:
            previous = previous.get_control(x_noisy, t, cond, batched_number, transformer_options)
        start, end = self.timestep_range
        if not end <= t[0] <= start:
            return previous
        index = frame_index(x_noisy.shape[0], transformer_options)
        conditions = x_noisy.shape[0] // len(index)
        weights = next(self.net.model.parameters()).dtype
        dtype = comfy.model_management.unet_manual_cast(weights, self.net.load_device) or weights
        frames = clip_frames_of(index, transformer_options.get("context_window"))
        maps = self._stacked(index, frames).repeat(conditions, 1, 1, 1)
        down, mid = self.net.model.local(
            self.model_sampling.calculate_input(t, x_noisy).to(dtype),
            self.model_sampling.timestep(t).float(),
            cond.get("crossattn_controlnet", cond["c_crossattn"]).to(x_noisy.device, dtype),
            maps.to(x_noisy.device, dtype),
            self._frame_strength(index, frames, conditions),
        )
        return self.control_merge({"middle": [mid], "output": list(down)}, previous, x_noisy.dtype)

    def _stacked(self, index: Sequence[int], frames: int) -> Tensor:
        """The maps of some frames of a clip; one map serves all."""
        for kind, clip in self.maps.items():
            if len(clip) not in (1, frames):
                raise ValueError(
                    f"There are {len(clip)} {kind} maps, the clip has {frames} frames; give one map, or "
                    "one a frame"
                )
        chosen = {k: clip if len(clip) == 1 else clip[list(index)] for k, clip in self.maps.items()}
        return stack_maps(chosen).expand(len(index), -1, -1, -1)

    def _frame_strength(self, index: Sequence[int], frames: int, conditions: int) -> float | Tensor:
        keys = self.options.strength_keys
        check_range(keys, frames)
        return values_at(keys, index).repeat(conditions) if keys else 1.0


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
    """A copy of a CONDITIONING with content tokens after its text, one set or one a frame."""
    comfy.model_management.load_models_gpu([net])
    adapter = net.model.content
    with torch.inference_mode():
        found = adapter(content.to(net.load_device, next(adapter.parameters()).dtype))
        tokens = (found * strength).float().cpu()
    made = []
    for text, part in conditioning:
        rows = max(len(text), len(tokens))
        if len(text) not in (1, rows) or len(tokens) not in (1, rows):
            raise ValueError(
                f"The prompt has {len(text)} frames, the content {len(tokens)}; expected one or as many"
            )
        pair = text.expand(rows, -1, -1), tokens.to(text).expand(rows, -1, -1)
        made.append([torch.cat(pair, dim=1), part])
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
    prompt gets the tokens of zeros, as published.
    """
    if content is not None and content_strength:
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


def applied(net: ModelPatcher, maps: Mapping[str, Tensor], content: bool) -> str:
    """What is used and what is not, in one line: "applied: canny, midas; absent: hed, ..."."""
    used = [*(kind for kind in CONDITIONS if kind in maps), *(["content"] if content else [])]
    kinds = (*CONDITIONS, "content") if net.model.config.content else CONDITIONS
    absent = [kind for kind in kinds if kind not in used]
    return f"applied: {', '.join(used) or 'nothing'}; absent: {', '.join(absent) or 'nothing'}"
