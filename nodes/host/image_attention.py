"""Image attention in the host: a clip's self-attention sees pictures while it is sampled.

Each step, the pictures that a window's frames see run through the UNet once, noised as the clip is, and leave
their keys and values; then the clip is sampled as always, with its positive prompt seeing them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...core.guidance import Pair, on_channels
from ...core.image_prompt.attach import Captured, PromptState, attach, unweighted
from ...core.image_prompt.options import AttentionOptions
from ...core.image_prompt.picture import Prepared, stacked
from ...core.motion.attach import Attachment
from ...core.noise import normals, seeded
from .hooks import (
    IMAGE_ATTENTION,
    TILE,
    Call,
    HookRun,
    block_keys,
    check_self_attention,
    frame_index,
    frames_in_clip,
    in_range,
    replaced_places,
)
from .nets import as_patcher
from .progress import check_interrupt, track
from .schedules import apply_beta_schedule

AT_ONCE = 4  # latents of pictures that run through the UNet together; those of one picture are not parted
PUBLISHED_SCHEDULE = "linear 0.0001-0.02"
PUBLISHED_CHANNELS = 3  # of the latents, those that guidance acts on


def apply_image_attention(
    model: ModelPatcher,
    prompt: ModelPatcher | None,
    pictures: Sequence[Prepared],
    vae=None,
    text: Tensor | None = None,
    options: AttentionOptions | None = None,
) -> ModelPatcher:
    """A clone of `model` whose clips see pictures; `model` stays as it is.

    Arguments: prompt: IMAGE_PROMPT_MODEL with trained weights, or None for the model's own. pictures: may be
    none, for the weights alone. vae: encodes them. text: 1 x T x C, what the pictures' own pass is told; None
    for the negative prompt.

    Raises: ValueError for a model that the weights do not fit, one whose self-attention is replaced already,
    or pictures without a VAE.
    """
    options = options or AttentionOptions()
    _check(model, prompt, pictures, vae, options)
    prompt = prompt or as_patcher(unweighted(model.model.diffusion_model))
    run = AttentionRun(prompt, tuple(pictures), vae, text, options)
    model = run.put_on(model, IMAGE_ATTENTION, [prompt])
    model.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, IMAGE_ATTENTION, run.look)
    if options.published:
        apply_beta_schedule(model, PUBLISHED_SCHEDULE, PUBLISHED_SCHEDULE)
        model.set_model_sampler_cfg_function(_published_guidance)
    return model


def _check(model: ModelPatcher, prompt, pictures, vae, options: AttentionOptions) -> None:
    """Raise ValueError for what cannot be applied."""
    if any(key.startswith(IMAGE_ATTENTION) for key in model.injections):
        raise ValueError(
            "This model sees pictures already: give all pictures to one 'Encode Image Prompt' instead"
        )
    check_self_attention(model)
    if prompt is None and not pictures:
        raise ValueError("Nothing to apply: connect an image prompt model, pictures, or both")
    if options.published and "sampler_cfg_function" in model.model_options:
        raise ValueError(
            "published_details replaces the guidance, and another node on this model does so too"
        )
    if pictures and vae is None:
        raise ValueError("The pictures must be encoded for image attention: connect the checkpoint's VAE")
    channels = model.model.latent_format.latent_channels
    given = getattr(model.model.diffusion_model, "in_channels", channels)
    if pictures and given != channels:
        raise ValueError(
            f"This model takes {given} channels, {channels} of them the latents (an inpainting or editing "
            "model): image attention needs a plain one"
        )


def _published_guidance(arguments: dict) -> Tensor:
    """Guidance on the first three latent channels only."""
    pair = Pair(arguments["cond"], arguments["uncond"])
    return on_channels(pair, arguments["cond_scale"], PUBLISHED_CHANNELS, axis=1)


class AttentionRun(HookRun):
    """One application of image attention: its hooks, its pictures, and what they are told at each call.

    The hooks do nothing except inside `look` and `apply`.
    """

    def __init__(self, prompt: ModelPatcher, pictures, vae, text, options: AttentionOptions):
        """Nothing is attached yet; the host injects when it loads the model."""
        super().__init__(PromptState())
        self.prompt, self.pictures, self.vae, self.text = prompt, pictures, vae, text
        self.options, self._blocks = options, {}
        self._latents = self._noise = self._weights = self._told = None
        self._numbers: list[int] = []  # of the run's latents in their clip
        self._seen: dict[int, Captured] = {}  # picture -> its keys and values at the present sigma
        self._sigma = None
        self._positive: frozenset = frozenset()  # the host's ids of the positive prompt's conditions
        self._sees: list[bool] | None = None  # which conditions of this evaluation are positive

    def attach(self, unet) -> list[Attachment]:
        """Hooks on the attention. Raises ValueError when the weights do not fit the UNet."""
        attachments = attach(self.prompt.model, unet, self.state, self.options.published)
        self._blocks = block_keys(unet)
        return attachments

    def sample(self, executor, noise, *args, **kwargs):
        """OUTER_SAMPLE wrapper: leave nothing behind however sampling ends."""
        try:
            return super().sample(executor, noise, *args, **kwargs)
        finally:
            self._latents = self._noise = self._weights = self._told = self._sigma = None
            self._seen = {}

    def begin(self, noise: Tensor, guider) -> None:
        """What one run needs: weights of the pictures, their latents, noise and text."""
        self._positive = _ids(guider.conds.get("positive") or ())
        self._numbers, count = frames_in_clip(noise.shape[0], guider.model_options)
        if not self.pictures:
            return
        self._weights = self.options.weights(len(self.pictures), count)[self._numbers]
        self._told = _text_of(guider.conds) if self.text is None else self.text
        tile = guider.model_options.get("transformer_options", {}).get(TILE, noise.shape[2])
        side = min(*noise.shape[2:], tile) * self.vae.spacial_compression_encode()
        encoded = [self._encode(picture, side) for picture in track(self.pictures)]
        self._latents = guider.model_patcher.model.process_latent_in(torch.cat(encoded))
        shape = tuple(self._latents.shape[1:])
        self._noise = normals(len(self.pictures), shape, seeded(self.options.seed))

    def _encode(self, picture: Prepared, side: int) -> Tensor:
        return self.vae.encode(stacked([picture.image], side).movedim(1, -1)).cpu()

    def look(self, executor, model, conds, x_in, timestep, model_options):
        """CALC_COND_BATCH wrapper: before a window is evaluated, run the pictures that its frames see."""
        if self._latents is not None and any(conds):
            index = frame_index(x_in.shape[0], {**_window(model_options), "cond_or_uncond": [0]})
            acting = in_range(timestep, model.model_sampling, self.options)
            sigma = timestep.flatten()[0]
            missing = self._missing(self._wanted(index) if acting else [], float(sigma))
            if missing:
                self._apply_hooks(model, conds, timestep, model_options)
            self._look_at(missing, model, x_in, sigma)
        if self._positive:
            # a group's own conditions come first: behind them are the host's copies of other groups' areas
            self._sees = [bool(_ids((group or ())[:1]) & self._positive) for group in conds]
        try:
            return executor(model, conds, x_in, timestep, model_options)
        finally:
            self._sees = None

    def _wanted(self, index: Sequence[int]) -> list[int]:
        """Pictures that some of the frames see."""
        return self._weights[list(index)].amax(0).nonzero().flatten().tolist()

    def _missing(self, wanted: list[int], sigma: float) -> list[int]:
        """Pictures that are still to be run at this sigma; those that are not wanted are let go."""
        if sigma != self._sigma:
            self._seen, self._sigma = {}, sigma
        self._seen = {picture: found for picture, found in self._seen.items() if picture in wanted}
        return [picture for picture in wanted if picture not in self._seen]

    def _apply_hooks(self, model, conds, timestep: Tensor, model_options: dict) -> None:
        """Give the weights what 'Create Hook LoRA' and its kind have put on the prompt that sees pictures.

        The first of its conditions that act now counts. The host sets each condition's own afterwards.
        """
        seeing = (
            cond
            for cond in (cond for group in conds for cond in group or ())
            if (not self._positive or cond.get("uuid") in self._positive) and _acts(cond, float(timestep[0]))
        )
        hooks = next(seeing, {}).get("hooks")
        if hooks is not None:
            model.current_patcher.prepare_hook_patches_current_keyframe(timestep, hooks, model_options)
        model.current_patcher.apply_hooks(hooks=hooks)

    def _look_at(self, missing: list[int], model, x_in: Tensor, sigma: Tensor) -> None:
        """Keep keys and values of these pictures, too."""
        step = max(1, AT_ONCE // self._repeats(x_in))
        for start in range(0, len(missing), step):
            check_interrupt()
            self._capture(missing[start : start + step], model, x_in, sigma)

    def _repeats(self, x_in: Tensor) -> int:
        """Latents of a picture: as published it is a clip as long as the window."""
        return x_in.shape[0] if self.options.published else 1

    def _capture(self, numbers: list[int], model, x_in: Tensor, sigma: Tensor) -> None:
        """One pass of some pictures through the UNet."""
        self.attach_again(model.diffusion_model)
        repeats = self._repeats(x_in)
        noise = self._noise[numbers]
        if self.options.published:  # each frame of the picture's clip has noise of its own, anew each step
            generator = seeded(self.options.seed + round(float(sigma) * 1e6))
            noise = normals(len(numbers) * repeats, tuple(noise.shape[1:]), generator)
        clean = self._latents[numbers].repeat_interleave(repeats, 0).to(x_in)
        level = sigma.expand(len(clean)).to(x_in)
        x = model.model_sampling.noise_scaling(level[:, None, None, None], noise.to(x_in), clean)
        state = self.state
        state.active, state.frames, state.numbers, state.skip = True, repeats, None, frozenset()
        state.size, state.base = tuple(clean.shape[2:]), tuple(x_in.shape[2:])
        state.gain, state.capture = self.options.positions, {}
        told = self._told.expand(len(clean), -1, -1).to(x_in)
        try:
            options = {"cond_or_uncond": [0], "sigmas": level}
            model.apply_model(x, level, c_crossattn=told, transformer_options=options)
            captured = self._of_layers(state.capture)
        finally:
            state.active, state.capture = False, None
        for row, number in enumerate(numbers):
            self._seen[number] = {place: [pictures[row]] for place, pictures in captured.items()}

    def _of_layers(self, captured: Captured) -> Captured:
        return {
            name: found for name, found in captured.items() if self._blocks[name][1] in self.options.factors
        }

    def apply(self, executor, *args, **kwargs):
        """APPLY_MODEL wrapper: let go of the pictures after the batch."""
        try:
            return super().apply(executor, *args, **kwargs)
        finally:
            self.state.pictures = {}

    def tell(self, call: Call) -> None:
        """Which pictures these frames see."""
        index, state, transformer_options = call.index, self.state, call.transformer_options
        numbers = sorted(self._seen)
        state.numbers = torch.tensor([self._numbers[i] for i in index])
        state.size = state.base = tuple(call.x.shape[2:])
        state.gain = self.options.positions
        state.skip = replaced_places(self._blocks, transformer_options)
        places = self._seen[numbers[0]] if numbers else {}
        state.pictures = {
            place: [pair for number in numbers for pair in self._seen[number][place]] for place in places
        }
        entries = transformer_options.get("cond_or_uncond", (0,))
        state.weights = None
        if numbers:
            state.weights = self._weights[list(index)][:, numbers].repeat(len(entries), 1)
        # as published, only the positive prompt sees pictures
        state.blind = frozenset(
            number for number, entry in enumerate(entries) if not self._is_positive(entry)
        )

    def _is_positive(self, entry: int) -> bool:
        """Whether a condition of this evaluation is the positive prompt; the first where nothing tells."""
        return entry == 0 if self._sees is None else entry < len(self._sees) and self._sees[entry]


def _window(model_options: dict) -> dict:
    """The context window of this call, where there is one."""
    window = model_options.get("transformer_options", {}).get("context_window")
    return {} if window is None else {"context_window": window}


def _ids(conds: Sequence[dict]) -> frozenset:
    """The ids that the host has given to some conditions; its copies of them keep theirs."""
    return frozenset(cond["uuid"] for cond in conds if "uuid" in cond)


def _acts(cond: dict, sigma: float) -> bool:
    """Whether the host evaluates a condition at this sigma."""
    return cond.get("timestep_end", sigma) <= sigma <= cond.get("timestep_start", sigma)


def _text_of(conds: dict) -> Tensor:
    """The negative prompt, 1 x T x C; raises ValueError where a guider has none."""
    entries = conds.get("negative") or []
    found = next((entry["cross_attn"] for entry in entries if entry.get("cross_attn") is not None), None)
    if found is None:
        raise ValueError(
            "The pictures' own pass needs a text: connect an empty prompt to picture_text (this guider has "
            "no negative prompt)"
        )
    return found[:1]
