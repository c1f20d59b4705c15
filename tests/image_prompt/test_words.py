"""The subject word: replaced wherever it is a word of its own; texts over the limit go on in another part."""

import pytest
from choreographer.core.image_prompt.words import fitted, packed, replace_word

PICTURE = [-1, -2, -3, -4, -5]


def replaced(ids, word):
    return replace_word(ids, word, lambda _: PICTURE)


@pytest.mark.parametrize(
    ("ids", "word", "expected", "count"),
    [
        ([7, 50, 9], [50], [7, *PICTURE, 9], 1),
        ([7, 50, 51, 52, 9], [50, 51, 52], [7, *PICTURE, 9], 1),
        ([50, 51, 8, 50, 51], [50, 51], [*PICTURE, 8, *PICTURE], 2),
        ([50, 50, 50], [50, 50], [*PICTURE, 50], 1),
        ([7, 8, 9], [50], [7, 8, 9], 0),
        ([7, 50], [50, 51], [7, 50], 0),
        ([7, 8], [], [7, 8], 0),
    ],
)
def test_every_occurrence_left_to_right(ids, word, expected, count):
    assert replaced(ids, word) == (expected, count)


def test_a_word_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="The subject's word holds an embedding"):
        replaced([7, 8], [7, object()])


def test_a_word_inside_another_stays():
    """Tokens 1 and 2 spell one word; 2 alone is the subject."""
    entries = [(1, 1.0), (2, 1.0), (2, 1.2)]
    found = replace_word(
        entries,
        [2],
        lambda entry: [("p", entry[1])],
        token=lambda entry: entry[0],
        ends_word=lambda entry: entry[0] != 1,
    )
    assert found == ([(1, 1.0), (2, 1.0), ("p", 1.2)], 1)


def test_the_published_length_cuts_the_tail():
    assert fitted([1, 2, 3, 4], 0, 3) == [1, 2, 3] and fitted([1], 0, 3) == [1, 0, 0]


def test_packing_keeps_every_entry_and_divides_no_picture():
    entries, groups = [*range(1, 7), *PICTURE, 8], [*range(6), *["picture"] * 5, 99]
    parts = packed(entries, groups, start=100, end=101, length=9)
    assert [part[0] for part in parts] == [100, 100] and all(len(part) == 9 for part in parts)
    assert parts[0] == [100, 1, 2, 3, 4, 5, 6, 101, 101]
    assert parts[1] == [100, *PICTURE, 8, 101, 101]
    assert packed([], [], 100, 101, 4) == [[100, 101, 101, 101]]
    long = packed(list(range(10)), ["one"] * 10, 100, 101, 6)
    assert [e for part in long for e in part if e < 100] == list(range(10))
    exact = packed(list(range(4)), range(4), 100, 101, 6)
    assert exact == [[100, 0, 1, 2, 3, 101]]
