"""Train ID tokens on a host model: core's recipe, through the host's text encoder and UNet."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import comfy.model_management
import comfy.utils
import torch
from torch import Tensor, nn

from ...core.identity.augment import check_subjects, vary
from ...core.identity.tokens import CLASS, SLOT, START, IdTokens, TokenRows, fill_prompt, write_id_tokens
from ...core.noise import seeded
from ...core.prompts.blend import same_length
from ...core.training.identity import UNMASKED, Pictures, train_tokens
from ...core.training.loop import Plan
from .identity import EMBEDDINGS, apply_id_tokens, own_tokenizer
from .progress import check_interrupt
from .training import HostFamily, check_model, curve, own_copy, reporter
from .training_runs import asked, check_prefix, drop_run, numbered_path, precision, run_folder

POOL = 800  # variations that are made at most: a batch of four for VCD's 200 steps
CHUNK = 16  # pictures encoded together


@dataclass(frozen=True)
class IdSettings:
    """What the user asks of a training run.

    name: of the tokens in prompts. prompt: with [id] and [class]. start: words whose token rows the new ones
    begin as, which says how many there are. size: pixels of the square canvas. masked: whether only the
    subject counts. save_prefix: "" keeps no file.
    """

    name: str = "me"
    prompt: str = f"photo of a {SLOT} {CLASS}"
    class_word: str = "man"
    start: str = START
    steps: int = 200
    learning_rate: float = 1e-3
    seed: int = 0
    batch: int = 4
    size: int = 512
    beta_schedule: str = "linear"
    masked: bool = True
    flip: bool = True
    save_prefix: str = ""


def train_id_tokens(model, clip, vae, images: Tensor, masks: Tensor | None, settings: IdSettings):
    """Learn tokens for what the pictures show; `model`, `clip` and `vae` stay as they are.

    images: (N, H, W, 3) in 0..1; masks: (N, H, W) of the subject, or None for none.

    Returns: IdTokens, loss curve (1, H, W, 3) in 0..1. Raises: ValueError, before training, for inputs that
    do not belong together; the host's interrupt exception when the user cancels, after what was learnt has
    been kept: in the file, if one was asked for, and for the next run of the same settings.
    """
    check_model(model, clip, None)
    check_prefix(settings)
    masks = torch.ones(images.shape[:3]) if masks is None else masks
    check_subjects(images, masks)
    text = fill_prompt(settings.prompt, settings.name, settings.class_word)
    rows = start_rows(clip, settings.start)
    IdTokens(settings.name, rows)  # a name that it refuses
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        data = encode_pictures(vae, model, own_copy(images, "cpu"), own_copy(masks, "cpu"), text, settings)
        copies = copies_size(model.model.diffusion_model, clip.cond_stage_model)
        comfy.model_management.load_models_gpu([model, clip.patcher], copies, force_full_load=True)
        tokens = TokenRows(rows).to(model.load_device)
        family = IdFamily(model, clip, IdTokens(settings.name, tokens.vectors))
        plan = make_plan(family, data, rows, settings)
        losses: list[float] = []
        learnt = run(family, tokens, data, plan, settings, losses)
    drop_run(plan.folder)
    return learnt, curve(losses)


def run(
    family, tokens: TokenRows, data: Pictures, plan: Plan, settings: IdSettings, losses: list
) -> IdTokens:
    """The recipe; fills `losses`, and saves what was learnt.

    Raises the host's interrupt after what was learnt is kept.
    """
    try:
        with differentiable(family.encoder):
            train_tokens(
                family, tokens, data, plan, schedule=settings.beta_schedule, batch=settings.batch,
                unmasked=UNMASKED if settings.masked else 1.0, progress=reporter(losses),
                stop=comfy.model_management.processing_interrupted,
            )  # fmt: skip
    finally:  # the host's layers raise its interrupt in mid-step
        if settings.save_prefix and losses:
            save(IdTokens(settings.name, tokens.learnt()), settings, len(losses))
    comfy.model_management.throw_exception_if_processing_interrupted()
    return IdTokens(settings.name, tokens.learnt())


def copies_size(*modules: nn.Module) -> int:
    """Bytes of the float32 copies that training makes of modules."""
    return 4 * sum(weight.numel() for module in modules for weight in module.parameters())


def start_rows(clip, words: str) -> Tensor:
    """The text encoder's input rows (N, width) of words, and of numbered rows such as #42170.

    A word gives as many rows as it has tokens. Raises ValueError for no words, or a number with no row.
    """
    own = own_tokenizer(clip)
    encoder = getattr(clip.cond_stage_model, clip.cond_stage_model.clip)
    table = encoder.transformer.get_input_embeddings().weight
    numbers: list[int] = []
    for word in words.split():
        row = re.fullmatch(r"#(\d+)", word)
        if row and int(row[1]) >= len(table):
            raise ValueError(f"start_words has {word}, this text encoder has rows #0 to #{len(table) - 1}")
        numbers += [int(row[1])] if row else own.tokenizer(word)["input_ids"][own.tokens_start : -1]
    if not numbers:
        raise ValueError("start_words is empty: the new tokens begin as its tokens, so give one at least")
    return own_copy(table[numbers], "cpu")


def encode_pictures(vae, model, images: Tensor, masks: Tensor, text: str, settings: IdSettings) -> Pictures:
    """Varied pictures as latents, with their masks and texts."""
    count, generator = min(settings.steps * settings.batch, POOL), seeded(settings.seed)
    bar, latents, made = comfy.utils.ProgressBar(count), [], []
    for start in range(0, count, CHUNK):
        check_interrupt()
        part = vary(images, masks, settings.size, min(CHUNK, count - start), generator, settings.flip)
        with torch.no_grad():
            encoded = own_copy(vae.encode(part.images), "cpu")
        latents.append(model.model.process_latent_in(encoded))
        made.append(part)
        bar.update(len(part.images))
    texts = tuple(prefix + text for part in made for prefix in part.prefixes)
    subjects, there = (torch.cat([getattr(part, name) for part in made]) for name in ("masks", "pictures"))
    return Pictures(torch.cat(latents), subjects, there, texts)


class EncoderCall(nn.Module):
    """A CLIP whose call is a forward, so that weights can be put in for its length."""

    def __init__(self, clip):
        super().__init__()
        self.model, self.layer = clip.cond_stage_model, clip.layer_idx

    def forward(self, tokens: dict) -> Tensor:
        """What the model makes of (token or vector, weight) entries: 1 x T x C.

        All copies of a CLIP share the model, which keeps the layer that it was last asked for (clip skip).
        """
        self.model.reset_clip_options()
        if self.layer is not None:
            self.model.set_clip_options({"layer": self.layer})
        return self.model.encode_token_weights(tokens)[0]


@contextlib.contextmanager
def differentiable(encoder: nn.Module) -> Iterator[None]:
    """Let gradients pass through the host's text encoder for the length of a `with`.

    Its layers add to their input in place, after a norm that still needs it for the backward pass: so norms
    are given copies.
    """
    norms = [module for module in encoder.modules() if isinstance(module, nn.LayerNorm)]
    hooks = [norm.register_forward_pre_hook(lambda _, args: (args[0].clone(), *args[1:])) for norm in norms]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class IdFamily(HostFamily):
    """A host model as the recipe sees it: each step encodes its prompts, with the tokens as they are."""

    def __init__(self, model, clip, tokens: IdTokens):
        """Copy the weights of a loaded model and of its loaded text encoder."""
        super().__init__(model, None, {})
        self.encoder = EncoderCall(clip)
        named = (*self.encoder.named_parameters(), *self.encoder.named_buffers())
        self.text_weights = {name: own_copy(value, self.device) for name, value in named}
        self.clip = apply_id_tokens(clip, tokens)

    def predict(self, noisy, steps, texts):
        """Noise prediction for pictures (B, 4, h, w) at timesteps (B,), one text a picture."""
        wanted = list(dict.fromkeys(texts))  # words before the prompt may push it into a second chunk
        self.contexts = dict(zip(wanted, same_length([self._encoded(text) for text in wanted]), strict=True))
        return super().predict(noisy, steps, texts, 1)

    def _encoded(self, text: str) -> Tensor:
        tokens = self.clip.tokenize(text)
        return torch.func.functional_call(self.encoder, self.text_weights, (tokens,)).to(self.device)


def make_plan(family: IdFamily, data: Pictures, rows: Tensor, settings: IdSettings) -> Plan:
    """The plan, with a folder that only the same settings, models and pictures find again."""
    groups = (family.weights.values(), family.text_weights.values(), (data.latents, data.masks, rows))
    folder = run_folder("id_", settings, (data.texts, family.encoder.layer), *groups)
    kept = {"seed": settings.seed, "precision": precision(family.device), "constant": True}
    return Plan(settings.steps, folder, settings.learning_rate, **kept)


def save(learnt: IdTokens, settings: IdSettings, done: int) -> Path:
    """Write the tokens, with how they were made, into the first `embeddings` folder under a numbered name."""
    made = {key: str(value) for key, value in asked(settings).items()}
    path = numbered_path(EMBEDDINGS, settings.save_prefix)
    return write_id_tokens(learnt, path, {**made, "steps_done": str(done)})
