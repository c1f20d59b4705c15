"""Atlases of small sprite clips: they show the clip, follow its motion, and carry edits along it."""

import numpy as np
import pytest
import torch
from choreographer.core.atlas import fit
from choreographer.core.atlas.fit import AtlasSettings, Clip, fit_atlas
from choreographer.core.atlas.losses import Pixels
from choreographer.core.atlas.model import render
from choreographer.core.atlas.networks import Grid, look_up, splat
from choreographer.core.atlas.propagate import enlarged, propagate
from choreographer.core.data.render import render as draw
from choreographer.core.data.scene import sample_scene
from choreographer.core.keyframes import Keyframe, Keyframes

FRAMES, HEIGHT, WIDTH, SEED = 8, 72, 128, 3
SETTINGS = AtlasSettings(steps=100, batch=1024)


@pytest.fixture(scope="module")
def world():
    """A circle moving left over grass while the camera pans right."""
    return draw(sample_scene(np.random.default_rng(SEED), FRAMES), HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def images(world):
    return torch.from_numpy(world.images)


@pytest.fixture(scope="module")
def atlas(world, images):
    return fit_atlas(Clip(images, torch.from_numpy(world.masks[0]).float()), SETTINGS)


def psnr(one, other):
    return float(-10 * torch.log10((one - other).square().mean()))


def spot(frame, centre, radius=3.0):
    """A frame with a white spot painted on it."""
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2
    return torch.where(inside[..., None], 1 - frame.round(), frame)


def centre_of(change):
    """Where a change (H, W, 3) lies: its centre of mass (x, y)."""
    weight = change.abs().sum(-1)
    weight = weight.where(weight > 0.3 * weight.max(), 0.0)
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    return np.array([float((weight * axis).sum() / weight.sum()) for axis in (x, y)])


def test_the_atlas_shows_the_clip_and_knows_its_layers(atlas, world, images):
    assert atlas.names == ("foreground", "background")
    assert psnr(render(atlas), images) > 28
    points = torch.cat([atlas.frame_points(f) for f in range(FRAMES)])
    found, mask = atlas.alpha(points)[:, 0] > 0.5, torch.from_numpy(world.masks[0]).flatten()
    assert (found & mask).sum() / (found | mask).sum() > 0.9


def test_without_an_edit_the_clip_stays_as_it_is_to_the_last_bit(atlas, images):
    assert torch.equal(render(atlas, atlas.pictures, images), images)
    assert (render(atlas, enlarged(atlas.pictures, 2), images) - images).abs().max() == 0


def test_an_edit_of_one_frame_follows_the_true_track(atlas, world, images):
    frame = 3
    edit = Keyframe(spot(images[frame], world.tracks[0, frame]), frame)
    made = render(atlas, propagate(atlas, Keyframes((edit,)), images), images)
    errors = [np.linalg.norm(centre_of(made[f] - images[f]) - world.tracks[0, f]) for f in range(FRAMES)]
    assert max(errors) < 0.5


def test_an_edit_of_the_ground_is_hidden_where_the_sprite_covers_it(atlas, world, images):
    pictures = atlas.pictures.clone()
    pictures[1] = 1 - pictures[1]
    change = (render(atlas, pictures, images) - images).abs().sum(-1)
    mask = torch.from_numpy(world.masks[0])
    assert change[mask].mean() < 0.1 * change[~mask].mean()


def test_conflicting_edits_take_the_median(atlas, images):
    edits = [Keyframe((images[f] + shift).clamp(0, 1), f) for f, shift in ((1, 0.1), (3, 0.1), (5, -0.4))]
    three, one = (propagate(atlas, Keyframes(tuple(part)), images) for part in (edits, edits[:1]))
    seen = atlas.coverage()[1] > 0.6
    assert (three[1] - one[1])[seen].abs().mean() < 0.02


def test_of_two_conflicting_edits_the_middle_counts(atlas, images):
    edits = [Keyframe((images[f] + shift).clamp(0, 1), f) for f, shift in ((3, 0.2), (4, -0.3))]
    first, second, both = (
        propagate(atlas, Keyframes(tuple(part)), images) for part in (edits[:1], edits[1:], edits)
    )
    seen = atlas.coverage()[1] > 0.9
    assert (both - (first + second) / 2)[1][seen].abs().mean() < 0.05


def test_differences_are_those_to_the_right_and_below(images):
    clip = Clip(images[:2], None)
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    y, x = y.flatten(), x.flatten()
    here, dx, dy = clip.colours(Pixels(x, y, torch.ones_like(x), Grid(WIDTH, 2)))
    here, dx, dy = (part.view(HEIGHT, WIDTH, 3) for part in (here, dx, dy))
    assert torch.equal(here, images[1])
    assert torch.equal(dx[:, :-1], images[1, :, 1:] - images[1, :, :-1]) and not dx[:, -1].any()
    assert torch.equal(dy[:-1], images[1, 1:] - images[1, :-1]) and not dy[-1].any()


def test_one_look_at_the_layers_a_frame_and_work_that_can_be_stopped(atlas, images, monkeypatch):
    looked, alpha = [], atlas.alpha
    monkeypatch.setattr(atlas, "alpha", lambda points: looked.append(1) or alpha(points))
    render(atlas, 1 - atlas.pictures, images)
    assert len(looked) == FRAMES
    edits = Keyframes((Keyframe(1 - images[1], 1), Keyframe(1 - images[3], 3)))
    for call, total in (
        (lambda report: atlas.coverage(report), FRAMES),
        (lambda report: propagate(atlas, edits, images, report), 2),
    ):
        told = []
        call(lambda *numbers, told=told: told.append(numbers))
        assert told == [(done, total) for done in range(1, total + 1)]


def test_one_layer_without_masks_and_anchored_frames(images):
    clip = Clip(images, None)
    atlas = fit_atlas(clip, AtlasSettings(steps=3, batch=256, anchor=2))
    assert atlas.names == ("background",) and render(atlas).shape == images.shape


def test_more_anchored_frames_than_there_are_are_all_of_them(images):
    clip = Clip(images[:2], None)
    atlas = fit_atlas(clip, AtlasSettings(steps=1, batch=64, anchor=4))
    assert render(atlas).shape == images[:2].shape


def test_a_clip_that_moves_too_far_is_refused_before_it_takes_memory(images, monkeypatch):
    monkeypatch.setattr(fit, "MOST_SIDE", WIDTH)
    with pytest.raises(ValueError, match=r"moves over \d+ pixels; the atlas would be .* use fewer frames"):
        fit_atlas(Clip(images[:2], None), AtlasSettings(steps=1, batch=64))


def test_the_same_seed_gives_the_same_atlas(images):
    clip, seen = Clip(images, None), []
    settings = AtlasSettings(steps=3, batch=256)
    first, second = (
        fit_atlas(clip, settings, lambda done, total, _: seen.append((done, total))) for _ in range(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    total = FRAMES + settings.steps
    assert seen == [(done, total) for done in range(1, total + 1)] * 2


def test_splat_undoes_look_up():
    picture = torch.rand(3, 9, 9, generator=torch.Generator().manual_seed(0))
    y, x = torch.meshgrid(torch.linspace(-1, 1, 9), torch.linspace(-1, 1, 9), indexing="ij")
    uv = torch.stack((x, y), -1).flatten(0, 1)
    found, weight = splat(uv, look_up(picture, uv), torch.ones(81), 9)
    assert torch.allclose(found, picture, atol=1e-4) and torch.allclose(weight, torch.ones(9, 9), atol=1e-4)


def test_errors_are_sentences(atlas, images):
    for wrong, call in (
        ("The masks are 3", lambda: Clip(images, torch.zeros(3, HEIGHT, WIDTH))),
        ("has 2 layers", lambda: render(atlas, atlas.pictures[:1])),
        ("was made from 8 of 128x72", lambda: render(atlas, None, images[:4])),
        (
            "was made from 8 of 128x72",
            lambda: propagate(atlas, Keyframes((Keyframe(images[0], 5),)), images[:4]),
        ),
        ("There are no keyframes", lambda: propagate(atlas, Keyframes(), images)),
        ("at least 1 step", lambda: AtlasSettings(steps=0)),
    ):
        with pytest.raises(ValueError, match=wrong):
            call()
