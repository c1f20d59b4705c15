"""DDIM inversion: the round trip on models whose best answer is known, for noise and for v."""

import pytest
import torch
from choreographer.core.schedules import alphas_cumprod
from choreographer.core.tuning.ddim import invert, published_sigmas, published_times, sample

MEAN, SPREAD = 0.3, 0.7
SIGMAS = published_sigmas(published_times(25), alphas_cumprod("scaled_linear"))


def denoise(x, sigma):
    """The best guess for pictures whose pixels are spread as N(MEAN, SPREAD^2), bent a little."""
    share = SPREAD**2 / (SPREAD**2 + sigma**2)
    guess = MEAN + share * (x - MEAN)
    return guess + 0.05 * torch.sin(3 * guess)


def predicted(kind, x, sigma):
    """What a network of that kind gives for the same guess."""
    share = 1 / (1 + sigma**2)
    noise = (x - denoise(x, sigma)) / sigma
    return noise if kind == "noise" else share**0.5 * noise - (1 - share) ** 0.5 * denoise(x, sigma)


def clean_of(kind, x, sigma, taken_for):
    """The clean clip from a network's output, taken for what it may or may not be."""
    output, share = predicted(kind, x, sigma), 1 / (1 + sigma**2)
    if taken_for == "noise":
        return x - sigma * output
    return share * x - (share * (1 - share)) ** 0.5 * output


def clip():
    return MEAN + SPREAD * torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def psnr(one, other):
    return float(10 * torch.log10(4.0 / (one - other).square().mean()))


def round_trip(kind, taken_for, refine=0):
    x = clip()
    noise = invert(lambda z, s: clean_of(kind, z, s, taken_for), x, SIGMAS, refine)
    return psnr(sample(lambda z, s: clean_of(kind, z, s, kind), noise, SIGMAS), x)


@pytest.mark.parametrize("kind", ["noise", "v"])
def test_inversion_is_undone_by_sampling_and_refining_brings_it_closer(kind):
    plain, refined = round_trip(kind, kind), round_trip(kind, kind, refine=3)
    assert plain > 30 and refined > plain + 10


def test_taking_v_for_noise_fails_visibly():
    assert round_trip("v", "noise") < 15


def test_the_noise_of_an_inversion_is_as_wide_as_noise():
    noise = invert(denoise, clip(), SIGMAS, refine=2) / SIGMAS[0]
    assert 0.8 < float(noise.std()) < 1.2


def test_progress_is_reported_and_may_stop():
    seen = []

    def stop(done, total, x):
        seen.append((done, total))
        if done == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        invert(denoise, clip(), SIGMAS, report=stop)
    assert seen == [(1, 25), (2, 25), (3, 25)]
