"""Sprite World and Train Motion Module in a real host: what they give, refuse, and leave behind."""

import copy
from types import SimpleNamespace

import pytest
import torch
from choreographer.tests.nodes.demo import make_demo_model
from choreographer.tests.nodes.tiny import CONTEXT, hook_count, make_model, make_motion, pack, sample

pytestmark = pytest.mark.usefixtures("comfy_host")
FRAMES, SIDE = 4, 8


class Words:
    """A text encoder of random rows, as the host's CLIP answers."""

    def tokenize(self, text):
        return text

    def encode_from_tokens(self, tokens, return_pooled=False, return_dict=False):
        generator = torch.Generator().manual_seed(sum(map(ord, tokens)))
        return {"cond": torch.randn(1, 7, CONTEXT, generator=generator), "pooled_output": None}


@pytest.fixture
def folders(own_folders):
    """The host's output and motion module folders, in a place of their own."""
    pack("nodes.host.files").register_folders()
    return own_folders(motion="animatediff_models")


@pytest.fixture(scope="module")
def model(comfy_host):
    """A model as the stock loader makes one: its weights are inference tensors."""
    with torch.inference_mode():
        return make_demo_model()


def latents(clips=2, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return {"samples": torch.randn(clips * FRAMES, 4, SIDE, SIDE, generator=generator)}


def settings(**changes):
    values = {"frames": FRAMES, "steps": 4, "learning_rate": 1e-3, "seed": 5, **changes}
    return pack("nodes.host.training").TrainingSettings(**values)


def train(model, asked=None, latent=None, captions="a ball\na box", motion=None, clip=None):
    """As the host runs a node: in inference mode."""
    with torch.inference_mode():
        call = pack("nodes.host.training").train_motion_module
        return call(model, clip or Words(), latent or latents(), captions, motion, asked or settings())


def weights(motion):
    return {key: value.clone() for key, value in motion.model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_training_learns_and_leaves_no_trace(folders, model):
    assert next(model.model.diffusion_model.parameters()).is_inference(), "as the stock loader's weights are"
    before, rng = sample(model, FRAMES), torch.get_rng_state()
    kept = {key: value.clone() for key, value in model.model.state_dict().items()}
    pointers = {name: weight.data_ptr() for name, weight in model.model.named_parameters()}
    motion, curve = train(model, settings(steps=8))
    assert torch.equal(torch.get_rng_state(), rng)
    assert same(kept, model.model.state_dict()) and hook_count(model) == 0
    assert {name: weight.data_ptr() for name, weight in model.model.named_parameters()} == pointers
    assert all(weight.grad is None for weight in model.model.parameters())
    assert torch.equal(sample(model, FRAMES), before)
    assert curve.ndim == 4 and curve.shape[-1] == 3 and 0 <= curve.min() < curve.max() <= 1
    moved = pack("nodes.host.patching").apply_motion_module(model, motion)
    assert not torch.equal(sample(moved, FRAMES), before)
    assert torch.equal(sample(model, FRAMES), before)
    assert not list(folders.runs.glob("*")), "a finished run keeps no checkpoint"


def test_training_lowers_the_loss_and_repeats_bit_for_bit(folders, model, monkeypatch):
    seen = []
    monkeypatch.setattr(pack("nodes.host.training"), "curve", lambda losses: seen.append(list(losses)))
    asked = settings(steps=12, learning_rate=3e-3)
    first, _ = train(model, asked, latents(1), "a ball")
    second, _ = train(model, asked, latents(1), "a ball")
    assert seen[0] == seen[1] and same(weights(first), weights(second))
    train(model, settings(steps=12, learning_rate=1e-7), latents(1), "a ball", first)
    assert sum(seen[2]) < 0.98 * sum(seen[0]), "the same draws, seen again by the trained module"


def test_an_interrupt_is_raised_and_the_next_run_goes_on(folders, model, monkeypatch):
    import comfy.model_management as management

    whole, _ = train(model, settings(steps=6))
    diffusion = pack("core.training.diffusion")
    true_loss, calls = diffusion.ccdm_loss, []

    def loss(*args, **terms):
        calls.append(1)
        if len(calls) == 3:
            management.interrupt_current_processing()
        return true_loss(*args, **terms)

    monkeypatch.setattr(diffusion, "ccdm_loss", loss)
    with pytest.raises(management.InterruptProcessingException):
        train(model, settings(steps=6))
    assert len(calls) == 3 and hook_count(model) == 0 and not management.processing_interrupted()
    assert len(list(folders.runs.glob("*/checkpoint.pt"))) == 1
    other, _ = train(model, settings(steps=2, seed=6))
    resumed, _ = train(model, settings(steps=6))
    assert len(calls) == 3 + 2 + 3, "the second run does the steps that were left"
    assert same(weights(whole), weights(resumed)) and not same(weights(whole), weights(other))
    assert not list(folders.runs.glob("*"))


def test_an_error_in_training_takes_the_hooks_off(folders, model, monkeypatch):
    def broken(*args, **terms):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(pack("core.training.diffusion"), "ccdm_loss", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        train(model)
    assert hook_count(model) == 0


def test_training_goes_on_from_a_module_and_saves_it(folders, model):
    start = make_motion(layers_per_block=1, mid_block=True, beta_schedule="scaled_linear")
    kept = weights(start)
    motion, _ = train(model, settings(steps=1, learning_rate=1e-4, save_prefix="mine"), motion=start)
    assert same(kept, weights(start)), "the given module is not changed"
    gap = max(float((value - kept[key]).abs().max()) for key, value in weights(motion).items())
    assert 0 < gap < 1e-2 and motion.model.config.beta_schedule == "scaled_linear"
    (file,) = folders.motion.glob("*")
    assert file.name == "mine_00001_.safetensors"
    read = pack("core.motion.layouts").read_motion_module(file)
    assert same(weights(SimpleNamespace(model=read)), weights(motion))
    assert read.config.beta_schedule == "scaled_linear" and read.config.heads == 4
    train(model, settings(steps=1, save_prefix="mine"), motion=start)
    assert sorted(found.name for found in folders.motion.glob("*")) == [
        "mine_00001_.safetensors",
        "mine_00002_.safetensors",
    ]


def test_a_lora_on_the_image_model_is_trained_with(folders, model):
    """The frozen model is the one that will sample: its patches count, and come off again."""
    plain, _ = train(model)
    key = "diffusion_model.input_blocks.1.0.in_layers.2.weight"
    patched = model.clone()
    patched.add_patches({key: (torch.randn(64, 64, 3, 3),)}, 0.5)
    with_patch, _ = train(patched)
    assert not same(weights(plain), weights(with_patch))
    again, _ = train(model)
    assert same(weights(plain), weights(again))


def test_training_does_not_use_an_attention_without_a_backward_pass(folders, model, monkeypatch):
    import comfy.ldm.modules.attention as attention

    whole, _ = train(model)

    class Forward(torch.autograd.Function):
        @staticmethod
        def forward(context, q, *_):
            return q.clone()

        @staticmethod
        def backward(context, *_):
            raise RuntimeError("no backward pass")

    chosen = attention.wrap_attn(lambda q, k, v, *_, **named: Forward.apply(q, k, v))
    monkeypatch.setattr(attention, "optimized_attention", chosen)
    other, _ = train(model)
    assert same(weights(whole), weights(other))


@pytest.mark.parametrize("shared_norm", [False, True])
def test_training_sees_the_unet_that_sampling_has(folders, model, monkeypatch, shared_norm):
    """With AnimateDiff v1's norms over the clip as well, where the module has them."""
    training, patching = pack("nodes.host.training"), pack("nodes.host.patching")
    motion = make_motion(shared_norm=shared_norm, layers_per_block=1, mid_block=True).model
    noisy = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    context, step, found = torch.randn(1, 7, CONTEXT), torch.tensor([500]), []
    with torch.inference_mode(False), torch.no_grad():
        family = training.HostFamily(model, motion, {"a": context})
        predict = lambda *_, **__: found.append(family.predict(noisy, step, ["a"], 4)) or {"motion": None}  # noqa: E731
        monkeypatch.setattr(training, "train_motion", predict)
        training.run(family, None, None, settings(frames=4), [])
        sampled = patching.MotionRun(motion, patching.MotionOptions())
        sampled.inject(model)
        sampled.state.frames, sampled.state.active = 4, True
        told = {"cond_or_uncond": [0]}
        wanted = family.unet(noisy, step.expand(4), context.expand(4, -1, -1), transformer_options=told)
        sampled.eject(model)
    assert torch.allclose(found[0], wanted, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("kind", ["eps", "v_prediction", "x0", "lcm", "img_to_img"])
def test_what_a_patched_model_predicts_is_read_from_its_sampling(model, kind):
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

    (patched,) = ModelSamplingDiscrete().patch(model, kind, False)
    host = pack("nodes.host.training")
    assert host.prediction(patched) == {"eps": "noise", "v_prediction": "v"}.get(kind)
    assert host.prediction(model) == "noise"
    if kind != "eps":
        with pytest.raises(ValueError, match="training needs one that predicts noise"):
            train(patched)


def test_what_cannot_be_trained_is_refused_in_a_sentence(folders, model):
    motion = make_motion(layers_per_block=1, mid_block=True)
    moving = pack("nodes.host.patching").apply_motion_module(model, motion)
    patched = motion.clone()
    patched.add_patches({"sites.0.proj_in.weight": (torch.zeros(64, 64),)}, 1.0)
    import comfy.model_base

    velocity = make_model(kind=comfy.model_base.ModelType.V_PREDICTION)
    for message, call in {
        "before 'Apply Motion Module'": lambda: train(moving),
        "has motion LoRAs": lambda: train(model, motion=patched),
        "predicts v; training needs one that predicts noise": lambda: train(velocity),
        "1 values besides the text": lambda: train(make_model(num_classes="sequential", adm_in_channels=1)),
        "9 input channels": lambda: train(make_model(in_channels=9)),
        "self-attention is replaced already": lambda: train(
            pack("nodes.host.tuning").apply_tuning(model, None)
        ),
        "expected .clips x 3 frames": lambda: train(model, settings(frames=3)),
        "3 captions for 2 clips": lambda: train(model, captions="a\nb\nc"),
        "Keyframe 9 is outside": lambda: train(model, settings(terms={"keyframes": [9]})),
        "takes at most 2": lambda: train(
            model, motion=make_motion(layers_per_block=1, mid_block=True, max_frames=2)
        ),
        "parts, this UNet has": lambda: train(model, motion=make_motion()),
    }.items():
        with pytest.raises(ValueError, match=message):
            call()
        assert hook_count(model) == 0
    with torch.inference_mode(), pytest.raises(ValueError, match="no text encoder"):
        pack("nodes.host.training").train_motion_module(model, None, latents(), "", None, settings())
    with pytest.raises(ValueError, match="'1.5'"):
        pack("nodes.training").parse_keyframes("0, 1.5")
    assert not folders.runs.exists()


def test_the_host_trains_as_the_command_line_does(folders, model, tmp_path):
    """The same recipe on diffusers' UNet with the same weights gives the same losses."""
    base, diffusion = pack("core.training.base_model"), pack("core.training.diffusion")
    clips, loop = pack("core.training.clips"), pack("core.training.loop")
    unet, words = base.make_unet(), Words()
    own = model.model.diffusion_model.state_dict()
    unet.load_state_dict({key: own[base.unet_key(key)].clone() for key in unet.state_dict()})
    asked = settings(
        steps=3, clips_per_step=2, terms={"lambda1": 0.5, "window": 1, "lambda2": 0.2, "keyframes": [0]}
    )
    host = pack("nodes.host.training")
    module = host.start_module(model, make_motion(layers_per_block=1, mid_block=True), asked)
    family = _DiffusersFamily(diffusion, unet, copy.deepcopy(module), words)
    data = clips.Clips(
        model.model.process_latent_in(latents()["samples"]).unflatten(0, (-1, FRAMES)), ["a", "b"]
    )
    theirs, ours = [], []
    plan = loop.Plan(3, tmp_path / "run", 1e-3, seed=5)
    diffusion.train_motion(
        family, data, plan, diffusion.Batch(clips=2, frames=FRAMES), _keep(theirs), **asked.terms
    )
    mine = host.HostFamily(
        model, module, {text: words.encode_from_tokens(text)["cond"] for text in ("a", "b", "")}
    )
    plan = loop.Plan(3, tmp_path / "other", 1e-3, seed=5)
    host.run(mine, data, plan, asked, ours)
    assert len(ours) == 3 and ours == pytest.approx(theirs, rel=1e-4)


def _keep(losses):
    def report(_step, _steps, so_far, _seconds):
        losses[:] = so_far

    return report


class _DiffusersFamily:
    """core's Family with the test's words in place of a CLIP."""

    def __init__(self, diffusion, unet, motion, words):
        self.unet, self.motion, self.device, self.words = unet, motion, "cpu", words
        self.state = diffusion.MotionState()
        diffusion.attach(motion, diffusion.find_sites(unet, mid_block=True), self.state)

    def freeze(self):
        self.unet.requires_grad_(False)

    def predict(self, noisy, steps, texts, frames, places=None):
        self.state.frames = frames
        context = torch.cat(
            [self.words.encode_from_tokens(text)["cond"] for text in texts]
        ).repeat_interleave(frames, 0)
        return self.unet(noisy, steps.repeat_interleave(frames, 0), context, return_dict=False)[0]


def test_a_fresh_module_fits_the_unet(comfy_host, model):
    fit, sites = pack("core.training.fit"), pack("core.motion.sites")
    found = sites.find_sites(model.model.diffusion_model, True)
    config = fit.fitting_config(found, 40)
    assert config.channels == (64, 128, 128) and config.layers_per_block == 1 and config.mid_block
    assert config.heads == 4 and config.max_frames == 40
    widths = (320, 640, 1280, 1280)
    stock = pack("core.motion.model").MotionConfig(widths, mid_block=True)
    large = [sites.Site(name, width, None) for name, width in stock.sites()]
    assert fit.fitting_config(large, 16) == stock
    with pytest.raises(ValueError, match="No motion module fits this UNet"):
        fit.fitting_config(large[:-1], 16)


def run_node(name, **inputs):
    with torch.inference_mode():
        return getattr(pack("nodes.training"), name).execute(**inputs).result


WORLD = {"frames": 5, "width": 96, "height": 64, "seed": 7, "shape": "star", "colour": "blue",
         "motion": "moving left",
         "ground": "sand", "camera": "still", "sprites": "2"}  # fmt: skip


def test_sprite_world_gives_a_clip_and_its_truth(comfy_host):
    images, tracks, mask, caption = run_node("SpriteWorld", **WORLD)
    assert (
        images.shape == (5, 64, 96, 3)
        and images.dtype == torch.float32
        and 0 <= images.min() <= images.max() <= 1
    )
    assert tracks["track_path"].shape == (5, 2, 2) and tracks["track_path"].dtype == torch.float32
    assert tracks["track_visibility"].shape == (5, 2) and tracks["track_visibility"].dtype == torch.bool
    assert mask.shape == (5, 64, 96) and set(mask.unique().tolist()) <= {0.0, 1.0} and mask.any()
    assert caption.startswith("a blue star moving left and ") and caption.endswith("on sand")
    path = tracks["track_path"][:, 0]
    assert (path[1:, 0] < path[:-1, 0]).all()
    pixels = [frame.nonzero().float().mean(0).flip(0) + 0.5 for frame in mask]  # middles are at a half
    assert ((torch.stack(pixels) - path).mean(0).abs() < 0.2).all()


def test_sprite_world_finds_no_flow(comfy_host, monkeypatch):
    """No output has it, and it would be the largest part."""
    monkeypatch.setattr(pack("core.data.render").Renderer, "flow", lambda *_: pytest.fail("nobody needs it"))
    assert run_node("SpriteWorld", **WORLD)[0].shape == (5, 64, 96, 3)


def test_sprite_world_repeats_by_its_seed(comfy_host):
    free = {key: "random" for key in ("shape", "colour", "motion", "ground", "camera", "sprites")}
    first, second, other = (run_node("SpriteWorld", **{**WORLD, **free, "seed": seed}) for seed in (1, 1, 2))
    assert torch.equal(first[0], second[0]) and first[3] == second[3]
    assert not torch.equal(first[0], other[0])
    with pytest.raises(ValueError, match="100x64"):
        run_node("SpriteWorld", **{**WORLD, "width": 100})


def test_the_node_reads_its_inputs(folders, model, monkeypatch):
    asked = {}
    node = pack("nodes.training")

    def train(*inputs):
        asked["inputs"] = inputs
        return "motion", torch.zeros(1, 8, 8, 3)

    monkeypatch.setattr(node, "train_motion_module", train)
    monkeypatch.setattr(node.ui, "PreviewImage", lambda image, cls: {"images": []})
    motion, curve = run_node(
        "TrainMotionModule", model=model, clip="clip", latent="latent", frames=4, captions="a",
        steps=2, learning_rate=1e-3, seed=1, clips_per_step=3, beta_schedule="linear", lambda1=0.1,
        lambda2=0.2, window=1, keyframes="3, 0",
    )  # fmt: skip
    assert motion == "motion" and curve.shape == (1, 8, 8, 3)
    found = asked["inputs"][-1]
    assert found.terms == {"lambda1": 0.1, "lambda2": 0.2, "window": 1, "keyframes": [0, 3]}
    assert (found.frames, found.steps, found.clips_per_step, found.save_prefix) == (4, 2, 3, "")
