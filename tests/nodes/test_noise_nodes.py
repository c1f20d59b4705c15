"""Noise nodes on a real host: NOISE objects in its samplers, and the two ways round SamplerCustomAdvanced."""

import pytest
import torch
from choreographer.tests.nodes.tiny import make_cond, make_model, pack

SAMPLERS = ["euler", "euler_ancestral", "dpmpp_2m", "uni_pc"]


@pytest.fixture(scope="module")
def nodes(comfy_host):
    """The module of the noise nodes."""
    return pack("nodes.noise")


@pytest.fixture(scope="module")
def prompts():
    """Random positive and negative conditioning."""
    return make_cond(11), make_cond(12)


def latent(frames=4, seed=None, **more):
    """A LATENT of `frames` frames, empty or random."""
    samples = torch.zeros(frames, 4, 8, 8)
    if seed is not None:
        samples = torch.randn(samples.shape, generator=torch.Generator().manual_seed(seed))
    return {"samples": samples, **more}


def call(node, *args):
    """The outputs of a node, as the host calls it."""
    with torch.inference_mode():
        found = node.execute(*args).result
    return found[0] if len(found) == 1 else found


def start(model, steps=4, denoise=1.0, scheduler="normal"):
    """SIGMAS as the stock BasicScheduler gives them."""
    from comfy_extras.nodes_custom_sampler import BasicScheduler

    return BasicScheduler.execute(model, scheduler, steps, denoise).result[0]


def custom(model, noise, sigmas, clip, prompts, sampler="euler", cfg=4.0):
    """What the stock SamplerCustomAdvanced gives."""
    from comfy_extras.nodes_custom_sampler import CFGGuider, KSamplerSelect, SamplerCustomAdvanced

    guider = CFGGuider.execute(model, *prompts, cfg).result[0]
    with torch.inference_mode():
        chosen = KSamplerSelect.execute(sampler).result[0]
        return SamplerCustomAdvanced.execute(noise, guider, chosen, sigmas, clip).result[0]["samples"]


def advanced(model, clip, prompts, seed, sampler="euler", steps=4, first=0, add_noise=False):
    """What the stock KSampler (Advanced) gives."""
    import comfy.sample

    with torch.inference_mode():
        noise = torch.zeros_like(clip["samples"])
        if add_noise:
            noise = comfy.sample.prepare_noise(clip["samples"], seed)
        return comfy.sample.sample(
            model, noise, steps, 4.0, sampler, "normal", *prompts, clip["samples"],
            disable_noise=not add_noise, start_step=first, last_step=10000, force_full_denoise=True,
            disable_pbar=True, seed=seed,
        )  # fmt: skip


def test_gamma_zero_is_the_hosts_own_noise(nodes):
    """So what the prior changes is only the correlation; parts of a clip by batch_index included."""
    from comfy_extras.nodes_custom_sampler import Noise_RandomNoise

    ours, hosts = call(nodes.GaussianNoisePrior, 77, 0.0), Noise_RandomNoise(77)
    for clip in (latent(6), latent(3, batch_index=[4, 0, 4])):
        assert torch.equal(ours.generate_noise(clip), hosts.generate_noise(clip))


@pytest.mark.parametrize(("width", "height", "same"), [(48, 80, True), (32, 72, True), (48, 72, False)])
def test_gamma_zero_is_the_hosts_noise_at_the_sizes_that_are_told(nodes, width, height, same):
    """Where a frame is no multiple of 16 numbers, the host's draw of a whole clip depends on its length."""
    import comfy.sample

    clip = torch.zeros(3, 4, height // 8, width // 8)
    found = call(nodes.GaussianNoisePrior, 77, 0.0).generate_noise({"samples": clip})
    assert torch.equal(found, comfy.sample.prepare_noise(clip, 77)) is same
    both, one = width % 16 == height % 16 == 0, 0 in (width % 32, height % 32)
    assert (both or one) is same
    told = nodes.NoisePriorKSampler.define_schema().description
    assert "if both sides are multiples of 16 or one is of 32" in told


@pytest.mark.parametrize("gamma", [0.15, -0.6, 1.0])
def test_batch_index_picks_frames_of_the_clip(nodes, gamma):
    """A part cut out of a clip has the noise its frames had, in the order the host says."""
    noise = call(nodes.GaussianNoisePrior, 5, gamma)
    whole = noise.generate_noise(latent(12))
    part = noise.generate_noise(latent(4, batch_index=[9, 2, 2, 11]))
    assert torch.equal(part, whole[[9, 2, 2, 11]])


@pytest.mark.parametrize("layout", ["per-frame seeds", "shared", "mixed", "reshuffled windows"])
def test_every_layout_is_a_noise(nodes, layout):
    """Seed, shape, dtype and device are what the host's samplers expect; one latent is a clip too."""
    noise = call(nodes.NoiseLayoutNode, 3, layout, 0.5, 4, 2)
    assert noise.seed == 3
    found = noise.generate_noise({"samples": torch.zeros(6, 4, 5, 7, dtype=torch.float16)})
    assert found.shape == (6, 4, 5, 7) and found.dtype == torch.float16 and found.device.type == "cpu"
    assert torch.equal(noise.generate_noise(latent(1)), noise.generate_noise(latent(9))[:1])
    assert torch.equal(noise.generate_noise(latent()), noise.generate_noise(latent()))


def test_one_latent_with_a_prior(nodes, model, prompts):
    """A single latent is a clip of one frame: it samples, with the host's own noise."""
    from comfy_extras.nodes_custom_sampler import Noise_RandomNoise

    ours = custom(model, call(nodes.GaussianNoisePrior, 1, 0.15), start(model), latent(1), prompts)
    assert torch.equal(ours, custom(model, Noise_RandomNoise(1), start(model), latent(1), prompts))


def across(frame=None):
    """A track from left to right, whose end may be set for a frame."""
    track = pack("core.trajectory.track")
    points = track.Point(0.2, 0.5), track.Point(0.8, 0.5, frame=frame)
    return track.Trajectories((track.Track(points),))


def test_noise_along_tracks_is_the_cores_at_the_latents_size(nodes):
    """Tracks are in parts of the frame; a part cut out of a clip has the noise its frames had."""
    core, node = pack("core.trajectory.moving_noise"), pack("nodes.moving_noise").NoiseAlongTracks
    noise = call(node, across(), 12, 5, 1.0, 0.8, 24.0)
    for height, width in ((8, 8), (6, 14)):
        tracks = pack("core.trajectory.sample").sample(across(), 12, (width * 8, height * 8))
        wanted = core.moving_noise(tracks, (4, height, width), 5, core.Layers(1.0, 0.8, 24.0))
        found = noise.generate_noise({"samples": torch.zeros(12, 4, height, width)})
        assert torch.equal(found, wanted)
        part = {"samples": torch.zeros(3, 4, height, width), "batch_index": [11, 0, 7]}
        assert torch.equal(noise.generate_noise(part), wanted[[11, 0, 7]])


def test_noise_along_tracks_tells_what_does_not_fit(nodes):
    """More frames when it is drawn; a key outside the clip, and wrong numbers, before anything is sampled."""
    node = pack("nodes.moving_noise").NoiseAlongTracks
    with pytest.raises(ValueError, match="the latent has 9 frames, the trajectories are spread over 8"):
        call(node, across(), 8, 0, 1.0, 0.9, 24.0).generate_noise(latent(9))
    with pytest.raises(ValueError, match="is set for frame 8, the clip has frames 0 to 7"):
        call(node, across(frame=8), 8, 0, 1.0, 0.9, 24.0)
    with pytest.raises(ValueError, match="Radius around the tracks is 0 pixels"):
        call(node, across(), 8, 0, 1.0, 0.9, 0.0)


def test_noise_along_tracks_samples(nodes, model, prompts):
    """In the host's sampler; equal seeds are equal bytes, and another seed is another clip."""
    node = pack("nodes.moving_noise").NoiseAlongTracks
    made = [
        custom(model, call(node, across(), 6, seed, 1.0, 0.9, 24.0), start(model), latent(6), prompts)
        for seed in (4, 4, 5)
    ]
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])


def test_noise_leaves_the_global_generator_alone(nodes):
    """Drawing noise neither depends on torch's global state nor moves it."""
    noise = call(nodes.GaussianNoisePrior, 4, 0.15)
    torch.manual_seed(1)
    before = noise.generate_noise(latent())
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    assert torch.equal(before, noise.generate_noise(latent()))


@pytest.mark.parametrize(("sampler", "seed"), [("euler", None), *((sampler, 2) for sampler in SAMPLERS)])
def test_ksampler_node_is_the_custom_sampler(nodes, model, prompts, sampler, seed):
    """'Noise Prior KSampler' and the NOISE in SamplerCustomAdvanced give the same bytes."""
    import comfy.samplers

    settings = comfy.samplers.KSampler(model, 4, torch.device("cpu"), sampler=sampler, scheduler="normal")
    clip = latent(seed=seed)
    direct = custom(model, call(nodes.GaussianNoisePrior, 9, 0.3), settings.sigmas, clip, prompts, sampler)
    args = (model, 9, 0.3, 4, 4.0, sampler, "normal", *prompts, clip, 1.0)
    assert torch.equal(call(nodes.NoisePriorKSampler, *args)["samples"], direct)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_ksampler_node_with_gamma_zero_is_the_stock_ksampler(nodes, model, prompts, sampler):
    """Also from an image with denoise below 1, with a noise mask and a batch_index.

    The host's uni_pc stops short of sigma 0, so what the mask keeps has a little noise there.
    """
    import comfy.sample

    mask = torch.zeros(1, 1, 64, 64)
    mask[..., :32] = 1
    clip = latent(3, seed=5, noise_mask=mask, batch_index=[2, 3, 4])
    args = (model, 9, 0.0, 3, 4.0, sampler, "normal", *prompts, clip, 0.6)
    found = call(nodes.NoisePriorKSampler, *args)
    with torch.inference_mode():
        stock = comfy.sample.sample(
            model, comfy.sample.prepare_noise(clip["samples"], 9, clip["batch_index"]), 3, 4.0, sampler,
            "normal", *prompts, clip["samples"], denoise=0.6, noise_mask=mask, disable_pbar=True, seed=9,
        )  # fmt: skip
    assert torch.equal(found["samples"], stock)
    assert found["batch_index"] == [2, 3, 4] and found["noise_mask"] is mask
    kept = found["samples"][..., 4:]
    assert torch.allclose(kept, clip["samples"][..., 4:], atol=0.05 if sampler == "uni_pc" else 1e-4)


def test_gamma_reaches_the_sampler(nodes, model, prompts):
    """Another gamma is another clip, the same one the same bytes, and gamma 1 is one still."""
    clips = [
        call(nodes.NoisePriorKSampler, model, 9, gamma, 3, 4.0, "euler", "normal", *prompts, latent(), 1.0)
        for gamma in (0.0, 0.3, 0.3, 1.0)
    ]
    none, some, again, still = (clip["samples"] for clip in clips)
    assert torch.equal(some, again) and not torch.equal(none, some)
    assert torch.allclose(still, still[:1].expand_as(still), atol=1e-5)


@pytest.mark.parametrize(
    ("sampler", "seed", "first"),
    [("euler", None, 0), ("euler", 2, 0), ("euler", 2, 2), ("euler_ancestral", 2, 0), ("dpmpp_2m", None, 0)],
)
def test_noised_latent_is_the_custom_sampler(nodes, model, prompts, sampler, seed, first):
    """KSampler (Advanced) without noise on our LATENT gives what SamplerCustomAdvanced gives with our NOISE.

    From an empty latent and from a picture, at the highest sigma (scaled by sqrt(1 + sigma^2)) and below it.
    """
    noise, sigmas, clip = call(nodes.GaussianNoisePrior, 6, 0.2), start(model)[first:], latent(seed=seed)
    direct = custom(model, noise, sigmas, clip, prompts, sampler)
    noised = call(nodes.NoiseToLatent, model, noise, sigmas, clip)
    found = advanced(model, noised, prompts, noise.seed, sampler, first=first)
    assert float((found - direct).abs().max() / direct.abs().max()) <= 2e-5


def test_noised_latent_start_is_exact(nodes, model):
    """The sampler starts from s noise + in(latent), to the rounding of one product and one quotient."""
    noise, clip = call(nodes.GaussianNoisePrior, 6, 0.2), latent(seed=3)
    drawn, picture = noise.generate_noise(clip), model.model.process_latent_in(clip["samples"])
    whole = start(model)
    for sigmas, scale in ((whole, float(1 + whole[0] ** 2) ** 0.5), (whole[1:], float(whole[1]))):
        noised = call(nodes.NoiseToLatent, model, noise, sigmas, clip)["samples"]
        found = model.model.process_latent_in(noised)
        expected = drawn.double() * scale + picture.double()
        assert float((found - expected).abs().max() / expected.abs().max()) <= 3e-7


def test_noised_latent_keeps_the_rest(nodes, model):
    """The LATENT's other entries travel on, and the one that came in is not changed."""
    clip = latent(3, seed=1, batch_index=[1, 2, 3])
    before = clip["samples"].clone()
    noised = call(nodes.NoiseToLatent, model, call(nodes.GaussianNoisePrior, 6, 0.2), start(model), clip)
    assert noised["batch_index"] == [1, 2, 3]
    assert torch.equal(clip["samples"], before)


def test_noised_latent_follows_the_models_beta_schedule(nodes, model):
    """A model patched to another schedule starts at that schedule's noise level."""
    patched = model.clone()
    pack("nodes.host.schedules").apply_beta_schedule(patched, "linear", "linear")
    noised = call(
        nodes.NoiseToLatent, patched, call(nodes.GaussianNoisePrior, 0, 0.1), start(patched), latent(16)
    )
    spread = float(model.model.process_latent_in(noised["samples"]).std())
    assert spread == pytest.approx((1 + 25.146**2) ** 0.5, rel=0.05)


def test_empty_video_latent(nodes):
    """One latent a frame, an eighth of the size."""
    found = call(nodes.EmptyVideoLatent, 640, 360, 24)["samples"]
    assert found.shape == (24, 4, 45, 80) and not bool(found.any())


def test_flow_models_are_refused(nodes, comfy_host):
    """Their samplers scale the latent by its noise level, which a noised latent cannot undo."""
    import comfy.model_sampling

    flow = make_model()

    class Sampling(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
        pass

    flow.add_object_patch("model_sampling", Sampling())
    noise, sigmas = call(nodes.GaussianNoisePrior, 0, 0.1), torch.tensor([0.7, 0.0])
    with pytest.raises(ValueError, match="scale a latent by its noise level"):
        call(nodes.NoiseToLatent, flow, noise, sigmas, latent())


def test_mistakes_are_one_sentence(nodes, model):
    """Every wrong input is named, before anything is drawn."""
    noise, masked = call(nodes.GaussianNoisePrior, 0, 0.1), latent(noise_mask=torch.ones(1, 8, 8))
    cases = [
        (lambda: call(nodes.GaussianNoisePrior, 0, 1.5), "gamma is 1.5"),
        (lambda: call(nodes.NoiseLayoutNode, 0, "reshuffled windows", 0.5, 4, 8), "stride is 8"),
        (lambda: call(nodes.EmptyVideoLatent, 500, 512, 16), "500x512, expected multiples of 8"),
        (lambda: call(nodes.NoiseToLatent, model, noise, torch.tensor([]), latent()), "SIGMAS is empty"),
        (lambda: call(nodes.NoiseToLatent, model, noise, start(model), masked), "noise mask"),
        (lambda: noise.generate_noise(latent(4, batch_index=[0, 1])), r"4 frames, .* says \[0, 1\]"),
        (lambda: noise.generate_noise(latent(2, batch_index=[-1, 0])), "batch_index says"),
    ]
    for wrong, message in cases:
        with pytest.raises(ValueError, match=message):
            wrong()


def test_interrupt_stops_the_ksampler_node(nodes, model, prompts):
    """The host's interrupt passes through."""
    import comfy.model_management

    comfy.model_management.interrupt_current_processing(True)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        call(nodes.NoisePriorKSampler, model, 9, 0.1, 3, 4.0, "euler", "normal", *prompts, latent(), 1.0)


def test_freeinit_start_is_the_noised_clips_below_the_cutoff(model):
    """The second pass starts with the noised clip's low frequencies, and new ones where the filter ends."""
    freeinit, noise = pack("nodes.freeinit"), call(pack("nodes.noise").GaussianNoisePrior, 6, 0.2)
    clip = latent(6, seed=3)
    second = call(freeinit.FreeInitNoise, model, clip, noise, 9, "butterworth", 0.5, 0.5)
    found = second.generate_noise(latent(6))
    sigma = float(model.get_model_object("model_sampling").sigma_max)
    noised = noise.generate_noise(clip) * sigma + model.model.process_latent_in(clip["samples"])
    spectra = [torch.fft.fftn(x, dim=(0, 2, 3)) for x in (found, noised / (1 + sigma**2) ** 0.5)]
    assert torch.allclose(spectra[0][0, :, 0, 0], spectra[1][0, :, 0, 0], rtol=1e-4)
    highest = [spectrum[3, :, 4, 4] for spectrum in spectra]  # twice the cutoffs
    assert not torch.allclose(*highest, rtol=0.5)


def test_freeinit_noise_is_white_and_its_seed_its_own(model):
    """A white first pass gives unit variance, even where both passes have one seed."""
    freeinit, noise = pack("nodes.freeinit"), call(pack("nodes.noise").GaussianNoisePrior, 6, 0.0)
    clip = {"samples": torch.zeros(16, 4, 32, 32)}
    make = [
        call(freeinit.FreeInitNoise, model, clip, noise, seed, "gaussian", 0.5, 0.5) for seed in (6, 6, 7)
    ]
    same, again, other = (one.generate_noise(clip) for one in make)
    assert torch.equal(same, again) and not torch.equal(same, other)
    assert make[2].seed == 7
    for drawn in (same, other):
        assert float(drawn.std()) == pytest.approx(1, abs=0.02)


def test_freeinit_second_pass_is_nearer_to_the_first(model, prompts):
    """A second pass from it resembles the first more than one from other noise does."""
    freeinit, noises = pack("nodes.freeinit"), pack("nodes.noise")
    noise, sigmas = call(noises.GaussianNoisePrior, 6, 0.0), start(model)
    first = custom(model, noise, sigmas, latent(), prompts)
    second = call(freeinit.FreeInitNoise, model, {"samples": first}, noise, 9, "gaussian", 0.5, 0.5)
    near = custom(model, second, sigmas, latent(), prompts)
    far = custom(model, call(noises.GaussianNoisePrior, 9, 0.0), sigmas, latent(), prompts)
    assert float((near - first).square().mean()) < 0.8 * float((far - first).square().mean())


def test_freeinit_refuses_another_size(model):
    """One sentence names both sizes; so it does for a latent that is no clip of frames."""
    freeinit, noise = pack("nodes.freeinit"), call(pack("nodes.noise").GaussianNoisePrior, 6, 0.0)
    second = call(freeinit.FreeInitNoise, model, latent(4, seed=1), noise, 9, "gaussian", 0.25, 0.25)
    with pytest.raises(ValueError, match=r"clip of \(4, 4, 8, 8\), the latent to sample is \(6, 4, 8, 8\)"):
        second.generate_noise(latent(6))
    video = {"samples": torch.zeros(1, 16, 4, 8, 8)}
    with pytest.raises(ValueError, match="one latent a frame"):
        call(freeinit.FreeInitNoise, model, video, noise, 9, "gaussian", 0.25, 0.25)
