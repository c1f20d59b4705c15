"""Tracks in time and space: curves, timing, camera moves, and what is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from choreographer.core.trajectory.camera import PRESETS, preset
from choreographer.core.trajectory.evaluation import camera_set, object_set
from choreographer.core.trajectory.sample import sample
from choreographer.core.trajectory.track import CURVES, CameraMove, Point, Track, Trajectories
from scipy.interpolate import PchipInterpolator

SIZE = (384, 256)


def track(*points, **settings):
    return Track(tuple(Point(x / SIZE[0], y / SIZE[1]) for x, y in points), **settings)


def path(drawn, frames=16, size=SIZE):
    return sample(Trajectories((drawn,)), frames, size).paths[0]


def keyed(*keys, **settings):
    """A straight track along x, from (x in pixels, settings of the point)."""
    points = tuple(Point(x / SIZE[0], 0.5, **options) for x, options in keys)
    return Track(points, **{"curve": "linear", **settings})


@pytest.mark.parametrize("count", [2, 3, 7, 16, 500])
def test_pchip_is_scipys(count):
    points = np.random.default_rng(count).random((count, 2)) * SIZE
    points = points.round(3)
    expected = PchipInterpolator(np.linspace(0, 1, count), points)(np.linspace(0, 1, 16))
    np.testing.assert_allclose(path(track(*points)), expected, atol=1e-9)


@pytest.mark.parametrize("curve", CURVES)
def test_every_curve_goes_through_its_points(curve):
    points = [(10, 20), (60, 200), (300, 30), (300, 30), (380, 250)]
    found = path(track(*points, curve=curve), 13)
    torch.testing.assert_close(found[::3], torch.tensor(points, dtype=torch.float64))


@pytest.mark.parametrize("curve", ["pchip", "linear"])
def test_pchip_never_swings_past_a_point(curve):
    found = path(track((0, 0), (10, 200), (20, 200), (30, 0), curve=curve), 200)
    assert found[:, 1].max() <= 200 and found[:, 1].min() >= 0


def test_bezier_handles():
    """One piece with handles is the cubic Bezier curve of its four points."""
    corners = np.array([(10, 20), (60, 200), (300, 30), (380, 250)]) / SIZE
    first = Point(*corners[0], out=tuple(corners[1] - corners[0]))
    last = Point(*corners[3], into=tuple(corners[2] - corners[3]))
    t = np.linspace(0, 1, 9)[:, None]
    weights = np.concatenate(((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3), 1)
    np.testing.assert_allclose(path(Track((first, last), curve="bezier"), 9), weights @ (corners * SIZE))


def test_timing_by_length_has_constant_speed():
    drawn = track((0, 100), (10, 100), (300, 100), (310, 20), timing="length", curve="linear")
    steps = path(drawn, 400).diff(dim=0).norm(dim=1)
    assert steps.std() / steps.mean() < 0.02
    steps = path(replace(drawn, timing="points"), 400).diff(dim=0).norm(dim=1)
    assert steps.max() / steps.min() > 10


def test_frames_and_holds_are_kept():
    drawn = keyed((0, {"hold": 3}), (100, {"frame": 9, "hold": 2}), (200, {"frame": -1}))
    x = path(drawn)[:, 0]
    assert x[:4].tolist() == [0] * 4
    assert x[9:12].tolist() == [100] * 3 and x[15] == 200
    np.testing.assert_allclose(x[3:10].diff(), 100 / 6)
    np.testing.assert_allclose(x[11:].diff(), 25)


def test_a_track_rests_before_its_first_and_after_its_last_key():
    x = path(keyed((50, {"frame": 4}), (90, {"frame": 8})))[:, 0]
    assert x[:5].tolist() == [50] * 5 and x[8:].tolist() == [90] * 8


def test_points_without_a_frame_share_the_time_between():
    drawn = keyed((0, {}), (10, {}), (200, {"frame": 6}), (300, {}))
    assert path(drawn)[3, 0] == 10
    assert path(replace(drawn, timing="length"))[3, 0] == pytest.approx(100, abs=1e-6)


@pytest.mark.parametrize(
    ("easing", "half"), [("linear", 50), ("ease in", 25), ("ease out", 75), ("ease in-out", 50), ("hold", 0)]
)
def test_easings(easing, half):
    x = path(keyed((0, {"easing": easing}), (100, {})), 5)[:, 0]
    assert x[0] == 0 and x[2] == half and x[4] == 100


def test_an_easing_reaches_over_points_that_say_nothing_about_time():
    eased = keyed((0, {"easing": "ease in"}), (50, {}), (100, {}))
    assert path(eased, 5)[2, 0] == 25


def test_one_point_stays_and_two_frames_or_one_work():
    anchor = track((20, 240))
    assert (path(anchor) == torch.tensor([20.0, 240.0])).all()
    assert path(track((0, 0), (10, 0)), 1).tolist() == [[0, 0]]
    assert path(keyed((7, {"easing": "ease in"}), (9, {})), 1)[0, 0] == 7
    assert path(track((0, 0), (10, 0)), 2).tolist() == [[0, 0], [10, 0]]


def test_points_scale_with_the_frame():
    drawn = track((30, 40), (300, 50), (200, 200))
    small = path(drawn, 16, (96, 128))
    torch.testing.assert_close(small, path(drawn) * torch.tensor((96 / 384, 128 / 256)), atol=1e-9, rtol=0)


def test_the_number_of_points_says_nothing_about_the_clip():
    drawn = track(*((i, i / 2) for i in range(300)))
    for frames in (1, 5, 300, 401):
        assert path(drawn, frames).shape == (frames, 2)


def test_visibility_follows_the_keys():
    points = (Point(0, 0), Point(0.5, 0, visible=False), Point(1, 0))
    seen = sample(Trajectories((Track(points),)), 5, SIZE).visible[0]
    assert seen.tolist() == [True, True, False, False, True]
    hidden = Trajectories((Track(points, visible=False), track((0, 0))))
    assert len(sample(hidden, 5, SIZE).tracks) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Track((), "ball"), "Track 'ball' has no points"),
        (lambda: Track((Point(math.nan, 0),), "ball"), "Track 'ball', key 1: x is nan, expected a number"),
        (lambda: track((0, 0), curve="spline"), "curve is 'spline', expected one of pchip"),
        (lambda: track((0, 0), (1, 1), timing="keys"), "key 1 has no frame; timing 'keys' needs one"),
        (lambda: Track((Point(0, 0, hold=-1),)), "key 1: hold is -1"),
        (
            lambda: path(keyed((0, {"frame": 16}), (1, {}))),
            "key 1 is set for frame 16, the clip has frames 0",
        ),
        (lambda: path(keyed((0, {"frame": 5}), (1, {"frame": 5}))), "key 2 is at frame 5, expected"),
        (lambda: path(keyed((0, {"hold": 20}), (1, {}))), "expected a frame after 20"),
        (lambda: CameraMove(zoom=0), "zoom is 0, expected a factor above 0"),
        (lambda: camera(CameraMove(start=9, end=3)), "ends at frame 3, expected one after its start"),
        (lambda: camera(CameraMove(end=16)), "Camera move: end is set for frame 16"),
        (lambda: sample(Trajectories(), 0, SIZE), "0 frames"),
        (lambda: preset("pan"), "expected one of none, pan left"),
    ],
)
def test_what_is_wrong_is_said(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def camera(*moves, tracks=(), carry=False, frames=16, grid=(2, 2)):
    return sample(Trajectories(tracks, moves, grid, carry), frames, SIZE)


def test_content_moves_against_the_camera():
    ends = {name: camera(move).paths for name, move in PRESETS.items()}
    moved = {name: found[:, -1] - found[:, 0] for name, found in ends.items()}
    size = torch.tensor(SIZE, dtype=torch.float64)
    torch.testing.assert_close(moved["pan right"], -torch.tensor([[96.0, 0]]).double().expand(4, 2))
    torch.testing.assert_close(moved["tilt up"], torch.tensor([[0, 64.0]]).double().expand(4, 2))
    offset = ends["zoom in"][:, 0] - size / 2
    torch.testing.assert_close(moved["zoom in"], offset * 0.5)
    torch.testing.assert_close(moved["dolly out"], -offset / 3)
    assert (moved["zoom out"] * offset < 0).all()  # corners inwards
    turned = ends["roll clockwise"][0, -1] - size / 2
    angle = math.degrees(math.atan2(turned[1], turned[0]) - math.atan2(offset[0, 1], offset[0, 0]))
    assert angle == pytest.approx(-30)  # counter-clockwise on the screen, where y points down
    assert moved["down then up"].abs().max() < 1e-9 and moved["none"].abs().max() == 0
    assert (ends["down then up"][:, 7] - ends["down then up"][:, 0])[:, 1].max() < -55


def test_zoom_curves():
    scale = {}
    for curve in ("even", "linear", "dolly"):
        found = camera(CameraMove(zoom=4, zoom_curve=curve), frames=3).paths[0] - torch.tensor(SIZE) / 2
        scale[curve] = found[1, 0] / found[0, 0]
    assert scale["even"] == pytest.approx(2) and scale["linear"] == pytest.approx(2.5)
    assert scale["dolly"] == pytest.approx(1.6)  # half way from distance 1 to 1 / 4


def test_moves_in_turn_and_together():
    left, up = preset("pan left"), preset("tilt up")
    turn = camera(replace(left, end=7), replace(up, start=7)).paths
    move = turn - turn[:, :1]
    assert move[:, :8, 1].abs().max() == 0 and move[0, 7].tolist() == [96, 0]
    assert move[0, 15].tolist() == pytest.approx([96, 64])
    both = camera(left, up).paths
    torch.testing.assert_close(both, camera(replace(left, tilt=up.tilt)).paths)


def test_a_camera_grid_makes_no_point_for_each_frame():
    found = camera(CameraMove(pan=0.5), frames=5, grid=(3, 2))
    assert [len(own.points) for own in found.tracks] == [1] * 6 and found.visible.all()
    starts = [(own.points[0].x * SIZE[0], own.points[0].y * SIZE[1]) for own in found.tracks]
    torch.testing.assert_close(found.paths[:, 0], torch.tensor(starts).double())
    torch.testing.assert_close(
        found.paths[:, 4] - found.paths[:, 0], torch.tensor([[-192.0, 0]] * 6).double()
    )


def test_objects_are_carried_by_the_camera():
    """An object at rest goes where the content under it goes, whatever the move; drawn cameras count too."""
    move = CameraMove(pan=0.2, tilt=-0.1, zoom=1.6, roll=25, zoom_curve="dolly")
    grid = camera(move, grid=(3, 3)).paths[4]
    resting = track(tuple(grid[0].tolist()), name="ball")
    carried = camera(move, tracks=(resting,), carry=True)
    torch.testing.assert_close(carried.paths[0], grid, atol=1e-7, rtol=0)
    assert carried.of_role("camera").paths.shape[0] == 4 == len(carried.of_role("camera").tracks)
    free = camera(move, tracks=(resting,))
    assert (free.paths[0] == grid[0]).all()
    drawn = Trajectories((resting, track((0, 0), (50, 20), role="camera")), carry=True)
    shifted = sample(drawn, 16, SIZE).paths
    torch.testing.assert_close(shifted[0], grid[0] + shifted[1] - shifted[1, :1])


def test_combining_keeps_order_and_flags():
    a = Trajectories((track((0, 0)),), size=(8, 8))
    b = Trajectories((), (preset("zoom in"),), grid=(3, 1))
    both = a.plus(b, carry=True)
    assert both.carry and both.grid == (3, 1) and both.size == (8, 8) and both.tracks == a.tracks
    assert both.plus(replace(b, grid=(5, 5))).grid == (3, 1)


def test_evaluation_sets():
    objects, cameras = object_set(), camera_set()
    assert len(objects) == len(cameras) == 10
    for drawn in objects.values():
        found = sample(drawn, 16, (128, 128))
        assert {own.role for own in found.tracks} == {"object"}
        assert (found.paths > 8).all() and (found.paths < 120).all()
        assert found.paths.diff(dim=1).norm(dim=-1).max() < 12
    for drawn in cameras.values():
        found = sample(drawn, 16, (128, 128))
        assert {own.role for own in found.tracks} == {"camera"} and len(found.tracks) == 4
        assert found.paths.diff(dim=1).norm(dim=-1).max() > 0.5
    two = sample(objects["two opposite"], 16, (128, 128)).paths
    torch.testing.assert_close(two[0, :, 0], two[1].flip(0)[:, 0])
