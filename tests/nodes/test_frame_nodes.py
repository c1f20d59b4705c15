"""The frame loop, control sequences and their noise in a real host, with the demo-shaped models."""

import pytest
import torch
from choreographer.tests.control_modes.test_maps import FRAMES, moving_square
from choreographer.tests.nodes.test_uni_control_nodes import net  # noqa: F401
from choreographer.tests.nodes.tiny import hook_count, make_cond, make_model, pack

pytestmark = pytest.mark.usefixtures("comfy_host")
COUNT, SIDE = 3, 64


class Vae:
    """A VAE whose latents are the picture, made small: what it decodes has its edges."""

    def spacial_compression_encode(self):
        return 8

    def spacial_compression_decode(self):
        return 8

    def encode(self, images):
        small = torch.nn.functional.avg_pool2d(images.movedim(-1, 1), 8)
        return torch.cat((small, small.mean(1, keepdim=True)), 1)

    def decode(self, latents):
        large = torch.nn.functional.interpolate(latents[:, :3], scale_factor=8.0, mode="nearest")
        return (large.movedim(1, -1) * 0.3 + 0.5).clamp(0, 1)


def source():
    return moving_square()[:COUNT, :, :SIDE]


def run(uni, mode, first=None, seed=3, seeds="paper", depth=None, positive=None):
    host = pack("nodes.host.previous_frame")
    loop, edges = pack("core.control_modes.loop"), pack("core.control_modes.maps")
    guide = host.Guide(uni=uni)
    settings = pack("nodes.host.sampling").SamplerSettings(seed, 2, 4.0, "euler", "normal")
    model = make_model()
    sampler = host.FrameSampler(model, Vae(), (positive or make_cond(11), make_cond(12)), guide, settings)
    with torch.inference_mode():
        made = host.sample_frames(sampler, source(), depth, loop.Loop(mode, seeds), edges.Edges(), first)
    assert hook_count(model) == 0
    return made


@pytest.mark.parametrize(
    "mode", ["per frame", "previous frame", "interpolated along flow", "content and flow"]
)
def test_modes_make_a_clip_and_say_what_was_applied(net, mode):  # noqa: F811
    images, maps, report = run(net, mode)
    assert images.shape == (COUNT, SIDE, SIDE, 3) and maps.shape == images.shape
    assert 0 <= images.min() < images.max() <= 1
    assert f"mode: {mode}" in report and "applied: canny" in report
    assert ("content" in report.split(";")[1]) == (mode == "content and flow")


def test_per_frame_equals_the_stock_sampler_with_that_seed_and_map(net):  # noqa: F811
    import comfy.sample

    made, maps, _ = run(net, "per frame")
    host, control = pack("nodes.host.uni_control"), pack("nodes.host.control")
    prompts = (make_cond(11), make_cond(12))
    steered = host.apply_uni_control(prompts, net, {"canny": maps[2:3]}, control.ControlOptions())
    latent = torch.zeros(1, 4, SIDE // 8, SIDE // 8)
    with torch.inference_mode():
        noise = comfy.sample.prepare_noise(latent, 3 + 1)  # f (f - 1) / 2 of frame 2
        alone = comfy.sample.sample(
            make_model(), noise, 2, 4.0, "euler", "normal", *steered, latent, disable_pbar=True, seed=4
        )
    assert torch.allclose(made[2], Vae().decode(alone)[0], atol=1e-5)


def test_the_first_frame_is_pinned_and_an_interrupt_ends_the_loop(net, monkeypatch):  # noqa: F811
    import comfy.model_management

    first = torch.rand(1, SIDE, SIDE, 3)
    images, _, report = run(net, "content and flow", first)
    assert torch.equal(images[:1], first) and "first_frame" in report
    progress = pack("nodes.host.previous_frame")

    def cancel():
        def report(done, *_):
            if done == 1:
                raise comfy.model_management.InterruptProcessingException

        return report

    monkeypatch.setattr(progress, "reporter", cancel)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run(net, "per frame")


def test_the_report_says_what_acts(net):  # noqa: F811
    host, loop = pack("nodes.host.previous_frame"), pack("core.control_modes.loop")
    settings = pack("nodes.host.sampling").SamplerSettings(0, 2, 4.0, "euler", "normal")
    maps = {"canny": source(), "midas": source()}

    def told(mode, strength=1.0, first=None, guide=None):
        guide = guide or host.Guide(uni=net, strength=strength)
        sampler = host.FrameSampler(None, Vae(), ([], []), guide, settings)
        return host.told(sampler, loop.Loop(mode), maps, first)

    assert "applied: canny, midas;" in told("per frame") and "depth" not in told("per frame")
    assert "applied: nothing;" in told("per frame", 0.0) and "strength is 0" in told("per frame", 0.0)
    assert "applied: nothing;" in told("per frame", guide=host.Guide(control_net=object(), strength=0.0))
    assert "depth is not estimated from the frames made" in told("previous frame")
    assert "maps steer frame 0 alone" in told("content and flow")
    pinned = told("content and flow", first=source()[:1])
    assert "applied: content;" in pinned and "maps steer no frame" in pinned
    with pytest.raises(ValueError, match="first_frame has 3 images, expected 1"):
        run(net, "per frame", source())


def test_one_net_exactly_and_pictures_of_one_size(net):  # noqa: F811
    host = pack("nodes.host.previous_frame")
    for pair in ({}, {"control_net": object(), "uni": net}):
        with pytest.raises(ValueError, match="one of the two"):
            host.Guide(**pair)
    with pytest.raises(ValueError, match="depth is 32x32"):
        run(net, "per frame", depth=torch.zeros(COUNT, 32, 32, 3))


def test_each_frame_has_its_own_row_of_a_prompt_schedule(net):  # noqa: F811
    rows = [make_cond(20 + f)[0][0] for f in range(COUNT)]
    plain = [run(net, "per frame", positive=[[row, {}]])[0] for row in rows]
    scheduled = run(net, "per frame", positive=[[torch.cat(rows), {"choreo_frames": COUNT}]])[0]
    for f in range(COUNT):
        assert torch.equal(scheduled[f], plain[f][f])
    assert not torch.equal(plain[0][2], plain[2][2])
    with pytest.raises(ValueError, match="The prompt schedule has 5 frames, the source clip 3"):
        run(net, "per frame", positive=[[torch.cat(rows[:1] * 5), {"choreo_frames": 5}]])


def test_a_controlnet_on_the_prompt_is_refused(net):  # noqa: F811
    with pytest.raises(ValueError, match="carries a ControlNet; connect it as control_net"):
        run(net, "per frame", positive=[[make_cond(11)[0][0], {"control": object()}]])


@pytest.mark.parametrize("node", ["EdgeMaps", "ControlSequence", "InterpolateMaps"])
def test_an_interrupt_ends_maps_along_flow(node, monkeypatch):
    import comfy.model_management as management

    images, found = moving_square(), nodes("control_maps")
    with pytest.raises(management.InterruptProcessingException):
        management.interrupt_current_processing(True)
        if node == "EdgeMaps":
            result(found[node], images, "canny", 100.0, 200.0)
        elif node == "ControlSequence":
            result(found[node], images, "along flow", 4, images)
        else:
            result(found[node], images[:1], "0", FRAMES, images)


def nodes(module):
    return {node.__name__: node for node in pack(f"nodes.{module}").NODES}


def result(node, *arguments, **named):
    return node.execute(*arguments, **named).args


def test_map_nodes_give_a_map_a_frame():
    images, found = moving_square(), nodes("control_maps")
    (maps,) = result(found["EdgeMaps"], images, "canny", 100.0, 200.0)
    for mode in pack("core.control_modes.sequence").SEQUENCES:
        assert result(found["ControlSequence"], maps, mode, 4, images)[0].shape == maps.shape
    (between,) = result(found["InterpolateMaps"], maps[[0, 4, 8]], "0, 4, -1", FRAMES, images)
    assert torch.equal(between[[0, 4, 8]], maps[[0, 4, 8]])
    (steady,) = result(found["StabiliseMaps"], maps, 1, 1.0, True, images)
    assert steady.shape == maps.shape
    (blended,) = result(found["FlowBlendNode"], images, 0.5, "dis")
    assert blended.shape == images.shape and torch.equal(blended[0], images[0])


@pytest.mark.parametrize("way", ["in place", "along flow"])
def test_residual_noise_stays_where_the_source_stays(way):
    images = moving_square()
    (noise,) = result(nodes("control_maps")["ResidualNoise"], images, 5, way, 0.1)
    latent = {"samples": torch.zeros(FRAMES, 4, 8, 12)}
    made = noise.generate_noise(latent)
    assert torch.equal(made[1:, :, 7], made[:-1, :, 7]), "the ground below the square does not change"
    assert not torch.equal(made[1], made[0]) and 0.9 < float(made.std()) < 1.1
    with pytest.raises(ValueError, match="The source has 9 frames, the latent 4"):
        noise.generate_noise({"samples": torch.zeros(4, 4, 8, 12)})
    part = {"samples": torch.zeros(2, 4, 8, 12), "batch_index": [1, 2]}
    assert torch.equal(noise.generate_noise(part), made[1:3])
    with pytest.raises(ValueError, match="The source has 9 frames, the latent 10"):
        noise.generate_noise({**part, "batch_index": [8, 9]})
    clear = torch.cat((images, torch.ones_like(images[..., :1])), -1)
    (same,) = result(nodes("control_maps")["ResidualNoise"], clear, 5, way, 0.1)
    assert torch.equal(same.generate_noise(latent), made)


def test_the_atlas_nodes_paint_once_and_show_it_everywhere():
    found, images = nodes("atlas"), moving_square()
    masks = torch.zeros(FRAMES, 64, 96)
    for f in range(FRAMES):
        masks[f, 20:44, 8 + 4 * f : 32 + 4 * f] = 1
    with torch.inference_mode():
        atlas, report = result(found["BuildAtlas"], images, 30, 0, masks)
        foreground, background, *seen = result(found["AtlasToImages"], atlas, 2)
        assert "dB; layers: foreground, background" in report
        assert foreground.shape == background.shape and seen[0].shape == foreground.shape[:3]
        painted = foreground.clone()
        painted[..., 0] = 1.0
        (made,) = result(found["RenderAtlas"], atlas, painted, None, images)
    change = (made - images)[..., 0]
    assert change[masks > 0].mean() > 5 * change[masks == 0].abs().mean()
    with pytest.raises(ValueError, match="A layer of the atlas is one picture, got 2"):
        result(found["RenderAtlas"], atlas, painted.expand(2, -1, -1, -1))


def test_atlas_guidance_pulls_and_leaves_no_trace():
    from choreographer.tests.nodes.tiny import sample

    host, feedback = pack("nodes.host.atlas"), pack("nodes.host.feedback")
    model, settings = make_model(), pack("core.atlas.fit").AtlasSettings(steps=2, batch=64)
    guided = host.apply_atlas_guidance(model, Vae(), settings, None, feedback.FeedbackOptions((0.5,), 1.0))
    before = sample(model, 3)
    assert not torch.allclose(sample(guided, 3), before) and torch.equal(sample(model, 3), before)
