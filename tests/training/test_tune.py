"""The recipe of Tune-A-Video on a small UNet: it learns one clip, resumes, and leaves the UNet alone."""

import pytest
import torch
from choreographer.core.schedules import alphas_cumprod
from choreographer.core.training.tune import fresh_tuning, noised, train_tuning, tuning_plan
from choreographer.core.tuning.attach import TuningState, attach
from choreographer.tests.tuning.conftest import filled

FRAMES = 3
KEPT = alphas_cumprod("scaled_linear")


class Family:
    """A small UNet with a tuning attached, as the recipe sees one."""

    def __init__(self):
        from choreographer.core.training.base_model import make_unet

        self.unet = filled(make_unet((32, 64), context=24, heads=4)).requires_grad_(False)
        torch.manual_seed(3)
        self.tuning = fresh_tuning(self.unet)
        attach(self.unet, TuningState(frames=FRAMES), self.tuning)
        self.text = torch.randn(1, 5, 24, generator=torch.Generator().manual_seed(5))

    def predict_clip(self, noisy, steps):
        text = self.text.expand(FRAMES, -1, -1)
        found = self.unet(noisy.flatten(0, 1), steps.repeat_interleave(FRAMES, 0), text, return_dict=False)[0]
        return found.unflatten(0, noisy.shape[:2])


def latents():
    return torch.randn(FRAMES, 4, 8, 8, generator=torch.Generator().manual_seed(2))


def train(folder, steps, stop=None, losses=None, rate=1e-3):
    family = Family()
    kept = {key: value.clone() for key, value in family.unet.state_dict().items()}

    def note(_step, _steps, so_far, _seconds):
        if losses is not None:
            losses[:] = so_far

    plan = tuning_plan(steps, folder, rate, seed=4)
    weights = train_tuning(family, family.tuning, latents(), KEPT, "noise", plan, note, stop)
    assert all(torch.equal(kept[key], value) for key, value in family.unet.state_dict().items())
    return weights


def test_the_loss_falls_and_only_the_papers_weights_move(tmp_path):
    losses = []
    weights = train(tmp_path, 24, losses=losses, rate=1e-2)
    assert sum(losses[-6:]) < 0.9 * sum(losses[:6])
    start = Family().tuning.state_dict()
    moved = {key.split(".", 2)[2] for key, value in weights.items() if not torch.equal(value, start[key])}
    parts = {f"temporal.{layer}.weight" for layer in ("q", "k", "v", "out")}
    assert moved == parts | {"own.weight", "text.weight", "temporal.out.bias"}


def test_a_stopped_run_goes_on_as_if_it_had_not_been(tmp_path):
    whole = train(tmp_path / "whole", 4)
    polled = iter([False, False, True])
    train(tmp_path / "part", 4, stop=lambda: next(polled))
    resumed = train(tmp_path / "part", 4)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_v_and_noise_say_the_same(tmp_path):
    x = latents()[None]
    generators = (torch.Generator().manual_seed(1) for _ in range(2))
    noise, v = (noised(x, KEPT, kind, next(generators)) for kind in ("noise", "v"))
    assert torch.equal(noise.noisy, v.noisy) and torch.equal(noise.steps, v.steps)
    share = KEPT[noise.steps].float()
    clean = share.sqrt() * v.noisy - (1 - share).sqrt() * v.target
    assert torch.allclose(clean, x, atol=1e-5)


def test_another_target_is_refused():
    with pytest.raises(ValueError, match="The model predicts 'x0'"):
        noised(latents()[None], KEPT, "x0", torch.Generator())
