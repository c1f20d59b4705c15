"""Fusion of whole clips: quality on the golden clip, keyframes, cuts, streaming, odd clips."""

import pytest
import torch
from choreographer.core.fusion import stream
from choreographer.core.fusion.stream import Fusion, collect, fuse, fuse_clip, interpolate
from choreographer.core.keyframes import keyframes_of_batch
from choreographer.core.metrics.motion import flow_rating
from choreographer.core.metrics.quality import psnr
from choreographer.core.optical_flow import farneback_flow
from choreographer.tests.fusion.clips import flickering, golden_clip, texture, unaligned_mean

KEYS = (0, 5, 10, 15)


@pytest.fixture(scope="module")
def clip():
    return golden_clip()


def frames_of(count, height=24, width=30, channels=3):
    """A clip that pans over a texture, with noise."""
    wide = texture(height + count, width + count).movedim(0, -1) / 255 + 0.5
    still = torch.stack([wide[i : i + height, i : i + width] for i in range(count)]).clamp(0, 1)
    noise = torch.randn(still.shape, generator=torch.Generator().manual_seed(1))
    noisy = (still + 0.02 * noise).clamp(0, 1)
    return torch.cat((noisy, noisy[..., :1]), dim=-1)[..., :channels] if channels != 1 else noisy[..., :1]


@pytest.mark.parametrize(("guided", "least"), [(True, 32.2), (False, 31.3)])
def test_golden_clip(clip, guided, least):
    fused = fuse_clip(clip["style"], guides=clip["guide"] if guided else None)
    truth = flow_rating(farneback_flow(clip["truth"])).mean_px
    assert psnr(fused, clip["truth"]).mean() >= least
    assert flow_rating(farneback_flow(fused)).mean_px == pytest.approx(truth, rel=0.1)


def test_a_clip_that_no_setting_was_chosen_on():
    """A pan with a turning zoom: the flicker goes, where the unaligned mean only blurs."""
    height, width, count = 64, 80, 9
    picture = torch.nn.functional.avg_pool2d(texture(140, 160, seed=5)[None], 5, 1, 2) / 255
    picture = (3 * picture + 0.5).clamp(0, 1)
    still = []
    for t in range(count):
        turn = torch.tensor(0.01 * t)
        size = 0.45 - 0.004 * t
        way = torch.tensor(
            [
                [size * turn.cos(), -size * turn.sin(), 0.02 * t],
                [size * turn.sin(), size * turn.cos(), -0.01 * t],
            ]
        )
        grid = torch.nn.functional.affine_grid(way[None], (1, 3, height, width), align_corners=False)
        still.append(torch.nn.functional.grid_sample(picture, grid, align_corners=False)[0].movedim(0, -1))
    truth = torch.stack(still)
    style = flickering(truth)
    fused = psnr(fuse_clip(style), truth).mean()
    assert fused > psnr(style, truth).mean() + 3
    assert fused > psnr(unaligned_mean(style, 4), truth).mean() + 3


def test_interpolation_is_better_than_the_reference_and_keeps_keyframes(clip):
    keyframes = keyframes_of_batch(clip["truth"][list(KEYS)], KEYS)
    found = collect(interpolate(clip["guide"], keyframes), 16)
    assert all(torch.equal(found[key], clip["truth"][key]) for key in KEYS)
    others = [i for i in range(16) if i not in KEYS]
    assert psnr(found, clip["truth"])[others].mean() >= 31.94


def test_interpolation_with_weak_keyframes():
    """Their strengths decide between two; where all are 0, they still make the frame."""
    guide, images = frames_of(1).expand(3, -1, -1, -1), torch.stack([frames_of(1)[0], 1 - frames_of(1)[0]])
    weak = collect(interpolate(guide, keyframes_of_batch(images, (0, 2), strength=0.0)), 3)
    full = collect(interpolate(guide, keyframes_of_batch(images, (0, 2))), 3)
    assert torch.allclose(weak, full, atol=1e-5) and torch.allclose(full[1], images.mean(0), atol=1e-5)
    pair = keyframes_of_batch(images[:1], (0,)).plus(
        *keyframes_of_batch(images[1:], (2,), strength=0.0).items
    )
    assert torch.allclose(collect(interpolate(guide, pair), 3)[1], images[0], atol=2e-3)


def test_window_and_keyframes_together(clip):
    """Keyframes bit for bit, the others drawn to them, more so with more weight."""
    style, truth = clip["style"][:6], clip["truth"][:6]
    keyframes = keyframes_of_batch(truth[[0, -1]], (0, -1))
    others = [1, 2, 3, 4]
    scores = []
    for weight in (0.0, 1.0, 4.0):
        found = fuse_clip(style, Fusion(window=2, keyframe_weight=weight), keyframes=keyframes)
        assert torch.equal(found[0], truth[0]) and torch.equal(found[5], truth[5])
        scores.append(float(psnr(found, truth)[others].mean()))
    assert scores[0] < scores[1] < scores[2]


def test_keyframes_before_and_after_the_only_one_count_whole():
    keyframes = keyframes_of_batch(torch.zeros(2, 4, 4, 3), (2, 6), strength=0.5)
    assert stream.around(0, keyframes, (0, 9)) == {2: 0.5}
    assert stream.around(3, keyframes, (0, 9)) == {2: 0.375, 6: 0.125}
    assert stream.around(8, keyframes, (0, 9)) == {6: 0.5}
    assert stream.around(3, keyframes, (0, 5)) == {2: 0.5}


def test_a_keyframe_does_not_reach_across_a_cut():
    first, second = frames_of(3), 1 - frames_of(3).flip(0, 1, 2)
    frames = torch.cat((first, second))
    keyframes = keyframes_of_batch(first[:1], (0,))
    with_key, without = fuse_clip(frames, keyframes=keyframes), fuse_clip(frames)
    assert torch.equal(with_key[3:], without[3:]) and not torch.equal(with_key[1], without[1])


def test_strength_and_window_of_zero_leave_the_clip():
    frames = frames_of(3)
    assert torch.equal(fuse_clip(frames, Fusion(strength=0.0)), frames)
    assert torch.equal(fuse_clip(frames, Fusion(window=0)), frames)


def test_fusion_is_deterministic_and_does_not_depend_on_how_much_is_matched_at_once(monkeypatch):
    frames = frames_of(5)
    first = fuse_clip(frames)
    assert torch.equal(first, fuse_clip(frames))
    monkeypatch.setattr(stream, "PIXELS", 1)
    assert torch.allclose(first, fuse_clip(frames), atol=1e-6)


def test_style_term_helps_a_poor_guide(clip):
    grey = clip["guide"][:7].mean(-1, keepdim=True)
    alone, both = (fuse_clip(clip["style"][:7], Fusion(style_weight=w), guides=grey) for w in (0.0, 0.3))
    assert psnr(both, clip["truth"][:7]).mean() > psnr(alone, clip["truth"][:7]).mean() + 0.5


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (7, 40), (21, 43), (41, 20)])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_any_size_and_count(size, count):
    frames = frames_of(count, *size)
    fused = fuse_clip(frames)
    assert fused.shape == frames.shape
    assert fused.min() >= frames.min() - 1e-6 and fused.max() <= frames.max() + 1e-6
    if count == 1:
        assert torch.equal(fused, frames)


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels(channels):
    """Grey clips work, and alpha moves with the colours."""
    frames = frames_of(3, channels=channels)
    fused = fuse_clip(frames)
    assert fused.shape == frames.shape
    if channels == 4:
        assert torch.equal(fused[..., :3], fuse_clip(frames[..., :3]))
        assert torch.allclose(fused[..., 3], fused[..., 0], atol=1e-6)


class Watched:
    """A clip that is loaded frame by frame, and counts."""

    def __init__(self, frames):
        self.frames, self.reads = frames, []

    def __len__(self):
        return len(self.frames)

    def __getitem__(self, index):
        self.reads.append(index)
        return self.frames[index]


def test_streaming_reads_frames_as_they_come_and_keeps_only_the_window(monkeypatch):
    kept = []
    keep = stream._Shelf.keep
    monkeypatch.setattr(stream._Shelf, "keep", lambda self, frames: (keep(self, frames), kept.append(self)))
    clip = Watched(frames_of(12))
    fused, sizes = [], []
    for frame in fuse(clip, Fusion(window=2, split=False)):
        fused.append(frame)
        sizes.append(len(kept[-1].views))
        assert max(clip.reads) <= len(fused) - 1 + 2
    assert max(sizes) == 5
    assert sorted(clip.reads[1:]) == list(range(12))  # each once, after the first look at the size
    assert torch.equal(torch.stack(fused), fuse_clip(clip.frames, Fusion(window=2, split=False)))


def test_progress_covers_both_passes_and_can_stop():
    calls = []
    fuse_clip(frames_of(3), report=lambda done, total: calls.append((done, total)))
    assert calls == [(i, 6) for i in range(1, 7)]

    def stop(done, total):
        if done == 5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fuse_clip(frames_of(3), report=stop)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"guides": torch.zeros(2, 8, 8, 3)}, "The clip has 3 frames, the guide 2"),
        ({"guides": torch.zeros(3, 8, 6, 3)}, "The guide is 6x8, the clip 8x8"),
        ({"guides": torch.zeros(3, 8, 8, 2)}, "shape .8, 8, 2."),
        (
            {"keyframes": keyframes_of_batch(torch.zeros(1, 8, 8, 3), (3,))},
            "frame 3, the clip has frames 0 to 2",
        ),
        ({"keyframes": keyframes_of_batch(torch.zeros(2, 8, 8, 3), (2, -1))}, "Frame 2 has two keyframes"),
        ({"keyframes": keyframes_of_batch(torch.zeros(1, 8, 9, 3), (0,))}, "9x8, the clip is 8x8"),
    ],
)
def test_what_does_not_fit_is_said_before_any_work(named, message):
    with pytest.raises(ValueError, match=message):
        fuse(torch.zeros(3, 8, 8, 3), **named)  # not even asked for a frame


def test_other_errors():
    keyframes = keyframes_of_batch(torch.zeros(1, 8, 8, 3), (0,))
    with pytest.raises(ValueError, match="has 4 channels, keyframe images have 3"):
        fuse(torch.zeros(3, 8, 8, 4), keyframes=keyframes)
    with pytest.raises(ValueError, match="The clip has no frames"):
        fuse(torch.zeros(0, 8, 8, 3))
    with pytest.raises(ValueError, match="There are no keyframes"):
        interpolate(torch.zeros(3, 8, 8, 3), keyframes_of_batch(torch.zeros(0, 8, 8, 3), ()))
    for wrong in ({"window": -1}, {"strength": 1.5}, {"keyframe_weight": -1.0}, {"style_weight": -1.0}):
        with pytest.raises(ValueError, match="expected"):
            Fusion(**wrong)
