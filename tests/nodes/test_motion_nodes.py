"""The bridge: motion modules on a real ComfyUI model, in this process."""

import copy
import gc

import pytest
import torch
from choreographer.tests.nodes.tiny import hook_count, make_cond, make_model, make_motion, pack, sample
from torch.nn import Linear
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

pytestmark = pytest.mark.usefixtures("comfy_host")


@pytest.fixture
def patching(comfy_host):
    return pack("nodes.host.patching")


def moved(model, motion=None, **options):
    patching = pack("nodes.host.patching")
    return patching.apply_motion_module(model, motion or make_motion(), patching.MotionOptions(**options))


def stop_at(step, error):
    def callback(now, x0, x, total):
        if now == step:
            raise error

    return callback


def fail_inside(model, calls, error):
    """A clone whose UNet raises in the middle of its `calls`-th call."""
    model, left = model.clone(), [calls]

    def patch(h, options):
        left[0] -= 1
        if left[0] == 0:
            raise error
        return h

    model.set_model_input_block_patch(patch)
    return model


def test_plain_runs_stay_bit_identical_and_motion_runs_repeat():
    model = make_model()
    keys, plain = list(model.model.state_dict()), sample(model)
    motion = moved(model)
    first = sample(motion)
    assert not torch.allclose(first, plain, atol=1e-2)
    assert torch.equal(sample(model), plain)
    for _ in range(9):
        assert torch.equal(sample(motion), first)
    assert torch.equal(sample(model), plain)
    assert hook_count(model) == 0
    assert list(model.model.state_dict()) == keys


def test_an_interrupt_or_an_error_leaves_the_unet_clean():
    from comfy.model_management import InterruptProcessingException

    model = make_model()
    plain, motion = sample(model), moved(model)
    first = sample(motion)
    for error in (InterruptProcessingException(), RuntimeError("out of memory")):
        with pytest.raises(type(error)):
            sample(motion, callback=stop_at(1, error))
        assert hook_count(model) == 0
        assert torch.equal(sample(model), plain)
        with pytest.raises(type(error)):
            sample(fail_inside(motion, 5, error))
        assert hook_count(model) == 0
        assert torch.equal(sample(model), plain)
        assert torch.equal(sample(motion), first)


def test_hooks_left_outside_a_run_do_nothing():
    """`load_models_gpu` injects outside of sampling too; the shared UNet must not notice."""
    import comfy.model_management

    model = make_model()
    plain, motion = sample(model), moved(model)
    comfy.model_management.load_models_gpu([motion])
    assert hook_count(model) > 0
    x, t = torch.randn(4, 4, 8, 8), torch.full((4,), 3.0)
    with torch.inference_mode():
        held = model.model.apply_model(x, t, c_crossattn=make_cond(1)[0][0].expand(4, -1, -1))
        motion.eject_model()
        free = model.model.apply_model(x, t, c_crossattn=make_cond(1)[0][0].expand(4, -1, -1))
    assert torch.equal(held, free)
    assert torch.equal(sample(model), plain)


def test_clones_and_thrown_away_clones_keep_the_motion():
    """A clone that is dropped while the model samples takes the hooks off; they come back."""
    model = make_model()
    motion = moved(model)
    first = sample(motion)
    assert torch.equal(sample(motion.clone()), first)

    def drop_a_clone(now, x0, x, total):
        motion.clone()
        gc.collect()

    assert torch.equal(sample(motion, callback=drop_a_clone), first)
    assert hook_count(model) == 0


def test_the_model_moves_away_in_mid_run():
    """Unloading and loading in mid-run (a VAE or a ControlNet needs memory) keeps the motion."""
    import comfy.model_management

    model = make_model()
    motion = moved(model)
    first = sample(motion)

    def reload(now, x0, x, total):
        motion.detach()
        comfy.model_management.load_models_gpu([motion, *motion.get_nested_additional_models()])

    def partly(now, x0, x, total):
        motion.partially_unload(motion.offload_device, 10_000)

    assert torch.equal(sample(motion, callback=reload), first)
    assert torch.equal(sample(motion, callback=partly), first)
    assert hook_count(model) == 0


def test_a_lora_after_the_motion_module_patches_every_key():
    model = make_model()
    weights = model.model.state_dict()
    lora = {
        key: ("diff", (torch.full_like(value, 0.01),)) for key, value in weights.items() if value.ndim > 1
    }
    without, with_motion = model.clone(), moved(model)
    assert len(with_motion.add_patches(lora)) == len(without.add_patches(lora)) == len(lora) > 100
    plain, motion = sample(model), sample(moved(model))
    both = sample(with_motion)
    assert not torch.allclose(both, motion, atol=1e-3) and not torch.allclose(
        both, sample(without), atol=1e-3
    )
    assert torch.equal(sample(moved(without)), both), "the order of the two nodes does not matter"
    assert torch.equal(sample(model), plain)


def test_two_modules_keep_apart_and_stack():
    model = make_model()
    one, two = make_motion(2), make_motion(3)
    a, b = moved(model, one), moved(model, two)
    first_a, first_b = sample(a), sample(b)
    assert not torch.allclose(first_a, first_b, atol=1e-2)
    assert torch.equal(sample(a), first_a) and torch.equal(sample(b), first_b)
    weak, stacked = moved(model, one, effect=0.5), moved(a, two)
    both = sample(stacked)
    assert not torch.allclose(both, first_a, atol=1e-2) and not torch.allclose(both, first_b, atol=1e-2)
    assert not torch.allclose(sample(weak), first_a, atol=1e-2)
    assert torch.equal(sample(a), first_a) and torch.equal(sample(stacked), both)
    assert hook_count(model) == 0


def test_the_same_module_twice_acts_in_turn():
    model, motion = make_model(), make_motion()
    half = moved(moved(model, motion, end_percent=0.5), motion, start_percent=0.5)
    assert torch.equal(sample(half), sample(moved(model, motion)))


def test_effect_zero_is_no_motion_and_effect_grows():
    model = make_model()
    plain = sample(model)
    assert torch.equal(sample(moved(model, effect=0.0, beta_schedule="unchanged")), plain)
    far = [
        (sample(moved(model, effect=e, beta_schedule="unchanged")) - plain).norm() for e in (0.1, 0.3, 1.0)
    ]
    assert far[0] < far[1] < far[2]
    keys = pack("core.prompts.schedule").parse_values("0:0.3")
    by_key = sample(moved(model, effect_keys=keys, beta_schedule="unchanged"))
    assert torch.allclose(by_key, sample(moved(model, effect=0.3, beta_schedule="unchanged")), atol=1e-4)


def test_scale_sharpens_the_attention():
    model = make_model()
    runs = [sample(moved(model, scale=scale)) for scale in (0.0, 1.0, 4.0)]
    assert not torch.allclose(runs[0], runs[1], atol=1e-3) and not torch.allclose(runs[1], runs[2], atol=1e-3)


def test_percent_range_is_that_of_the_sampler(patching):
    model = make_model()
    calls = []

    class Noting(patching.MotionRun):
        def tell(self, call):
            super().tell(call)
            calls.append((float(call.sigma[0]), self.state.active))

    sampling = moved(model).get_model_object("model_sampling")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patching, "MotionRun", Noting)
        sample(moved(model, start_percent=0.2, end_percent=0.6), steps=12)
    assert {active for _, active in calls} == {True, False}
    for sigma, active in calls:
        assert active == (sampling.percent_to_sigma(0.6) < sigma <= sampling.percent_to_sigma(0.2))


def test_frames_are_derived_whatever_the_number_of_conditions():
    """Two prompts on masks, an area, cfg 1 and splitting for memory give the frames of the clip each time."""
    model = make_model()
    motion = moved(model)
    left = torch.zeros(1, 64, 64)
    left[..., :32] = 1
    masked = [[make_cond(s)[0][0], {"mask": m, "mask_strength": 1.0}] for s, m in ((1, left), (2, 1 - left))]
    area = [*make_cond(3), [make_cond(4)[0][0], {"area": (4, 4, 0, 0), "strength": 1.0}]]
    for positive in (masked, area):
        together = sample(motion, positive=positive)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("comfy.model_base.BaseModel.memory_required", lambda *args, **kwargs: 1e18)
            apart = sample(motion, positive=positive)
        assert torch.allclose(apart, together, atol=1e-3 * float(together.abs().max()))
    assert torch.isfinite(sample(motion, cfg=1.0)).all()


def cfg_nodes():
    from comfy_extras.nodes_apg import APG
    from comfy_extras.nodes_perpneg import PerpNeg
    from comfy_extras.nodes_tcfg import TCFG

    return {
        "TCFG": lambda model: TCFG.execute(model).result[0],
        "APG": lambda model: APG.execute(model, 0.5, 2.0, 0.3).result[0],
        "PerpNeg": lambda model: PerpNeg.execute(model, make_cond(9), 1.0).result[0],
    }


@pytest.mark.parametrize("name", ["TCFG", "APG", "PerpNeg"])
def test_guidance_nodes_act_before_and_after_the_motion_module(name):
    node, model, module = cfg_nodes()[name], make_model(), make_motion()
    assert not torch.allclose(sample(node(model)), sample(model), atol=1e-2)
    motion = moved(model, module)
    after = sample(node(motion))
    assert not torch.allclose(after, sample(motion), atol=1e-2)
    assert torch.equal(sample(moved(node(model), module)), after)


def test_perp_neg_guider_with_three_conditions():
    import comfy.samplers
    from comfy_extras.nodes_perpneg import Guider_PerpNeg

    def run(model):
        guider = Guider_PerpNeg(model)
        guider.set_conds(make_cond(11), make_cond(12), make_cond(9))
        guider.set_cfg(4.0, 1.0)
        sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 3)
        noise = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            return guider.sample(
                noise, torch.zeros_like(noise), comfy.samplers.sampler_object("euler"), sigmas
            )

    model = make_model()
    motion = moved(model, beta_schedule="unchanged")
    first = run(motion)
    assert not torch.allclose(first, run(model), atol=1e-2)
    assert torch.equal(run(motion), first) and hook_count(model) == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn])
def test_low_precision_weights_run(dtype):
    compute = torch.float32 if dtype == torch.float8_e4m3fn else None
    model, exact = make_model(dtype=dtype, manual_cast=compute), make_model()
    motion = moved(model, make_motion(dtype=dtype))
    run, reference = sample(motion, cfg=2.0), sample(moved(exact), cfg=2.0)
    assert torch.isfinite(run).all()
    tolerance = 0.5 if dtype == torch.float8_e4m3fn else 0.1
    assert (run - reference).norm() < tolerance * reference.norm()
    mixed = sample(moved(model), cfg=2.0)
    assert (mixed - reference).norm() < tolerance * reference.norm(), (
        "module and UNet may differ in precision"
    )


def test_auto_beta_schedule_is_the_module_s_and_velocity_stays():
    from comfy.model_base import ModelType
    from comfy.model_sampling import V_PREDICTION

    schedules = pack("core.schedules")
    model = make_model(kind=ModelType.V_PREDICTION)
    before = model.get_model_object("model_sampling").sigma_max
    for choice, name in (("auto", "linear"), ("scaled_linear", "scaled_linear"), ("linear 0.0001-0.02",) * 2):
        sampling = moved(model, beta_schedule=choice).get_model_object("model_sampling")
        assert isinstance(sampling, V_PREDICTION)
        assert torch.allclose(sampling.sigmas.double(), schedules.sigmas(name), rtol=1e-6)
    assert (
        moved(model, beta_schedule="unchanged").get_model_object("model_sampling")
        is model.model.model_sampling
    )
    assert model.get_model_object("model_sampling").sigma_max == before
    assert float(moved(model).get_model_object("model_sampling").sigma_max) == pytest.approx(25.146, abs=2e-3)


def test_beta_schedule_sends_no_float64_to_the_models_device():
    """Apple's GPUs know none; "meta" stands for any device that is not the CPU."""

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            found = function(*args, **(kwargs or {}))
            for value in tree_leaves(found):
                if isinstance(value, torch.Tensor) and value.device.type == "meta":
                    assert value.dtype != torch.float64, function
            return found

    model = make_model().clone()
    elsewhere = copy.deepcopy(model.get_model_object("model_sampling")).to("meta")
    model.add_object_patch("model_sampling", elsewhere)
    with Watch():
        pack("nodes.host.schedules").apply_beta_schedule(model, "linear", "linear")
    found = model.get_model_object("model_sampling").sigmas
    assert found.device.type == "meta" and found.dtype == torch.float32


def test_beta_schedule_of_distilled_and_zero_snr_models():
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

    node = ModelSamplingDiscrete()
    schedules = pack("core.schedules")
    lcm = moved(node.patch(make_model(), "lcm", False)[0]).get_model_object("model_sampling")
    assert torch.allclose(lcm.sigmas.double(), schedules.sigmas("linear")[19::20], rtol=1e-6)
    zero = moved(node.patch(make_model(), "v_prediction", True)[0]).get_model_object("model_sampling")
    assert zero.sigma_max > 4000


def test_one_latent_too_many_frames_and_other_mistakes():
    model = make_model()
    motion = moved(model, make_motion(max_frames=8))
    with pytest.raises(
        ValueError, match="The latent has 1 frame; a motion module needs several: set frames in"
    ):
        sample(motion, frames=1)
    with pytest.raises(ValueError, match="The clip has 9 frames.*at most 8: use 'Context Windows'"):
        sample(motion, frames=9)
    windows = pack("nodes.host.windows").apply_context_windows
    with pytest.raises(ValueError, match="The context windows have 10 frames.*at most 8"):
        sample(windows(motion, "standard_static", "flat", 10, 2, 1, False), frames=12)
    schedule = [[make_cond(1, 6)[0][0], {"choreo_frames": 6}]]
    with pytest.raises(ValueError, match="The prompt schedule has 6 frames, the latent has 8"):
        sample(motion, frames=8, positive=schedule)
    with pytest.raises(ValueError, match="end_percent is 0.2, it must be larger than start_percent, 0.5"):
        moved(model, start_percent=0.5, end_percent=0.2)
    assert hook_count(model) == 0


def test_the_host_s_own_windows_are_refused():
    from comfy_extras.nodes_context_windows import ContextWindowsManualNode

    model = ContextWindowsManualNode.execute(
        moved(make_model()), 4, 1, "standard_static", 1, False, "flat", 0
    ).result[0]
    with pytest.raises(ValueError, match="use Choreographer's 'Context Windows'"):
        sample(model, frames=6)


def test_modules_that_do_not_fit():
    with pytest.raises(ValueError, match="128 wide at down_blocks.0.motion_modules.0, this UNet is 64 wide"):
        moved(make_model(), make_motion(widths=(128, 128, 128)))
    model = make_model()
    model.model.__class__ = type("SDXL", (type(model.model),), {})
    with pytest.raises(
        ValueError, match="the model is SDXL; motion modules are made for Stable Diffusion 1.5"
    ):
        moved(model, make_motion(widths=(128, 128, 128)))
    model.model.diffusion_model = Linear(2, 2)
    with pytest.raises(ValueError, match="attach to a Stable Diffusion UNet"):
        moved(model)


def test_a_node_that_tiles_the_batch_is_named():
    model = moved(make_model())

    def tile(apply_model, args):
        half = apply_model(
            args["input"][:3],
            args["timestep"][:3],
            **{**args["c"], "c_crossattn": args["c"]["c_crossattn"][:3]},
        )
        return half.repeat(3, 1, 1, 1)[: len(args["input"])]

    model.set_model_unet_function_wrapper(tile)
    with pytest.raises(ValueError, match="called with 3 latents for 2 conditions"):
        sample(model)
    assert hook_count(model) == 0


def test_the_preview_shows_the_clip(comfy_host):
    preview = pack("nodes.host.preview")
    from PIL import Image

    def decode(latent):
        return Image.new("RGB", (32, 32), (int(latent[0, 0, 0, 0]), 0, 0))

    latents = torch.arange(16.0).view(16, 1, 1, 1).expand(16, 4, 4, 4) * 10
    pictures = [preview.clip_picture(latents, step, decode) for step in (0, 1, 17)]
    assert pictures[0].size == (256, 256 + 64)
    assert [picture.getpixel((5, 5))[0] for picture in pictures] == [0, 10, 10]
    assert [pictures[0].getpixel((i * 64 + 9, 300))[0] for i in range(4)] == [0, 50, 100, 150]


def test_previews_on_and_off(comfy_host):
    import comfy.utils
    from comfy.cli_args import LatentPreviewMethod, args

    model, seen, steps = moved(make_model()), [], []
    plain = sample(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda *a, **k: seen.append(a))
        patch.setattr(args, "preview_method", LatentPreviewMethod.Latent2RGB)
        run = sample(model, callback=lambda step, x0, x, total: steps.append((step, x0.shape[0])))
        assert torch.equal(sample(model), plain), "no callback, no preview"
        patch.setattr(args, "preview_method", LatentPreviewMethod.NoPreviews)
        sample(model, callback=lambda *a: None)
    assert torch.equal(run, plain)
    assert steps == [(0, 4), (1, 4), (2, 4)], "the caller's callback still gets the whole clip"
    assert [(value, total, kind[0]) for value, total, kind in seen] == [(i, 3, "JPEG") for i in (1, 2, 3)]
