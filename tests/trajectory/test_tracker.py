"""Points followed through clips whose motion is known, the errors made of them, and what is drawn."""

import json
import math

import cv2
import numpy as np
import pytest
import torch
from choreographer.core.data.render import render
from choreographer.core.data.scene import sample_scene
from choreographer.core.metrics.trajectory_error import trajectory_error
from choreographer.core.optical_flow import warp
from choreographer.core.trajectory.camera import preset
from choreographer.core.trajectory.evaluation import camera_set, object_set
from choreographer.core.trajectory.preview import preview_clip, preview_still
from choreographer.core.trajectory.sample import sample
from choreographer.core.trajectory.track import Point, Track, Trajectories
from choreographer.core.trajectory.tracker import as_trajectories, grid_points, track_points

SIZE = (96, 80)
FRAMES = 8


@pytest.fixture(scope="module")
def ground():
    """A smooth random picture, (1, 3, H, W)."""
    noise = torch.rand(1, 3, 20, 24, generator=torch.Generator().manual_seed(4))
    return torch.nn.functional.interpolate(noise, SIZE[::-1], mode="bicubic").clamp(0, 1)


def panned(ground, speed):
    """The picture moved by `speed` (x, y) pixels a frame: (F, H, W, 3)."""
    flow = torch.stack([torch.tensor(speed) * -i for i in range(FRAMES)])[:, :, None, None]
    moved = warp(ground.expand(FRAMES, -1, -1, -1), flow.expand(-1, -1, *SIZE[::-1]).contiguous())
    return moved.movedim(1, -1)


def test_a_pan_is_followed(ground):
    points = grid_points((48, 40), 3, 3) + torch.tensor((24, 20))
    paths, seen = track_points(panned(ground, (1.5, -0.8)), points)
    expected = points[:, None] + torch.arange(FRAMES)[:, None] * torch.tensor((1.5, -0.8))
    assert seen.all() and (paths - expected).norm(dim=-1).max() < 0.25
    again, _ = track_points(panned(ground, (1.5, -0.8)), points)
    assert torch.equal(paths, again)


def test_points_that_leave_are_lost_and_stay(ground):
    paths, seen = track_points(panned(ground, (6.0, 0.0)), torch.tensor([[80.0, 40.0], [20.0, 40.0]]))
    assert not seen[0, -1] and seen[1].all()
    first = int((~seen[0]).float().argmax())
    assert not seen[0, first:].any() and (paths[0, first:] == paths[0, first - 1]).all()


def test_no_points_and_points_outside():
    clip = torch.rand(3, 32, 32, 3)
    paths, seen = track_points(clip, torch.zeros(0, 2))
    assert paths.shape == (0, 3, 2) and seen.shape == (0, 3)
    assert not track_points(clip, torch.tensor([[-5.0, 3.0]]))[1].any()
    with pytest.raises(ValueError, match=r"Points to follow are \(2,\)"):
        track_points(clip, torch.zeros(2))


def test_the_grid_has_its_cells_middles_row_by_row():
    assert grid_points((40, 20), 2, 2).tolist() == [[10, 5], [30, 5], [10, 15], [30, 15]]


def test_followed_points_become_tracks(ground):
    points = grid_points(SIZE, 2, 2)
    paths, seen = track_points(panned(ground, (4.0, 0.0)), points)
    found = sample(as_trajectories(paths, seen, SIZE), FRAMES, SIZE)
    torch.testing.assert_close(found.paths, paths, atol=1e-6, rtol=0)
    assert torch.equal(found.visible, seen)


def wanted(pan, frames=FRAMES):
    return sample(Trajectories((), (preset("pan left", pan),), (2, 2)), frames, SIZE)


def test_the_error_of_a_clip_that_does_as_asked_is_small(ground):
    asked = wanted(0.5)  # content moves 12 px to the right
    clip = panned(ground, (12 / 7, 0.0))
    right = trajectory_error(*track_points(clip, asked.paths[:, 0]), asked, stated=SIZE)
    wrong = trajectory_error(*track_points(clip, asked.paths[:, 0]), wanted(-0.5), stated=SIZE)
    assert right.mean("camera") < 0.3 and math.isnan(right.mean("object")) and right.lost == 0
    assert wrong.mean("camera") == pytest.approx(12, abs=0.3)  # mean of 0 to 24
    report = json.loads(right.as_json())
    assert report["ObjMC"] is None and report["CamMC"] == pytest.approx(right.mean(), abs=1e-6)


def test_errors_are_told_in_pixels_of_the_stated_size():
    asked = wanted(0.5)
    seen = torch.ones(4, FRAMES, dtype=torch.bool)
    moved = asked.paths + torch.tensor((3.0, 4.0))
    assert trajectory_error(moved, seen, asked, stated=SIZE).mean() == pytest.approx(5)
    double = trajectory_error(moved, seen, asked, stated=(192, 160))
    assert double.mean() == pytest.approx(10) and double.per_frame["camera"] == pytest.approx([10] * FRAMES)
    small = trajectory_error(asked.paths / 2, seen, asked, (48, 40))
    assert small.mean() == pytest.approx(0, abs=1e-9)


def test_what_cannot_be_compared_is_said():
    asked = wanted(0.5)
    seen = torch.ones(4, FRAMES, dtype=torch.bool)
    with pytest.raises(
        ValueError, match="4 points over 7 frames were followed, the trajectories are 4 over 8"
    ):
        trajectory_error(asked.paths[:, 1:], seen, asked)
    with pytest.raises(ValueError, match="There is no visible track"):
        trajectory_error(asked.paths, seen, sample(Trajectories(), FRAMES, SIZE))


def test_sprites_are_followed_better_by_their_own_path():
    """On the sprite world, whose paths are known, the right trajectory has the lower error."""
    scene = sample_scene(
        np.random.default_rng(3), motion="moving right", shape="square", sprites=1, camera=""
    )
    clip = render(scene, 128, 128)
    images, path = torch.from_numpy(clip.images), clip.tracks[0] / 128
    errors = []
    for way in (path, 2 * path[0] - path):
        drawn = Trajectories((Track(tuple(Point(*p) for p in way.tolist())),))
        asked = sample(drawn, len(images), (128, 128))
        found = track_points(images, asked.paths[:, 0])
        errors.append(trajectory_error(*found, asked, stated=(128, 128)).mean())
    assert errors[0] < 2 and errors[1] > 10 * errors[0]


def test_previews_show_motion_and_leave_the_rest():
    drawn = object_set()["S curve"].plus(camera_set()["zoom out"])
    found, image = sample(drawn, FRAMES, SIZE), torch.full((80, 96, 3), 0.4)
    still = preview_still(image, found)
    assert still.shape == image.shape and 0 <= still.min() and still.max() <= 1
    changed = (still - round(0.4 * 255) / 255).abs().amax(-1) > 1e-6
    assert 0.01 < changed.float().mean() < 0.5
    x, y = found.paths[0, 4].long().tolist()
    assert changed[y, x]
    clip = preview_clip(image[None], found)
    assert clip.shape == (FRAMES, 80, 96, 3) and not torch.equal(clip[0], clip[-1])
    assert torch.equal(clip, preview_clip(image[None].expand(FRAMES, -1, -1, -1), found))


def zigzag(y):
    """Points across the picture, with a part that is not seen."""
    return tuple(Point(x / 10, y + 0.05 * (x % 3), visible=x != 5) for x in range(1, 10))


def test_each_frame_of_a_preview_draws_what_is_new_alone(monkeypatch):
    """Twice the frames are twice the lines and dots, not four times; hidden parts stay hidden."""
    points, calls = zigzag(0.3), []
    for name in ("line", "polylines", "circle"):
        own = getattr(cv2, name)
        monkeypatch.setattr(cv2, name, lambda *args, own=own: calls.append(1) or own(*args))
    counts = []
    for frames in (20, 40, 80):
        calls.clear()
        preview_clip(torch.zeros(1, 60, 80, 3), sample(Trajectories((Track(points),)), frames, (80, 60)))
        counts.append(len(calls))
    assert counts[2] - counts[1] < 2.2 * (counts[1] - counts[0])


def test_the_past_of_a_preview_is_as_in_the_still_picture():
    """At the last frame nothing is to come: only the arrow head and the mark of the place differ."""
    drawn = Track(zigzag(0.3)), Track((Point(0.5, 0.9),)), Track(zigzag(0.6), role="camera")
    found = sample(Trajectories(drawn), 12, (300, 200))
    image = torch.rand(200, 300, 3, generator=torch.Generator().manual_seed(1))
    far = (preview_clip(image[None], found)[-1] - preview_still(image, found)).abs().amax(-1)
    for x, y in found.paths[[0, 2], -1].long().tolist():
        far[y - 12 : y + 13, x - 12 : x + 13] = 0
    assert far.max() <= 8 / 255


def test_flow_is_drawn_where_it_is():
    flow = torch.zeros(FRAMES, 2, 40, 48)
    flow[3, 0, 20:30, 8:20] = 1.0
    image = torch.zeros(1, 80, 96, 3)
    clip = preview_clip(image, None, flow)
    assert clip[3].any() and not clip[[0, 1, 2, 4]].any()
    assert clip[3, 40:60, 16:60].any() and not clip[3, :30].any()
    assert preview_still(image[0], None, flow).any()


def test_previews_that_cannot_be_are_refused():
    flow = torch.zeros(FRAMES, 2, 8, 8)
    with pytest.raises(ValueError, match="There are 3 background images for 8 frames"):
        preview_clip(torch.zeros(3, 8, 8, 3), None, flow)
    with pytest.raises(ValueError, match="expected one number"):
        preview_clip(torch.zeros(1, 8, 8, 3), sample(Trajectories(), 4, (8, 8)), flow)
