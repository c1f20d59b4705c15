"""Recipes: image prompts from coarse to fine (VideoBooth), or all at once for the ablation.

Stage 1, "coarse": mapper and cross-attention. Stage 2, "fine": keys and values for pictures and frames come
in as copies, and everything keeps training. "joint" is stage 2 without stage 1 before it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..image_prompt.attach import PromptState, attach, find_blocks
from ..image_prompt.network import ImagePrompt, ImagePromptConfig, MapperConfig
from ..image_prompt.vision import standardized
from ..image_prompt.words import fitted, replace_word
from .base_model import TOKENS
from .diffusion import attention
from .loop import Trainer
from .losses import Diffusion, per_item
from .subjects import SubjectClips

COARSE, FINE, JOINT = "coarse", "fine", "joint"
STAGES = (COARSE, FINE, JOINT)
TOKEN_WEIGHT = 0.01  # of the mean size of the picture's tokens in the loss
GRADIENT = 0.1  # norm that gradients are clipped to, as published


@dataclass(frozen=True)
class PromptBatch:
    """What a step sees: clips of so many frames, a share `drop` of them without prompt and picture."""

    clips: int = 2
    frames: int = 16
    drop: float = 0.1


def make_prompt(unet: nn.Module, mapper: MapperConfig, stage: str, positions: bool, name="") -> ImagePrompt:
    """A model for this UNet whose keys and values are copies of the UNet's; raises ValueError for a stage."""
    if stage not in STAGES:
        raise ValueError(f"Stage is '{stage}', expected one of {', '.join(STAGES)}")
    blocks, fine = find_blocks(unet), stage != COARSE
    config = ImagePromptConfig(
        places=tuple(block.place for block in blocks),
        mapper=mapper,
        text=True,
        fine=fine,
        gains=fine and positions,
        name=name,
    )
    model = ImagePrompt(config)
    with torch.no_grad():
        for block, weights in zip(blocks, model.places, strict=True):
            own, text = block.module.attn1, block.module.attn2
            pairs = [
                (weights.text, text),
                *((part, own) for part in (weights.frame, weights.picture) if part),
            ]
            for ours, theirs in pairs:
                ours.k.weight.copy_(theirs.to_k.weight)
                ours.v.weight.copy_(theirs.to_v.weight)
    return model


def take_over(model: ImagePrompt, earlier: ImagePrompt) -> None:
    """Begin a later stage with what an earlier one has learnt; raises ValueError for other sizes."""
    before, own = earlier.state_dict(), model.state_dict()
    differ = [key for key, t in before.items() if key not in own or own[key].shape != t.shape]
    if earlier.config.places != model.config.places or differ:
        raise ValueError(
            f"The image prompt model to go on from was made for another model: it differs at "
            f"{differ[0] if differ else 'its places'}"
        )
    model.load_state_dict({**own, **before})


class PromptFamily:
    """A core `Family` with an image prompt model attached: what the recipes and the measures run.

    Anything with its `prompt`, `state`, `device`, `tokens`, `context` and `denoise` can be trained.
    """

    def __init__(self, family, prompt: ImagePrompt):
        """Attach the model; the family is frozen."""
        self.family, self.prompt, self.device = family, prompt.to(family.device), family.device
        family.freeze()
        family.motion.requires_grad_(False)
        self.state = PromptState(active=False)
        self._given: list[Tensor] = []
        self._handles = attach(prompt, family.unet, self.state)
        embedding = next(m for n, m in family.text.named_modules() if n.endswith("token_embedding"))
        self._table = embedding.weight
        self._hook = embedding.register_forward_hook(lambda *_: self._given[0] if self._given else None)

    def remove(self) -> None:
        """Take all hooks off."""
        self._hook.remove()
        for handle in self._handles:
            handle.remove()

    def tokens(self, pictures: Tensor) -> Tensor:
        """Tokens (B, 5, C) of pictures (B, 3, S, S); the picture encoder does not learn."""
        with torch.no_grad():
            states = self.prompt.vision(standardized(pictures))
        return self.prompt.tokens(states)

    def context(self, texts: list[str], words: list[str], tokens: list[Tensor | None]) -> Tensor:
        """Text states B x 77 x C, with tokens (T x C) in place of a text's word; None leaves the text."""
        rows = [self._inputs(*given) for given in zip(texts, words, tokens, strict=True)]
        self._given[:] = [torch.stack(rows)]
        try:
            ids = self.family.words(texts).to(self.device)
            return self.family.text(ids).last_hidden_state
        finally:
            self._given.clear()

    def _inputs(self, text: str, word: str, tokens: Tensor | None) -> Tensor:
        """Inputs of the text encoder for one text, 77 x C."""
        ids = self.family.words([text])[0].tolist()
        if tokens is not None:
            wanted = self.family.words.tokenizer(word)["input_ids"][1:-1]
            marks = [-1 - number for number in range(len(tokens))]
            ids = fitted(replace_word(ids, wanted, lambda _: marks).entries, ids[-1], TOKENS)
        return torch.stack([self._table[i] if i >= 0 else tokens[-1 - i] for i in ids])

    def denoise(self, noisy: Tensor, steps: Tensor, context: Tensor, frames: int) -> Tensor:
        """Noise of rows (B F, 4, h, w); `frames` 0 are pictures, which motion modules leave alone."""
        motion = self.family.state
        motion.active, motion.frames, motion.places = frames > 0, frames, None
        repeat = max(frames, 1)
        with attention(self.device):
            rows = steps.repeat_interleave(repeat, 0), context.repeat_interleave(repeat, 0)
            return self.family.unet(noisy, *rows, return_dict=False)[0]


def look(
    family, looks: Tensor, steps: Tensor, noise: Tensor, diffusion: Diffusion, base: tuple[int, int]
) -> None:
    """Run pictures (B, 4, h', w') through the UNet, noised to `steps`; the state keeps what they leave."""
    state, null = family.state, [family.prompt.config.null_text] * len(looks)
    kept = per_item(diffusion.kept[0][steps], looks)
    noisy = kept.sqrt() * looks + (1 - kept).sqrt() * noise
    state.active, state.frames, state.numbers = True, 1, None
    state.size, state.base = tuple(looks.shape[2:]), base
    state.pictures, state.capture, state.weights = {}, {}, None
    family.denoise(noisy, steps, family.context(null, null, [None] * len(looks)), 0)
    state.pictures, state.capture = state.capture, None


def denoise_clips(family, noisy: Tensor, steps: Tensor, context: Tensor, weights: Tensor | None) -> Tensor:
    """Noise of clips (B, F, 4, h, w); `weights` (B, pictures) of what `look` has kept, None without it."""
    state, frames = family.state, noisy.shape[1]
    if weights is None:
        state.pictures = {}
    state.active, state.frames, state.numbers = True, frames, torch.arange(frames)
    state.size = state.base = tuple(noisy.shape[3:])
    state.weights = None if weights is None else weights.repeat_interleave(frames, 0)
    try:
        return family.denoise(noisy.flatten(0, 1), steps, context, frames).unflatten(0, noisy.shape[:2])
    finally:
        state.active, state.pictures = False, {}


def train_image_prompt(
    family, data: SubjectClips, plan, stage: str, batch=PromptBatch(), progress=None, stop=None,  # noqa: B008
    schedule="linear",
):  # fmt: skip
    """One stage; `family` as `PromptFamily`. Returns the averaged state dict of the whole model.

    The loss is the squared error of the noise, and a little of the tokens' size. The picture encoder does not
    learn.
    """
    prompt = family.prompt.train()
    if prompt.vision is not None:
        prompt.vision.requires_grad_(False)
    diffusion = Diffusion((schedule,), family.device)

    def loss(step, generator):
        drawn = data.draw(batch.clips, batch.frames, generator).to(family.device)
        noisy, noise, steps = diffusion.noised(drawn.latents, generator)
        dropped = (torch.rand(batch.clips, generator=generator) < batch.drop).tolist()
        tokens, null = family.tokens(drawn.pictures), prompt.config.null_text
        texts = [null if d else text for d, text in zip(dropped, drawn.texts, strict=True)]
        given = [None if d else row for d, row in zip(dropped, tokens, strict=True)]
        weights = None
        if stage != COARSE:
            fresh = torch.randn(drawn.looks.shape, generator=generator).to(drawn.looks)
            look(family, drawn.looks, steps, fresh, diffusion, tuple(noisy.shape[3:]))
            weights = torch.diag(1.0 - torch.tensor(dropped, dtype=torch.float32))
        context = family.context(texts, drawn.words, given)
        predicted = denoise_clips(family, noisy, steps, context, weights)
        return (predicted.float() - noise).square().mean() + TOKEN_WEIGHT * tokens.abs().mean()

    plan = replace(plan, clip=GRADIENT)
    trained = Trainer({"prompt": prompt}, loss, plan, progress, stop).resume().run().averaged()
    return trained["prompt"]
