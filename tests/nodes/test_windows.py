"""Context windows over frame batches: every frame sampled, with its own prompt, mask and ControlNet hint."""

import copy
import weakref

import pytest
import torch
from choreographer.tests.nodes.tiny import fill, make_cond, make_model, make_motion, pack, sample, unet_config
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

pytestmark = pytest.mark.usefixtures("comfy_host")
LENGTH, OVERLAP = 4, 2
FRAMES = 11


@pytest.fixture
def windows(comfy_host):
    return pack("nodes.host.windows")


def windowed(
    windows,
    model,
    schedule="standard_uniform",
    fuse="pyramid",
    length=LENGTH,
    overlap=OVERLAP,
    stride=1,
    loop=False,
):
    return windows.apply_context_windows(model, schedule, fuse, length, overlap, stride, loop)


def recording(model, seen):
    """A clone that notes each call of the model: (frames of the window or None, batch)."""
    from comfy.patcher_extension import WrappersMP

    def note(executor, x, t, c_concat, c_crossattn, control, options, **kwargs):
        window = options.get("context_window")
        seen.append((None if window is None else tuple(window.index_list), x.shape[0]))
        return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)

    model = model.clone()
    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "test", note)
    return model


def close(a, b, tolerance=1e-4):
    return float((a - b).abs().max() / b.abs().max()) <= tolerance


FUSES = ("pyramid", "relative", "flat", "overlap-linear")
PAIRS = [
    (schedule, fuse)
    for schedule in ("standard_uniform", "looped_uniform", "standard_static")
    for fuse in FUSES
]


@pytest.mark.parametrize(("schedule", "fuse"), [*PAIRS, ("batched", "pyramid"), ("batched", "flat")])
def test_without_motion_windows_change_nothing(windows, schedule, fuse):
    model = make_model()
    prompts = make_cond(3, FRAMES)
    run = sample(windowed(windows, model, schedule, fuse), FRAMES, positive=prompts)
    assert close(run, sample(model, FRAMES, positive=prompts))


@pytest.mark.parametrize("length", [2, 4, 8])
@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("schedule", ["standard_uniform", "looped_uniform", "standard_static", "batched"])
def test_every_plan_visits_every_frame_and_none_twice(windows, schedule, stride, length):
    for overlap in {0, 1, length // 2, length - 1}:
        handler = windows.FrameWindows(schedule, "pyramid", length, overlap, stride)
        for frames in range(length + 1, 4 * length + 2):
            for handler._step in range(5):
                plan = [w.index_list for w in handler.get_context_windows(None, torch.zeros(frames, 1), {})]
                assert {i for window in plan for i in window} == set(range(frames))
                assert all(1 < len(set(window)) == len(window) <= length for window in plan)


def shares(handler, frames):
    """The windows, and their parts in each frame's result, (windows, frames)."""
    windows = handler.get_context_windows(None, torch.zeros(frames, 1), {})
    x = torch.zeros(frames, len(windows), 1, 1)
    total, weights = [torch.zeros_like(x)], [torch.zeros(frames, 1, 1, 1)]
    for number, window in enumerate(windows):
        result = torch.zeros(len(window.index_list), len(windows), 1, 1)
        result[:, number] = 1
        handler.combine_context_window_results(
            x, [result], None, window, number, len(windows), torch.zeros(1), total, weights, [[0.0] * frames]
        )
    return [window.index_list for window in windows], (total[0] / weights[0])[:, :, 0, 0].T


@pytest.mark.parametrize("overlap", [4, 12])
@pytest.mark.parametrize("loop", [True, False])
@pytest.mark.parametrize("fuse", ["pyramid", "relative", "overlap-linear"])
@pytest.mark.parametrize("schedule", ["standard_uniform", "looped_uniform", "standard_static"])
def test_no_window_ends_with_a_seam(windows, schedule, fuse, loop, overlap):
    """Where a window's end has other windows on it, its part there is small, and grows inwards."""
    frames = 32
    handler = windows.FrameWindows(schedule, fuse, 16, overlap, closed_loop=loop)
    for handler._step in range(3):
        plan, parts = shares(handler, frames)
        assert torch.allclose(parts.sum(0), torch.ones(frames), atol=1e-5)
        for window, part in zip(plan, parts, strict=True):
            held = [sum(frame in other for other in plan) for frame in window]
            own = part[window]
            for place, inner in ((0, 1), (-1, -2)):
                ends = window[place] in (0, frames - 1) and schedule != "looped_uniform"
                if held[place] == held[inner] == 2 and not ends:
                    assert float(own[place]) < 0.5 and float(own[place]) < float(own[inner]), (window, own)


def test_a_prompt_lands_on_its_frames(windows):
    """64 frames in windows of 16, motion effect 0: each frame is what its prompt alone gives."""
    import comfy.sample

    model = make_model()
    motion = pack("nodes.host.patching").apply_motion_module(
        model, make_motion(), pack("nodes.host.patching").MotionOptions(effect=0.0, beta_schedule="unchanged")
    )
    prompts = make_cond(5, 64)
    run = sample(windowed(windows, motion, length=16, overlap=4), 64, steps=2, positive=prompts)
    noise = comfy.sample.prepare_noise(torch.zeros(64, 4, 8, 8), 0)
    for frame in (0, 13, 31, 63):
        one = [[prompts[0][0][frame : frame + 1], {}]]
        with torch.inference_mode():
            alone = comfy.sample.sample(
                model, noise[frame : frame + 1], 2, 4.0, "euler", "normal", one, make_cond(12),
                torch.zeros(1, 4, 8, 8), disable_pbar=True,
            )  # fmt: skip
        assert close(run[frame : frame + 1], alone)


@pytest.mark.parametrize(
    "sampler", ["heun", "dpmpp_sde", "euler_ancestral", "dpmpp_2m", "uni_pc", "dpm_adaptive", "lcm", "ddim"]
)
def test_stock_samplers_run_in_windows(windows, sampler):
    seen = []
    model = recording(windowed(windows, make_model()), seen)
    assert torch.isfinite(sample(model, 6, steps=2, sampler=sampler, size=4)).all()
    assert seen and all(index is not None and batch == 2 * len(index) for index, batch in seen)


def test_motion_sees_the_window_only(windows):
    patching = pack("nodes.host.patching")
    seen = []
    model = recording(
        windowed(windows, patching.apply_motion_module(make_model(), make_motion(max_frames=LENGTH))), seen
    )
    assert torch.isfinite(sample(model, FRAMES)).all()
    assert {batch for _, batch in seen} == {2 * LENGTH}
    assert sample(model, LENGTH).shape[0] == LENGTH and seen[-1] == (None, 2 * LENGTH)


def test_effect_schedule_follows_the_frames(windows):
    """Effect 0 in the first windows, 1 in the last: the first frames stay as without motion."""
    patching = pack("nodes.host.patching")
    model = make_model()
    keys = pack("core.prompts.schedule").parse_values("7:0, 8:1")
    options = patching.MotionOptions(beta_schedule="unchanged", effect_keys=keys)
    motion = patching.apply_motion_module(model, make_motion(), options)
    plain, run = sample(model, 12), sample(windowed(windows, motion, "batched"), 12)
    assert close(run[:8], plain[:8])
    assert not close(run[8:], plain[8:], 0.02)


def test_masks_and_areas(windows):
    model, masks = make_model(), torch.rand(FRAMES, 64, 64)
    first, area = make_cond(1, FRAMES), make_cond(2)
    first[0][1]["mask"] = masks
    area[0][1].update(area=(4, 4, 2, 2), strength=0.7)
    positive = [*make_cond(3), *first, *area]
    run = sample(windowed(windows, model), FRAMES, positive=positive)
    assert close(run, sample(model, FRAMES, positive=positive))


def test_the_names_are_those_of_the_host(windows):
    from comfy.context_windows import ContextFuseMethods, ContextSchedules

    assert set(windows.FUSE_METHODS) == set(FUSES) == set(ContextFuseMethods.LIST_STATIC)
    assert "standard_uniform" == ContextSchedules.UNIFORM_STANDARD and "standard_uniform" in windows.SCHEDULES


def test_rows_repeat_and_end_as_in_the_host(windows):
    value = torch.arange(3)
    assert windows.frame_rows(value, [0, 4, 5], 6).tolist() == [0, 1, 2]
    assert windows.frame_rows(torch.arange(9), [5, 0], 6).tolist() == [5, 0]
    assert windows.frame_rows(torch.tensor([7]), [5, 0], 6).tolist() == [7]


def make_control(seed, hint, **changes):
    """A stock ControlNet for the tiny UNet with random weights, and its hint (M, 3, H, W)."""
    import comfy.cldm.cldm
    import comfy.controlnet
    import comfy.model_management
    import comfy.ops

    settings = unet_config(operations=comfy.ops.disable_weight_init, hint_channels=3, **changes)
    for name in ("out_channels", "transformer_depth_output"):
        settings.pop(name)
    net = fill(comfy.cldm.cldm.ControlNet(**settings), seed)
    control = comfy.controlnet.ControlNet(net, load_device=comfy.model_management.get_torch_device())
    return control.set_cond_hint(hint, 0.8, (0.0, 0.9))


def with_control(cond, control):
    return [[part[0], {**part[1], "control": control, "control_apply_to_uncond": True}] for part in cond]


def test_a_stock_controlnet_gets_the_hints_of_its_frames(windows):
    model, hints = make_model(), torch.rand(FRAMES, 3, 64, 64)
    control = make_control(4, hints)
    control.set_previous_controlnet(make_control(5, torch.rand(1, 3, 64, 64)))
    positive = with_control(make_cond(3, FRAMES), control)
    plain = sample(model, FRAMES, positive=positive)
    seen = []
    before = copy.copy(control.__dict__)
    run = sample(recording(windowed(windows, model), seen), FRAMES, positive=positive)
    assert close(run, plain)
    assert not close(plain, sample(model, FRAMES, positive=make_cond(3, FRAMES)), 0.02)
    assert {batch for _, batch in seen} == {2 * LENGTH}, "positive and negative ran in one batch"
    assert control.cond_hint_original is hints and control.cond_hint is None
    assert control.__dict__.keys() == before.keys()


def test_hints_that_are_seen(windows):
    """What each control is asked with: the window's rows, through a chain; our own cut themselves."""
    from comfy.controlnet import ControlBase

    seen = []

    class Recorder(ControlBase):
        def get_control(self, x_noisy, t, cond, batched_number, transformer_options):
            if self.previous_controlnet is not None:
                self.previous_controlnet.get_control(x_noisy, t, cond, batched_number, transformer_options)
            index = transformer_options["context_window"].index_list
            seen.append((self.name, tuple(index), tuple(self.cond_hint_original[:, 0, 0, 0].int().tolist())))
            return None

    def recorder(name, rows):
        control = Recorder().set_cond_hint(
            torch.arange(rows).float().view(rows, 1, 1, 1).expand(rows, 3, 8, 8)
        )
        control.name = name
        return control

    full, short, own = recorder("full", FRAMES), recorder("short", 3), recorder("own", FRAMES)
    own.reads_context_window = True
    full.set_previous_controlnet(short.set_previous_controlnet(own))
    sample(windowed(windows, make_model()), FRAMES, steps=1, positive=with_control(make_cond(3), full))
    assert {name for name, _, _ in seen} == {"full", "short", "own"}
    for name, index, rows in seen:
        assert (
            rows
            == {
                "full": index,
                "short": tuple(i % 3 for i in index),
                "own": tuple(range(FRAMES)),
            }[name]
        )
    assert full.cond_hint_original.shape[0] == FRAMES and full.previous_controlnet is short


def test_inpainting_latents_are_cut_too(windows):
    from comfy.conds import CONDConstant, CONDNoiseShape

    cut = windows._cut_model_cond(CONDNoiseShape(torch.arange(6.0).view(6, 1, 1, 1)), [4, 5], 6)
    assert cut.cond.flatten().tolist() == [4.0, 5.0]
    constant = CONDConstant([(1, 4, 8, 8)])
    assert windows._cut_model_cond(constant, [0], 6) is constant


def test_nothing_of_a_window_is_left_behind(windows):
    model = windowed(windows, make_model())
    handler = model.model_options["context_handler"]
    sample(model, FRAMES, positive=with_control(make_cond(3), make_control(4, torch.rand(FRAMES, 3, 64, 64))))
    assert not handler._controls and handler._controls_of is None
    assert "context_window" not in model.model_options["transformer_options"]


def test_perp_neg_in_windows(windows):
    from comfy_extras.nodes_perpneg import PerpNeg

    model = make_model()
    plain = PerpNeg.execute(model, make_cond(8), 1.0).result[0]
    run = PerpNeg.execute(windowed(windows, model), make_cond(8), 1.0).result[0]
    # the batch is one norm in this node, so the step size is that of the whole clip in both
    assert close(sample(run, FRAMES), sample(plain, FRAMES), 1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length": 4, "overlap": 4}, "overlap is 4, it must be smaller than length, 4"),
        ({"fuse": "overlap-linear", "overlap": 0}, "needs windows that overlap"),
        ({"fuse": "overlap-linear", "schedule": "batched"}, "needs windows that overlap"),
        ({"stride": 2, "schedule": "standard_static"}, "stride 2 works with the uniform schedules only"),
        ({"loop": True}, "closed_loop works with schedule 'looped_uniform' only"),
    ],
)
def test_contradicting_settings(windows, settings, message):
    with pytest.raises(ValueError, match=message):
        windowed(windows, make_model(), **settings)


class PeakMemory(TorchDispatchMode):
    """Most bytes that tensors made inside this context hold at one time."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self._seen = weakref.WeakSet()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self._storages((args, kwargs))  # what comes in from outside is not ours
        out = func(*args, **(kwargs or {}))
        for storage in self._storages(out):
            self.now += storage.nbytes()
            weakref.finalize(storage, self._freed, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return out

    def _storages(self, tree):
        """Storages in a tree of tensors that were not seen before."""
        found = [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
        found = [storage for storage in found if storage not in self._seen]
        self._seen.update(found)
        return {storage.data_ptr(): storage for storage in found}.values()

    def _freed(self, size):
        self.now -= size


def peak_of(frames, model):
    positive, negative = make_cond(3, frames), make_cond(4)
    control = make_control(4, torch.rand(frames, 3, 128, 128))
    with PeakMemory() as memory:
        sample(model, frames, steps=1, size=16, positive=with_control(positive, control), negative=negative)
    return memory.peak


def test_memory_is_that_of_one_window(windows):
    """64 frames with prompts, motion and a ControlNet: at most 1.1 times the peak of 16, and latents."""
    model = windowed(
        windows,
        pack("nodes.host.patching").apply_motion_module(make_model(), make_motion()),
        length=16,
        overlap=4,
    )
    short, long = peak_of(16, model), peak_of(64, model)
    latents = 64 * 4 * 16 * 16 * 4
    print(
        f"peak: 16 frames {short / 1e6:.1f} MB, 64 frames {long / 1e6:.1f} MB, latent {latents / 1e6:.2f} MB"
    )
    assert long <= 1.1 * short + 8 * latents
