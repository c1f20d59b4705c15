"""Keyframes in a real host: clips pass through them with every kind of sampler; other runs stay as before."""

import pytest
import torch
from choreographer.tests.nodes.demo import make_vae
from choreographer.tests.nodes.tiny import hook_count, make_cond, make_model, make_motion, pack, sample

pytestmark = pytest.mark.usefixtures("comfy_host")
SIDE = 64  # 8 x 8 latents
SAMPLERS = ("euler", "heun", "dpmpp_sde", "euler_ancestral", "dpmpp_2m", "uni_pc", "euler_cfg_pp", "ddim")


@pytest.fixture(scope="module")
def vae(comfy_host):
    return make_vae(gain=50)  # latents of the usual size


@pytest.fixture
def keyframes(comfy_host):
    core = pack("core.keyframes")
    images = torch.rand(2, SIDE, SIDE, 3, generator=torch.Generator().manual_seed(3))
    return core.keyframes_of_batch(images, (-1, 0))


def guided(model, vae, keyframes, **options):
    guidance = pack("core.keyframe_guidance").Guidance(**options)
    with torch.inference_mode():
        return pack("nodes.host.keyframes").apply_guidance(model, vae, keyframes, guidance)


def encoded(vae, keyframes):
    with torch.inference_mode():
        return vae.encode(keyframes.images)


def close(a, b, tolerance=1e-4):
    return float((a - b).abs().max() / b.abs().max()) <= tolerance


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_clips_end_on_their_keyframes(vae, keyframes, sampler):
    run = sample(guided(make_model(), vae, keyframes, reach=1), 6, sampler=sampler)
    noise_left = 0.03 if sampler == "uni_pc" else 0.0  # it stops at sigma 0.001
    torch.testing.assert_close(run[[5, 0]], encoded(vae, keyframes), atol=noise_left + 1e-6, rtol=1e-4)


def test_far_frames_and_other_runs_stay_to_the_bit(vae, keyframes):
    model = make_model()
    before = sample(model, 6)
    patched = guided(model, vae, keyframes, reach=1, tone=0.0)
    run = sample(patched, 6)
    assert torch.equal(run[2:4], before[2:4]) and not torch.equal(run[1], before[1])
    assert torch.equal(sample(model, 6), before) and torch.equal(sample(patched, 6), run)
    assert torch.equal(sample(guided(model, vae, keyframes, strength=0.0), 6), before)


def test_tone_brings_the_colours_of_far_frames_to_those_of_the_keyframes(vae, keyframes):
    def away(tone):
        run = sample(guided(make_model(), vae, keyframes, reach=1, tone=tone), 6)
        assert close(run[[5, 0]], encoded(vae, keyframes))
        wanted = encoded(vae, keyframes).flatten(2).median(-1).values.flip(0)
        between = torch.stack([wanted[0].lerp(wanted[1], share) for share in (0.4, 0.6)])
        return float((run[2:4].flatten(2).median(-1).values - between).abs().max())

    assert away(1.0) < 1e-3 < away(0.5) < away(0.0)


def test_a_run_before_the_pull_begins_is_plain(vae, keyframes):
    model = make_model()
    late = guided(model, vae, keyframes, start_percent=0.5)
    seen = {}

    def note(name):
        return lambda step, x0, x, total: seen.setdefault(name, []).append(x0.clone())

    sample(model, 6, callback=note("plain"))
    sample(late, 6, callback=note("late"))
    same = [torch.equal(a, b) for a, b in zip(seen["plain"], seen["late"], strict=True)]
    assert same == [True, False, False]


def test_percents_are_looked_up_on_the_cpu(vae, keyframes, monkeypatch):
    """Of one copy a run: on the model's own device each look-up would wait for it, twenty times a call."""
    host, model, seen = pack("nodes.host.keyframes"), make_model(), []
    percent_of = host.percent_of
    monkeypatch.setattr(host, "percent_of", lambda own, sigma: (seen.append(own), percent_of(own, sigma))[1])
    run = guided(model, vae, keyframes, reach=1)
    sample(run, 6)
    assert len(seen) == 3 and len({id(own) for own in seen}) == 1
    assert seen[0] is not model.model.model_sampling and seen[0].sigmas.device.type == "cpu"


def test_in_context_windows_with_motion(vae, keyframes):
    patching, windows = pack("nodes.host.patching"), pack("nodes.host.windows")
    model = patching.apply_motion_module(make_model(), make_motion())
    model = windows.apply_context_windows(model, "standard_uniform", "pyramid", 4, 2, 1, False)
    run = sample(guided(model, vae, keyframes), 9)
    assert close(run[[8, 0]], encoded(vae, keyframes))
    assert hook_count(model) == 0


def test_a_noise_mask_protects_what_it_covers(vae, keyframes):
    import comfy.sample

    latent = torch.randn(6, 4, 8, 8)
    mask = torch.ones(6, 1, 8, 8)
    mask[..., :4] = 0
    with torch.inference_mode():
        run = comfy.sample.sample(
            guided(make_model(), vae, keyframes), comfy.sample.prepare_noise(latent, 0), 3, 4.0, "euler",
            "normal", make_cond(1), make_cond(2), latent, noise_mask=mask, disable_pbar=True,
        )  # fmt: skip
    assert close(run[..., :4], latent[..., :4])
    assert close(run[[5, 0]][..., 4:], encoded(vae, keyframes)[..., 4:])


def test_what_does_not_fit_is_said_before_sampling(vae, keyframes):
    core = pack("core.keyframes")
    model = guided(make_model(), vae, keyframes)
    with pytest.raises(ValueError, match="give keyframes of the clip's size"):
        sample(model, 6, size=4)
    with pytest.raises(ValueError, match="Frame 0 has two keyframes"):
        sample(model, 1)
    with pytest.raises(ValueError, match="multiples of 8"):
        guided(make_model(), vae, core.keyframes_of_batch(torch.rand(1, 60, 64, 3), (0,)))
    with pytest.raises(ValueError, match="the first keyframe is 64x64"):
        guided(make_model(), vae, keyframes.plus(core.Keyframe(torch.rand(8, 8, 3), 3)))
    with pytest.raises(ValueError, match="There are no keyframes"):
        guided(make_model(), vae, core.Keyframes())


@pytest.mark.parametrize("fill", ["blend", "nearest", "empty"])
def test_keyframes_to_latents(vae, keyframes, fill):
    with torch.inference_mode():
        latent, hold = pack("nodes.host.keyframes").keyframe_latent(vae, keyframes, 5, fill, 1.0)
    samples, mask, known = latent["samples"], latent["noise_mask"], encoded(vae, keyframes)
    assert samples.shape == (5, 4, 8, 8) and mask.shape == (5, 1, 8, 8) and hold.shape == (5, SIDE, SIDE)
    assert torch.equal(samples[[4, 0]], known)
    assert mask[:, 0, 0, 0].tolist() == [0, 0.5, 1, 0.5, 0]
    assert hold[:, 0, 0].tolist() == [1, 0.5, 0, 0.5, 1]
    middle = {"blend": known.mean(0), "nearest": samples[2], "empty": known[0] * 0}[fill]
    torch.testing.assert_close(samples[2], middle)
    assert fill != "nearest" or torch.equal(samples[1], known[1])


def test_empty_frames_are_those_that_nothing_holds(vae, keyframes):
    """Neighbours within reach hold the blend, not grey; a keyframe of strength 0 is there all the same."""
    make = pack("nodes.host.keyframes").keyframe_latent
    with torch.inference_mode():
        blend, empty = (make(vae, keyframes, 7, fill, 1.0)[0]["samples"] for fill in ("blend", "empty"))
        weak = (
            pack("core.keyframes")
            .Keyframes()
            .plus(pack("core.keyframes").Keyframe(keyframes.images[0], 2, strength=0.0))
        )
        alone = make(vae, weak, 4, "empty", 1.0)[0]["samples"]
    assert torch.equal(empty[[0, 1, 5, 6]], blend[[0, 1, 5, 6]]) and not empty[2:5].any()
    assert alone[2].any() and not alone[[0, 1, 3]].any()


def test_a_sampler_keeps_masked_keyframes(vae, keyframes):
    import comfy.sample

    with torch.inference_mode():
        latent, _ = pack("nodes.host.keyframes").keyframe_latent(vae, keyframes, 5, "empty", 0.0)
        run = comfy.sample.sample(
            make_model(), comfy.sample.prepare_noise(latent["samples"], 0), 3, 4.0, "euler", "normal",
            make_cond(1), make_cond(2), latent["samples"], noise_mask=latent["noise_mask"], disable_pbar=True,
        )  # fmt: skip
    assert close(run[[4, 0]], encoded(vae, keyframes)) and run[2].abs().max() > 0


def run_node(node, **inputs):
    with torch.inference_mode():
        return node.execute(**inputs)


def test_nodes_chain(vae):
    nodes = pack("nodes.keyframes")
    one = run_node(
        nodes.KeyframeNode, image=torch.rand(1, SIDE, SIDE, 3), frame=-1, strength=0.5, easing="smooth"
    ).args[0]
    both = run_node(
        nodes.KeyframesFromBatch, images=torch.rand(2, SIDE, SIDE, 3), at="", frames=9, strength=1.0,
        easing="linear", previous=one,
    ).args[0]  # fmt: skip
    assert both.frames == (-1, 0, 8) and len(one.items) == 1
    listed = run_node(
        nodes.KeyframesFromBatch, images=torch.rand(2, SIDE, SIDE, 3), at="2, 5", frames=1, strength=1.0,
        easing="sharp",
    ).args[0]  # fmt: skip
    assert listed.placed(6).frames == (2, 5)
    latent, hold = run_node(
        nodes.KeyframesToLatents, keyframes=listed, vae=vae, frames=6, fill="blend", reach=0.0
    ).args
    assert latent["samples"].shape[0] == len(hold) == 6
    model = make_model()
    patched = run_node(
        nodes.KeyframeGuidance, model=model, vae=vae, keyframes=listed, strength=1.0, reach=2.0,
        start_percent=0.0, end_percent=1.0, curve="focus",
    ).args[0]  # fmt: skip
    assert close(sample(patched, 6)[[2, 5]], encoded(vae, listed))
    with pytest.raises(ValueError, match="takes one image, got 2"):
        run_node(nodes.KeyframeNode, image=torch.rand(2, 8, 8, 3), frame=0, strength=1.0, easing="linear")


def test_percent_is_the_inverse_of_the_hosts(comfy_host):
    denoised, sampling = pack("nodes.host.denoised"), make_model().model.model_sampling
    for percent in (0.01, 0.25, 0.5, 0.9, 0.99):
        back = denoised.percent_of(sampling, sampling.percent_to_sigma(percent))
        assert back == pytest.approx(percent, abs=1e-3)
    assert denoised.percent_of(sampling, 1e9) < 1e-5 and denoised.percent_of(sampling, 0.0) == 1.0
