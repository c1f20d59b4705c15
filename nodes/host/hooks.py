"""Hooks on a model's UNet for the length of its sampling runs: put on, told about each batch, taken off.

The same bridge for all that acts inside the UNet by forward hooks: a clone carries it, nothing is inserted,
and the hooks do nothing except while the UNet is called for that clone. So a UNet that other model nodes
share is never changed by leftovers.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import PatcherInjection, WrappersMP
from torch import Tensor

from ...core.image_prompt.attach import find_blocks
from ...core.motion.attach import Attachment
from ...core.motion.sites import find_sites

IMAGE_ATTENTION, TUNING = "choreo_image_attention", "choreo_tuning"  # begin the keys of a model's additions
SELF_ATTENTION = (IMAGE_ATTENTION, TUNING)  # those that replace the self-attention
SCHEDULE_FRAMES = "choreo_frames"  # key in a conditioning's dict: frames of the prompt schedule that made it
PART = "choreo_part"  # in transformer_options: first frame and length of the clip that latents are a part of
TILE = "choreo_tile"  # in transformer_options: side, in latents, of the tiles that a clip is sampled in


@dataclass(frozen=True)
class Call:
    """One call of the UNet: latents ((C F), 4, h, w), their sigmas, and which frames of the clip they are."""

    x: Tensor
    sigma: Tensor
    index: Sequence[int]
    sampling: object
    transformer_options: dict


class HookRun:
    """One set of hooks on one clone of a model. What differs is `attach`, `begin` and `tell`."""

    def __init__(self, state):
        """Nothing is attached yet. `state` is what the hooks read; it has `frames` and `active`."""
        self.state = state
        self._attachments: list[Attachment] = []
        state.active = False

    def attach(self, unet) -> list[Attachment]:
        """Put the hooks on. Raises ValueError when they do not fit the UNet."""
        raise NotImplementedError

    def begin(self, noise: Tensor, guider) -> None:
        """Before a sampling run: check it, make ready what it needs. Raises ValueError."""

    def tell(self, call: Call) -> None:
        """Before each batch, with `frames` and `active` set; it may silence the hooks for this batch."""

    def put_on(self, model: ModelPatcher, name: str, extra: Sequence[ModelPatcher] = ()) -> ModelPatcher:
        """A clone of `model` that carries the hooks, with models that they need; `model` stays as it is.

        Raises ValueError when the hooks do not fit the UNet.
        """
        self.inject(model)  # says what does not fit
        self.eject(model)
        model, key = model.clone(), f"{name}_{uuid.uuid4().hex}"
        if extra:
            model.set_additional_models(key, list(extra))
        model.set_injections(key, [PatcherInjection(inject=self.inject, eject=self.eject)])
        model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, key, self.sample)
        model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, key, self.apply)
        return model

    def inject(self, patcher) -> None:
        """Attach to the UNet of `patcher`."""
        self.eject(patcher)
        self._attachments = self.attach(patcher.model.diffusion_model)

    def attach_again(self, unet) -> None:
        """Put back hooks that were taken off in mid-run, such as by a clone that was thrown away."""
        if not self._attachments:
            self._attachments = self.attach(unet)

    def eject(self, _patcher) -> None:
        """Take the hooks off; also when there are none."""
        while self._attachments:
            self._attachments.pop().remove()

    def sample(self, executor, noise, *args, **kwargs):
        """OUTER_SAMPLE wrapper: check the prompts, and leave the UNet clean however sampling ends."""
        guider = executor.class_obj
        try:
            check_conditioning(noise.shape[0], guider.conds)
            self.begin(noise, guider)
            return executor(noise, *args, **kwargs)
        finally:
            guider.model_patcher.eject_model()
            self.eject(guider.model_patcher)

    def apply(self, executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None,
              **kwargs):  # fmt: skip
        """APPLY_MODEL wrapper: tell the hooks about this batch, and silence them after it."""
        base, transformer_options = executor.class_obj, transformer_options or {}
        self.attach_again(base.diffusion_model)
        index = frame_index(x.shape[0], transformer_options)
        self.state.frames, self.state.active = len(index), True
        try:
            self.tell(Call(x, t, index, base.model_sampling, transformer_options))
            return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)
        finally:
            self.state.active = False


def frame_index(batch: int, transformer_options: dict) -> Sequence[int]:
    """Indices in the clip of the frames of one condition in this batch, read from what the host says.

    The batch holds all frames of the clip, or of the context window, once for each entry of `cond_or_uncond`.
    Raises ValueError when it does not, because a node between sampler and model took it apart.
    """
    conditions = len(transformer_options.get("cond_or_uncond", (0,)))
    window = transformer_options.get("context_window")
    frames = batch // conditions if window is None else len(window.index_list)
    if frames * conditions != batch:
        raise ValueError(
            f"The model was called with {batch} latents for {conditions} conditions of {frames} "
            "frames; nodes that split or tile the batch inside the sampler do not work with motion modules"
        )
    return range(frames) if window is None else window.index_list


def check_conditioning(frames: int, conds: dict) -> None:
    """Raise ValueError when a prompt schedule was made for a clip of another length."""
    for cond in (cond for group in conds.values() for cond in group):
        made_for = cond.get(SCHEDULE_FRAMES, frames)
        if made_for != frames:
            raise ValueError(
                f"The prompt schedule has {made_for} frames, the latent has {frames}: "
                "set the same number in both"
            )


def check_prompts(executor, noise, *args, **kwargs):
    """OUTER_SAMPLE wrapper for a model without hooks of its own: the same check of the prompts."""
    check_conditioning(noise.shape[0], executor.class_obj.conds)
    return executor(noise, *args, **kwargs)


def as_part(model: ModelPatcher, first: int, count: int) -> ModelPatcher:
    """A clone of `model` for latents that are the frames from `first` on of a clip of `count` frames.

    What is keyed to frames on the model then acts at the frames of that clip.
    """
    model = model.clone()
    model.model_options["transformer_options"][PART] = first, count  # a clone's options are its own
    return model


def frames_in_clip(frames: int, model_options: dict) -> tuple[list[int], int]:
    """The numbers that a run's latents have in their clip, and the clip's frames; 0 to F-1 unless `as_part`.

    Latents beyond the clip's end, such as a face's only frame shown twice, have the number of its last frame.
    """
    first, count = model_options.get("transformer_options", {}).get(PART, (0, frames))
    return [min(first + frame, count - 1) for frame in range(frames)], count


def check_self_attention(model: ModelPatcher) -> None:
    """Raise ValueError where a node of this pack replaces the model's self-attention already."""
    if any(key.startswith(SELF_ATTENTION) for key in model.injections):
        raise ValueError(
            "This model's self-attention is replaced already (image attention, sparse-causal attention or a "
            "video tuning); connect the model from before that node"
        )


BlockKeys = dict[str, tuple[tuple[str, int, int], int]]


def block_keys(unet) -> BlockKeys:
    """Place -> the host's (half, number, block) for it, and how much smaller than the latents its grid is."""
    names = {id(module): name for name, module in unet.named_modules()}
    blocks, found = find_blocks(unet), {}
    levels = 1 + max(
        int(n)
        for n in re.findall(r"down_blocks\.(\d+)", " ".join(site.name for site in find_sites(unet, False)))
    )
    for block in blocks:
        half, number = re.match(r"(input|middle|output)_(?:blocks?)\.(\d+)", names[id(block.module)]).groups()
        level = re.match(r"(down|up)_blocks\.(\d+)", block.place.name)
        depth = levels - 1
        if level:
            depth = int(level[2]) if level[1] == "down" else depth - int(level[2])
        index = int(block.place.name.rpartition(".")[2])
        found[block.place.name] = ((half, 0 if half == "middle" else int(number), index), 2**depth)
    return found


def replaced_places(blocks: BlockKeys, transformer_options: dict) -> frozenset[str]:
    """Places whose self-attention another node replaces in this call: theirs counts."""
    replaced = transformer_options.get("patches_replace", {}).get("attn1", {})
    return frozenset(name for name, (key, _) in blocks.items() if key in replaced or key[:2] in replaced)


def check_percents(options) -> None:
    """Raise ValueError where options with `start_percent` and `end_percent` have an empty range."""
    start, end = options.start_percent, options.end_percent
    if end <= start:
        raise ValueError(f"end_percent is {end:g}, it must be larger than start_percent, {start:g}")


def in_range(sigma: Tensor, sampling, options) -> bool:
    """Whether a batch's sigma lies from `start_percent` to `end_percent` of sampling; 0 to 1 is all of it."""
    start, end = options.start_percent, options.end_percent
    if start <= 0.0 and end >= 1.0:
        return True
    now = float(sigma.flatten()[0])
    return sampling.percent_to_sigma(end) < now <= sampling.percent_to_sigma(start)
