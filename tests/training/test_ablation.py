"""The ablation of CCDM Table 3: configurations that differ as they should, the sampler, and a small run."""

import json

import numpy as np
import pytest
import torch
from choreographer.core.schedules import alphas_cumprod
from choreographer.core.training import ablation
from choreographer.core.training.__main__ import main
from choreographer.core.training.clips import Clips
from choreographer.core.training.diffusion import Batch, Family
from choreographer.core.training.loop import Plan
from safetensors.torch import save_file

FRAMES = 4


def words(texts):
    return torch.stack([torch.full((77,), 49407 - len(text)) for text in texts])


def make_clips(count):
    generator = torch.Generator().manual_seed(1)
    clips = [torch.randn(FRAMES, 4, 4, 4, generator=generator).cumsum(0) for _ in range(count)]
    return Clips(clips, [f"clip {i}" for i in range(count)])


def test_b_has_one_noise_for_all_frames_and_the_others_have_not():
    for name, configuration in ablation.CONFIGURATIONS.items():
        noise = configuration.noise((2, 5, 4, 8, 8), torch.Generator().manual_seed(2))
        assert noise.shape == (2, 5, 4, 8, 8) and noise.std() == pytest.approx(1, abs=0.1)
        assert torch.equal(noise[:, :1].expand_as(noise), noise) == (name == "B")
    assert [c.schedule for c in ablation.CONFIGURATIONS.values()] == [
        "scaled_linear",
        "scaled_linear",
        "linear",
    ]


def test_clips_are_held_out():
    train, kept = ablation.split(make_clips(25))
    assert (len(train.clips), len(kept.clips)) == (23, 2)
    assert not set(train.clip_captions) & set(kept.clip_captions)
    with pytest.raises(ValueError, match="at least 2 encoded clips, got 1"):
        ablation.split(make_clips(1))


@pytest.mark.parametrize("name", ["A", "C"])
def test_the_sampler_finds_the_clip_that_a_perfect_model_knows(name):
    """With the true noise predicted at every step, DDIM ends at the clean clip."""
    configuration, clean = ablation.CONFIGURATIONS[name], torch.randn(1, FRAMES, 4, 4, 4)
    kept = alphas_cumprod(configuration.schedule).float()

    class Perfect:
        device = "cpu"

        def predict(self, noisy, steps, texts, frames):
            share = kept[steps].repeat_interleave(frames).view(-1, 1, 1, 1)
            truth = clean.flatten(0, 1).repeat(len(noisy) // frames, 1, 1, 1)
            return (noisy - share.sqrt() * truth) / (1 - share).sqrt()

    noise = configuration.noise(clean.shape, torch.Generator().manual_seed(3))
    torch.testing.assert_close(
        ablation.sample_clips(Perfect(), configuration, noise, ["x"]), clean, atol=1e-3, rtol=1e-3
    )


def test_a_perfect_model_has_no_held_out_error(monkeypatch):
    data, seen = make_clips(3), []

    class Zero:
        device = "cpu"

        def predict(self, noisy, steps, texts, frames):
            seen.append(int(steps[0]))
            return torch.zeros_like(noisy)

    error = ablation.held_out_loss(Zero(), data, ablation.CONFIGURATIONS["C"], FRAMES)
    assert error == pytest.approx(1, abs=0.1), "predicting nothing misses all of the noise"
    kept = alphas_cumprod("linear")[seen]
    np.testing.assert_allclose(kept, ablation.LEVELS, atol=2e-3)


def test_a_small_run_gives_a_table_and_repeats(tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "SAMPLING_STEPS", 2)
    monkeypatch.setattr(ablation, "SAMPLES", 1)
    runs = [
        ablation.run_ablation(
            lambda: Family(words, (32, 64, 64), seed=2),
            make_clips(4),
            lambda name, run=run: Plan(2, tmp_path / run / name, warmup=0),
            Batch(clips=1, frames=FRAMES),
            decoder=lambda z: z[:, :3].repeat_interleave(8, 2).repeat_interleave(8, 3),
            progress=lambda *_: None,
        )
        for run in ("one", "two")
    ]
    assert runs[0] == runs[1] and list(runs[0]) == ["A", "B", "C"]
    text = ablation.table(runs[0])
    assert len(text.splitlines()) == 5 and len({line.count("|") for line in text.splitlines()}) == 1
    assert all(result.flow is not None and result.held_out > 0 for result in runs[0].values())
    assert len({result.held_out for result in runs[0].values()}) == 3


def test_from_the_command_line(tmp_path, comfy_path, monkeypatch):
    monkeypatch.setattr(ablation, "SAMPLING_STEPS", 1)
    monkeypatch.setattr(ablation, "SAMPLES", 1)
    data = tmp_path / "clips"
    data.mkdir()
    clips = make_clips(2)
    save_file({"clips": torch.stack(clips.clips).half()}, data / "latents.safetensors")
    (data / "captions.json").write_text(json.dumps({"stills": [], "clips": clips.clip_captions}))
    common = ["--latents", str(data), "--steps", "1", "--clips", "1", "--frames", str(FRAMES)]
    tokenizer = ["--tokenizer", str(comfy_path / "comfy" / "sd1_tokenizer"), "--device", "cpu"]
    main(["ablation", str(tmp_path / "ablation"), *common, *tokenizer, "--precision", "fp32"])
    assert (tmp_path / "ablation" / "ablation.md").read_text().count("linear") == 3
    main(["image_control", str(tmp_path / "control"), *common, *tokenizer, "--precision", "fp32"])
    assert (tmp_path / "control" / "image_control.safetensors").stat().st_size > 1e6


def test_a_uni_controlnet_from_the_command_line(tmp_path, comfy_path):
    from choreographer.core.training import autoencoder
    from choreographer.core.uni_control.layouts import read_uni_controlnet

    parts = {"encoder": autoencoder.encoder(), "decoder": autoencoder.decoder()}
    autoencoder.save({name: part.state_dict() for name, part in parts.items()}, tmp_path / "ae")
    tokenizer = ["--tokenizer", str(comfy_path / "comfy" / "sd1_tokenizer"), "--device", "cpu"]
    small = ["--pool", "2", "--stills", "1", "--steps", "1", "--precision", "fp32"]
    main(["uni_control", str(tmp_path / "uni"), "--autoencoder", str(tmp_path / "ae"), *small, *tokenizer])
    assert read_uni_controlnet(tmp_path / "uni" / "uni_control.safetensors").config.content_of == "latent"
