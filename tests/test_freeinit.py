"""FreeInit: filters and the mixing of low and high frequencies."""

import pytest
import torch
from choreographer.core.freeinit import FILTERS, low_pass, reinitialise

SIZES = [(16, 8, 8), (15, 9, 7), (1, 8, 8)]


def white(size, seed):
    """White noise (F, 4, h, w)."""
    frames, height, width = size
    return torch.randn((frames, 4, height, width), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", FILTERS)
def test_filter_passes_low_frequencies_only(kind, size):
    """1 at frequency 0, between 0 and 1 elsewhere, the same for a frequency and its mirror."""
    weights = low_pass(size, kind)
    assert weights.shape == size
    assert float(weights[0, 0, 0]) == 1.0
    assert 0 <= float(weights.min()) and float(weights.max()) <= 1
    assert torch.equal(weights, weights.flip((0, 1, 2)).roll((1, 1, 1), (0, 1, 2)))


def test_cutoffs():
    """At its cutoff the Butterworth filter is at 1/2 and the Gaussian at exp(-1/2), in space and in time."""
    for kind, height in (("butterworth", 0.5), ("gaussian", 0.6065307)):
        weights = low_pass((16, 16, 16), kind, cutoff_space=0.25, cutoff_time=0.5)
        assert float(weights[0, 2, 0]) == pytest.approx(height, rel=1e-5)  # 2 of 8 = a quarter of Nyquist
        assert float(weights[0, 0, 2]) == pytest.approx(height, rel=1e-5)
        assert float(weights[4, 0, 0]) == pytest.approx(height, rel=1e-5)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", FILTERS)
def test_each_band_comes_from_its_source(kind, size):
    """The result's spectrum is H noised + sqrt(1 - H^2) fresh, so two white inputs stay white."""
    noised, fresh, weights = white(size, 0), white(size, 1), low_pass(size, kind)
    axes = (0, 2, 3)
    found = torch.fft.fftn(reinitialise(noised, fresh, weights).double(), dim=axes)
    low, high = weights[:, None].double(), (1 - weights[:, None].double() ** 2).sqrt()
    spectrum = low * torch.fft.fftn(noised.double(), dim=axes) + high * torch.fft.fftn(
        fresh.double(), dim=axes
    )
    assert float((found - spectrum).abs().max() / spectrum.abs().max()) <= 1e-5
    assert float((low**2 + high**2 - 1).abs().max()) <= 1e-12


def test_unit_variance():
    """White stays white with our weights; the paper's lose the variance that H (1 - H) takes."""
    size = (16, 64, 64)
    weights = low_pass(size, "gaussian", cutoff_space=0.5, cutoff_time=0.5)
    noised, fresh = white(size, 2), white(size, 3)
    kept = float(reinitialise(noised, fresh, weights).var())
    lost = float(reinitialise(noised, fresh, weights, unit_variance=False).var())
    tolerance = 5 * (2 / noised.numel()) ** 0.5
    assert kept == pytest.approx(1.0, abs=tolerance)
    assert lost == pytest.approx(float((weights**2 + (1 - weights) ** 2).mean()), abs=tolerance)
    assert lost < 0.95


def test_ends():
    """A filter of ones returns the noised clip, one of zeros the fresh noise."""
    size = (6, 8, 8)
    noised, fresh = white(size, 4), white(size, 5)
    assert torch.allclose(reinitialise(noised, fresh, torch.ones(size)), noised, atol=1e-5)
    assert torch.allclose(reinitialise(noised, fresh, torch.zeros(size)), fresh, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: low_pass((4, 8, 8), "ideal"), "Filter is 'ideal'"),
        (lambda: low_pass((4, 8, 8), cutoff_time=0.0), "cutoff_time is 0.0"),
        (lambda: low_pass((4, 8, 8), order=0), "order is 0"),
        (lambda: reinitialise(white((4, 8, 8), 0), white((5, 8, 8), 0), torch.ones(4, 8, 8)), "fresh noise"),
        (lambda: reinitialise(white((4, 8, 8), 0), white((4, 8, 8), 0), torch.ones(4, 8, 9)), r"\(4, 8, 9\)"),
    ],
)
def test_mistakes_are_one_sentence(call, message):
    """Every wrong input is named."""
    with pytest.raises(ValueError, match=message):
        call()
