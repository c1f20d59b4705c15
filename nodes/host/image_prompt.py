"""Image prompts in the host: loading a model, a picture's tokens, and a prompt that holds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import comfy.model_management
import comfy.ops
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from ...core.image_prompt.layouts import read_image_prompt
from ...core.image_prompt.network import MapperConfig
from ...core.image_prompt.picture import Prepared, prepare, stacked, written_boxes
from ...core.image_prompt.vision import standardized
from ...core.image_prompt.words import packed, replace_word
from .nets import load_net
from .progress import track

PUBLISHED_LAYERS = 24  # of CLIP ViT-L/14
PICTURE = "picture"  # marks entries that stand for a picture while a text is divided into parts
AT_ONCE = 8  # pictures in the picture encoder


@dataclass(frozen=True)
class ImagePromptValue:
    """What IMAGE_PROMPT carries: prepared pictures, and a token row N x 5 x C for each, or None."""

    pictures: tuple[Prepared, ...]
    tokens: Tensor | None = None

    @property
    def report(self) -> str:
        """What was done to the pictures, a line each."""
        lines = [f"picture {number}: {one.report}" for number, one in enumerate(self.pictures)]
        used = "coarse tokens and image attention" if self.tokens is not None else "image attention only"
        return "\n".join([*lines, f"used for: {used}"])


def load_image_prompt_file(path: str, video: str | None = None) -> ModelPatcher:
    """Load an IMAGE_PROMPT_MODEL; `video` is the published video UNet. Raises ValueError."""
    return load_net(read_image_prompt, path, video)


def prepare_pictures(images: Tensor, masks: Tensor | None, boxes: str, margin: float) -> tuple[Prepared, ...]:
    """Pictures N x H x W x 3 or 4, with masks (N or 1) x H x W and boxes as text. Raises ValueError."""
    count, size = len(images), (images.shape[2], images.shape[1])
    if masks is not None and len(masks) not in (1, count):
        raise ValueError(f"There are {len(masks)} masks for {count} pictures; give one each, or one for all")
    given, found = written_boxes(boxes, count, size), []
    for number in range(count):
        mask = None if masks is None else masks[min(number, len(masks) - 1)]
        found.append(prepare(images[number].float(), mask, given[number], margin))
    return tuple(found)


def encode_pictures(prompt: ModelPatcher, clip_vision, pictures: Sequence[Prepared]) -> Tensor:
    """A picture's tokens by a model's mapper: N x 5 x C float32. Raises ValueError where that cannot be."""
    model, sizes = prompt.model, prompt.model.config.mapper
    if sizes is None:
        raise ValueError("This image prompt model has no mapper: it gives no tokens, only image attention")
    if sizes.vision is None:
        check_vision(clip_vision, sizes)
    comfy.model_management.load_models_gpu([prompt, *([] if sizes.vision else [clip_vision.patcher])])
    side = sizes.vision.image if sizes.vision else clip_vision.image_size
    tokens = []
    with torch.inference_mode():
        for start in track(range(0, len(pictures), AT_ONCE)):
            images = stacked([one.image for one in pictures[start : start + AT_ONCE]], side)
            pixels = standardized(images).to(prompt.load_device)
            states = model.vision(pixels) if sizes.vision else clip_states(clip_vision, pixels)
            tokens.append(model.tokens([state.to(pixels) for state in states]).float().cpu())
    return torch.cat(tokens)


def check_vision(clip_vision, sizes: MapperConfig) -> None:
    """Raise ValueError unless a CLIP_VISION is the kind that the mapper reads."""
    if clip_vision is None:
        raise ValueError(
            "This image prompt model needs a picture encoder: connect 'Load CLIP Vision' with CLIP ViT-L/14"
        )
    layers, width = vision_size(clip_vision)
    if width != sizes.source or layers < max(sizes.layers):
        raise ValueError(
            f"This CLIP vision model has {layers} layers {width} wide; the image prompt model reads "
            f"{max(sizes.layers)} layers {sizes.source} wide (CLIP ViT-L/14)"
        )


def vision_size(clip_vision) -> tuple[int, int]:
    """Layers of a CLIP_VISION, and their width. Raises ValueError for one that is no CLIP model."""
    vision = getattr(clip_vision.model, "vision_model", None)
    if getattr(getattr(vision, "embeddings", None), "class_embedding", None) is None:
        raise ValueError(
            "The CLIP vision model has no class embedding, as DINOv2 and SigLIP: image prompts need a CLIP "
            "model, such as CLIP ViT-L/14"
        )
    layers = vision.encoder.layers
    return len(layers), layers[0].layer_norm1.weight.shape[0]


def clip_states(clip_vision, pixels: Tensor) -> list[Tensor]:
    """Hidden states 0 to 24 of pixels; the host gives the layers' outputs, so number 0 is empty."""
    pixels = pixels.to(clip_vision.load_device)
    last, layers, *_ = clip_vision.model(pixel_values=pixels, intermediate_output="all")
    return [torch.empty(0, device=last.device), *layers.unbind(1)[: PUBLISHED_LAYERS - 1], last]


@dataclass(frozen=True)
class Worded:
    """A prompt with a picture in it.

    parts: (token or vector, weight) entries in parts of 77; count: how often the picture is there, or 0.
    """

    parts: list[list[tuple]]
    count: int


def with_picture(clip, text: str, subject: str, tokens: Tensor) -> Worded:
    """`picture_where_named`, and also ValueError when the subject is not in the text."""
    found = picture_where_named(clip, text, subject, tokens)
    if not found.count:
        raise ValueError(
            f"The prompt has no word '{subject.strip()}' that a picture could stand for: "
            f"'{text.strip()[:80]}'"
        )
    return found


def picture_where_named(clip, text: str, subject: str, tokens: Tensor) -> Worded:
    """A text with `tokens` (T x C) in place of each occurrence of `subject`, which may be none.

    Texts of over 75 tokens go on in another part, as in 'CLIP Text Encode'. Raises ValueError when the text
    encoder is not Stable Diffusion 1.5's, or the subject is no plain word.
    """
    encoder, tokenizer = _text_parts(clip)
    width = encoder.transformer.get_input_embeddings().weight.shape[1]
    if tokens.shape[1] != width:
        raise ValueError(
            f"The picture's tokens are {tokens.shape[1]} wide, this text encoder takes {width}: the image "
            "prompt model was made for another kind of model"
        )
    entries, word = _entries(clip, text), [token for token, _ in _entries(clip, subject)]

    def picture(entry: tuple) -> list[tuple]:
        return [(row, entry[1]) for row in tokens]

    def ends_word(entry: tuple) -> bool:
        return not isinstance(entry[0], int) or tokenizer.inv_vocab[entry[0]].endswith("</w>")

    found = replace_word(entries, word, picture, lambda entry: entry[0], ends_word)
    groups, group = [], 0
    for entry in found.entries:
        groups.append(group if isinstance(entry[0], int) else (PICTURE, group))
        group += ends_word(entry) and isinstance(entry[0], int)
    ends_with = (tokenizer.end_token, 1.0)
    parts = packed(found.entries, groups, (tokenizer.start_token, 1.0), ends_with, tokenizer.max_length)
    return Worded(parts, found.count)


def encode_tokens(clip, parts: list[list[tuple]]) -> dict:
    """What the host's CLIP gives for (token or vector, weight) entries."""
    key = clip.cond_stage_model.clip_name
    return clip.encode_from_tokens({key: parts}, return_pooled=True, return_dict=True)


def _text_parts(clip):
    """The host's text encoder and tokenizer of Stable Diffusion 1.5. Raises ValueError for other kinds."""
    if clip is None:
        raise ValueError("There is no text encoder: this checkpoint holds none; use 'Load CLIP'")
    name = getattr(clip.cond_stage_model, "clip", None)
    encoder, tokenizer = (
        getattr(clip.cond_stage_model, str(name), None),
        getattr(clip.tokenizer, str(name), None),
    )
    if name != "clip_l" or encoder is None or tokenizer is None:
        raise ValueError(
            "Image prompts go into Stable Diffusion 1.5's text encoder; this one is "
            f"{type(clip.cond_stage_model).__name__}"
        )
    return encoder, tokenizer


def _entries(clip, text: str) -> list[tuple]:
    """(token, weight) of a text without begin, end and filling."""
    (parts,) = clip.tokenize(text, return_word_ids=True).values()
    return [(token, weight) for part in parts for token, weight, word in part if word]
