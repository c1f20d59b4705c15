"""The Camera-Free Guider in a real host: both forms from stock runs, batching, ranges, samplers, windows."""

import pytest
import torch
from choreographer.tests.nodes.control import (
    camera_free,
    controlled,
    counting,
    flow_map,
    make_net,
    patcher,
    run_guider,
)
from choreographer.tests.nodes.demo import make_demo_model
from choreographer.tests.nodes.tiny import make_cond, make_motion, pack, sample

pytestmark = pytest.mark.usefixtures("comfy_host")
FRAMES, CFG, SCALE = 4, 4.0, 1.5


@pytest.fixture(scope="module")
def model(comfy_host):
    motion = make_motion(layers_per_block=1)
    return pack("nodes.host.patching").apply_motion_module(make_demo_model(), motion)


@pytest.fixture(scope="module")
def net(comfy_host):
    return patcher(make_net())


@pytest.fixture(scope="module")
def prompts(net):
    return controlled(net, flow_map())


def far(a, b):
    return float((a - b).abs().max() / b.abs().max())


def one_step(model, net, mode, cfg):
    """Predicted clean latents of the stock guider: what one step of Euler to sigma 0 gives."""
    positive, negative = controlled(net, flow_map(), mode)
    return sample(model, FRAMES, 1, cfg, positive, negative)


@pytest.fixture(scope="module")
def parts(model, net):
    """Stock results of one step by (mode, cfg)."""
    return {(mode, cfg): one_step(model, net, mode, cfg) for mode in ("base", "object") for cfg in (1.0, CFG)}


def test_equation_five_from_stock_runs(model, prompts, parts):
    ours = run_guider(camera_free(model, prompts, CFG, trajectory_scale=SCALE), steps=1)
    expected = parts["base", CFG] + SCALE * (parts["object", 1.0] - parts["base", 1.0])
    assert far(ours, expected) <= 1e-4 < far(parts["base", CFG], expected)


def test_extrapolation_from_stock_runs(model, prompts, parts):
    options = {"form": "extrapolate", "trajectory_scale": SCALE}
    ours = run_guider(camera_free(model, prompts, CFG, **options), steps=1)
    expected = parts["base", CFG] + SCALE * (parts["object", CFG] - parts["base", CFG])
    assert far(ours, expected) <= 1e-4 < far(parts["object", CFG], expected)


def test_without_cfg_the_negative_is_not_evaluated(model, prompts, parts):
    seen = []
    for form, batch in (("eq5", 2), ("extrapolate", 2)):
        guider = camera_free(counting(model, seen), prompts, 1.0, form=form, trajectory_scale=SCALE)
        expected = parts["base", 1.0] + SCALE * (parts["object", 1.0] - parts["base", 1.0])
        assert far(run_guider(guider, steps=1), expected) <= 1e-4
        assert seen.pop() == batch * FRAMES and not seen


def test_scale_zero_is_the_base_net_in_two_evaluations(model, prompts, parts):
    seen = []
    ours = run_guider(camera_free(counting(model, seen), prompts, CFG, trajectory_scale=0.0), steps=1)
    assert far(ours, parts["base", CFG]) <= 1e-5 and seen == [2 * FRAMES]


def test_three_evaluations_in_one_call_or_one_by_one(model, prompts):
    """The host splits the batch when it expects too little memory; the result is the same."""
    seen = []
    guider = camera_free(counting(model, seen), prompts, CFG)
    together = run_guider(guider, steps=2)
    assert seen == [3 * FRAMES] * 2
    seen.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("comfy.model_base.BaseModel.memory_required", lambda *args, **kwargs: 1e18)
        apart = run_guider(guider, steps=2)
    assert seen == [FRAMES] * 6 and far(apart, together) <= 1e-4


def test_running_out_of_memory_goes_on_one_by_one(model, prompts):
    from comfy.patcher_extension import WrappersMP

    seen = []

    def short(executor, x, *args, **kwargs):
        if x.shape[0] > FRAMES:
            seen.append("out of memory")
            raise torch.cuda.OutOfMemoryError
        return executor(x, *args, **kwargs)

    small = counting(model, seen)
    small.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "short", short)
    apart = run_guider(camera_free(small, prompts, CFG), steps=2)
    assert seen.count("out of memory") == 1, "the second step does not try again"
    assert far(apart, run_guider(camera_free(model, prompts, CFG), steps=2)) <= 1e-4


def test_each_run_tries_one_batch_again(model, prompts):
    """The GUIDER of a graph is kept from run to run; other models may be gone from memory by then."""
    guidance, full, seen = pack("nodes.host.guidance"), [True], []
    calc = guidance.calc_cond_batch

    def short(model, conds, *args):
        seen.append(sum(cond is not None for cond in conds))
        if full[0] and seen[-1] > 1:
            raise torch.cuda.OutOfMemoryError
        return calc(model, conds, *args)

    guider = camera_free(model, prompts, CFG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guidance, "calc_cond_batch", short)
        run_guider(guider, steps=1)
        full[0] = False
        run_guider(guider, steps=1)
    assert [count for count in seen if count] == [3, 1, 1, 1, 3]


@pytest.mark.parametrize("form", ["eq5", "extrapolate"])
def test_a_lora_that_has_ended_costs_no_evaluation(model, net, form):
    prompts, seen = controlled(net, flow_map(), end_percent=0.5), []
    ours = run_guider(camera_free(counting(model, seen), prompts, CFG, form=form), steps=6)
    whole = {"eq5": 3, "extrapolate": 4}[form] * FRAMES
    assert seen[0] == whole and seen[-1] == 2 * FRAMES and seen == sorted(seen, reverse=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack("nodes.host.guidance"), "uses_lora", lambda *_: True)
        every = run_guider(camera_free(counting(model, seen), prompts, CFG, form=form), steps=6)
    assert seen[-1] == whole and far(ours, every) <= 1e-4


def test_outside_its_range_it_is_the_stock_guider(model, net, prompts):
    positive, negative = prompts
    late = run_guider(camera_free(model, prompts, CFG, start_percent=0.5), steps=1)
    assert torch.equal(late, sample(model, FRAMES, 1, CFG, positive, negative))
    seen = []
    run_guider(camera_free(counting(model, seen), prompts, CFG, end_percent=0.5), steps=6)
    assert seen[0] == 3 * FRAMES and seen[-1] == 2 * FRAMES and seen == sorted(seen, reverse=True)


def test_runs_repeat_to_the_bit_and_other_runs_stay(model, prompts):
    positive, negative = prompts
    before = sample(model, FRAMES, 2, CFG, positive, negative)
    guider = camera_free(model, prompts, CFG)
    assert torch.equal(run_guider(guider, steps=2), run_guider(guider, steps=2))
    assert torch.equal(sample(model, FRAMES, 2, CFG, positive, negative), before)


@pytest.mark.parametrize(
    "sampler", ["heun", "dpmpp_2m", "dpmpp_sde", "euler_ancestral", "uni_pc", "lcm", "ddim"]
)
def test_stock_samplers(model, prompts, sampler):
    assert torch.isfinite(run_guider(camera_free(model, prompts, CFG), steps=2, sampler=sampler)).all()


def test_windows_masks_and_noise_masks(model, net):
    """Windows of 4 over 7 frames, a prompt on half of the picture, frame 0 kept as it is."""
    left = torch.zeros(1, 64, 64)
    left[..., :32] = 1
    halves = [make_cond(seed)[0] for seed in (1, 2)]
    masked = [[text, {"mask": mask}] for (text, _), mask in zip(halves, (left, 1 - left), strict=True)]
    prompts = controlled(net, flow_map(7), positive=masked)
    windowed = pack("nodes.host.windows").apply_context_windows(
        model, "standard_uniform", "flat", 4, 2, 1, False
    )
    seen = []
    mask = torch.ones(7, 1, 8, 8)
    mask[0] = 0
    found = run_guider(camera_free(counting(windowed, seen), prompts, CFG), 7, steps=2, mask=mask)
    assert set(seen) == {5 * 4}, "two masked prompts twice and the negative, in one batch"
    assert found[0].abs().max() <= 1e-6 and torch.isfinite(found).all() and found[1:].std() > 0.1


def test_nodes_before_and_after_guidance_act(model, prompts):
    """The host's functions before guidance see two predictions; those after it see the whole change."""
    seen = []
    patched = model.clone()
    patched.set_model_sampler_pre_cfg_function(
        lambda args: seen.append(len(args["conds_out"])) or args["conds_out"]
    )
    patched.set_model_sampler_post_cfg_function(lambda args: args["denoised"] * 0.5)
    ours = run_guider(camera_free(patched, prompts, CFG), steps=1)
    assert far(ours, 0.5 * run_guider(camera_free(model, prompts, CFG), steps=1)) <= 1e-5
    assert seen == [2]


def test_without_a_lora_it_says_so(model, net):
    for prompts in (controlled(net, flow_map(), "base"), (make_cond(1), make_cond(2))):
        with pytest.raises(ValueError, match="amplifies a LoRA of the ControlNet"):
            run_guider(camera_free(model, prompts))
    with pytest.raises(ValueError, match="end_percent is 0.1, it must be larger"):
        camera_free(model, prompts, start_percent=0.5, end_percent=0.1)


def test_functions_after_guidance_evaluate_the_base_net_too(model, prompts):
    """As Perturbed-Attention Guidance does: what it compares with its own evaluation is the same net."""
    from comfy.samplers import calc_cond_batch

    seen = []

    def again(args):
        (own,) = calc_cond_batch(
            args["model"], [args["cond"]], args["input"], args["sigma"], args["model_options"]
        )
        seen.append(far(own, args["cond_denoised"]))
        return args["denoised"]

    patched = model.clone()
    patched.set_model_sampler_post_cfg_function(again)
    run_guider(camera_free(patched, prompts, CFG), steps=1)
    assert len(seen) == 1 and seen[0] <= 1e-4
