"""Put a picture's tokens in the place of the subject word, among the inputs of the text encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

Entry = TypeVar("Entry")


class Replaced(NamedTuple):
    """The entries after replacement, and how many occurrences were replaced."""

    entries: list
    count: int


def replace_word(
    entries: Sequence[Entry],
    word: Sequence[int],
    picture: Callable[[Entry], Sequence[Entry]],
    token: Callable[[Entry], object] = lambda entry: entry,
    ends_word: Callable[[Entry], bool] = lambda entry: True,
) -> Replaced:
    """Replace every occurrence of the token numbers `word`, left to right; what follows shifts.

    entries: what the text encoder is given, one entry a token, such as numbers or (number, weight).
    picture: the first entry of an occurrence -> the entries in its place (which may take over its weight).
    token: the number of an entry, or anything else for one that is no number.
    ends_word: whether an entry ends a word; an occurrence begins where one has just ended ("hotdog" is no
    "dog"). Raises ValueError when `word` has entries that are no numbers, such as an embedding's.
    """
    if not all(isinstance(number, int) for number in word):
        raise ValueError("The subject's word holds an embedding, expected a plain word such as 'dog'")
    found, count, place = [], 0, 0
    numbers = [token(entry) for entry in entries]
    while place < len(entries):
        begins = place == 0 or ends_word(entries[place - 1])
        if begins and _is_at(numbers, word, place):
            found += picture(entries[place])
            place, count = place + len(word), count + 1
        else:
            found.append(entries[place])
            place += 1
    return Replaced(found, count)


def _is_at(numbers: Sequence, word: Sequence[int], place: int) -> bool:
    """Whether `word` begins at `place`; entries that are tensors are never compared with numbers."""
    part = numbers[place : place + len(word)]
    return 0 < len(word) == len(part) and all(
        isinstance(number, int) and number == wanted for number, wanted in zip(part, word, strict=True)
    )


def fitted(entries: Sequence[Entry], padding: Entry, length: int) -> list[Entry]:
    """The first `length` entries, filled up with `padding`: the published way to a fixed length."""
    return [*entries[:length], *[padding] * (length - len(entries))]


def packed(
    entries: Sequence[Entry], groups: Sequence[object], start: Entry, end: Entry, length: int
) -> list[list[Entry]]:
    """Parts of `length` entries, each with start and end and filled with `end`: as ComfyUI divides texts.

    Entries of one group (a word, a picture) stay together where a part can hold them; `groups` has a mark for
    each entry, equal for neighbours that belong together.
    """
    parts, part, place, room = [], [], 0, length - 2
    while place < len(entries):
        stop = place + 1
        while stop < len(entries) and groups[stop] == groups[place]:
            stop += 1
        whole = list(entries[place:stop])
        if len(part) + len(whole) > room and part:
            parts.append(part)
            part = []
        while len(whole) > room:
            parts.append(whole[:room])
            whole = whole[room:]
        part = part + whole
        place = stop
    filled = [*parts, part] if part or not parts else parts
    return [fitted([start, *each, end], end, length) for each in filled]
