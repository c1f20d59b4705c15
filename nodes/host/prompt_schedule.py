"""Schedules of prompts as CONDITIONING: every key is encoded once, and each frame gets its blend."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from ...core.prompts.blend import strengthened
from ...core.prompts.schedule import Key, check_range, key_weights, parse_prompts
from .image_prompt import encode_tokens, picture_where_named
from .progress import track
from .worded import blended

NEGATIVE = "Negative prompt schedule"  # what its mistakes are said of
_KEYED = re.compile(r'\s*"?[\d.]+%?"?\s*(\[[^\]]*\]\s*)?:')


def schedule_conditioning(
    clip, text: str, negative: str, frames: int, easing: str, around: tuple[str, str], pictured: tuple
):
    """CONDITIONING of the prompts and of the negative prompts.

    around: texts before and after every prompt. pictured: an ImagePromptValue or None, and the word that its
    pictures stand for. Raises ValueError that names the line of a mistake, before anything is encoded.
    """
    if clip is None:
        raise ValueError("Prompt Schedule has no text encoder: this checkpoint holds none; use 'Load CLIP'")
    keys, against = parse_prompts(text, frames), parse_negative(negative, frames)
    check_range(keys, frames, "Prompt schedule")
    check_range(against, frames, NEGATIVE)
    prompts = [", ".join(filter(None, (around[0], key.value, around[1]))) for key in keys]
    read = _reader(clip, prompts, *pictured)
    return (
        [_blend(clip, keys, prompts, frames, easing, read)],
        [_against(clip, against, frames, easing)],
    )


def parse_negative(text: str, frames: int) -> tuple[Key, ...]:
    """Keys of a negative track: a schedule, or one text for all frames (also none)."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if lines and _KEYED.match(lines[0]):
        return parse_prompts(text, frames, NEGATIVE)
    return (Key(0, " ".join(line.strip() for line in lines)),)


def _against(clip, keys: Sequence[Key], frames: int, easing: str) -> list:
    """One entry of a CONDITIONING: one text for all frames is one embedding, as of 'CLIP Text Encode'."""
    if len(keys) > 1 or keys[0].weight != 1.0:
        prompts = [key.value for key in keys]
        return _blend(clip, keys, prompts, frames, easing, lambda text: encode(clip, text))
    encoded = encode(clip, keys[0].value)
    return [encoded["cond"], {key: value for key, value in encoded.items() if key != "cond"}]


def _blend(clip, keys: Sequence[Key], prompts: list[str], frames: int, easing: str, read: Callable) -> list:
    """One entry of a CONDITIONING, an embedding a frame."""
    encoded = [read(prompt) for prompt in track(prompts)]
    if any(key.weight != 1.0 for key in keys):
        empty = encode(clip, "")
        encoded = [_weighted(part, empty, key.weight) for part, key in zip(encoded, keys, strict=True)]
    return blended(encoded, key_weights(keys, range(frames), easing), frames)


def _weighted(encoded: dict, empty: dict, weight: float) -> dict:
    found = dict(encoded)
    for name in ("cond", "pooled_output"):
        if encoded[name] is not None:
            found[name] = strengthened(encoded[name], empty[name], weight)
    return found


def _reader(clip, prompts: list[str], value, subject: str) -> Callable[[str], dict]:
    """What encodes a prompt: with pictures in the place of the subject's word where it has that word."""
    if value is None:
        return lambda text: encode(clip, text)
    if value.tokens is None or not subject.strip():
        raise ValueError(
            "Prompt Schedule has an image prompt: write its subject, and make it with an image prompt model"
        )
    tokens = value.tokens.mean(0)
    worded = {prompt: picture_where_named(clip, prompt, subject, tokens) for prompt in prompts}
    if not any(each.count for each in worded.values()):
        raise ValueError(f"No prompt of the schedule has the word '{subject.strip()}'")

    def read(text: str) -> dict:
        found = worded[text]
        return encode_tokens(clip, found.parts) if found.count else encode(clip, text)

    return read


def encode(clip, text: str) -> dict:
    """The dict of one prompt that the host's CLIP gives: `cond` 1 x T x C, `pooled_output` 1 x C or None."""
    return clip.encode_from_tokens(clip.tokenize(text), return_pooled=True, return_dict=True)
