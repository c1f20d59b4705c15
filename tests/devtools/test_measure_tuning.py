"""What `dev.py measure tuning` and the report see in an edited clip."""

import numpy as np
import pytest
import torch
from choreographer.core.data.render import render
from choreographer.core.data.scene import sample_scene
from choreographer.devtools.measure_tuning import FRAMES, SIDE, SOURCE, edits_of, seen_in, source_clip


def test_each_edit_changes_one_word_and_other_seeds_change_other_words():
    source = "a {colour} {shape} {motion} on {ground}".format(**SOURCE).split()
    for seed in range(12):
        edits = edits_of(seed)
        assert set(edits) == {"colour", "shape", "ground"}
        assert all(
            sum(a != b for a, b in zip(source, words.split(), strict=True)) == 1 for words in edits.values()
        )
    assert len({edits_of(seed)["colour"] for seed in range(7)}) == 7


def test_the_source_follows_its_own_track_and_words_and_no_others():
    images, caption, track = source_clip(3)
    seen = seen_in(images, caption, track)
    assert seen["follows"] == 1 and seen["track"] < 1
    assert seen["change"] == pytest.approx(float(images.diff(dim=0).abs().mean() * 255))
    for words in edits_of(3).values():
        assert seen_in(images, words, track)["follows"] == 0
    assert seen_in(images, caption, track + 5)["track"] == pytest.approx(5 * 2**0.5, abs=1)
    assert seen_in(images, caption, track + 5)["motion"] == pytest.approx(seen["motion"], abs=1e-6)
    assert seen_in(images, caption, track * [2, 1])["motion"] > 3


@pytest.mark.parametrize("seed", [0, 6])  # 6: lit otherwise than its ground usually is
def test_a_clip_edited_as_asked_follows(seed):
    for words in edits_of(seed).values():
        _, colour, shape, _, _, _, ground = words.split()
        said = {**SOURCE, "colour": colour, "shape": shape, "ground": ground}
        scene = sample_scene(np.random.default_rng(seed), FRAMES, sprites=1, camera="", **said)
        clip = render(scene, SIDE, SIDE)
        assert seen_in(torch.from_numpy(clip.images), words, clip.tracks[0])["follows"] == 1


def test_a_clip_without_a_sprite_has_no_track():
    empty = torch.full((FRAMES, SIDE, SIDE, 3), 0.5)
    assert np.isnan(seen_in(empty, "a red circle", np.zeros((FRAMES, 2)))["track"])
