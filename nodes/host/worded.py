"""Prompts in which pictures stand for a word: one for the whole clip, or one a frame."""

from __future__ import annotations

from torch import Tensor

from ...core.prompts.blend import blend, same_length
from ...core.prompts.schedule import Key, key_weights
from .hooks import SCHEDULE_FRAMES
from .image_prompt import ImagePromptValue, Worded, encode_tokens, with_picture
from .progress import track

AVERAGE, SPREAD = "average", "spread"
MANY = (AVERAGE, SPREAD)


def prompt_with_pictures(clip, text: str, subject: str, value: ImagePromptValue, many: str, frames: int):
    """CONDITIONING and a report; raises ValueError where the text or the pictures do not serve."""
    if value.tokens is None:
        raise ValueError(
            "The image prompt has no tokens: connect an image prompt model to 'Encode Image Prompt'"
        )
    if not subject.strip():
        raise ValueError("subject is empty: write the word that the picture stands for")
    if many == SPREAD and len(value.tokens) > 1:
        return _spread(clip, text, subject, value.tokens, frames)
    worded = with_picture(clip, text, subject, value.tokens.mean(0))
    encoded = encode_tokens(clip, worded.parts)
    extra = {key: part for key, part in encoded.items() if key != "cond"}
    return [[encoded["cond"], extra]], _report(worded, subject, len(value.tokens), "averaged")


def _spread(clip, text: str, subject: str, tokens: Tensor, frames: int):
    """One embedding a frame, one picture fading into the next."""
    count = len(tokens)
    keys = [Key(round(i * (frames - 1) / (count - 1)), "") for i in range(count)]
    if len({key.frame for key in keys}) < count:
        raise ValueError(f"{count} pictures cannot be spread over {frames} frames")
    worded = [with_picture(clip, text, subject, each) for each in tokens]
    encoded = [encode_tokens(clip, one.parts) for one in track(worded)]
    encoded = blended(encoded, key_weights(keys, range(frames)), frames)
    return [encoded], _report(worded[0], subject, count, f"spread over {frames} frames")


def blended(encoded: list[dict], weights: Tensor, frames: int) -> list:
    """One entry of a CONDITIONING from what the host's CLIP gave for each key; `weights` (frames, keys)."""
    cond = blend(same_length([part["cond"] for part in encoded]), weights)
    extra = {key: value for key, value in encoded[0].items() if key not in ("cond", "pooled_output")}
    if all(part["pooled_output"] is not None for part in encoded):
        extra["pooled_output"] = blend([part["pooled_output"] for part in encoded], weights)
    return [cond, {**extra, SCHEDULE_FRAMES: frames}]


def _report(worded: Worded, subject: str, pictures: int, how: str) -> str:
    times = "once" if worded.count == 1 else f"{worded.count} times"
    shown = "1 picture" if pictures == 1 else f"{pictures} pictures, {how},"
    count = len(worded.parts)
    parts = "" if count == 1 else f"; the prompt fills {count} parts of 75 tokens"
    return f"{shown} in place of '{subject.strip()}', {times}{parts}"
