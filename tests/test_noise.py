"""Initial noise: the golden prior, exact covariances, prefixes, and unit variance everywhere."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from choreographer.core import noise
from choreographer.core.noise import NoiseLayout, seeded

DATA = Path(__file__).parent / "data" / "vcd"
ODD = (3, 5, 7)  # 105 values: no multiple of 16, where one long draw would not begin like a shorter one
GAMMAS = (-1.0, -0.5, 0.0, 0.15, 0.9, 1.0)
LAYOUTS = [
    NoiseLayout("per-frame seeds"),
    NoiseLayout("shared"),
    NoiseLayout("mixed", ratio=0.3),
    NoiseLayout("reshuffled windows", window=12, stride=5),
]


def decay(gamma, frames):
    """gamma^|m-n| as a matrix, in float64."""
    places = torch.arange(frames)
    return torch.tensor(gamma, dtype=torch.float64) ** (places[:, None] - places[None, :]).abs()


def covariance(clip):
    """Covariance over frames, all values of a frame taken as samples: (F, F)."""
    flat = clip.flatten(1).double()
    return flat @ flat.T / flat.shape[1]


@pytest.mark.parametrize(("gamma", "seed"), [("0.05", 0), ("0.15", 0), ("0.15", 42), ("0.5", 42)])
def test_prior_equals_the_golden_cholesky_sample(gamma, seed):
    """The same normals give the sample of torch's MultivariateNormal."""
    golden = np.load(DATA / "noise_prior.npz")
    normals = torch.from_numpy(golden[f"eps_seed{seed}"]).movedim(-1, 0)  # F C h w
    sample = torch.from_numpy(golden[f"sample_g{gamma}_s{seed}"])
    assert float((noise.correlate(normals, float(gamma)) - sample).abs().max()) <= 1e-6


@pytest.mark.parametrize("gamma", ["0.05", "0.1", "0.15", "0.2", "0.5"])
def test_covariance_is_the_golden_one(gamma):
    """Fed with unit vectors the process returns its mixing matrix L, and L L^T is the covariance."""
    mixing = noise.correlate(torch.eye(16, dtype=torch.float64), float(gamma))
    golden = torch.from_numpy(np.load(DATA / "noise_prior.npz")[f"cov_{gamma}"])
    assert float((mixing @ mixing.T - golden).abs().max()) <= 1e-12


@pytest.mark.parametrize("gamma", GAMMAS)
def test_covariance_is_exact_at_any_length(gamma):
    """Also where the matrix is singular (gamma 1, -1) or negative, over 200 frames."""
    mixing = noise.correlate(torch.eye(200, dtype=torch.float64), gamma)
    assert float((mixing @ mixing.T - decay(gamma, 200)).abs().max()) <= 1e-12


@pytest.mark.parametrize("gamma", GAMMAS)
def test_prior_statistics(gamma):
    """The float32 draw has that covariance, within five standard errors of 16384 samples."""
    clip = noise.gaussian_prior(8, (4, 64, 64), gamma, seeded(3))
    assert float((covariance(clip) - decay(gamma, 8)).abs().max()) <= 5 * (2 / 16384) ** 0.5


@pytest.mark.parametrize("gamma", [0.0, 0.15, -0.7, 1.0])
def test_prior_goes_on_from_a_carried_frame(gamma):
    """16 frames, then 48 more from the 16th, are bit for bit the first 64 frames."""
    whole = noise.gaussian_prior(64, ODD, gamma, seeded(11))
    generator = seeded(11)
    start = noise.gaussian_prior(16, ODD, gamma, generator)
    rest = noise.gaussian_prior(48, ODD, gamma, generator, first=start[-1])
    assert torch.equal(torch.cat((start, rest)), whole)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.kind)
def test_short_clips_begin_long_ones(layout):
    """For every length, not only whole windows."""
    whole = layout.draw(64, ODD, 5)
    for frames in (1, 7, 12, 16, 33):
        assert torch.equal(layout.draw(frames, ODD, 5), whole[:frames])


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.kind)
def test_every_frame_is_white(layout):
    """Each frame of each layout: mean 0, variance 1, neighbouring pixels and channels independent."""
    clip = layout.draw(24, (4, 64, 64), 9).double()
    error = 16384**-0.5
    assert float(clip.mean(dim=(1, 2, 3)).abs().max()) <= 5 * error
    assert float((clip.var(dim=(1, 2, 3)) - 1).abs().max()) <= 5 * 2**0.5 * error
    for axis in (1, 2, 3):
        neighbours = (clip * clip.roll(1, axis)).mean(dim=(1, 2, 3))
        assert float(neighbours.abs().max()) <= 5 * error


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.kind)
def test_seeds(layout):
    """The same seed gives the same bytes, another one another clip; the largest seed a host knows works."""
    assert torch.equal(layout.draw(6, ODD, 1), layout.draw(6, ODD, 1))
    assert not torch.equal(layout.draw(6, ODD, 1), layout.draw(6, ODD, 2))
    assert layout.draw(3, ODD, 2**64 - 1).shape == (3, *ODD)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0])
def test_mixed_covariance(ratio):
    """Any two frames correlate by the ratio."""
    found = covariance(noise.mixed(8, (4, 64, 64), 2, ratio))
    expected = torch.full((8, 8), ratio, dtype=torch.float64).fill_diagonal_(1)
    assert float((found - expected).abs().max()) <= 5 * (2 / 16384) ** 0.5


def test_per_frame_seeds_are_seeds():
    """Frame i is what seed + i gives for a single frame; past the largest seed they wrap."""
    clip = noise.per_frame_seeds(5, ODD, 100)
    for i in range(5):
        assert torch.equal(clip[i : i + 1], noise.normals(1, ODD, seeded(100 + i)))
    assert torch.equal(noise.per_frame_seeds(2, ODD, 2**64 - 1)[1:], noise.per_frame_seeds(1, ODD, 0))


def test_shared_is_one_frame():
    """All frames are bit for bit the first."""
    clip = noise.shared(4, ODD, 8)
    assert all(torch.equal(frame, clip[0]) for frame in clip)


@pytest.mark.parametrize(("window", "stride"), [(16, 4), (12, 5), (8, 8), (6, 1), (1, 1)])
def test_reshuffled_windows_hold_the_same_frames(window, stride):
    """Every window that starts at a multiple of the stride is a permutation of the first one."""
    order = noise.window_order(window + 10 * stride, window, stride, seeded(4))
    for start in range(0, 10 * stride + 1, stride):
        assert sorted(order[start : start + window]) == list(range(window))


def test_reshuffled_windows_repeat_frames():
    """A clip in reshuffled windows is its first window, taken in `window_order`."""
    clip = noise.reshuffled_windows(40, ODD, 6, 16, 4)
    generator = seeded(6)
    first = noise.normals(16, ODD, generator)
    assert torch.equal(clip, first[noise.window_order(40, 16, 4, generator)])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: noise.gaussian_prior(4, ODD, 1.01, seeded(0)), "gamma is 1.01, expected"),
        (lambda: noise.gaussian_prior(0, ODD, 0.1, seeded(0)), "at least 1 frame, got 0"),
        (
            lambda: noise.gaussian_prior(4, ODD, 0.1, seeded(0), torch.zeros(3, 5, 8)),
            r"carried frame is \(3, 5, 8\)",
        ),
        (lambda: noise.mixed(4, ODD, 0, -0.1), "ratio is -0.1"),
        (lambda: NoiseLayout("mixed", ratio=2.0), "ratio is 2.0"),
        (
            lambda: NoiseLayout("reshuffled windows", window=4, stride=5),
            "stride is 5, expected 1 to the window",
        ),
        (lambda: NoiseLayout("reshuffled windows", window=0), "window is 0"),
        (lambda: NoiseLayout("pink"), "Noise layout is 'pink', expected one of"),
    ],
)
def test_mistakes_are_one_sentence(call, message):
    """Every input out of range is named, with what was expected."""
    with pytest.raises(ValueError, match=message):
        call()


def test_turned_noise_keeps_its_variance_and_its_ends():
    base, residual = noise.shared(4, (4, 64, 64), 1), noise.per_frame_seeds(4, (4, 64, 64), 2)
    assert torch.equal(noise.turned(base, residual, 0.0), base)
    assert torch.allclose(noise.turned(base, residual, 1.0), residual, atol=1e-6)
    mixed_noise = noise.turned(base, residual, 0.1)
    assert mixed_noise.var().item() == pytest.approx(1.0, abs=0.06)
    covariance = (mixed_noise[0] * mixed_noise[1]).mean().item()
    assert covariance == pytest.approx(math.cos(0.05 * math.pi) ** 2, abs=0.06)
    with pytest.raises(ValueError, match="ratio is 1.5"):
        noise.turned(base, residual, 1.5)
