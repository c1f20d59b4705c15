"""Face tracks: on made-up detections of which everything is known, and on real footage."""

import hashlib

import numpy as np
import pytest
import torch
from choreographer.core.fusion.cuts import find_cuts
from choreographer.core.refine.boxes import Box, boxes_of_masks, parse_boxes
from choreographer.core.refine.detect import SHA256, WEIGHTS, Detections, detect_faces
from choreographer.core.refine.preview import preview_tracks
from choreographer.core.refine.regions import CropPlan, plan_region
from choreographer.core.refine.tracks import FaceTracks, Linking, jitter, link, smooth
from choreographer.tests.fusion.clips import footage

SIZE = (320, 240)


def walk(start, step, frames, side=40.0, noise=0.0, seed=0):
    """Boxes (frames, 5) of a face that moves evenly, with jitter of its corners."""
    rng = np.random.default_rng(seed)
    middle = np.array(start) + np.arange(frames)[:, None] * np.array(step)
    corners = np.concatenate([middle - side / 2, middle + side / 2], 1) + rng.normal(0, noise, (frames, 4))
    return np.concatenate([corners, np.full((frames, 1), 0.9)], 1)


def detections(*faces, frames=None, hidden=()):
    """Detections of faces given as (first frame, boxes); (face, frame) in `hidden` are left out."""
    count = frames or max(first + len(boxes) for first, boxes in faces)
    found = [[] for _ in range(count)]
    for number, (first, boxes) in enumerate(faces):
        for place, box in enumerate(boxes):
            if (number, first + place) not in hidden:
                found[first + place].append(box)
    return Detections(SIZE, tuple(np.array(rows).reshape(-1, 5) for rows in found))


def test_two_people_keep_two_tracks_also_when_one_passes_the_other():
    left, right = walk((40, 100), (8, 0), 30, 36), walk((280, 112), (-8, 0), 30, 44)
    hidden = [(0, f) for f in (13, 14, 15, 16)]  # behind the other where they cross
    tracks = link(detections((0, left), (0, right), hidden=hidden), Linking(smoothing=0)).tracks
    assert [len(track.boxes) for track in tracks] == [30, 30]
    wide, narrow = tracks
    assert np.abs(wide.raw - right[:, :4]).max() < 1e-9
    assert np.abs(narrow.raw - left[:, :4]).max() < 1e-6, "the gap is a straight line, as the face moved"
    assert [int(i) for i in np.flatnonzero(~narrow.seen)] == [13, 14, 15, 16]


def test_the_order_of_detections_does_not_matter():
    found = detections((0, walk((60, 60), (1, 0), 12)), (0, walk((200, 150), (0, 1), 12, 30)))
    flipped = Detections(SIZE, tuple(rows[::-1] for rows in found.boxes))
    one, other = link(found, Linking()), link(flipped, Linking())
    assert all(np.array_equal(a.boxes, b.boxes) for a, b in zip(one.tracks, other.tracks, strict=True))


def test_a_gap_longer_than_allowed_and_a_cut_end_a_track():
    boxes = walk((100, 100), (1, 0), 30)
    hidden = [(0, f) for f in range(10, 16)]
    found = detections((0, boxes), hidden=hidden)
    assert [t.frames for t in link(found, Linking(gap=6)).tracks] == [range(0, 30)]
    assert sorted(t.first for t in link(found, Linking(gap=5)).tracks) == [0, 16]
    cut = link(detections((0, boxes)), Linking(), cuts=(12,))
    assert sorted((t.first, len(t.boxes)) for t in cut.tracks) == [(0, 12), (12, 18)]


def test_stray_detections_make_no_track_but_a_single_frame_does():
    stray = detections((0, walk((100, 100), (1, 0), 20)), (7, walk((250, 60), (0, 0), 2)), frames=20)
    assert len(link(stray, Linking(least=3)).tracks) == 1
    assert len(link(detections((0, walk((100, 100), (1, 0), 1))), Linking(least=3)).tracks) == 1
    assert link(Detections(SIZE, (np.zeros((0, 5)),) * 9), Linking()).tracks == ()


def test_smoothing_keeps_even_motion_and_removes_jitter_without_lag():
    even = np.arange(20)[:, None] * np.array([1.5, -2.0]) + 7
    assert np.abs(smooth(even, 3.0) - even).max() < 1e-9
    noisy = walk((60, 90), (2, 1), 40, noise=2.0)
    (track,) = link(detections((0, noisy)), Linking(smoothing=3)).tracks
    assert jitter(track.boxes) < 0.1 * jitter(track.raw)
    for little in (0.01, 0.02, 0.04, 0.05, 0.1):
        assert np.abs(smooth(noisy[:, :4], little) - noisy[:, :4]).max() < 1e-6, "no neighbour has a say"
    true = walk((60, 90), (2, 1), 40)[:, :4]
    assert np.abs(track.boxes - true).mean() < 0.5 * np.abs(track.raw - true).mean()
    flipped = smooth(noisy[::-1, :4].copy(), 3.0)[::-1]
    assert np.abs(flipped - smooth(noisy[:, :4], 3.0)).max() < 1e-9, "the same in both directions of time"


def test_tracks_are_chosen_by_number_and_wrong_numbers_are_named():
    found = detections((0, walk((60, 60), (1, 0), 9, 50)), (0, walk((200, 150), (0, 1), 9, 30)))
    tracks = link(found, Linking())
    assert tracks.chosen("") == tracks.chosen("all") == (0, 1) and tracks.chosen("largest") == (0,)
    assert [t.score for t in tracks.only("1, 0").tracks] == [t.score for t in tracks.tracks[::-1]]
    assert [t.prompt for t in tracks.with_prompt("1", "hers").tracks] == [None, "hers"]
    with pytest.raises(ValueError, match="'2' is not a track's number.*tracks 0 to 1"):
        tracks.chosen("0, 2")
    for said, call in {
        "^faces: '2'": lambda: tracks.with_prompt("2", "hers"),
        "^choose: '2'": lambda: tracks.only("2", "choose"),
        "^tracks: '2'": lambda: tracks.only("2"),
    }.items():
        with pytest.raises(ValueError, match=said):
            call()
    with pytest.raises(ValueError, match="there is no track"):
        FaceTracks(SIZE, 3).chosen("0")
    with pytest.raises(ValueError, match="9 frames of 320x240"):
        tracks.check(torch.zeros(8, 240, 320, 3))


def test_masks_and_text_give_boxes():
    masks = torch.zeros(2, 20, 30)
    masks[0, 3:8, 4:10] = 1
    masks[0, 12:18, 20:26] = 1
    masks[0, 0, 0] = 1  # a speck
    rows = boxes_of_masks(masks)
    assert sorted(map(tuple, rows[0][:, :4].tolist())) == [(4, 3, 10, 8), (20, 12, 26, 18)]
    assert len(rows[1]) == 0
    rows = parse_boxes("1, 2, 9, 8\n1: 5 5 50 12.5", 3, (30, 20))
    assert [len(r) for r in rows] == [1, 2, 1] and rows[1][1].tolist() == [5, 5, 30, 12.5, 1]
    for text in ("1, 2, 3", "9, 2, 3, 8", "4: 1, 2, 9, 8", "a, b, c, d", "1.2.3, 0, 9, 9", "40, 0, 50, 9"):
        with pytest.raises(ValueError, match="boxes: "):
            parse_boxes(text, 3, (30, 20))


def test_the_weights_in_the_pack_are_the_published_ones():
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() == SHA256


@pytest.fixture(scope="module")
def talking():
    """60 frames of a talking face, and its detections."""
    images = footage("carphone_pristine", 30, 60)
    return images, detect_faces(images)


def test_a_talking_face_is_found_in_every_frame_and_its_crop_does_not_shake(talking):
    images, found = talking
    assert found.counts == [1] * 60
    tracks = link(found, Linking(), find_cuts(images))
    (track,) = tracks.tracks
    assert track.seen.all() and len(track.boxes) == 60
    region = plan_region(track, found.size, 60, CropPlan())
    windows = np.concatenate([region.corners, region.corners + region.extent], 1)
    assert jitter(windows) < 0.25 * jitter(track.raw)
    for place, raw in enumerate(track.raw):
        window = region.window(place)
        assert (raw[:2] >= np.array(window[:2]) - 1e-6).all()
        assert (raw[2:] <= np.array(window[2:]) + 1e-6).all()


def test_a_pair_of_faces_and_a_cut_in_real_footage(talking):
    images, _ = talking
    pair = torch.cat([images[:16], images.flip(2)[:16]], 2)  # the same person twice, mirrored
    found = detect_faces(pair)
    assert found.counts == [2] * 16
    assert [len(t.boxes) for t in link(found, Linking()).tracks] == [16, 16]
    cut = torch.cat([images[:8], images.flip(2)[40:48].roll(20, 2)])
    cuts = find_cuts(cut)
    assert cuts == (8,)
    tracks = link(detect_faces(cut), Linking(), cuts).tracks
    assert sorted((t.first, len(t.boxes)) for t in tracks) == [(0, 8), (8, 8)]


def test_no_face_tiny_frames_and_a_preview(talking):
    images, found = talking
    noise = torch.rand(2, 60, 80, 3, generator=torch.Generator().manual_seed(0))
    assert detect_faces(noise).counts == [0, 0]
    assert detect_faces(torch.zeros(1, 3, 5, 3)).counts == [0]
    with pytest.raises(ValueError, match="threshold is 1"):
        detect_faces(noise, threshold=1.0)
    tracks = link(found, Linking())
    drawn = preview_tracks(images, tracks)
    assert drawn.shape == images.shape and not torch.equal(drawn[5], images[5])
    assert torch.allclose(preview_tracks(images, FaceTracks(tracks.size, 60)), images, atol=1 / 255)


def test_boxes_are_cut_to_the_frame():
    assert Box(-5, 2, 50, 9).inside((30, 20)) == (0, 2, 30, 9)
    assert min(Box(40, 0, 50, 9).inside((30, 20)).size) == 0
    assert Box(10, 10, 20, 30).grown(2) == (5, 0, 25, 40)
