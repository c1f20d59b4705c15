"""Flow maps: the published numbers, an independent filter, and tracks at the borders."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from choreographer.core.trajectory.flow_map import flow_map
from choreographer.core.trajectory.sample import sample
from choreographer.core.trajectory.track import Point, Track, Trajectories
from safetensors.torch import load_file

GOLDEN = Path(__file__).resolve().parents[1] / "data" / "golden" / "image_conductor"
SIZE = (96, 64)


def drawn(*tracks, size=SIZE, **settings):
    points = (tuple(Point(x / size[0], y / size[1]) for x, y in track) for track in tracks)
    return Trajectories(tuple(Track(each, f"{i}", **settings) for i, each in enumerate(points)))


def made(*tracks, frames=8, size=SIZE, **settings):
    return flow_map(sample(drawn(*tracks, size=size, **settings), frames, size))


def filtered(cells, size, frames):
    """The published filter: OpenCV's, of a map with single cells {(frame, y, x): (dx, dy)}."""
    sparse = np.zeros((frames, size[1], size[0], 2))
    for cell, step in cells.items():
        sparse[cell] = step
    offsets = np.arange(-49, 50)
    kernel = np.exp(-0.5 * (offsets[:, None] ** 2 + offsets**2) / 100)
    kernel /= kernel.sum()
    return np.stack([cv2.filter2D(each, -1, kernel) for each in sparse]).transpose(0, 3, 1, 2)


def test_the_published_flow_map():
    data = load_file(GOLDEN / "a_flow_curve_plus_static.safetensors")
    frames, height, width = data["meta_L_H_W"].tolist()
    counts = data["point_counts"].tolist()
    tracks = [points[:n].tolist() for points, n in zip(data["points"], counts, strict=True)]
    tracks = [t if len(t) > 1 else [t[0], [v + 1 for v in t[0]]] for t in tracks]  # as published
    sampled = sample(drawn(*tracks, size=(width, height)), frames, (width, height))
    assert torch.equal(sampled.paths, data["interpolated"])
    flow = flow_map(sampled).flow
    reference = data["flow_stride4"].transpose(0, 1)
    assert (flow[:, :, ::4, ::4] - reference).abs().max() <= 1e-6 * reference.abs().max()
    y, x = data["crop_origin_yx"].tolist()
    crop = flow[[0, 1, 8, 15], :, y : y + 32, x : x + 32].transpose(0, 1)
    reference = data["flow_crop32_frames_0_1_8_15"]
    assert (crop - reference).abs().max() <= 1e-6 * reference.abs().max()


@pytest.mark.parametrize("size", [(96, 64), (33, 130), (60, 200)])
def test_it_is_opencvs_filter_with_reflecting_borders(size):
    points = torch.rand(6, 4, 2, generator=torch.Generator().manual_seed(1)).double() * torch.tensor(size)
    sampled = sample(drawn(*points.tolist(), size=size), 5, size)
    cells = {}
    for own in sampled.paths.numpy():
        for frame in range(4):
            x, y = own[frame].astype(int)
            cells[frame + 1, min(y, size[1] - 1), min(x, size[0] - 1)] = own[frame + 1] - own[frame]
    expected = filtered(cells, size, 5)
    flow = flow_map(sampled).flow
    np.testing.assert_allclose(flow, expected, atol=1e-6 * np.abs(expected).max())
    assert flow.dtype == torch.float32 and not flow[0].any()


def test_a_motion_sums_to_itself_and_is_never_scaled():
    flow = made([(200, 128), (230, 114)], frames=16, size=(384, 256)).flow.double()
    torch.testing.assert_close(flow[1:].sum((2, 3)), torch.tensor([[2.0, -14 / 15]]).double().expand(15, 2),
                               atol=1e-5, rtol=0)  # fmt: skip
    assert flow[1, 0].max() == pytest.approx(2 / 628.3, rel=1e-3)


def test_a_later_track_overwrites_an_earlier_one_in_its_pixel():
    first, second = [(10.2, 10.1), (40, 10)], [(10.8, 10.9), (10.8, 60)]
    both, alone = made(first, second, frames=2), made(second, frames=2)
    assert torch.equal(both.flow, alone.flow)
    apart = made(first, [(11.8, 10.9), (10.8, 60)], frames=2)
    assert apart.flow[1, 0].max() > 0


def test_points_off_the_frame_act_at_its_border_and_are_told():
    inside = made([(95.5, 30), (135.5, 30)], frames=2)
    outside = made([(120, 30), (160, 30)], frames=2)
    torch.testing.assert_close(inside.flow, outside.flow)
    assert inside.notes == ()
    assert outside.notes == (
        "Track '0' is outside the frame in frame 0: its motion acts at the nearest border pixel.",
    )
    far = made([(-50, -9), (-20, 300)], frames=8)
    assert far.flow.isfinite().all() and "frames 0 to 6" in far.notes[0]


def test_what_does_not_move_makes_no_flow():
    still = made([(20, 40)], [(30, 30), (30, 30)])
    assert not still.flow.any() and still.flow.shape == (8, 2, 64, 96)
    assert still.notes == ("No track moves: the flow map is zero, as without tracks.",)
    assert made([(20, 40)], [(30, 30), (40, 30)]).notes == ()
    nothing = flow_map(sample(Trajectories(), 8, SIZE))
    assert torch.equal(nothing.flow, still.flow) and nothing.notes == (
        "There is no visible track: nothing moves.",
    )
    assert made([(0, 0), (9, 9)], frames=1).flow.shape == (1, 2, 64, 96)


def test_weights_and_visibility():
    way = [(20, 20), (60, 40)]
    whole, half = made(way).flow, made(way, weight=0.5).flow
    torch.testing.assert_close(half * 2, whole)
    points = (Point(0.2, 0.5), Point(0.5, 0.5, visible=False), Point(0.8, 0.5))
    flow = flow_map(sample(Trajectories((Track(points),)), 5, SIZE)).flow
    assert flow.flatten(1).any(1).tolist() == [False, True, False, False, False]


def test_many_tracks_of_many_points_and_equal_bytes():
    points = torch.rand(500, 500, 2, generator=torch.Generator().manual_seed(2)).double()
    tracks = Trajectories(tuple(Track(tuple(Point(*p) for p in own), "t") for own in points[:40].tolist()))
    once, twice = (flow_map(sample(tracks, 4, SIZE)).flow for _ in range(2))
    assert torch.equal(once, twice) and once.isfinite().all()


def test_sigma_is_checked():
    with pytest.raises(ValueError, match="Sigma of the flow map is 0"):
        flow_map(sample(drawn([(1, 1), (2, 2)]), 4, SIZE), 0)
