"""Sparse-causal attention, tuning and inversion in a real host: what they give, refuse, and leave behind."""

import pytest
import torch
from choreographer.tests.nodes.demo import make_demo_model
from choreographer.tests.nodes.test_training_nodes import Words
from choreographer.tests.nodes.tiny import fill, hook_count, make_cond, make_model, make_motion, pack, sample

pytestmark = pytest.mark.usefixtures("comfy_host")
FRAMES, SIDE = 3, 8


@pytest.fixture
def folders(own_folders):
    """The host's output and LoRA folders, in a place of their own."""
    return own_folders(loras="loras")


@pytest.fixture(scope="module")
def model(comfy_host):
    """A model as the stock loader makes one: its weights are inference tensors."""
    with torch.inference_mode():
        return make_demo_model()


def clip_latent(seed=3, frames=FRAMES):
    generator = torch.Generator().manual_seed(seed)
    return {"samples": 0.18 * torch.randn(frames, 4, SIDE, SIDE, generator=generator)}


def tune(model, caption="a ball", latent=None, **settings):
    """As the host runs a node: in inference mode."""
    training = pack("nodes.host.tuning_training")
    asked = training.TuneSettings(**{"steps": 3, "learning_rate": 1e-3, "seed": 5, **settings})
    with torch.inference_mode():
        return training.tune_on_clip(model, Words(), latent or clip_latent(), caption, asked)


def tuned(model, tuning=None, **options):
    host = pack("nodes.host.tuning")
    return host.apply_tuning(model, tuning, host.TuningOptions(**options))


def test_sparse_causal_attention_acts_and_leaves_no_trace(model):
    before = sample(model, FRAMES)
    causal = tuned(model)
    made = sample(causal, FRAMES)
    assert not torch.equal(made, before) and torch.equal(sample(causal, FRAMES), made)
    assert torch.equal(sample(model, FRAMES), before) and hook_count(model) == 0
    assert torch.equal(sample(tuned(model, causal=0.0), FRAMES), before)
    norms = sample(tuned(model, shared_norm=True), FRAMES)
    assert not torch.allclose(norms, made)


def test_it_acts_only_in_its_range_and_only_once(model):
    late = sample(tuned(model, start_percent=0.5), FRAMES, steps=4)
    early = sample(tuned(model, end_percent=0.5), FRAMES, steps=4)
    whole, plain = sample(tuned(model), FRAMES, steps=4), sample(model, FRAMES, steps=4)
    assert all(not torch.allclose(part, other) for part in (late, early) for other in (whole, plain))
    with pytest.raises(ValueError, match="replaced already .*; connect the model from before that node"):
        tuned(tuned(model))
    with pytest.raises(ValueError, match="must be larger than start_percent"):
        tuned(model, start_percent=0.5, end_percent=0.5)


def test_the_first_frame_is_sampled_as_if_alone(model):
    """It looks at nothing but itself, in the whole run."""
    alone = sample(model, 1)
    assert torch.allclose(sample(tuned(model), FRAMES)[0], alone[0], atol=1e-4)


def test_it_works_with_a_motion_module_and_with_windows():
    import comfy.model_patcher  # noqa: F401

    plain = make_model()
    moving = pack("nodes.host.patching").apply_motion_module(plain, make_motion())
    both = tuned(moving)
    assert not torch.allclose(sample(both, 4), sample(moving, 4))
    windows = pack("nodes.host.windows").apply_context_windows
    long = windows(tuned(plain), "standard_static", "pyramid", 4, 2, 1, False)
    assert sample(long, 6, steps=2).shape == (6, 4, SIDE, SIDE) and hook_count(plain) == 0


def test_another_nodes_attention_counts(model):
    """Perturbed-attention guidance and its kind replace a layer's attention: there theirs is used."""
    calls = []

    def replace(q, k, v, options):
        calls.append((q.shape[1], k.shape[1], v.shape[1]))
        return v

    perturbed, causal = model.clone(), tuned(model)
    for one in (perturbed, causal):
        one.set_model_attn1_replace(replace, "middle", 0)
    made = sample(causal, FRAMES, steps=1)
    assert calls and all(queries == keys == values for queries, keys, values in calls)
    assert not torch.allclose(made, sample(tuned(model), FRAMES, steps=1))
    assert not torch.allclose(made, sample(perturbed, FRAMES, steps=1))


def test_tuning_learns_and_leaves_no_trace(folders, model):
    assert next(model.model.diffusion_model.parameters()).is_inference()
    before, rng = sample(model, FRAMES), torch.get_rng_state()
    tuning, curve = tune(model, steps=4, save_prefix="ball")
    assert torch.equal(torch.get_rng_state(), rng) and hook_count(model) == 0
    assert all(weight.grad is None for weight in model.model.parameters())
    assert torch.equal(sample(model, FRAMES), before)
    assert curve.ndim == 4 and not list(folders.runs.glob("*"))
    made = sample(tuned(model, tuning), FRAMES)
    assert not torch.allclose(made, sample(tuned(model), FRAMES))
    (path,) = folders.loras.glob("ball*.safetensors")
    loaded = pack("nodes.host.tuning").load_tuning_file(str(path))
    assert torch.allclose(sample(tuned(model, loaded), FRAMES), made, atol=1e-5)


def test_the_stock_lora_loader_reads_the_queries(folders, model):
    import comfy.lora
    from safetensors.torch import load_file

    tune(model, steps=2, save_prefix="ball")
    (path,) = folders.loras.glob("ball*.safetensors")
    keys = comfy.lora.model_lora_keys_unet(model.model, {})
    loaded = comfy.lora.load_lora(load_file(path), keys, log_missing=False)
    blocks = pack("core.image_prompt.attach").find_blocks(model.model.diffusion_model)
    assert len(loaded) == 2 * len(blocks)
    assert all(key.endswith(("attn1.to_q.weight", "attn2.to_q.weight")) for key in loaded)


@pytest.mark.parametrize("stop_at", [0, 2])
def test_an_interrupted_run_keeps_what_was_learnt(folders, model, monkeypatch, stop_at):
    import comfy.model_management

    whole, _ = tune(model, steps=4)
    training = pack("nodes.host.tuning_training")
    asked, noisy = [], training.TuningFamily.predict_clip

    def count(self, *arguments):
        asked.append(1)
        if len(asked) == stop_at:
            comfy.model_management.interrupt_current_processing(True)
        return noisy(self, *arguments)

    monkeypatch.setattr(training.TuningFamily, "predict_clip", count)
    comfy.model_management.interrupt_current_processing(stop_at == 0)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        tune(model, steps=4, save_prefix="cut")
    comfy.model_management.interrupt_current_processing(False)
    assert len(list(folders.loras.glob("cut*"))) == (1 if stop_at else 0)
    assert hook_count(model) == 0
    resumed, _ = tune(model, steps=4)
    assert len(asked) == (5 if stop_at else 4)  # the step that was cut off is done again
    assert all(
        torch.equal(a, b) for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
    )


def test_a_finished_run_whose_file_could_not_be_written_writes_it_the_next_time(folders, model, monkeypatch):
    training = pack("nodes.host.tuning_training")

    def full(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(training, "save_tuning", full)
        with pytest.raises(OSError, match="disk full"):
            tune(model, steps=2, save_prefix="ball")
    _, curve = tune(model, steps=2, save_prefix="ball")
    assert len(list(folders.loras.glob("ball*.safetensors"))) == 1
    assert curve.std() > 0, "the losses of the first run are drawn"
    with pytest.raises(ValueError, match=r"save_prefix is '\.\./ball'"):
        tune(model, steps=2, save_prefix="../ball")


def test_a_model_patched_to_predict_v_is_tuned_as_one(model):
    from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

    training, texts = pack("nodes.host.tuning_training"), {"": torch.zeros(1, 1, 1)}
    patched = ModelSamplingDiscrete().patch(model, "v_prediction", True)[0]
    family = training.TuningFamily(patched, texts, "", FRAMES)
    assert family.target == "v" and family.sampling is patched.get_model_object("model_sampling")
    plain = training.TuningFamily(model, texts, "", FRAMES)
    assert plain.target == "noise"
    zero_snr = training.TuningFamily(ModelSamplingDiscrete().patch(model, "eps", True)[0], texts, "", FRAMES)
    latents, asked = torch.zeros(1), training.TuneSettings()
    folders = {training.plan_of(one, latents, asked).folder for one in (plain, family, zero_snr)}
    assert len(folders) == 3, "a run goes on only with what the model was told to predict, and its sigmas"


def test_training_refuses_what_it_cannot_use(model):
    with pytest.raises(ValueError, match="predicts neither noise nor v; .* predicts noise or v"):
        from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete

        tune(ModelSamplingDiscrete().patch(model, "x0", False)[0])
    with pytest.raises(ValueError, match="expected the frames of one clip"):
        tune(model, latent=clip_latent(frames=1))
    with pytest.raises(ValueError, match="motion module on it"):
        moving = pack("nodes.host.patching").apply_motion_module(make_model(), make_motion())
        tune(moving)


def gentle(kind="noise"):
    """A model that nearly knows pictures of unit spread, and bends them a little by its random weights."""
    import comfy.model_base

    kinds = {"noise": comfy.model_base.ModelType.EPS, "v": comfy.model_base.ModelType.V_PREDICTION}
    model = make_model(kind=kinds[kind])
    sampling = model.model.model_sampling

    def turned(_unet, inputs, output):
        sigma = sampling.sigma(inputs[1].float()).view(-1, 1, 1, 1)
        kept = 1 / (1 + sigma**2)
        noise = (1 - kept).sqrt() * inputs[0] + 0.1 * output
        clean = (inputs[0] - (1 - kept).sqrt() * noise) / kept.sqrt()
        return noise if kind == "noise" else kept.sqrt() * noise - (1 - kept).sqrt() * clean

    model.model.diffusion_model.register_forward_hook(turned)
    return model


def sigmas_of(model, steps):
    import comfy.samplers

    return comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", steps)


def psnr(one, other):
    return float(10 * torch.log10((other.max() - other.min()) ** 2 / (one - other).square().mean()))


def round_trip(model, refine, steps=8, conditioning=None):
    """Inversion and stock sampling from it."""
    import comfy.sample

    latent, conditioning = clip_latent(), conditioning or make_cond(12)
    with torch.inference_mode():
        noise = pack("nodes.host.tuning").inverted(
            model, conditioning, latent, sigmas_of(model, steps), refine
        )
        made = comfy.sample.sample(
            model, torch.zeros_like(noise["samples"]), steps, 1.0, "euler", "normal", conditioning,
            conditioning, noise["samples"], disable_noise=True, disable_pbar=True, seed=0,
        )  # fmt: skip
    return psnr(made, latent["samples"])


@pytest.mark.parametrize("kind", ["noise", "v"])
def test_inversion_is_undone_by_the_stock_sampler(kind):
    model = gentle(kind)
    plain, refined = round_trip(model, 0), round_trip(model, 2)
    assert plain > 15 and refined > plain + 5


def test_an_inversion_is_kept_by_the_stock_nodes(comfy_host, tmp_path, monkeypatch):
    import folder_paths
    import safetensors.torch

    model = make_model()
    noise = pack("nodes.host.tuning").inverted(model, make_cond(12), clip_latent(), sigmas_of(model, 4), 0)
    path = tmp_path / "noise.latent"
    kept = {"latent_tensor": noise["samples"].contiguous(), "latent_format_version_0": torch.tensor([])}
    safetensors.torch.save_file(kept, path)
    monkeypatch.setattr(folder_paths, "get_annotated_filepath", lambda name: str(path))
    import nodes

    (again,) = nodes.LoadLatent().load("noise.latent")
    assert torch.equal(again["samples"], noise["samples"])


def test_inversion_works_on_a_tuned_model_and_can_be_interrupted():
    import comfy.model_management

    model = gentle()
    hooks = hook_count(model)
    host = pack("nodes.host.tuning")
    filled = pack("nodes.host.nets").as_patcher(
        fill(pack("core.training.tune").fresh_tuning(model.model.diffusion_model), 4)
    )
    causal = tuned(model, filled)
    assert round_trip(causal, 2) > 20
    assert round_trip(causal, 0) != round_trip(model, 0)
    comfy.model_management.interrupt_current_processing(True)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        host.inverted(causal, make_cond(12), clip_latent(), sigmas_of(model, 4), 0)
    comfy.model_management.interrupt_current_processing(False)
    assert hook_count(model) == hooks


def test_small_differences_are_kept_where_the_host_stores_unets_in_fp8(folders, model, monkeypatch):
    import comfy.model_management

    monkeypatch.setattr(comfy.model_management, "unet_dtype", lambda *_, **__: torch.float8_e4m3fn)
    made, _ = tune(model, steps=1, learning_rate=1e-4, save_prefix="fp8")
    (path,) = folders.loras.glob("fp8*.safetensors")
    for tuning in (made, pack("nodes.host.tuning").load_tuning_file(str(path))):
        differences = torch.cat([place.own.weight.float().flatten() for place in tuning.model.places])
        assert (differences != 0).float().mean() > 0.5


def test_inversion_refuses_what_it_cannot_do(model):
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3

    host = pack("nodes.host.tuning")
    flow = ModelSamplingSD3().patch(model, 3.0)[0]
    with pytest.raises(ValueError, match="an inversion needs one with discrete noise steps"):
        host.inverted(flow, make_cond(1), clip_latent(), torch.ones(3), 0)
    with pytest.raises(ValueError, match="noise mask"):
        host.inverted(model, make_cond(1), {**clip_latent(), "noise_mask": torch.ones(1)}, torch.ones(3), 0)
    with pytest.raises(ValueError, match="needs at least 2"):
        host.inverted(model, make_cond(1), clip_latent(), torch.ones(1), 0)
