"""Optical flow: known translations, warping, and the consistency mask."""

import pytest
import torch
from choreographer.core.optical_flow import consistent, dis_flow, farneback_flow, to_bytes, warp

SHIFT = (2.5, -1.5)  # pixels a frame, right and up


def moving(frames=3, size=96, shift=SHIFT, seed=0):
    """A sum of waves (so sub-pixel shifts are exact) that moves by `shift` a frame, 0..1."""
    generator = torch.Generator().manual_seed(seed)
    waves = torch.rand((24, 3), generator=generator)
    places = torch.arange(size, dtype=torch.float32)
    clip = torch.zeros(frames, size, size)
    for t in range(frames):
        y, x = places[:, None] - t * shift[1], places[None, :] - t * shift[0]
        for a, b, phase in waves:
            clip[t] += torch.sin((a - 0.5) * 0.9 * x + (b - 0.5) * 0.9 * y + 6.28 * phase)
    return (0.5 + clip / 18).clamp(0, 1)[..., None].repeat(1, 1, 1, 3)


def inner(flow):
    """Mean flow away from the border: (dx, dy)."""
    return flow[..., 20:-20, 20:-20].mean(dim=(0, 2, 3)).tolist()


@pytest.mark.parametrize("method", [dis_flow, farneback_flow])
def test_known_translation(method):
    """Forward flow says where a pixel goes, backward flow where it came from; channel 0 is dx."""
    clip = moving()
    forward, backward = method(clip), method(clip, backward=True)
    assert forward.shape == backward.shape == (2, 2, 96, 96)
    assert forward.dtype == torch.float32
    assert inner(forward) == pytest.approx(SHIFT, abs=0.1)
    assert inner(backward) == pytest.approx([-SHIFT[0], -SHIFT[1]], abs=0.1)


def test_dis_holds_a_move_that_farneback_loses():
    """8 px a frame: DIS is within 0.1 px, Farneback more than 2 px off (why DIS does the warping)."""
    clip = moving(2, 96, (8, 2))
    assert inner(dis_flow(clip)) == pytest.approx([8, 2], abs=0.1)
    assert abs(inner(farneback_flow(clip))[0] - 8) > 2


def test_backward_flow_warps_the_first_frame_onto_the_second():
    """The warped frame is several times nearer to the next one than the frame itself."""
    clip = moving(2)
    image = clip[:1].permute(0, 3, 1, 2)
    after = clip[1:].permute(0, 3, 1, 2)
    moved = warp(image, dis_flow(clip, backward=True))
    region = (..., slice(10, -10), slice(10, -10))
    assert float((moved - after)[region].abs().mean()) < 0.1 * float((image - after)[region].abs().mean())


def test_warp_by_whole_and_half_pixels():
    """Whole pixels are copied, half pixels are the mean of two neighbours, outside is the nearest edge."""
    image = torch.rand((2, 3, 9, 11), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    flow = torch.zeros(2, 2, 9, 11, dtype=torch.float64)
    assert torch.allclose(warp(image, flow), image, atol=1e-12)
    flow[:, 0], flow[:, 1] = 3, -2
    assert torch.allclose(warp(image, flow)[:, :, 2:, :-3], image[:, :, :-2, 3:], atol=1e-12)
    assert torch.allclose(warp(image, flow)[:, :, 0, -1], image[:, :, 0, -1], atol=1e-12)
    flow[:, 0], flow[:, 1] = 0.5, 0
    mean = (image[..., 1:] + image[..., :-1]) / 2
    assert torch.allclose(warp(image, flow)[..., :-1], mean, atol=1e-12)


def test_consistency_mask():
    """Opposite flows agree, except where they leave the frame; a pixel of disagreement is the limit."""
    flow = torch.zeros(1, 2, 20, 30)
    flow[:, 0] = 4
    expected = torch.ones(1, 20, 30, dtype=torch.bool)
    expected[..., 26:] = False
    assert torch.equal(consistent(flow, -flow), expected)
    assert not bool(consistent(flow, -flow + 0.8).any())  # 0.8 both ways is 1.13 px
    assert torch.equal(consistent(flow, -flow + 0.6), expected)
    assert bool(consistent(flow, -flow + 0.8, tolerance=1.2).any())


def test_bytes_and_unit_range_are_the_same():
    """uint8 and 0..1 frames give the same flow; out of range values are clamped."""
    data = (moving() * 255).round().to(torch.uint8)
    assert torch.equal(dis_flow(data), dis_flow(data.float() / 255))
    assert to_bytes(torch.full((1, 2, 2, 3), 1.7)).max() == 255


def test_report_counts_pairs_and_may_stop():
    """It is called after every pair, and what it raises comes through."""
    seen = []
    farneback_flow(moving(4), report=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]

    def stop(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        farneback_flow(moving(4), report=stop)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: farneback_flow(moving(1)), "at least 2 frames, got 1"),
        (lambda: dis_flow(torch.rand(2, 12, 40, 3)), "40x12, DIS flow needs"),
        (
            lambda: dis_flow(torch.rand(2, 3, 32, 32)),
            r"\(2, 3, 32, 32\), expected \(frames, height, width, 3\)",
        ),
        (lambda: farneback_flow(torch.zeros(2, 32, 32, 3, dtype=torch.int64)), "int64, expected uint8"),
        (lambda: warp(torch.rand(1, 3, 8, 8), torch.zeros(1, 2, 8, 9)), r"needs \(1, 2, 8, 8\)"),
    ],
)
def test_mistakes_are_one_sentence(call, message):
    """Every wrong input is named."""
    with pytest.raises(ValueError, match=message):
        call()
