"""The sprite world: what it says about a clip is exactly what it drew."""

import cv2
import numpy as np
import pytest
from choreographer.core.data.measure import look
from choreographer.core.data.render import Renderer, render, render_images
from choreographer.core.data.scene import CAMERAS, DIRECTIONS, MOTIONS, reversed_caption, sample_scene
from choreographer.core.data.shapes import GROUNDS, HUES, SHAPES, colour

FRAMES = 8


def draw(seed, frames=FRAMES, height=128, width=128, **fixed):
    scene = sample_scene(np.random.default_rng(seed), frames, **fixed)
    return scene, render(scene, height, width)


def warped(image, flow):
    """Image at the place where each pixel goes, (H, W, 3)."""
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]].astype(np.float32)
    return cv2.remap(image, x + flow[0], y + flow[1], cv2.INTER_LINEAR)


@pytest.mark.parametrize("seed", range(8))
def test_flow_leads_to_the_same_colour_in_the_next_frame(seed):
    """Away from edges, where a pixel shows two things or goes out of sight, and where textures are not cut by
    pixels.
    """
    scene, clip = draw(seed, texture="plain", ground="sand")
    owners = clip.masks.argmax(0) + clip.masks.any(0)  # (F, H, W): 0 ground, else sprite + 1
    y, x = np.mgrid[0:128, 0:128]
    for t in range(FRAMES - 1):
        error = np.abs(warped(clip.images[t + 1], clip.flow[t]) - clip.images[t]).max(-1)
        still = warped(owners[t + 1].astype(np.float32)[..., None], clip.flow[t]) == owners[t]
        inside = cv2.erode(still.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
        edges = np.ptp(np.stack([np.roll(owners[t], s, a) for s in (-4, 0, 4) for a in (0, 1)]), axis=0) > 0
        tx, ty = x + clip.flow[t][0], y + clip.flow[t][1]
        seen = (tx > 3) & (ty > 3) & (tx < 124) & (ty < 124)
        good = inside & ~edges & seen
        moved = np.abs(clip.images[t + 1] - clip.images[t]).max(-1)
        assert good.mean() > 0.4 and np.quantile(error[good], 0.98) < 0.02
        assert error[good].mean() <= moved[good].mean() + 1e-3


@pytest.mark.parametrize("way", DIRECTIONS)
def test_a_clip_played_backwards_is_what_its_reversed_caption_says(way):
    scene, clip = draw(5, shape="square", motion=f"moving {way}", sprites=1, camera="")
    told = reversed_caption(scene.caption)
    assert f"moving {look(clip.images[::-1]).direction} on" in told and told != scene.caption
    zoom = "a red star circling on grass, camera zooms in"
    assert reversed_caption(zoom) == zoom.replace(" in", " out")
    assert reversed_caption(reversed_caption(told)) == told


def test_flow_of_a_sprite_is_its_track():
    _, clip = draw(3, camera="camera pans left", motion="moving down", shape="square", sprites=1)
    for t in range(FRAMES - 1):
        here = clip.masks[0, t]
        step = clip.tracks[0, t + 1] - clip.tracks[0, t]
        assert np.allclose(clip.flow[t][:, here].T, step, atol=1e-3)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "ring"])
def test_tracks_lie_inside_visible_masks(shape):
    inside = total = 0
    for seed in range(6):
        _, clip = draw(seed, shape=shape, sprites=1)
        for t, (x, y) in enumerate(np.round(clip.tracks[0]).astype(int)):
            if 0 <= x < 128 and 0 <= y < 128:
                total += 1
                inside += clip.masks[0, t, y, x]
    assert total > 30 and inside == total


def test_a_ring_is_round_its_track():
    _, clip = draw(1, shape="ring", sprites=1, motion="standing still", camera="")
    ys, xs = np.nonzero(clip.masks[0, 0])
    assert np.allclose((xs.mean(), ys.mean()), clip.tracks[0, 0], atol=0.5)


def test_masks_show_who_is_in_front_and_fit_the_picture():
    for seed in range(6):
        scene, clip = draw(seed, sprites=2, texture="plain", shape="circle", colour="red")
        assert not (clip.masks[0] & clip.masks[1]).any(), "a pixel belongs to one sprite"
        assert (clip.visible == clip.masks.any((2, 3))).all()
        core = cv2.erode(clip.masks[0, 0].astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        pixels = clip.images[0][core]
        assert core.sum() == 0 or (pixels[:, 0] > pixels[:, 1:].max(1) + 0.3).all(), (
            "and red where the red one is"
        )


def test_captions_name_what_is_drawn():
    rng = np.random.default_rng(5)
    for _ in range(40):
        scene = sample_scene(rng, FRAMES)
        text = scene.caption
        subjects, _, rest = text.partition(f" on {scene.ground}")
        assert rest == (f", {scene.camera}" if scene.camera else "")
        for sprite, part in zip(scene.sprites, subjects.split(" and "), strict=True):
            article = "an" if sprite.colour == "orange" else "a"
            assert part == f"{article} {sprite.colour} {sprite.shape} {sprite.motion}"
        for sprite in scene.sprites:
            step = sprite.path[-1] - sprite.path[0]
            way = sprite.motion.removeprefix("moving ")
            if way in DIRECTIONS:
                assert np.dot(step, DIRECTIONS[way]) > 8  # at least 1.2 pixels a frame, under a moving camera
            if sprite.motion == "standing still":
                assert np.abs(step).max() == 0


@pytest.mark.parametrize("camera", [word for word in CAMERAS if word])
def test_the_camera_does_what_it_says(camera):
    """A still sprite: a pan moves it the other way, a zoom changes its size."""
    _, clip = draw(2, frames=8, camera=camera, motion="standing still", sprites=1, shape="circle")
    area = clip.masks[0].sum((1, 2)).astype(float)
    step = clip.tracks[0, -1] - clip.tracks[0, 0]
    if "zooms" in camera:
        assert (area[-1] > 1.1 * area[0]) == camera.endswith("in") and (
            area[-1] < 0.9 * area[0]
        ) == camera.endswith("out")
    else:
        assert np.dot(step, DIRECTIONS[camera.split()[-1]]) < -8


def test_the_same_seed_draws_the_same_bytes():
    first, second, other = draw(7), draw(7), draw(8)
    for name in ("images", "tracks", "masks", "visible", "flow"):
        assert np.array_equal(getattr(first[1], name), getattr(second[1], name))
    assert first[0].caption == second[0].caption
    assert not np.array_equal(first[1].images, other[1].images)
    picked = render_images(first[0], frames=[5, 0])
    assert np.array_equal(picked, first[1].images[[5, 0]]), "the fast path draws the same"


def test_everything_fixed_is_drawn_so():
    for number, shape in enumerate(SHAPES):
        hue, motion = list(HUES)[number % 8], MOTIONS[number % 7]
        ground = list(GROUNDS)[number % 5]
        scene, _ = draw(
            number, frames=1, shape=shape, colour=hue, motion=motion, ground=ground, identity=9, sprites=1
        )
        sprite = scene.sprites[0]
        assert (sprite.shape, sprite.colour, sprite.motion, scene.ground, sprite.identity) == (
            shape,
            hue,
            motion,
            ground,
            9,
        )
    for wrong in ({"shape": "cube"}, {"camera": "camera rolls"}, {"colour": "grey"}):
        with pytest.raises(ValueError, match=f"Sprite world: {next(iter(wrong))} is .*expected one of"):
            draw(0, **wrong)


def test_sizes_scale_and_a_face_keeps_its_identity():
    scene, small = draw(4, shape="face", identity=3, sprites=1)
    large = render(scene, 256, 256)
    assert np.allclose(2 * (small.tracks + 0.5), large.tracks + 0.5, atol=0.51)
    assert large.masks.sum() == pytest.approx(4 * small.masks.sum(), rel=0.05)
    wide = render(scene, 64, 128)
    assert wide.images.shape == (FRAMES, 64, 128, 3) and wide.flow.shape == (FRAMES - 1, 2, 64, 128)
    fixed = {"shape": "face", "colour": "blue", "sprites": 1, "camera": "", "ground": "sand"}
    one, same, other = (draw(4, frames=1, identity=i, **fixed)[1].images for i in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_flow_is_drawn_only_where_it_is_asked_for(monkeypatch):
    scene, whole = draw(7)
    assert draw(7, frames=1)[1].flow.shape == (0, 2, 128, 128)
    monkeypatch.setattr(Renderer, "flow", lambda *_: pytest.fail("nobody asked for flow"))
    clip = render(scene, with_flow=False)
    assert clip.flow is None
    for name in ("images", "tracks", "masks", "visible"):
        assert np.array_equal(getattr(clip, name), getattr(whole, name))


def test_colours_are_told_apart_from_grounds():
    saturation = [np.ptp(colour(name)) for name in HUES]
    assert min(saturation) > 0.5 and max(np.ptp(base) for base, _ in GROUNDS.values()) < 0.2


def test_looking_at_true_clips_finds_what_was_drawn():
    rng = np.random.default_rng(11)
    ways = list(DIRECTIONS)
    right = {"colour": 0, "shape": 0, "direction": 0}
    for number in range(60):
        way = ways[number % 4]
        scene = sample_scene(rng, 16, sprites=1, camera="", motion=f"moving {way}")
        seen = look(render_images(scene))
        right["colour"] += seen.colour == scene.sprites[0].colour
        right["shape"] += seen.shape == scene.sprites[0].shape
        right["direction"] += seen.direction == way
    assert all(count >= 0.98 * 60 for count in right.values()), right


def test_looking_at_nothing_sees_nothing():
    seen = look(np.full((4, 64, 64, 3), 0.5, np.float32))
    assert (seen.colour, seen.shape, seen.direction) == ("", "", "") and np.isnan(seen.path).all()
