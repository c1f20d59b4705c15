"""The identity measure: the same sprite anywhere is near, another one is far."""

import numpy as np
import pytest
from choreographer.core.data.render import render
from choreographer.core.data.scene import sample_scene
from choreographer.core.metrics.identity import identity_distance, patch_distance, sprite_patch


def clip(seed, colour="red", identity=5, **words):
    words = {"shape": "face", "colour": colour, "identity": identity, **words}
    return render(sample_scene(np.random.default_rng(seed), 4, 1, "", **words))


def references():
    found = []
    for seed, ground in enumerate(("grass", "sand", "water")):
        shown = clip(100 + seed, ground=ground)
        found.append(sprite_patch(shown.images[0], shown.masks[0][0]))
    return found


def distance(shown):
    return identity_distance(shown.images, shown.masks[0], references())


def test_the_same_identity_is_near_in_any_place_size_and_ground():
    same = [distance(clip(seed)) for seed in range(5)]
    other_paint = [distance(clip(seed, identity=6 + seed)) for seed in range(5)]
    other_colour = [distance(clip(seed, colour="blue")) for seed in range(5)]
    assert max(same) < 0.5 * min(other_paint) and max(same) < 0.3 * min(other_colour)


def test_no_sprite_is_as_far_as_can_be_and_itself_is_at_zero():
    shown = clip(1)
    assert identity_distance(shown.images, np.zeros(shown.masks[0].shape, bool), references()) == 1.0
    patch = sprite_patch(shown.images[0], shown.masks[0][0])
    assert patch_distance(patch, patch) == 0 and patch.shape == (24, 24, 4)
    assert sprite_patch(shown.images[0], np.zeros(shown.masks[0][0].shape, bool)) is None
    assert identity_distance(shown.images[:1], shown.masks[0][:1], [patch]) == pytest.approx(0, abs=1e-6)
