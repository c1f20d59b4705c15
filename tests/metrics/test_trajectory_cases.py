"""The evaluation sets: what is wanted can be drawn, and what was drawn is judged as such."""

from dataclasses import replace

import numpy as np
import pytest
from choreographer.core.data.render import render_images
from choreographer.core.metrics import trajectory_cases as cases

NAMES = cases.case_names()


def drawn(case):
    """The clip that the case asks for, exactly."""
    paths, frames = case.wanted.paths.numpy(), case.wanted.paths.shape[1]
    if case.role == "object":
        sprites = [
            replace(s, path=p, angle=np.zeros(frames)) for s, p in zip(case.scene.sprites, paths, strict=True)
        ]
        centre, zoom = np.full((frames, 2), 64.0), np.ones(frames)
    else:
        middle = paths.mean(0)
        zoom = np.linalg.norm(paths[0] - middle, axis=-1)
        zoom = zoom / zoom[0]
        centre = 64 - (middle - 64) / zoom[:, None]
        sprites = [
            replace(s, path=s.path.repeat(frames, 0), angle=np.zeros(frames)) for s in case.scene.sprites
        ]
    return render_images(replace(case.scene, sprites=tuple(sprites), centre=centre, zoom=zoom))


def test_there_are_ten_and_ten():
    assert len(NAMES) == 20 and [role for role, _ in NAMES] == ["camera"] * 10 + ["object"] * 10


@pytest.mark.parametrize("role, name", NAMES[::2] + NAMES[-1:])
def test_what_was_asked_for_is_judged_as_right_and_rest_as_wrong(role, name):
    case = cases.make_case(role, name, seed=3)
    images = drawn(case)
    assert np.array_equal(images[0], case.image)
    right, wrong = cases.judge(case, images), cases.judge(case, images[:1].repeat(16, 0))
    assert right.error < (1.0 if role == "object" else 1.5) and right.lost == wrong.lost == 0
    assert wrong.error > 4 * right.error and wrong.background < 0.05
    assert right.background < 0.1 if role == "object" else right.background > 0.5


def test_cases_repeat_by_seed_and_say_what_moves():
    one, same, other = (cases.make_case("object", "loop", seed) for seed in (1, 1, 2))
    assert np.array_equal(one.image, same.image) and not np.array_equal(one.image, other.image)
    assert " moving on " in one.prompt and "standing still" in cases.make_case("camera", "zoom in", 1).prompt
    two = cases.make_case("object", "two opposite", 4)
    assert len(set(two.colours)) == 2 and two.prompt.count(" and ") == 1


def test_a_clip_without_sprites_is_lost_and_counts_as_rest():
    case = cases.make_case("object", "horizontal", 5)
    lost = cases.judge(case, np.full((16, 128, 128, 3), 0.4, np.float32))
    still = cases.judge(case, case.image[None].repeat(16, 0))
    assert lost.lost == 1 and abs(lost.error - still.error) < 1
