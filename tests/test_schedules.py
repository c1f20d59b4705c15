"""Beta schedules: the published numbers, and the golden DDIM schedule."""

from pathlib import Path

import numpy as np
import pytest
import torch
from choreographer.core import schedules

DATA = Path(__file__).parent / "data" / "schedules"


@pytest.mark.parametrize(("name", "highest"), [("linear", 25.146), ("scaled_linear", 14.615)])
def test_published_sigmas(name, highest):
    """Both Stable Diffusion schedules start at the same sigma_min and end where the specification says."""
    sigmas = schedules.sigmas(name)
    assert float(sigmas[-1]) == pytest.approx(highest, abs=5e-4)
    assert float(sigmas[0]) == pytest.approx(0.029167, abs=5e-7)


def test_linear_is_the_golden_ddim_schedule():
    """Betas and cumulative alphas equal those of the published loop (float32)."""
    golden = np.load(DATA / "ddim_linear.npz")
    assert np.abs(schedules.betas("linear").numpy() - golden["betas"]).max() <= 1e-9
    error = np.abs(schedules.alphas_cumprod("linear").numpy() / golden["alphas_cumprod"] - 1)
    assert error.max() <= 2e-5  # the golden product was taken in float32


@pytest.mark.parametrize("name", schedules.SCHEDULES)
def test_every_schedule_adds_noise(name):
    """Betas and sigmas rise, and alphas_cumprod and sigmas tell the same story."""
    betas, kept, sigmas = schedules.betas(name), schedules.alphas_cumprod(name), schedules.sigmas(name)
    assert betas.shape == kept.shape == sigmas.shape == (1000,)
    assert bool((betas.diff() > 0).all()) and bool((sigmas.diff() > 0).all())
    assert torch.allclose(kept, 1 / (1 + sigmas**2), rtol=1e-12)
    assert float(betas[0]) == pytest.approx(schedules.SCHEDULES[name].start, rel=1e-12)
    assert float(betas[-1]) == pytest.approx(schedules.SCHEDULES[name].end, rel=1e-12)


def test_unknown_name_and_too_few_steps():
    """Each mistake is one sentence."""
    with pytest.raises(ValueError, match="'cosine', expected one of 'linear'"):
        schedules.betas("cosine")
    with pytest.raises(ValueError, match="at least 2 steps, got 1"):
        schedules.betas("linear", 1)


@pytest.mark.parametrize("name", schedules.SCHEDULES)
def test_host_reads_the_same_schedule(name, comfy_host):
    """ComfyUI's ModelSamplingDiscrete, given `comfy_settings`, walks the same sigmas."""
    from comfy.model_sampling import ModelSamplingDiscrete

    class Config:
        sampling_settings = schedules.comfy_settings(name)

    host = ModelSamplingDiscrete(Config())
    assert torch.allclose(host.sigmas, schedules.sigmas(name).float(), rtol=1e-6)
