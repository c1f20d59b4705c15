"""Video ControlNets on a demo-shaped UNet in a real host: what reaches it, windows, chains, precision."""

import pytest
import torch
from choreographer.tests.nodes.control import SIZE, controlled, flow_map, make_net, patcher
from choreographer.tests.nodes.demo import make_demo_model
from choreographer.tests.nodes.test_windows import make_control, with_control
from choreographer.tests.nodes.tiny import fill, make_cond, make_model, make_motion, pack, sample

pytestmark = pytest.mark.usefixtures("comfy_host")
FRAMES = 4


@pytest.fixture(scope="module")
def model(comfy_host):
    return make_demo_model()


@pytest.fixture(scope="module")
def net(comfy_host):
    return patcher(make_net())


@pytest.fixture(scope="module")
def still(comfy_host):
    """A net whose frames do not see each other."""
    net = make_net()
    for name, weight in net.named_parameters():
        if "motion_modules" in name and "proj_out" in name:
            weight.data.zero_()
    return patcher(net)


@pytest.fixture(scope="module")
def plain(model):
    return sample(model, FRAMES, 2)


def run(model, prompts, frames=FRAMES, steps=2):
    return sample(model, frames, steps, positive=prompts[0], negative=prompts[1])


def far(a, b):
    return float((a - b).abs().max() / b.abs().max())


def windowed(model, length=4, overlap=2):
    return pack("nodes.host.windows").apply_context_windows(
        model, "standard_uniform", "flat", length, overlap, 1, False
    )


def test_the_unet_gets_the_residuals_where_diffusers_puts_them(model):
    """Host's UNet with the control against diffusers' UNet of the same weights with the net's residuals."""
    import comfy.model_management

    base, net = pack("core.training.base_model"), make_net(seed=9)
    theirs = fill(base.make_unet(), 3).eval()
    ours = make_demo_model()
    state = {base.unet_key(key): value for key, value in theirs.state_dict().items()}
    ours.model.diffusion_model.load_state_dict(state)
    text = make_cond(11)[0][0].expand(FRAMES, -1, -1)
    (positive, _) = controlled(patcher(net), flow_map(), "camera", strength=0.7)
    control, sampling = positive[0][1]["control"], ours.model.model_sampling
    sigma = sampling.sigmas[481].expand(FRAMES)
    x = torch.randn(FRAMES, 4, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * sigma[0]
    with torch.inference_mode():
        comfy.model_management.load_models_gpu([ours, *control.get_models()])
        control.pre_run(ours.model, sampling.percent_to_sigma)
        options = {"cond_or_uncond": [0]}
        given = control.get_control(x, sigma, {"c_crossattn": text}, 1, options)
        clean = ours.model.apply_model(x, sigma, c_crossattn=text, control=given, transformer_options=options)
        mix = pack("core.control.lora").MIXES["camera"]
        residuals = net(flow_map()[None], 481, text, 0.7, mix)
        noise = theirs(
            sampling.calculate_input(sigma, x), 481, text,
            down_block_additional_residuals=residuals.down, mid_block_additional_residual=residuals.mid,
        ).sample  # fmt: skip
    assert far(clean, sampling.calculate_denoised(sigma, noise, x)) <= 1e-4
    control.cleanup()


def test_it_acts_repeats_and_leaves_no_trace(model, net, plain):
    prompts = controlled(net, flow_map())
    first = run(model, prompts)
    assert far(first, plain) > 0.05
    assert torch.equal(run(model, prompts), first) and torch.equal(sample(model, FRAMES, 2), plain)


def test_modes_and_conditions_are_told_apart(model, net):
    mixes = pack("core.control.lora")
    results = [run(model, controlled(net, flow_map(), mode)) for mode in mixes.MIXES]
    results.append(run(model, controlled(net, flow_map(), mix=mixes.LoraMix(1.0, 1.0))))
    results.append(run(model, controlled(net, flow_map(seed=7))))
    for i, first in enumerate(results):
        assert all(far(first, other) > 1e-3 for other in results[:i])


def test_a_mix_of_frames(model, still):
    """Frames do not see each other: each is that of its own mode."""
    lora = pack("core.control.lora")
    mixed = run(model, controlled(still, flow_map(), mix=lora.LoraMix(object=(0.0, 1.0, 0.0, 1.0))))
    base, driven = (run(model, controlled(still, flow_map(), mode)) for mode in ("base", "object"))
    assert far(mixed[::2], base[::2]) <= 1e-4 and far(mixed[1::2], driven[1::2]) <= 1e-4


def test_strength_of_frames_and_none(model, net, plain):
    keys = pack("core.prompts.schedule").parse_values("0:1, 1:0, 2:0, 3:1")
    result = run(model, controlled(net, flow_map(), strength_keys=keys))
    assert far(result[1:3], plain[1:3]) <= 1e-6 and far(result[[0, 3]], plain[[0, 3]]) > 0.02
    assert torch.equal(run(model, controlled(net, flow_map(), strength=0.0)), plain)


def test_at_strength_zero_the_net_is_neither_run_nor_loaded(model, net, plain):
    seen = []
    handle = net.model.register_forward_hook(lambda *_: seen.append(1))
    prompts = controlled(net, flow_map(), strength=0.0)
    assert torch.equal(run(model, prompts), plain)
    handle.remove()
    assert not seen and prompts[0][0][1]["control"].get_models() == []


def test_residuals_keep_the_nets_precision(model, net):
    """As with stock ControlNets: the UNet adds them to what it has, and no memory goes into copies."""
    control = pack("nodes.host.control").VideoControl
    own = control.residuals

    def half(*args):
        down, mid = own(*args)
        return [x.half() for x in down], mid.half()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(control, "residuals", half)
        found = residuals(model, controlled(net, flow_map()))
        assert {x.dtype for key in ("middle", "output") for x in found[key]} == {torch.float16}
        result = run(model, controlled(net, flow_map()))
    assert far(result, run(model, controlled(net, flow_map()))) <= 1e-2


def test_windows_that_leave_frames_out_get_the_motion_between_theirs(net):
    flow = flow_map(9)
    hint = pack("nodes.host.hints").FlowHint(flow, net.model)

    def given(*index):
        return hint.condition(9, index, (SIZE, SIZE))[0]

    assert torch.equal(given(3, 4, 5), flow[3:6]) and torch.equal(given(0, 1), flow[:2])
    apart = given(1, 3, 7)
    torch.testing.assert_close(apart, torch.stack((flow[1], flow[2:4].sum(0), flow[4:8].sum(0))))
    assert torch.equal(given(7, 8, 0, 1), flow[[7, 8, 0, 1]]), "a window that wraps"


def test_percents_are_those_of_the_sampler(model, net, plain):
    control = pack("nodes.host.control")
    seen = []

    class Noting(control.VideoControl):
        def get_control(self, x, t, *args):
            given = super().get_control(x, t, *args)
            seen.append((float(t[0]), given is not None))
            return given

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(control, "VideoControl", Noting)
        prompts = controlled(net, flow_map(), start_percent=0.2, end_percent=0.6)
        run(model, prompts, steps=10)
    sampling = model.get_model_object("model_sampling")
    start, end = sampling.percent_to_sigma(0.2), sampling.percent_to_sigma(0.6)
    assert {acts for _, acts in seen} == {True, False}
    assert all(acts == (end <= sigma <= start) for sigma, acts in seen)


def test_windows_get_their_frames(model, still):
    """Frames do not see each other: windows change nothing, so each window had its own flow and text."""
    prompts = controlled(still, flow_map(9), positive=make_cond(3, 9))
    expected = run(model, prompts, 9)
    assert far(run(windowed(model), prompts, 9), expected) <= 1e-4
    other = controlled(still, flow_map(9).roll(2, 0), positive=make_cond(3, 9))
    assert far(run(windowed(model), other, 9), expected) > 1e-2


def test_windows_with_mixes_and_strengths_of_frames(model, still):
    lora, keys = pack("core.control.lora"), pack("core.prompts.schedule").parse_values("0:1, 8:0")
    mix = lora.LoraMix(camera=tuple(i / 8 for i in range(9)), object=0.5)
    prompts = controlled(still, flow_map(9), mix=mix, strength_keys=keys)
    assert far(run(windowed(model), prompts, 9), run(model, prompts, 9)) <= 1e-4


def test_with_a_motion_module_and_windows(model, net):
    motion = pack("nodes.host.patching").apply_motion_module(
        model, make_motion(max_frames=FRAMES, layers_per_block=1)
    )
    assert torch.isfinite(run(windowed(motion), controlled(net, flow_map(9)), 9)).all()


def residuals(model, prompts, frames=FRAMES):
    """What the chain of the positive prompt gives at one call."""
    control = prompts[0][0][1]["control"]
    sampling = model.get_model_object("model_sampling")
    sigma, x = sampling.sigmas[500].expand(frames), torch.zeros(frames, 4, SIZE, SIZE)
    text = prompts[0][0][0].expand(frames, -1, -1)
    with torch.inference_mode():
        control.pre_run(model.model, sampling.percent_to_sigma)
        return control.get_control(x, sigma, {"c_crossattn": text}, 1, {"cond_or_uncond": [0]})


def test_two_nets_and_a_stock_controlnet_add_up(model, net):
    """In any order; all are loaded by the host."""
    shallow = {"num_res_blocks": [1, 1, 1], "transformer_depth": [1, 1, 0]}
    stock = make_control(4, torch.rand(FRAMES, 3, 8 * SIZE, 8 * SIZE), **shallow)
    other = patcher(make_net(seed=8))
    one, two = controlled(net, flow_map()), controlled(other, flow_map(seed=2), "camera")
    three = [with_control(cond, stock) for cond in (make_cond(11), make_cond(12))]
    both = controlled(other, flow_map(seed=2), "camera", positive=one[0], negative=one[1])
    alone = [residuals(model, prompts) for prompts in (one, two)]
    together = residuals(model, both)
    for key in ("middle", "output"):
        assert len(together[key]) == {"middle": 1, "output": 6}[key]
        for ours, *parts in zip(together[key], *(each[key] for each in alone), strict=True):
            assert far(ours, sum(parts)) <= 1e-5
    chained = controlled(net, flow_map(), positive=three[0], negative=three[1])
    assert len(chained[0][0][1]["control"].get_models()) == 2
    expected = run(model, chained)
    before = [with_control(cond, stock.copy()) for cond in one]
    for cond in before:
        cond[0][1]["control"].set_previous_controlnet(one[0][0][1]["control"])
    before[1][0][1]["control"] = before[0][0][1]["control"]
    assert far(run(model, before), expected) <= 1e-4
    assert far(expected, run(model, three)) > 1e-2 and far(expected, run(model, one)) > 1e-2


def test_a_stock_controlnet_in_front_sees_its_window(model, still):
    shallow = {"num_res_blocks": [1, 1, 1], "transformer_depth": [1, 1, 0]}
    stock = make_control(4, torch.rand(9, 3, 8 * SIZE, 8 * SIZE), **shallow)
    prompts = [with_control(cond, stock) for cond in (make_cond(11), make_cond(12))]
    prompts = controlled(still, flow_map(9), positive=prompts[0], negative=prompts[1])
    assert far(run(windowed(model), prompts, 9), run(model, prompts, 9)) <= 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_reduced_weights(model, net, dtype):
    """The host casts to what this device computes in: the result is that of the rounded weights in fp32."""
    reduced = make_net(dtype=dtype)
    kept = patcher(reduced)
    ours = run(model, controlled(kept, flow_map()))
    assert {weight.dtype for weight in kept.model.parameters()} == {dtype}
    rounded = patcher(make_net(dtype=dtype).float())
    assert far(ours, run(model, controlled(rounded, flow_map()))) <= 2e-2


def test_loras_and_base_are_offloaded_and_loaded_with_the_model(model, net):
    import comfy.model_management

    prompts = controlled(net, flow_map())
    first = run(model, prompts)
    assert net.loaded_size() == net.model_size() > 0
    net.partially_unload(net.offload_device, 10_000)
    assert torch.equal(run(model, prompts), first)
    comfy.model_management.unload_all_models()
    assert torch.equal(run(model, prompts), first)
    assert any(key.startswith("lora.roles.object") for key in net.model_state_dict())


@pytest.mark.parametrize(
    ("frames", "flow", "message"),
    [
        (5, {}, "flow map has 4 frames, the clip has 5"),
        (4, {"size": 16}, "flow map is 128x128, the clip is 64x64"),
    ],
)
def test_a_flow_map_for_another_clip(model, net, frames, flow, message):
    with pytest.raises(ValueError, match=message):
        run(model, controlled(net, flow_map(**flow)), frames)


def test_a_prompt_with_an_area(model, net):
    """It is refused where the control is put on, and named where the area comes later; a mask is not one."""
    mask = {"mask": torch.ones(1, 64, 64), "set_area_to_bounds": False}
    for options in ({"area": (8, 4, 0, 0)}, {**mask, "set_area_to_bounds": True}):
        with pytest.raises(ValueError, match="A prompt with an area cannot carry a ControlNet"):
            controlled(net, flow_map(), positive=with_options(make_cond(11), options))
    controlled(net, flow_map(), positive=with_options(make_cond(11), mask))
    positive, negative = controlled(net, flow_map())
    later = with_options(positive, {"area": (8, 4, 0, 0)})
    with pytest.raises(ValueError, match="map is 64x64, the clip is 32x64.* a prompt has an area.*Set Mask"):
        run(model, (later, negative))


def with_options(conditioning, options):
    return [[text, {**part, **options}] for text, part in conditioning]


def test_a_flow_map_for_another_clip_in_windows(model, net):
    with pytest.raises(ValueError, match="flow map has 4 frames, the clip has 9"):
        run(windowed(model), controlled(net, flow_map()), 9)


def test_a_net_for_another_model(net):
    deeper = make_model()  # two layers a level
    said = r"widths \(64, 128, 128\) with 1 layers a level, this model has \(64, 128, 128\) with 2"
    with pytest.raises(ValueError, match=said):
        run(deeper, controlled(net, flow_map()))
    with pytest.raises(ValueError, match=r"made for a model of widths \(32, 64, 64\)"):
        run(deeper, controlled(patcher(make_net(channels=(32, 64, 64))), flow_map()))


def test_other_refusals(model, net):
    with pytest.raises(ValueError, match="no camera LoRA"):
        controlled(patcher(make_net(roles=("object",))), flow_map(), "camera")
    with pytest.raises(ValueError, match="end_percent is 0.2, it must be larger"):
        controlled(net, flow_map(), start_percent=0.5, end_percent=0.2)
    with pytest.raises(ValueError, match="frames x 2 x height x width"):
        controlled(net, torch.zeros(4, 3, 64, 64))
    mix = pack("core.control.lora").LoraMix(object=(1.0, 0.0))
    with pytest.raises(ValueError, match="for 2 frames, the clip has 4"):
        run(model, controlled(net, flow_map(), mix=mix))
