"""The training loop: resuming is exact, what was learnt is kept, the curve is drawn."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from choreographer.core.training import diffusion
from choreographer.core.training.clips import Clips
from choreographer.core.training.curve import curve_image
from choreographer.core.training.latents import Latents, draw_scene
from choreographer.core.training.loop import Plan, Trainer, step_seed
from safetensors.torch import save_file
from torch import nn
from torch.nn import Linear

STEPS = 9


def trainer(folder, steps=STEPS, stop=None, progress=None, **changes):
    torch.manual_seed(1)
    module = nn.Sequential(Linear(5, 8), nn.ReLU(), Linear(8, 5))
    module[2].bias.requires_grad_(False)

    def loss(step, generator):
        x = torch.randn(16, 5, generator=generator)
        return (module(x) - x).square().mean()

    plan = replace(Plan(STEPS, folder, learning_rate=1e-2, warmup=2, seed=3, save_every=4), **changes)
    return Trainer({"net": module}, loss, plan, progress or (lambda *_: None), stop)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("stopped_at", [1, 4, 6])
def test_a_resumed_run_is_the_uninterrupted_one(tmp_path, stopped_at):
    whole = trainer(tmp_path / "a").run()
    polls = iter(range(100))
    trainer(tmp_path / "b", stop=lambda: next(polls) == stopped_at).run()
    torch.manual_seed(99)
    resumed = trainer(tmp_path / "b").resume()
    assert resumed.step == stopped_at
    resumed.run()
    assert resumed.losses == whole.losses and len(whole.losses) == STEPS
    assert equal(resumed.averaged()["net"], whole.averaged()["net"])
    assert equal(resumed.modules["net"].state_dict(), whole.modules["net"].state_dict())


def test_what_raises_in_a_run_loses_no_finished_step(tmp_path):
    def crash(step, *_):
        if step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, progress=crash).run()
    assert trainer(tmp_path).resume().step == 6


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_step_with_no_numbers_ends_the_run_and_spoils_nothing(tmp_path, where):
    """The message names the step, and what is kept is that of the step before."""
    made = trainer(tmp_path)
    parameter, loss = made.parameters[0], made.loss

    def spoilt(step, generator):
        value = loss(step, generator)
        if step == 3:
            value = (
                value * torch.nan
                if where == "loss"
                else value + (parameter - parameter.detach()).abs().sqrt().sum()
            )
        return value

    made.loss = spoilt
    with pytest.raises(ValueError, match="Step 4 has a loss of .* lower the learning rate"):
        made.run()
    resumed = trainer(tmp_path).resume()
    assert resumed.step == 3
    assert all(bool(p.isfinite().all()) for p in [*resumed.parameters, *resumed.shadow])


def test_training_learns_and_leaves_frozen_weights(tmp_path):
    run = trainer(tmp_path, steps=STEPS)
    frozen = run.modules["net"][2].bias.clone()
    run.run()
    assert run.losses[-1] < run.losses[0]
    assert torch.equal(run.modules["net"][2].bias, frozen) and torch.equal(
        run.averaged()["net"]["2.bias"], frozen
    )
    assert cv2.imread(str(tmp_path / "loss.png")).shape == (320, 640, 3)
    assert not list(tmp_path.glob("*part*"))


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    trainer(tmp_path).run()
    other = Trainer({"other": Linear(2, 2)}, None, Plan(1, tmp_path))
    with pytest.raises(ValueError, match="belongs to another model: its parameters have other names"):
        other.resume()
    Trainer({"net": Linear(1, 8)}, None, Plan(1, tmp_path / "narrow")).save()
    wide = Linear(5, 8)  # torch would copy (8, 1) into it without a word
    before = wide.weight.detach().clone()
    with pytest.raises(ValueError, match=r"net\.weight is \(8, 1\) there and \(8, 5\) here"):
        Trainer({"net": wide}, None, Plan(1, tmp_path / "narrow")).resume()
    assert torch.equal(wide.weight, before)
    with pytest.raises(ValueError, match="Nothing to train"):
        Trainer({"net": Linear(2, 2).requires_grad_(False)}, None, Plan(1, tmp_path))


def test_each_step_has_its_own_seed():
    seeds = {step_seed(seed, step) for seed in range(20) for step in range(200)}
    assert len(seeds) == 4000 and all(0 <= seed < 1 << 63 for seed in seeds)


def test_the_rate_rises_then_falls_to_a_tenth():
    plan = Plan(100, None, learning_rate=1.0, warmup=10)
    rates = [plan.rate(step) for step in range(101)]
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert max(rates) == 1.0 and rates[-1] == pytest.approx(0.1)


@pytest.mark.parametrize("losses", [[], [1.0], [1.0, 0.5], [0.0] * 5, [1 / (1 + i) for i in range(500)]])
def test_a_curve_of_any_length_is_a_picture(losses):
    assert curve_image(losses).shape == (320, 640, 3)


def test_clips_are_drawn_whole_and_with_their_captions():
    clips = Clips(
        [torch.full((6, 1, 1, 1), 10.0 * i) + torch.arange(6).view(-1, 1, 1, 1) for i in range(3)],
        ["a", "b", "c"],
    )
    latents, texts = clips.draw_clips(20, 4, torch.Generator().manual_seed(1))
    assert latents.shape == (20, 4, 1, 1, 1) and set(texts) == {"a", "b", "c"}
    assert torch.equal(latents.diff(dim=1), torch.ones(20, 3, 1, 1, 1)), "consecutive frames"
    assert [int(clip[0]) // 10 for clip in latents] == ["abc".index(text) for text in texts]
    with pytest.raises(ValueError, match="have 6 frames, the recipe asks for 7"):
        clips.draw_clips(1, 7, torch.Generator())
    with pytest.raises(ValueError, match="3 clips and 1 captions"):
        Clips(clips.clips, ["a"])


def test_encoded_clips_are_also_played_backwards(tmp_path):
    clip = torch.arange(6.0).view(-1, 1, 1, 1).expand(6, 4, 2, 2).half().contiguous()
    save_file({"clips": clip[None]}, tmp_path / "latents.safetensors")
    (tmp_path / "captions.json").write_text('{"stills": [], "clips": ["a star moving left"]}')
    drawn, texts = Latents(tmp_path).draw_clips(32, 6, torch.Generator().manual_seed(1))
    assert set(texts) == {"a star moving left", "a star moving right"}
    for latents, text in zip(drawn, texts, strict=True):
        assert torch.equal(latents.half(), clip if "left" in text else clip.flip(0))


def test_thinned_clips_are_trained_with_their_places():
    seen = []

    class Blind:
        device = "cpu"

        def predict(self, noisy, steps, texts, frames, places):
            seen.append(places)
            assert len(noisy) == 2 * frames == 6 and len(places) == 3
            return noisy

    clips = Clips([torch.randn(8, 4, 2, 2)], ["a"])
    for seed in range(50):
        batch = diffusion.Batch(clips=2, frames=3, span=8)
        diffusion._clip_loss(
            Blind(), clips, diffusion.Diffusion(("linear",)), batch, torch.Generator().manual_seed(seed), {}
        )
    assert all((places.diff() > 0).all() for places in seen)
    assert set(torch.cat(seen).tolist()) == set(range(8))


def test_pictures_show_where_clips_begin(tmp_path):
    clip = torch.arange(16.0).view(-1, 1, 1, 1).expand(16, 4, 2, 2).half().contiguous()
    tensors = {"clips": clip[None], "stills": torch.full((1, 4, 2, 2), 99.0).half()}
    save_file(tensors, tmp_path / "latents.safetensors")
    (tmp_path / "captions.json").write_text('{"stills": ["a star"], "clips": ["a star moving left"]}')
    pictures, texts = Latents(tmp_path).draw_stills(64, torch.Generator().manual_seed(1))
    for picture, text in zip(pictures[:, 0, 0, 0].tolist(), texts, strict=True):
        begins = {"a star": (99,), "a star moving left": range(4), "a star moving right": range(12, 16)}
        assert picture in begins[text]
    assert texts.count("a star") == 32 and len(set(texts)) == 3


def test_scenes_are_straight_and_still_as_often_as_asked():
    rng = np.random.default_rng(1)
    scenes = [draw_scene(rng, 4, still_camera=0.8, straight=1.0) for _ in range(60)]
    assert all(scene.sprites[0].motion.startswith("moving ") for scene in scenes)
    assert 0.75 < sum(scene.camera == "" for scene in scenes) / len(scenes) < 1.0
