"""Keyframes and prompts of a clip on one ruler, as one text: what the keyframe timeline's editor writes.

    {"version": 1,
     "keys": [{"frame": 0}, {"frame": -1, "strength": 0.8, "easing": "smooth"}],
     "prompts": [{"frame": 0, "text": "a red ball"}, {"frame": 8, "text": "a blue ball", "easing": "hold"}]}

Key number k holds the k-th image. Without keys the images are spread evenly over the clip. Everything but
version, frame and text may be left out.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, fields

from torch import Tensor

from .keyframes import EASINGS, Keyframe, Keyframes, keyframes_of_batch, spread_frames
from .prompts.schedule import EASINGS as PROMPT_EASINGS

VERSION = 1


@dataclass(frozen=True)
class ImageKey:
    """Where one image stands: frame from 0, or from the end if negative; strength 0..1; one of EASINGS."""

    frame: int
    strength: float = 1.0
    easing: str = "linear"


@dataclass(frozen=True)
class PromptKey:
    """A prompt from a frame on, counted from 0; weight 1 = as it is; easing "" = as the schedule's."""

    frame: int
    text: str
    weight: float = 1.0
    easing: str = ""


@dataclass(frozen=True)
class Timeline:
    """Keys in the order of the images, prompts in any order."""

    keys: tuple[ImageKey, ...] = ()
    prompts: tuple[PromptKey, ...] = ()

    def keyframes(self, images: Tensor, frames: int) -> Keyframes:
        """Keyframes of images (K, H, W, 3) in 0..1 in a clip of `frames`.

        Raises ValueError unless each has a key, or none has.
        """
        if not self.keys:
            return keyframes_of_batch(images, spread_frames(len(images), frames))
        if len(images) != len(self.keys):
            raise ValueError(
                f"Keyframe Timeline has {len(self.keys)} keys for {len(images)} images; give one key each, "
                "or none to spread them evenly"
            )
        made = (Keyframe(image, *vars(key).values()) for image, key in zip(images, self.keys, strict=True))
        return Keyframes(tuple(made))

    def schedule(self) -> str:
        """The prompts as the text that 'Prompt Schedule' reads, one a line in order of time; "" for none."""
        return "\n".join(_schedule_line(key) for key in sorted(self.prompts, key=lambda key: key.frame))


def _schedule_line(key: PromptKey) -> str:
    weight = f"{key.weight:.4f}" if key.weight != 1 else ""
    options = ", ".join(filter(None, (key.easing, weight)))
    text = " ".join(key.text.split()).replace("\\", "\\\\").replace('"', '\\"')
    return f'{key.frame}{f" [{options}]" if options else ""}: "{text}"'


def read_timeline(text: str) -> Timeline:
    """The timeline of its JSON; empty text has neither keys nor prompts.

    Raises ValueError that names the entry it cannot take.
    """
    if not text.strip():
        return Timeline()
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"Keyframe Timeline is not valid JSON: {error.msg} in line {error.lineno}, column {error.colno}"
        ) from None
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise ValueError(
            f'Keyframe Timeline is {text.strip()!r:.60}, expected {{"version": {VERSION}, "keys": [...]}}'
        )
    _check_entries("Keyframe Timeline", data, {"version", "keys", "prompts"})
    keys = _entries(ImageKey, "key", data.get("keys", []), EASINGS)
    return Timeline(keys, _entries(PromptKey, "prompt", data.get("prompts", []), ("", *PROMPT_EASINGS)))


def _entries(kind: type, what: str, entries, easings: tuple[str, ...]) -> tuple:
    if not isinstance(entries, list):
        raise ValueError(f"Keyframe Timeline: {what}s are {entries!r:.60}, expected a list")
    return tuple(
        _entry(kind, f"Keyframe Timeline, {what} {number}", entry, easings)
        for number, entry in enumerate(entries, 1)
    )


def _entry(kind: type, title: str, entry, easings: tuple[str, ...]):
    """One key; what Keyframe and the prompt schedule check themselves is left to them."""
    if not isinstance(entry, dict):
        raise ValueError(f"{title} is {entry!r:.60}, expected a JSON object")
    _check_entries(title, entry, {f.name for f in fields(kind)})
    for f in fields(kind):
        if f.default is MISSING and f.name not in entry:
            raise ValueError(f"{title} has no {f.name}")
    made = kind(**entry)
    if type(made.frame) is not int:
        raise ValueError(f"{title}: frame is {made.frame!r}, expected a whole number")
    if made.easing not in easings:
        known = ", ".join(filter(None, easings))
        raise ValueError(f"{title}: easing is {made.easing!r}, expected one of {known}")
    amount = entry.get("strength", entry.get("weight", 1.0))
    if isinstance(amount, bool) or not isinstance(amount, (int, float)) or not amount >= 0:
        raise ValueError(f"{title}: {amount!r} is no strength or weight, expected a number from 0")
    if not isinstance(entry.get("text", ""), str):
        raise ValueError(f"{title}: text is {entry['text']!r:.60}, expected words in quotes")
    return made


def _check_entries(title: str, entry: dict, known: set[str]) -> None:
    for key in entry:
        if key not in known:
            raise ValueError(f"{title} has an unknown entry '{key}', expected {', '.join(sorted(known))}")
