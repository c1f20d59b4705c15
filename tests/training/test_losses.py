"""CCDM Eq. 13 against its literal double sum, and the noise that the recipes add."""

import pytest
import torch
from choreographer.core.schedules import alphas_cumprod
from choreographer.core.training.losses import (
    Diffusion,
    ccdm_loss,
    frame_weights,
    stress_motion,
)


def literal(error, lambda1, lambda2, window, keyframes):
    """Eq. 13 as printed: each frame's loss, its neighbours' and the keyframes', summed over the clip's
    frames.
    """
    frames = len(error)
    total = 0.0
    for t in range(frames):
        total += error[t]
        for i in range(-window, window + 1):
            if 0 <= t + i < frames:
                total += lambda1 * error[t + i]
        for keyframe in keyframes:
            total += lambda2 * error[keyframe]
    return total


@pytest.mark.parametrize(
    ("lambda1", "lambda2", "window", "keyframes"),
    [(0, 0, 2, ()), (0.5, 0, 2, ()), (0.3, 0.2, 1, (0, 6)), (1.0, 0.1, 20, (3,)), (0, 2.0, 0, (0,))],
)
def test_the_weights_are_those_of_the_double_sum(lambda1, lambda2, window, keyframes):
    error = torch.rand(7, generator=torch.Generator().manual_seed(1)).double()
    weights = frame_weights(7, lambda1, lambda2, window, keyframes).double()
    assert weights.mean() == pytest.approx(1, abs=1e-6)
    ones = literal(torch.ones(7), lambda1, lambda2, window, keyframes)
    expected = 7 * float(literal(error, lambda1, lambda2, window, keyframes) / ones)
    assert float((weights * error).sum()) == pytest.approx(expected, rel=1e-6)


def test_without_lambdas_the_loss_is_the_plain_one():
    generator = torch.Generator().manual_seed(2)
    predicted, noise = torch.randn(2, 2, 5, 4, 3, 3, generator=generator)
    assert float(ccdm_loss(predicted, noise)) == pytest.approx(
        float((predicted - noise).square().mean()), rel=1e-6
    )


def test_an_error_in_a_keyframe_costs_more():
    noise = torch.zeros(1, 6, 4, 2, 2)
    early, late = noise.clone(), noise.clone()
    early[:, 0], late[:, 3] = 1, 1
    terms = {"lambda2": 0.5, "keyframes": [0]}
    assert ccdm_loss(early, noise, **terms) > ccdm_loss(late, noise, **terms)


@pytest.mark.parametrize("keyframe", [-1, 7])
def test_a_keyframe_outside_the_clip_is_refused(keyframe):
    with pytest.raises(ValueError, match=f"Keyframe {keyframe} is outside the clip, which has frames 0 to 6"):
        frame_weights(7, keyframes=[keyframe])


def test_noising_keeps_its_promise():
    latents = torch.randn(64, 4, 3, 3, generator=torch.Generator().manual_seed(3))
    names = ("scaled_linear", "linear")
    noisy, noise, steps = Diffusion(names).noised(latents, torch.Generator().manual_seed(4))
    kept = torch.stack([alphas_cumprod(name)[steps] for name in names]).float()[..., None, None, None]
    gaps = (kept.sqrt() * latents + (1 - kept).sqrt() * noise - noisy).abs().amax((2, 3, 4))
    assert gaps.amin(0).max() < 1e-5, "each item follows one of the schedules"
    assert {int(i) for i in gaps.argmin(0)} == {0, 1}, "and both are used"
    again = Diffusion(names).noised(latents, torch.Generator().manual_seed(4))
    assert all(torch.equal(a, b) for a, b in zip((noisy, noise, steps), again, strict=True))


def test_blind_items_are_pure_noise_and_lead_to_the_picture():
    """One exact step must end at the clean latents, from noise that shows nothing."""
    latents = torch.randn(400, 4, 2, 2, generator=torch.Generator().manual_seed(5))
    diffusion, drawn = Diffusion(("linear",), blind=0.25), torch.randn_like(latents)
    noisy, target, steps = diffusion.noised(latents, torch.Generator().manual_seed(6), drawn)
    blind = (noisy == drawn).flatten(1).all(1)
    assert 0.15 < blind.float().mean() < 0.35 and (steps[blind] >= 500).all()
    kept = alphas_cumprod("linear").float()[steps].view(-1, 1, 1, 1)
    found = (noisy - (1 - kept).sqrt() * target) / kept.sqrt()
    torch.testing.assert_close(found, latents, atol=2e-3, rtol=0)


def test_stressed_motion_counts_more_and_stillness_as_before():
    generator = torch.Generator().manual_seed(7)
    error = torch.randn(2, 5, 3, 4, generator=generator)
    still = error.mean(1, keepdim=True)
    stressed = stress_motion(error, 3.0).square().mean()
    expected = still.square().mean() + 4 * (error - still).square().mean()
    torch.testing.assert_close(stressed, expected)
    assert torch.equal(stress_motion(error, 0.0), error)
