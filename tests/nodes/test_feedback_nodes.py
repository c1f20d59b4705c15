"""Fusion feedback in a real host: fused at the right steps, with any sampler, without a trace elsewhere."""

import pytest
import torch
from choreographer.tests.nodes.tiny import hook_count, make_cond, make_model, make_motion, pack, sample
from torch.nn import functional

pytestmark = pytest.mark.usefixtures("comfy_host")
FRAMES, SIDE = 4, 64
SAMPLERS = ("euler", "heun", "dpmpp_sde", "euler_ancestral", "dpmpp_2m", "uni_pc", "euler_cfg_pp", "ddim")


class FlatVae:
    """Three latent channels as grey plus a little red, green and blue, each cell a flat square.

    It loses the fourth.
    """

    def spacial_compression_encode(self):
        return 8

    def decode(self, latents):
        return (0.5 + latents[:, :3] / 1000).repeat_interleave(8, 2).repeat_interleave(8, 3).movedim(1, -1)

    def encode(self, frames):
        cells = (functional.avg_pool2d(frames.movedim(-1, 1), 8) - 0.5) * 1000
        return torch.cat((cells, torch.zeros_like(cells[:, :1])), 1)


@pytest.fixture
def vae():
    return FlatVae()


class Fuser:
    """Stands for the fusion: notes what it gets and gives `make(frames)`."""

    def __init__(self, make=lambda frames: frames):
        self.make, self.seen = make, []

    def check(self, frames, size):
        self.checked = (frames, size)

    def __call__(self, frames, report):
        self.seen.append(frames.clone())
        report(1, 1)
        return self.make(frames)


def close(a, b, tolerance):
    return float((a - b).abs().max() / b.abs().max()) <= tolerance


def mean(frames):
    return frames.mean(0, keepdim=True).expand_as(frames)


def fed(model, vae, fuser, percents=(0.5,), strength=1.0, fast_vae=None):
    feedback = pack("nodes.host.feedback")
    return feedback.apply_feedback(model, vae, fuser, feedback.FeedbackOptions(percents, strength), fast_vae)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_fusion_that_changes_nothing_changes_nothing(vae, sampler):
    model, fuser = make_model(), Fuser()
    plain = sample(model, sampler=sampler)
    assert torch.equal(sample(fed(model, vae, fuser), sampler=sampler), plain)
    assert fuser.seen and all(frames.shape == (FRAMES, SIDE, SIDE, 3) for frames in fuser.seen)
    assert fuser.checked == (FRAMES, (SIDE, SIDE))
    assert torch.equal(sample(model, sampler=sampler), plain)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_fusing_in_the_last_step_shows_in_the_clip(vae, sampler):
    """What was fused is the clip that comes out; what the VAE does not hold stays as it was."""
    model = make_model()
    plain, run = (sample(m, sampler=sampler) for m in (model, fed(model, vae, Fuser(mean), (1.0,))))
    spread, before = (float(clip[:, :3].std(0).mean()) for clip in (run, plain))
    assert spread < before * (0.3 if sampler == "uni_pc" else 1e-3)  # its last step remembers the ones before
    assert not close(run[:, 3], run[:1, 3].expand(FRAMES, -1, -1), 0.1)
    if sampler not in ("uni_pc", "heun"):  # heun's correction of the step before is fused as well
        assert close(run[:, :3], mean(plain[:, :3]), 1e-3) and close(run[:, 3], plain[:, 3], 1e-3)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_any_sampler_goes_on_from_what_was_fused(vae, sampler):
    model = make_model()
    run = sample(fed(model, vae, Fuser(mean), (0.3,)), sampler=sampler)
    assert torch.isfinite(run).all() and not torch.equal(run, sample(model, sampler=sampler))


def test_it_acts_at_the_chosen_steps_only(vae):
    model, counts = make_model(), []
    for percents in ((0.0,), (0.5,), (1.0,), (0.0, 0.5, 1.0), (0.5, 0.51)):
        fuser = Fuser()
        sample(fed(model, vae, fuser, percents), steps=4)
        counts.append(len(fuser.seen))
    assert counts == [1, 1, 1, 3, 1]
    fuser, x0 = Fuser(mean), {"fed": [], "plain": []}
    sample(fed(model, vae, fuser), steps=4, callback=lambda step, clean, x, total: x0["fed"].append(clean))
    sample(model, steps=4, callback=lambda step, clean, x, total: x0["plain"].append(clean))
    same = [torch.equal(a, b) for a, b in zip(x0["fed"], x0["plain"], strict=True)]
    assert same[:2] == [True] * 2 and not any(same[2:])


def test_percents_outside_a_partial_run_are_left_out(comfy_host):
    denoised, sampling = pack("nodes.host.denoised"), make_model().model.model_sampling
    import comfy.samplers

    sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", 10).tolist()
    assert denoised.steps_at(sampling, sigmas, (0.0, 0.5, 1.0)) == {0, 5, 9}
    assert denoised.steps_at(sampling, sigmas[6:], (0.2, 0.8, 1.0)) == {2, 3}
    assert denoised.steps_at(sampling, sigmas[:6], (0.2, 0.9, 1.0)) == {2}
    assert denoised.step_of(sigmas, sigmas[3]) == 3
    assert denoised.step_of(sigmas, (sigmas[3] + sigmas[4]) / 2) == 3


def test_half_the_strength_feeds_half_the_change(vae):
    clips = {}
    model = make_model()
    for strength in (0.0, 0.5, 1.0):
        clips[strength] = sample(fed(model, vae, Fuser(mean), (1.0,), strength))
    assert torch.equal(clips[0.0], sample(model))
    torch.testing.assert_close(clips[0.5], (clips[0.0] + clips[1.0]) / 2, atol=1e-4, rtol=1e-3)


def test_the_fast_vae_serves_all_passes_but_the_last(vae):
    calls = []

    class Noting:
        def __init__(self, name):
            self.name = name

        def __getattr__(self, method):
            if method in ("encode", "decode"):
                calls.append((self.name, method))
            return getattr(vae, method)

    fuser = Fuser()
    sample(fed(make_model(), Noting("slow"), fuser, (0.0, 0.5, 1.0), fast_vae=Noting("fast")), steps=4)
    assert [name for name, method in calls if method == "decode"] == ["fast", "fast", "slow"]
    assert len(fuser.seen) == 3


def test_motion_and_windows_survive_the_feedback(vae):
    patching, windows = pack("nodes.host.patching"), pack("nodes.host.windows")
    model = patching.apply_motion_module(make_model(), make_motion())
    model = windows.apply_context_windows(model, "standard_uniform", "pyramid", 4, 2, 1, False)
    fuser = Fuser()
    plain = sample(model, 7)
    assert torch.equal(sample(fed(model, vae, fuser, (0.0, 0.5)), 7), plain)
    assert [len(frames) for frames in fuser.seen] == [7, 7], "the whole clip, not a window"
    assert hook_count(model) == 0


def test_protected_parts_are_shown_to_the_fusion_as_they_are(vae):
    import comfy.sample

    latent, mask = torch.randn(FRAMES, 4, 8, 8), torch.ones(FRAMES, 1, 8, 8)
    mask[1] = 0
    fuser = Fuser(mean)
    with torch.inference_mode():
        run = comfy.sample.sample(
            fed(make_model(), vae, fuser), comfy.sample.prepare_noise(latent, 0), 3, 4.0, "euler",
            "normal", make_cond(1), make_cond(2), latent, noise_mask=mask, disable_pbar=True,
        )  # fmt: skip
        torch.testing.assert_close(fuser.seen[0][1], vae.decode(latent)[1], atol=1e-4, rtol=0)
    torch.testing.assert_close(run[1], latent[1], atol=1e-4, rtol=0)


def test_an_interrupt_in_the_fusion_leaves_everything_clean(vae):
    from comfy.model_management import InterruptProcessingException, interrupt_current_processing

    patching = pack("nodes.host.patching")
    model = patching.apply_motion_module(make_model(), make_motion())
    plain = sample(model)
    fuser = Fuser(lambda frames: interrupt_current_processing() or frames)
    with pytest.raises(InterruptProcessingException):
        sample(fed(model, vae, fuser))
    assert hook_count(model) == 0 and torch.equal(sample(model), plain)


def test_the_fused_clip_is_previewed(vae):
    import comfy.utils
    from comfy.cli_args import LatentPreviewMethod, args

    pictures = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            comfy.utils, "PROGRESS_BAR_HOOK", lambda done, total, image, **_: pictures.append(image)
        )
        patch.setattr(args, "preview_method", LatentPreviewMethod.Latent2RGB)
        sample(fed(make_model(), vae, Fuser()))
        shown = [image for image in pictures if image is not None]
        assert len(shown) == 1 and shown[0][1].size == (256, 320)
        patch.setattr(args, "preview_method", LatentPreviewMethod.NoPreviews)
        pictures.clear()
        sample(fed(make_model(), vae, Fuser()))
        assert not any(pictures)


def test_wrong_settings_are_one_sentence(vae):
    feedback, node = pack("nodes.host.feedback"), pack("nodes.feedback").FusionFeedback
    with pytest.raises(ValueError, match="as in '0.4, 0.7', got 'half'"):
        feedback.parse_percents("0.2, half")
    with pytest.raises(ValueError, match="percents is empty"):
        feedback.FeedbackOptions(feedback.parse_percents(""))
    with pytest.raises(ValueError, match="percents has 1.5"):
        feedback.FeedbackOptions(feedback.parse_percents("1.5"))
    with pytest.raises(ValueError, match="Fusion gave frames"):
        sample(fed(make_model(), vae, Fuser(lambda frames: frames[1:])))
    keyframes = pack("core.keyframes").keyframes_of_batch(torch.rand(1, 32, 32, 3), (0,))
    with torch.inference_mode():
        model = node.execute(make_model(), vae, "0.5", 1, 1.0, keyframes).args[0]
    with pytest.raises(ValueError, match="frame 0 is 32x32, the clip is 64x64"):
        sample(model)


def test_the_node_fuses(vae):
    node, core = pack("nodes.feedback").FusionFeedback, pack("core.keyframes")
    model = make_model()
    keyframes = core.keyframes_of_batch(torch.rand(1, SIDE, SIDE, 3), (0,))
    runs = []
    for options in ({}, {"keyframes": keyframes}, {"fast_vae": vae}):
        with torch.inference_mode():
            patched = node.execute(model, vae, "0.5, 1", 1, 1.0, **options).args[0]
        runs.append(sample(patched))
    assert all(torch.isfinite(run).all() for run in runs)
    assert torch.equal(runs[0], runs[2]) and not torch.equal(runs[0], sample(model))
    assert not torch.equal(runs[0][1:], runs[1][1:])
