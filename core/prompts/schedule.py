"""Read a schedule such as `0: a red ball` or `0:1.0, 8:0.5`, and weigh its keys at every frame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

EASINGS = ("linear", "smooth", "hold")

_KEY = re.compile(
    r'\s*(?P<quote>"?)(?P<at>\d+(?:\.\d+)?%|\d+)(?P=quote)\s*(?:\[(?P<options>[^\]]*)\]\s*)?:\s*'
)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\s*,?\s*')
_NUMBER = re.compile(r"\s*(\d+)\s*:\s*([-+]?(?:\d+\.?\d*|\.\d+))\s*")
_WEIGHT = re.compile(r"\d+\.?\d*|\.\d+")
# in a text without quotes; 16:9 is none
ANOTHER_KEY = re.compile(r',\s*("?(?:\d+(?:\.\d+)?%|\d+)"?\s*(?:\[[^\]]*\]\s*)?:)(?!\d)')


@dataclass(frozen=True)
class Key:
    """A value that holds at one frame, counted from 0: a prompt (str) or a number (float).

    weight: how strongly a prompt acts, 1 as it is; easing: one of EASINGS from here to the next key, "" for
    the schedule's; line: where it was read.
    """

    frame: int
    value: str | float
    weight: float = 1.0
    easing: str = ""
    line: int = field(default=0, compare=False)


def parse_prompts(text: str, frames: int | None = None, title: str = "Prompt schedule") -> tuple[Key, ...]:
    """Read prompts keyed to frames, sorted by frame: one `frame: text` a line, or `"0": "text", "8": "text"`.

    `50%: text` is in the middle of a clip of `frames` frames; `8 [hold, 1.2]: text` gives the key an easing
    and a weight. Empty lines and lines that start with # are skipped. Raises ValueError with `title` and the
    line number for anything else, and for a second key in a text without quotes.
    """
    keys: list[Key] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            keys += _prompts_of_line(line, number, frames, f"{title} line {number}")
    return _in_order(keys, title, "0: a red ball")


def _prompts_of_line(line: str, number: int, frames: int | None, where: str) -> list[Key]:
    keys, position = [], 0
    while position < len(line.rstrip()):
        head = _KEY.match(line, position)
        if head is None:
            raise ValueError(
                f"{where}: expected 'frame: text' as in '0: a red ball', got '{line[position:].strip()}'"
            )
        frame, rest = _frame(head["at"], where, frames), line[head.end() :]
        weight, easing = _options(head["options"] or "", where)
        quoted = _QUOTED.match(rest)
        if quoted is None:
            _check_unquoted(rest, frame, where)
        value = rest.strip().rstrip(",") if quoted is None else re.sub(r"\\(.)", r"\1", quoted[1])
        keys.append(Key(frame, value, weight, easing, number))
        position = len(line) if quoted is None else head.end() + quoted.end()
    return keys


def _check_unquoted(text: str, frame: int, where: str) -> None:
    """Raise ValueError where the text of a key, the rest of its line, is none, or holds another key."""
    if not text.strip(' ,\t"'):
        raise ValueError(f'{where}: frame {frame} has no text; write {frame}: "" for none')
    another = ANOTHER_KEY.search(text)
    if another is not None:
        raise ValueError(
            f"{where}: '{another[1]}' looks like another key; begin a line with it, or put texts in quotes"
        )


def _frame(at: str, where: str, frames: int | None) -> int:
    """Frame of a key: a number, or a percentage of the clip."""
    if not at.endswith("%"):
        return int(at)
    share = float(at[:-1]) / 100
    if frames is None or share > 1:
        raise ValueError(f"{where}: {at} is not a place in the clip, 0% to 100%")
    return int(share * (frames - 1) + 0.5)


def _options(text: str, where: str) -> tuple[float, str]:
    """Weight and easing from what stands in brackets."""
    weight, easing = 1.0, ""
    for word in filter(None, (part.strip() for part in text.split(","))):
        if word in EASINGS:
            easing = word
        elif _WEIGHT.fullmatch(word):
            weight = float(word)
        else:
            raise ValueError(
                f"{where}: '{word}' is neither a weight such as 1.2 nor one of {', '.join(EASINGS)}"
            )
    return weight, easing


def parse_values(text: str, title: str = "Value schedule") -> tuple[Key, ...]:
    """Read numbers keyed to frames, sorted by frame: `0:1.0, 8:0.5`, parted by commas or lines.

    Empty text gives no keys. Raises ValueError that shows the entry which is not `frame:number`; `title` is
    what errors call the schedule, the name of the input that has it.
    """
    keys = []
    for entry in filter(str.strip, re.split(r"[,\n]", text)):
        match = _NUMBER.fullmatch(entry)
        if match is None:
            raise ValueError(f"{title}: expected 'frame:number' as in '0:1.0, 8:0.5', got '{entry.strip()}'")
        keys.append(Key(int(match[1]), float(match[2])))
    return _in_order(keys, title, "0:1.0, 8:0.5") if keys else ()


def _in_order(keys: list[Key], title: str, example: str) -> tuple[Key, ...]:
    if not keys:
        raise ValueError(f"{title} has no keys; write for example '{example}'")
    ordered = sorted(keys, key=lambda key: key.frame)
    for before, after in zip(ordered, ordered[1:], strict=False):
        if before.frame == after.frame:
            lines = f" (lines {before.line} and {after.line})" if after.line else ""
            raise ValueError(f"{title} has two entries for frame {after.frame}{lines}")
    return tuple(ordered)


def check_range(keys: Sequence[Key], frames: int, title: str = "Schedule") -> None:
    """Raise ValueError, which names `title`, when a key lies past the last frame of a clip of `frames`."""
    for key in keys:
        if key.frame >= frames:
            raise ValueError(
                f"{title}{f' line {key.line}' if key.line else ''}: key {key.frame} is past the last frame "
                f"of the clip, {frames - 1} ({frames} frames)"
            )


def key_weights(keys: Sequence[Key], frames: Sequence[int], easing: str = "linear") -> Tensor:
    """Weight of each key at each frame index in `frames`: (len(frames), len(keys)) float32, rows sum to 1.

    Before the first key the first holds, after the last the last. Between two keys the weights cross
    linearly, or along a half cosine ("smooth"), or the earlier key holds until the next ("hold"); a key's own
    easing comes before `easing`.
    """
    if easing not in EASINGS:
        raise ValueError(f"Easing is '{easing}', expected one of {', '.join(EASINGS)}")
    at = torch.tensor([key.frame for key in keys], dtype=torch.float64)
    when = torch.tensor(list(frames), dtype=torch.float64).clamp(at[0], at[-1])
    after = torch.searchsorted(at, when, right=True).clamp(max=len(keys) - 1)
    before = (after - 1).clamp(min=0)
    share = (when - at[before]) / (at[after] - at[before]).clamp(min=1.0)
    shares = {"linear": share, "smooth": (1 - torch.cos(torch.pi * share)) / 2, "hold": torch.floor(share)}
    kinds = torch.tensor([EASINGS.index(key.easing or easing) for key in keys])[before]
    share = torch.stack([shares[name] for name in EASINGS]).gather(0, kinds[None])[0]
    weights = torch.zeros(len(when), len(keys), dtype=torch.float64)
    weights.scatter_add_(1, before[:, None], (1 - share)[:, None])
    weights.scatter_add_(1, after[:, None], share[:, None])
    return weights.float()


def values_at(keys: Sequence[Key], frames: Sequence[int], easing: str = "linear") -> Tensor:
    """Value of a number schedule at each frame index in `frames`: (len(frames),) float32."""
    return key_weights(keys, frames, easing) @ torch.tensor([float(key.value) for key in keys])
