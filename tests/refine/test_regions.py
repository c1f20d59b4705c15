"""Regions: windows inside the frame, exact round trips, soft pastes, faces that touch."""

import importlib

import numpy as np
import pytest
import torch
from choreographer.core.refine.boxes import Box
from choreographer.core.refine.detect import Detections
from choreographer.core.refine.paste import paste
from choreographer.core.refine.regions import CropPlan, cut, edge_rings, match_colours, plan_region
from choreographer.core.refine.tracks import FaceTrack, Linking, link

FRAMES, WIDTH, HEIGHT = 6, 96, 72


def clip(seed=0):
    """Smooth random pictures (FRAMES, HEIGHT, WIDTH, 3)."""
    coarse = torch.rand(FRAMES, 3, 9, 12, generator=torch.Generator().manual_seed(seed))
    full = torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bicubic", align_corners=False)
    return full.clamp(0, 1).movedim(1, -1).contiguous()


def moving(start=(40.0, 36.0), step=(1.3, -0.4), side=12.0, frames=FRAMES, first=0):
    """A track that moves between pixels."""
    middle = np.array(start) + np.arange(frames)[:, None] * np.array(step)
    boxes = np.concatenate([middle - side / 2, middle + side / 2], 1)
    return FaceTrack(first, boxes, boxes.copy(), np.ones(frames, bool), 1.0)


def region(track=None, **plan):
    return plan_region(track or moving(), (WIDTH, HEIGHT), FRAMES, CropPlan(**plan))


def test_a_static_region_at_scale_one_comes_back_bit_for_bit():
    images, static = clip(), region(tracked=False, guide=0)
    assert static.exact and static.scale == 1 and static.work[0] % 8 == static.work[1] % 8 == 0
    crops = cut(images, static)
    assert torch.equal(paste(images, [(static, crops)]), images)
    assert torch.equal(paste(images, [(static, crops)], feather=5), images)
    changed = paste(images, [(static, 1 - crops)])
    assert not torch.equal(changed, images)


def test_pasting_looks_at_the_windows_alone_and_gives_the_same_bits(monkeypatch):
    module = importlib.import_module("choreographer.core.refine.paste")
    images = clip()
    regions = [region(factor=1.5, guide=32), region(moving((50.0, 40.0)), guide=0)]
    parts = [(own, 1 - cut(images, own)) for own in regions]
    mask = torch.rand(FRAMES, HEIGHT, WIDTH)
    true_composed, seen = module._composed, []

    def composed(frame, *args):
        seen.append(frame.shape[0] * frame.shape[1])
        return true_composed(frame, *args)

    monkeypatch.setattr(module, "_composed", composed)
    made = paste(images, parts, 3, mask)
    assert len(seen) == FRAMES and max(seen) < HEIGHT * WIDTH / 2
    monkeypatch.setattr(module, "union", lambda boxes: Box(0, 0, WIDTH, HEIGHT))
    assert torch.equal(paste(images, parts, 3, mask), made) and seen[-1] == HEIGHT * WIDTH


def test_cutting_and_pasting_report_each_frame_and_can_be_stopped():
    images, own = clip(), region()
    for work in (
        lambda report: cut(images, own, report),
        lambda report: paste(images, [(own, cut(images, own))], 2, report=report),
    ):
        seen = []
        work(lambda done, total, seen=seen: seen.append((done, total)))
        assert seen == [(f + 1, FRAMES) for f in range(FRAMES)]

        def stop(done, total):
            raise InterruptedError

        with pytest.raises(InterruptedError):
            work(stop)


def test_a_tracked_region_follows_between_pixels_and_keeps_the_face_still():
    """A clip that moves by the track's steps stands still in its crops."""
    track, base = moving(step=(1.5, -0.5)), clip()[:1].movedim(-1, 1)
    grid = (
        torch.stack(torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")[::-1], -1) + 0.5
    )
    frames = []
    for t in range(FRAMES):
        at = (grid - torch.tensor([1.5, -0.5]) * t) * 2 / torch.tensor([WIDTH, HEIGHT]) - 1
        frames.append(
            torch.nn.functional.grid_sample(
                base, at[None], "bicubic", padding_mode="border", align_corners=False
            )
        )
    images = torch.cat(frames).movedim(1, -1).clamp(0, 1)
    crops = cut(images, region(track, guide=64, most=64))
    assert crops.shape[1:] == (64, 64, 3)
    assert (crops - crops[:1]).abs().mean() < 0.004 < (images - images[:1]).abs().mean()


def test_enlarged_crops_go_back_to_where_they_were():
    images = clip()
    for plan in ({"guide": 128, "most": 128}, {"tracked": False, "guide": 128, "most": 128}):
        own = region(**plan)
        assert own.scale > 2
        back = paste(images, [(own, cut(images, own))], feather=4)
        assert (back - images).abs().max() < 0.03 and (back - images).abs().mean() < 2e-3
    large = region(guide=0, factor=6)
    assert large.work == (72, 72) and large.extent == (72, 72)


@pytest.mark.parametrize("start", [(2, 3), (94, 70), (2, 70)])
def test_a_face_at_the_border_has_its_window_inside_the_frame(start):
    own = region(moving(start, step=(0, 0)), guide=64, most=64)
    assert (own.corners >= 0).all() and (own.corners + own.extent <= (WIDTH, HEIGHT)).all()
    inside = own.areas
    assert (inside[:, :2] >= own.corners - 1e-9).all() and (
        inside[:, 2:] <= own.corners + own.extent + 1e-9
    ).all()
    images = clip()
    changed = paste(images, [(own, torch.ones_like(cut(images, own)))], feather=3)
    edge = changed[0, :, 0 if start[0] < 50 else -1]
    assert edge.amax() > 0.99, "no fading towards the frame's own edge"


def test_frames_without_the_face_and_pixels_outside_are_bit_identical():
    images, own = clip(), region(moving(frames=3, first=2), guide=64, most=64, paste=1.5)
    changed = paste(images, [(own, torch.zeros(3, 64, 64, 3))], feather=3)
    assert torch.equal(changed[:2], images[:2]) and torch.equal(changed[5:], images[5:])
    for place, frame in enumerate(own.frames):
        left, top, right, bottom = own.areas[place]
        outside = torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
        outside[int(top) : int(bottom) + 1, int(left) : int(right) + 1] = False
        assert torch.equal(changed[frame][outside], images[frame][outside])
        middle = changed[frame, int((top + bottom) / 2), int((left + right) / 2)]
        assert float(middle.max()) == 0


def test_a_mask_of_zeros_changes_nothing_and_one_of_ones_everything():
    images, own = clip(), region(guide=64, most=64)
    parts = [(own, torch.zeros(FRAMES, 64, 64, 3))]
    assert torch.equal(paste(images, parts, masks=torch.zeros(FRAMES, HEIGHT, WIDTH)), images)
    assert torch.equal(paste(images, parts, 3, torch.ones(FRAMES, HEIGHT, WIDTH)), paste(images, parts, 3))


def test_faces_that_touch_keep_their_own_sides():
    images = clip()
    left = region(moving((40, 36), (0, 0)), guide=64, most=64, factor=4, paste=3)
    right = region(moving((54, 36), (0, 0)), guide=64, most=64, factor=4, paste=3)
    black, white = torch.zeros(FRAMES, 64, 64, 3), torch.ones(FRAMES, 64, 64, 3)
    one = paste(images, [(left, black), (right, white)])
    other = paste(images, [(right, white), (left, black)])
    assert torch.allclose(one, other, atol=1e-6), "the order does not matter"
    row = one[0, 36, :, 0]
    assert float(row[30:43].max()) < 0.03 and float(row[51:64].min()) > 0.97
    assert float(row[40:54].diff().max()) < 0.5, "the border between them is narrow, but no step"


def test_colours_are_matched_where_crops_meet_the_frame_once_for_the_clip():
    images, own = clip(1), region(guide=64, most=64, paste=1.5)
    original = cut(images, own)
    made = (original * 0.7 + 0.2).clamp(0, 1)
    assert (match_colours(made, original, own) - original).abs().max() < 1e-3
    assert torch.equal(match_colours(made, original, own, 0.0), made)
    changed, ring = made.clone(), edge_rings(own)
    assert 0.1 < float(ring.float().mean()) < 0.2
    changed[:, 28:36, 28:36] = torch.tensor([1.0, 0.0, 0.0])  # what is new inside has no say
    assert (match_colours(changed, original, own) - original)[ring].abs().max() < 1e-3
    flat = match_colours(torch.full_like(original, 0.5), original, own)
    assert torch.isfinite(flat).all() and torch.allclose(
        flat[ring].mean(0), original[ring].mean(0), atol=1e-5
    )


@pytest.mark.parametrize("factor", [0.01, 0.08, 0.1])
def test_a_paste_of_next_to_nothing_has_no_colours_to_match(factor):
    images, own = clip(1), region(guide=0, paste=factor)
    made = match_colours(cut(images, own) * 0.5, cut(images, own), own)
    assert torch.isfinite(made).all() and torch.isfinite(paste(images, [(own, made)], 2)).all()


def test_one_mask_counts_for_all_frames():
    images, own = clip(), region(guide=64, most=64)
    mask = torch.rand(1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(3))
    parts = [(own, torch.zeros(FRAMES, 64, 64, 3))]
    assert torch.equal(paste(images, parts, 3, mask), paste(images, parts, 3, mask.expand(FRAMES, -1, -1)))


def test_tiny_frames_and_wrong_sizes():
    small = FaceTrack(
        0, np.array([[1.0, 1.0, 4.0, 4.0]]), np.array([[1.0, 1.0, 4.0, 4.0]]), np.ones(1, bool), 1.0
    )
    own = plan_region(small, (5, 6), 1, CropPlan())
    images = torch.rand(1, 6, 5, 3, generator=torch.Generator().manual_seed(0))
    assert min(own.work) >= 8 and torch.isfinite(paste(images, [(own, cut(images, own))])).all()
    with pytest.raises(ValueError, match="5x6, a region needs at least 8x8"):
        plan_region(small, (5, 6), 1, CropPlan(guide=0))
    with pytest.raises(ValueError, match="region was made for 6 frames of 96x72"):
        cut(images, region())
    with pytest.raises(ValueError, match="The crops are .1, 4, 4, 3., this region's are"):
        paste(clip(), [(region(), torch.zeros(1, 4, 4, 3))])
    with pytest.raises(ValueError, match="The mask is"):
        paste(clip(), [(region(guide=0), cut(clip(), region(guide=0)))], masks=torch.ones(1, 2, 2))
    with pytest.raises(ValueError, match="expected a factor of at least 1"):
        CropPlan(factor=0.5)


def test_a_large_face_is_not_shrunk():
    boxes = np.tile([0.0, 0.0, 95.0, 71.0, 1.0], (FRAMES, 1, 1))
    (track,) = link(Detections((WIDTH, HEIGHT), tuple(boxes)), Linking()).tracks
    own = plan_region(track, (WIDTH, HEIGHT), FRAMES, CropPlan(guide=32, most=32))
    assert own.scale == 1 and own.work == (96, 72)
