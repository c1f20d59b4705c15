"""Metrics against the golden table, their definitions, and hand-made cases."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from choreographer.core import optical_flow
from choreographer.core.metrics import quality
from choreographer.core.metrics.motion import FlowRating, Rated, flow_rating
from choreographer.core.metrics.quality import psnr, psnr_global, ssim
from choreographer.core.metrics.report import ClipReport, mean, measure
from choreographer.core.metrics.sharpness import sharpness
from choreographer.core.metrics.steadiness import level_spread, warped_difference
from choreographer.core.optical_flow import dis_flow, dis_pairs, farneback_flow, farneback_pairs

DATA = Path(__file__).parents[1] / "data" / "fusion"
GOLDEN = json.loads((DATA / "seqA_metrics.json").read_text())
ROWS = ("truth", "style", "naive_mean_w1", "naive_mean_w2", "naive_mean_w4")


@pytest.fixture(scope="module")
def clips():
    """The golden clip and its unaligned temporal means (rounded), each (16, 96, 96, 3) uint8."""
    arrays = np.load(DATA / "seqA_clips.npz")
    found = {name: torch.from_numpy(arrays[name]) for name in ("guide", "truth", "style")}
    style = found["style"].double()
    for reach in (1, 2, 4):
        means = [style[max(0, t - reach) : t + reach + 1].mean(dim=0) for t in range(len(style))]
        found[f"naive_mean_w{reach}"] = torch.stack(means).round().to(torch.uint8)
    return found


@pytest.fixture(scope="module")
def guide_flow(clips):
    """Backward and forward Farneback flow of the clean frames."""
    return farneback_flow(clips["guide"], backward=True), farneback_flow(clips["guide"])


@pytest.mark.parametrize("row", [*ROWS, "guide"])
def test_flow_rating_is_the_golden_one(row, clips):
    """CCDM's rating; 1e-4 leaves room for other OpenCV versions (this one: 2e-7)."""
    rating, golden = flow_rating(farneback_flow(clips[row])), GOLDEN[row]
    assert rating.total_px == pytest.approx(golden["flow_total_px"], rel=1e-4)
    assert rating.mean_px == pytest.approx(golden["flow_mean_px"], abs=1e-4)
    assert rating.mean_over_diagonal == pytest.approx(golden["flow_mean_over_diag_pct"], abs=1e-4)
    assert rating.mean_over_max == pytest.approx(golden["flow_mean_over_max_pct"], rel=1e-3)
    assert mean(rating.per_frame) == pytest.approx(rating.mean_px, rel=1e-9)


@pytest.mark.parametrize("row", ROWS)
def test_psnr_is_the_golden_one(row, clips):
    """Per frame, their mean, and the one over the whole clip, to the table's digits."""
    found, golden = psnr(clips[row], clips["truth"]), GOLDEN[row]
    assert found.tolist() == pytest.approx(golden["psnr_per_frame"], abs=6e-4)
    assert float(found.mean()) == pytest.approx(golden["psnr_mean"], abs=6e-5)
    assert psnr_global(clips[row], clips["truth"]) == pytest.approx(golden["psnr_global"], abs=6e-5)


@pytest.mark.parametrize("row", [*ROWS, "guide"])
def test_warped_difference_is_the_golden_one(row, clips, guide_flow):
    """Within 0.5 % (the table's warp rounds positions to 1/32 px), and in the table's order."""
    found = float(warped_difference(clips[row], *guide_flow).mean())
    assert found == pytest.approx(GOLDEN[row]["warp_mae"], rel=5e-3)


@pytest.mark.parametrize("row", ROWS)
def test_level_spread_is_the_golden_one(row, clips):
    """Flicker of the mean level, to the table's digits."""
    assert level_spread(clips[row]) == pytest.approx(GOLDEN[row]["frame_mean_std"], abs=6e-5)


@pytest.mark.parametrize("still", [False, True])
def test_long_clips_are_measured_a_few_frames_at_a_time(still, monkeypatch):
    """The same figures as all at once, while never more than a few frames are held in double precision."""
    made = torch.Generator().manual_seed(5)
    frames, reference = (torch.randint(0, 256, (19, 16, 20, 3), generator=made).byte() for _ in range(2))
    reference = reference[:1] if still else reference
    measures = [lambda of=m: of(frames, reference) for m in (psnr, psnr_global, ssim)]
    measures += [lambda of=m: of(frames) for m in (level_spread, sharpness)]
    monkeypatch.setattr(quality, "SPLIT", 100)
    whole = [torch.as_tensor(each()) for each in measures]
    monkeypatch.undo()
    held, unit = [], quality.unit
    monkeypatch.setattr(quality, "unit", lambda part: (held.append(len(part)), unit(part))[1])
    for each, expected in zip(measures, whole, strict=True):
        held.clear()
        torch.testing.assert_close(torch.as_tensor(each()), expected, rtol=1e-12, atol=1e-12)
        assert held and max(held) == quality.SPLIT


def rated_at_once(flow):
    """The five numbers from lengths of a whole flow."""
    length = flow.double().norm(dim=1)
    average, largest = float(length.mean()), float(length.max())
    over = 100 * average / math.hypot(*flow.shape[-2:]), 100 * average / largest
    return FlowRating(float(length.sum()), average, *over, tuple(length.mean(dim=(1, 2)).tolist()))


def assert_same(rating, expected):
    """Two ratings but for the order in which float64 adds up."""
    for name, value in asdict(expected).items():
        assert getattr(rating, name) == pytest.approx(value, rel=1e-12), name


def test_a_rating_keeps_two_numbers_of_a_pair():
    """And the same ones when it is gone through again."""
    flow = torch.rand(6, 2, 24, 32, generator=torch.Generator().manual_seed(0))
    rated = Rated(flow)
    for _ in range(2):
        for pair in rated:
            kept = [value for value in vars(rated).values() if value is not flow]
            assert pair.shape == (2, 24, 32) and not any(isinstance(value, torch.Tensor) for value in kept)
        assert len(rated.sums) == len(rated.largest) == 6
        assert_same(rated.rating(), rated_at_once(flow))


@pytest.mark.parametrize("row", ["style", "truth"])
def test_motion_measured_a_pair_at_a_time_is_that_of_the_whole_clip(row, clips):
    """Every figure, with a reference, without one, and with a still."""
    frames, other = clips[row].float() / 255, clips["guide"]
    assert_same(flow_rating(farneback_pairs(frames)), rated_at_once(farneback_flow(frames)))
    assert_same(flow_rating(dis_pairs(frames)), rated_at_once(dis_flow(frames)))
    for reference, guide in ((None, frames), (other[:1], frames), (other, other)):
        found = measure(frames, reference)
        flows = dis_flow(guide, backward=True), dis_flow(guide)
        assert_same(found.farneback, rated_at_once(farneback_flow(frames)))
        assert_same(found.dis, rated_at_once(dis_flow(frames)))
        assert found.warped_difference == tuple(warped_difference(frames, *flows).tolist())


def test_flow_is_found_when_it_is_asked_for(clips, monkeypatch):
    """So a long clip's frames are never all held as bytes, nor all its flows."""
    held, to_bytes = [], optical_flow.to_bytes
    monkeypatch.setattr(optical_flow, "to_bytes", lambda part: (held.append(len(part)), to_bytes(part))[1])
    next(iter(dis_pairs(clips["style"])))
    assert held == [1, 1]
    flow_rating(farneback_pairs(clips["style"]))
    assert set(held) == {1}


def test_psnr_of_a_known_error():
    """An error of 0.1 everywhere is 20 dB, equal frames are 60 dB, a still is compared with every frame."""
    frames = torch.full((2, 16, 16, 3), 0.5, dtype=torch.float64)
    frames[1] = 0.6
    assert psnr(frames, frames[:1]).tolist() == pytest.approx([60.0, 20.0])


def plain_ssim(x, y):
    """SSIM of two grey images by its definition, one window at a time."""
    place = np.arange(11) - 5
    window = np.exp(-(place[:, None] ** 2 + place[None, :] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            ma, mb = (window * a).sum(), (window * b).sum()
            va, vb = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum()
            both = (window * (a - ma) * (b - mb)).sum()
            top = (2 * ma * mb + 0.01**2) * (2 * both + 0.03**2)
            values.append(top / ((ma**2 + mb**2 + 0.01**2) * (va + vb + 0.03**2)))
    return float(np.mean(values))


def test_ssim_is_its_definition(clips):
    """Against a direct evaluation on a cut of the golden clip; 1 for equal frames."""
    x, y = clips["style"][3:4, 20:44, 30:58], clips["truth"][3:4, 20:44, 30:58]
    luma = [
        (clip[0].double() / 255 @ torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)).numpy()
        for clip in (x, y)
    ]
    assert float(ssim(x, y)) == pytest.approx(plain_ssim(*luma), abs=1e-10)
    assert ssim(clips["style"], clips["style"]).tolist() == pytest.approx([1.0] * 16, abs=1e-12)


def test_bytes_and_unit_range_are_the_same(clips):
    """uint8 frames and the same frames in 0..1 score alike."""
    style, truth = clips["style"], clips["truth"]
    assert torch.allclose(psnr(style, truth), psnr(style.double() / 255, truth.double() / 255))
    assert torch.allclose(ssim(style, truth), ssim(style.float() / 255, truth.float() / 255), atol=1e-6)


def test_flow_rating_of_a_still():
    """No motion is zero, in every normalisation."""
    rating = flow_rating(torch.zeros(3, 2, 8, 8))
    assert (rating.total_px, rating.mean_px, rating.mean_over_diagonal, rating.mean_over_max) == (0, 0, 0, 0)


def test_flow_rating_of_a_pan():
    """A flow of (3, 4) px: mean 5, total 5 a pixel, 100 percent of the largest."""
    flow = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1).expand(2, 2, 30, 40)
    rating = flow_rating(flow)
    assert rating.total_px == pytest.approx(5 * 2 * 30 * 40)
    assert rating.mean_over_diagonal == pytest.approx(10.0)  # the diagonal is 50 px
    assert rating.mean_over_max == pytest.approx(100.0)


def test_warped_difference_without_a_trusted_pixel_is_nan():
    """Rather than a number that means nothing."""
    flow = torch.full((1, 2, 16, 16), 50.0)
    assert math.isnan(float(warped_difference(torch.rand(2, 16, 16, 3), flow, -flow)[0]))


def test_measure_and_its_report(clips):
    """The report holds the functions' numbers as JSON; progress ends at its total."""
    frames = clips["style"].float() / 255
    seen = []
    found = measure(frames, clips["truth"].float() / 255, lambda done, total: seen.append((done, total)))
    assert found.farneback.total_px == pytest.approx(GOLDEN["style"]["flow_total_px"], rel=1e-4)
    report = json.loads(found.as_json())
    assert report["psnr_mean"] == pytest.approx(GOLDEN["style"]["psnr_mean"], abs=1e-4)
    assert len(report["ssim"]) == 16 and len(report["warped_difference"]) == 15
    assert len(report["sharpness"]) == 16 and len(report["jitter"]) == 14 and report["features"] is None
    assert f"PSNR, dB: {mean(found.psnr):.4f}" in found.text() and "cosine" not in found.text()
    assert seen[-1] == (75, 75) and seen == sorted(seen)


def test_measure_without_a_reference(clips):
    """What needs a reference is NaN in the report object and null in JSON; a still guides no motion."""
    alone = measure(clips["guide"][:4])
    assert math.isnan(mean(alone.psnr)) and json.loads(alone.as_json())["ssim_mean"] is None
    still = measure(clips["guide"][:4], clips["guide"][:1])
    assert still.warped_difference == alone.warped_difference
    assert still.psnr[0] == 60.0 and still.psnr[1] < 60.0
    assert isinstance(still, ClipReport)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: psnr(torch.rand(2, 8, 8, 3), torch.rand(2, 8, 9, 3)),
            "clip is 8x8, the reference 9x8; scale",
        ),
        (
            lambda: psnr(torch.rand(4, 8, 8, 3), torch.rand(2, 8, 8, 3)),
            "4 frames, the reference 2; expected as many",
        ),
        (lambda: psnr(torch.rand(4, 8, 8), torch.rand(4, 8, 8)), r"Frames: shape \(4, 8, 8\)"),
        (lambda: ssim(torch.rand(1, 10, 20, 3), torch.rand(1, 10, 20, 3)), "at least 11x11, got 20x10"),
        (lambda: flow_rating(torch.rand(2, 3, 8, 8)), r"Flow is \(2, 3, 8, 8\)"),
        (lambda: measure(torch.rand(1, 32, 32, 3)), "at least 2 frames, got 1"),
        (
            lambda: warped_difference(
                torch.rand(3, 8, 8, 3), torch.zeros(2, 2, 8, 8), torch.zeros(1, 2, 8, 8)
            ),
            "Forward flow is",
        ),
    ],
)
def test_mistakes_are_one_sentence(call, message):
    """Every wrong input is named."""
    with pytest.raises(ValueError, match=message):
        call()
