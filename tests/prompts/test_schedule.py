"""Prompt and value schedules: what is read, what is refused, how keys weigh."""

import pytest
import torch
from choreographer.core.prompts.blend import blend, same_length, strengthened
from choreographer.core.prompts.schedule import (
    Key,
    check_range,
    key_weights,
    parse_prompts,
    parse_values,
    values_at,
)


def test_lines_and_quotes_give_the_same_keys():
    expected = (Key(0, "a red ball, soft light"), Key(8, "a (blue:1.2) ball"))
    assert parse_prompts("0: a red ball, soft light\n\n# later\n8: a (blue:1.2) ball,\n") == expected
    assert parse_prompts('"0": "a red ball, soft light", "8": "a (blue:1.2) ball"') == expected
    assert parse_prompts('8: "a (blue:1.2) ball"\n0 :"a red ball, soft light",') == expected


def test_quotes_may_hold_quotes_and_nothing():
    assert parse_prompts(r'0: "a \"red\" ball", 4: ""') == (Key(0, 'a "red" ball'), Key(4, ""))


@pytest.mark.parametrize("text", ["a (blue:1.2) ball, soft", "a film, 16:9, 4k", "at 8: a ball", "a, (8: b)"])
def test_a_text_with_colons_is_one_key(text):
    assert parse_prompts(f"0: {text}") == (Key(0, text),)
    assert parse_prompts('0: "a, 8: b"') == (Key(0, "a, 8: b"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0: a\nmasterpiece", "line 2: expected 'frame: text'.*got 'masterpiece'"),
        ("0: a\n\n-3: b", "line 3: expected"),
        ("0: a\n4:", "line 2: frame 4 has no text"),
        ('0: "a", b', "line 1: expected 'frame: text'.*got 'b'"),
        ("0: a\n0: b", "two entries for frame 0"),
        ("  \n# nothing", "no keys"),
        ("0: a red ball, 8: a blue ball", "line 1: '8:' looks like another key; begin a line with it"),
        ('0: a\n4: b, "50%" [hold]: "c"', "line 2: '\"50%\" .hold.:' looks like another key"),
        ("0:a,8:b", "line 1: '8:' looks like another key"),
    ],
)
def test_mistakes_name_their_line(text, message):
    with pytest.raises(ValueError, match=message):
        parse_prompts(text)


def test_percent_options_and_lines():
    keys = parse_prompts('0: a\n\n50% [smooth, 1.2]: b\n"100%" [hold]: "c"', 17)
    assert keys == (Key(0, "a"), Key(8, "b", 1.2, "smooth"), Key(16, "c", easing="hold"))
    assert [key.line for key in keys] == [1, 3, 4]
    assert parse_prompts("33%: a", 4)[0].frame == 1
    for text, message in (
        ("0: a\n120%: b", "line 2: 120% is not a place in the clip"),
        ("0: a\n4 [slow]: b", "line 2: 'slow' is neither a weight such as 1.2 nor one of linear"),
        ("0: a\n1%: b", r"two entries for frame 0 \(lines 1 and 2\)"),
        ("0: a\n4 [hold: b", "line 2: expected 'frame: text'"),
    ):
        with pytest.raises(ValueError, match=message):
            parse_prompts(text, 16)
    with pytest.raises(ValueError, match="line 1: 50% is not a place"):
        parse_prompts("50%: a")
    with pytest.raises(ValueError, match="^negative line 2: key 16 is past the last frame of the clip, 15"):
        check_range(parse_prompts("0: a\n16: b"), 16, "negative")


def test_a_key_has_the_easing_of_its_own():
    keys = parse_prompts("0 [hold]: a\n4: b\n8 [smooth]: c\n12: d")
    weights = key_weights(keys, range(13), "linear")
    assert torch.equal(weights[3], torch.eye(4)[0])
    assert weights[5].tolist() == [0, 0.75, 0.25, 0]
    assert weights[9, 3] < 0.25 and weights[10, 3] == pytest.approx(0.5)


def test_weights_scale_the_distance_from_the_empty_prompt():
    word, empty = torch.randn(1, 6, 8), torch.randn(1, 3, 8)
    assert strengthened(word, empty, 1.0) is word
    assert torch.allclose(strengthened(word, empty, 0.0), empty.repeat(1, 2, 1), atol=1e-6)
    assert torch.allclose(strengthened(word[:, 0], empty[:, 0], 2.0), 2 * word[:, 0] - empty[:, 0], atol=1e-6)


def test_values():
    assert parse_values("0:1.0, 8:0.5") == (Key(0, 1.0), Key(8, 0.5))
    assert parse_values("8:.5\n0 : -1") == (Key(0, -1.0), Key(8, 0.5))
    assert parse_values("  ") == ()
    with pytest.raises(ValueError, match="expected 'frame:number'.*got '4=1'"):
        parse_values("0:1, 4=1")
    with pytest.raises(ValueError, match="^weights has two entries for frame 4"):
        parse_values("4:1, 4:0", "weights")


def test_keys_past_the_clip_are_refused():
    check_range(parse_values("0:1, 15:0"), 16)
    with pytest.raises(ValueError, match="^weights: key 16 is past the last frame of the clip, 15"):
        check_range(parse_values("0:1, 16:0"), 16, "weights")


@pytest.mark.parametrize("easing", ["linear", "smooth", "hold"])
def test_weights_sum_to_one_and_are_exact_on_keys(easing):
    weights = key_weights(parse_values("2:0, 5:0, 11:0"), range(16), easing)
    assert torch.allclose(weights.sum(1), torch.ones(16))
    assert (weights >= 0).all()
    for frame, key in ((0, 0), (2, 0), (5, 1), (11, 2), (15, 2)):
        assert torch.equal(weights[frame], torch.eye(3)[key])


def test_easings_between_keys():
    keys = parse_values("0:0, 4:1")
    assert values_at(keys, range(5)).tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert values_at(keys, range(5), "hold").tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]
    smooth = values_at(keys, range(5), "smooth")
    assert smooth[2] == pytest.approx(0.5) and smooth[1] < 0.25 and smooth[3] > 0.75
    assert values_at(keys, [3, 1]).tolist() == [0.75, 0.25]
    with pytest.raises(ValueError, match="Easing is 'cubic'"):
        values_at(keys, range(5), "cubic")


def test_blend_is_exact_on_keys_and_linear_between():
    parts = [torch.randn(1, 7, 5), torch.randn(1, 7, 5)]
    frames = blend(parts, key_weights(parse_values("0:0, 4:0"), range(5)))
    assert torch.equal(frames[0], parts[0][0]) and torch.equal(frames[4], parts[1][0])
    assert torch.allclose(frames[1], 0.75 * parts[0][0] + 0.25 * parts[1][0])


def test_repeating_tokens_leaves_cross_attention_as_it_is():
    short, long = torch.randn(1, 6, 8), torch.randn(1, 9, 8)
    repeated = same_length([short, long])
    assert [part.shape[1] for part in repeated] == [18, 18]
    query = torch.randn(1, 4, 8)
    attend = torch.nn.functional.scaled_dot_product_attention
    assert torch.allclose(attend(query, repeated[0], repeated[0]), attend(query, short, short), atol=1e-6)
