"""The prompt director: one prompt becomes a richer one, or several that follow each other over a clip.

By a language model (the paper's refinement; Free-Bloom's decomposition), or without one by the user's own
"then". The result is schedule text, which the user may edit.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from .client import Server, complete
from .schedule import ANOTHER_KEY

REFINE, DECOMPOSE = "refine", "decompose"
TASKS = (REFINE, DECOMPOSE)
ATTEMPTS = 2  # a model may answer badly once
LONGEST = 600  # characters of a prompt: well over what a text encoder reads
EXAMPLE = (
    "A golden retriever runs along a beach at sunset, wet sand, low warm light, slow camera pan to the right"
)
MARK = "# director"

_MANNER = (
    "You write prompts for a text-to-video model. A prompt is one English sentence or list of phrases: the "
    "subject and what it does, the place, the light, the camera. It names only what can be seen."
)
_REFINE = (
    'Rewrite the prompt below into one richer prompt in the manner of this example: "{example}". Keep its '
    "subject and what happens.\n\nPrompt: {text}"
)
_DECOMPOSE = (
    "The prompt below describes a whole video. Write {keys} prompts for {keys} moments of it, in order and "
    "evenly spaced, from its first to its last frame. Each stands for itself: repeat the subject with the "
    "same words, and keep place and style, so that only what happens changes. Manner of each, as an example: "
    '"{example}".\n\nPrompt: {text}'
)
_FORM = '\n\nAnswer with JSON only: {{"prompts": [{slots}]}}'
_BEGINS = re.compile(r'[{\[](?=\s*")')  # of an object, or of a list of texts
_THEN = re.compile(
    r"\s*(?:[,;.]?\s*\b(?:and\s+)?(?:then|after that|afterwards|next(?!\s+to\b)|finally)\b,?|;|->|\n)\s*",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Task:
    """What to make of a text: `kind` of TASKS; `keys` prompts (decompose); an `example` of the manner.

    Raises ValueError for an empty text or another kind.
    """

    text: str
    kind: str = DECOMPOSE
    keys: int = 4
    example: str = EXAMPLE

    def __post_init__(self):
        """Check the values."""
        if not self.text.strip():
            raise ValueError("Director: the prompt is empty; write what happens in the clip")
        if self.kind not in TASKS:
            raise ValueError(f"Director: task is '{self.kind}', expected one of {', '.join(TASKS)}")

    @property
    def count(self) -> int:
        """How many prompts are asked for."""
        return 1 if self.kind == REFINE else self.keys

    def messages(self) -> list[dict]:
        """The chat messages that ask for it."""
        form = _FORM.format(slots=", ".join(['"..."'] * self.count))
        wish = _REFINE if self.kind == REFINE else _DECOMPOSE
        text = wish.format(example=self.example.strip() or EXAMPLE, text=self.text.strip(), keys=self.keys)
        return [{"role": "system", "content": _MANNER}, {"role": "user", "content": text + form}]

    def mark(self, place: tuple[str, ...], seed: int) -> str:
        """A line that says what an answer belongs to; `place`: address and model, or () for rules."""
        asked = json.dumps([self.text, self.kind, self.keys, self.example, place, seed])
        return f"{MARK} {hashlib.sha256(asked.encode()).hexdigest()[:8]}"


def direct(task: Task, server: Server, seed: int, stop: Callable[[], None] = lambda: None) -> list[str]:
    """Prompts by a language model, asked again when its answer is of no use. Raises ValueError."""
    for attempt in range(ATTEMPTS):
        answer = complete(server, task.messages(), seed + attempt, stop)
        prompts = read_answer(answer, task.count)
        if prompts is not None:
            return prompts
    raise ValueError(
        f"Director: the model's answer has not {task.count} prompts in JSON: "
        f"'{' '.join(answer.split())[:160]}'"
    )


def read_answer(answer: str, count: int) -> list[str] | None:
    """The `count` prompts of a model's answer; None when it does not have them.

    Thoughts, fences and other text around the JSON are passed over; the last fitting value counts, and lists
    inside one do not. Nothing is read behind brackets nested deeper than JSON is read.
    """
    decoder, found, end = json.JSONDecoder(), None, 0
    for place in (match.start() for match in _BEGINS.finditer(answer)):
        if place < end:
            continue
        try:
            value, after = decoder.raw_decode(answer, place)
        except json.JSONDecodeError:
            continue
        except RecursionError:
            break  # every bracket inside would fail as slowly
        prompts = value.get("prompts") if isinstance(value, dict) else value
        if _is_prompts(prompts, count):
            found, end = [" ".join(prompt.split()) for prompt in prompts], after
    return found


def _is_prompts(value, count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        and all(isinstance(prompt, str) and 0 < len(prompt.strip()) <= LONGEST for prompt in value)
    )


def split_by_rules(text: str) -> list[str]:
    """The user's own steps, parted by "then", "after that", "next", "finally", ;, -> or a new line.

    "next to" parts nothing. Raises ValueError when the text has nothing else than such words.
    """
    parts = [part.strip(" ,.") for part in _THEN.split(text.strip())]
    if not any(parts):
        raise ValueError(f"Director: the prompt is '{text.strip()}'; write what happens in the clip")
    return [part for part in parts if part]


def schedule_text(prompts: list[str]) -> str:
    """Prompts evenly over a clip, as text for 'Prompt Schedule': "0%: ...", "50%: ...", "100%: ..."."""
    last = max(len(prompts) - 1, 1)
    return "\n".join(f"{round(100 * i / last)}%: {_plain(prompt)}" for i, prompt in enumerate(prompts))


def _plain(prompt: str) -> str:
    """A prompt that the schedule reads as it is: in quotes where it would be read otherwise."""
    escaped = prompt.replace("\\", "\\\\").replace('"', '\\"')
    quoted = prompt.startswith('"') or prompt.endswith(",") or ANOTHER_KEY.search(prompt)
    return f'"{escaped}"' if quoted else prompt


def kept(answer: str, mark: str) -> str | None:
    """The text that is there already, where it still counts: the user's own, or the answer to this very task.

    An answer begins with its mark; a user who takes the line away keeps the text whatever changes.
    """
    text = answer.strip()
    first = text.partition("\n")[0]
    return text if text and (not first.startswith(MARK) or first.startswith(mark)) else None
