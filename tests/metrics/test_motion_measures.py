"""Motion of the view and of sprites, measured in clips where both are known exactly."""

import numpy as np
import pytest
from choreographer.core.data.free_motion import free_scene
from choreographer.core.data.grid_tracks import draw_tracked
from choreographer.core.data.render import render, render_images
from choreographer.core.data.scene import sample_scene
from choreographer.core.metrics.sprite_paths import find_sprites, follow_sprites
from choreographer.core.metrics.view_motion import view_motion

CORNERS = np.array([[32.0, 32.0], [96.0, 32.0], [32.0, 96.0], [96.0, 96.0]])


@pytest.mark.parametrize("seed", [1, 2, 4, 11])  # grounds of stone, water and brick; sand is too smooth
def test_the_view_is_followed_past_moving_sprites(seed):
    scene = free_scene(np.random.default_rng(seed), 12, "mixed")
    images = render_images(scene)
    _, things = find_sprites(images, [sprite.colour for sprite in scene.sprites])
    view = view_motion(images, things)
    assert view.found.all()
    world = (CORNERS[:, None] - 64) / scene.zoom[0] + scene.centre[0]
    wanted = (world - scene.centre) * scene.zoom[:, None] + 64
    assert np.linalg.norm(view.follow(CORNERS) - wanted, axis=-1).mean() < 0.5


def test_a_view_at_rest_has_no_speed_and_a_pan_has_its_own():
    still = free_scene(np.random.default_rng(4), 8, "object")
    images = render_images(still)
    rest = view_motion(images, find_sprites(images, ["red"])[1])
    assert rest.speed < 0.05 and np.abs(rest.follow(CORNERS) - CORNERS[:, None]).max() < 0.4
    pan = sample_scene(np.random.default_rng(5), 8, camera="camera pans left", motion="standing still")
    images = render_images(pan)
    view = view_motion(images, find_sprites(images, ["red"])[1])
    speed = np.linalg.norm(np.diff(pan.centre, axis=0), axis=1).mean()
    assert view.speed == pytest.approx(speed, abs=0.05)


def test_a_blank_clip_is_told_from_one_at_rest():
    blank = np.full((4, 64, 64, 3), 0.5, np.float32)
    view = view_motion(blank, np.zeros((4, 64, 64), bool))
    assert not view.found.any() and view.speed == 0 and view.steps.shape == (3, 2, 3)
    assert view_motion(blank[:1], np.zeros((1, 64, 64), bool)).speed == 0


def test_two_sprites_are_told_apart_by_colour():
    rng, errors = np.random.default_rng(6), []
    for _ in range(16):
        scene = sample_scene(rng, 6, sprites=2, camera="", shape="circle", colour="red")
        other = scene.sprites[1]
        if other.colour in ("red", "pink", "orange", "purple") or other.shape in ("face", "ring"):
            continue
        clip = render(scene)
        paths, things = find_sprites(clip.images, ["red", other.colour])
        whole = clip.masks[0].sum((1, 2)) > 0.97 * clip.masks[0].sum((1, 2)).max()
        errors += np.linalg.norm(paths[0] - clip.tracks[0] - 0.5, axis=-1)[whole].tolist()
        assert (things == clip.masks.any(0)).mean() > 0.97
    assert len(errors) > 12 and np.mean(errors) < 1.2


def test_a_sprite_that_is_lost_stays_where_it_was():
    nan = np.nan
    paths = np.array([[[nan, nan], [5.0, 6.0], [nan, nan], [7.0, 8.0]]])
    filled, seen = follow_sprites(paths, np.array([[1.0, 2.0]]))
    assert filled[0].tolist() == [[1, 2], [5, 6], [5, 6], [7, 8]] and seen[0].tolist() == [
        False,
        True,
        False,
        True,
    ]
    grey = np.full((2, 32, 32, 3), 0.4, np.float32)
    paths, things = find_sprites(grey, ["blue"])
    assert np.isnan(paths).all() and not things.any()


def test_exact_tracks_and_measured_paths_use_the_same_pixels():
    """A pixel's middle is at a half in both."""
    scene = sample_scene(
        np.random.default_rng(8), 4, sprites=1, camera="", shape="circle", motion="moving left"
    )
    clip = draw_tracked(scene)
    found = find_sprites(clip.images, [scene.sprites[0].colour])[0][0]
    inside = np.linalg.norm(clip.paths[:, 0] - found[0], axis=1) < 0.7 * scene.sprites[0].radius
    offset = (clip.paths[inside] - found).reshape(-1, 4, 2)
    assert np.abs(offset - offset[:, :1]).max() < 0.3
