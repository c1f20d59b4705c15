"""Pictures in the attention of the host's UNet: the published numbers, windows, memory, mistakes."""

import re
from functools import partial

import pytest
import torch
from choreographer.tests.image_prompt.conftest import GOLDEN
from choreographer.tests.nodes.tiny import (
    CONTEXT,
    hook_count,
    make_cond,
    make_model,
    make_motion,
    pack,
    sample,
    unet_config,
)
from safetensors import safe_open
from safetensors.torch import load_file

pytestmark = pytest.mark.usefixtures("comfy_host")
PLAIN = {"positive": make_cond(11), "negative": make_cond(12)}


def same(a, b, bound=1e-4):
    """Equal up to the rounding of another attention kernel."""
    return bool((a - b).abs().max() <= bound * b.abs().max())


class Vae:
    """Stands for the host's VAE: latents are block means of the pixels."""

    encoded, sizes = 0, []

    def spacial_compression_encode(self):
        return 8

    def encode(self, images):
        Vae.encoded += len(images)
        Vae.sizes.append(tuple(images.shape[1:3]))
        gray = images.movedim(-1, 1).mean(1, keepdim=True)
        return torch.nn.functional.avg_pool2d(gray, 8).repeat(1, 4, 1, 1) * 4 - 2


def pictures(count=1, seed=0):
    prepare = pack("core.image_prompt.picture").prepare
    generator = torch.Generator().manual_seed(seed)
    return tuple(prepare(torch.rand(24, 16, 3, generator=generator) ** (1 + seed)) for _ in range(count))


def applied(model, count=1, prompt=None, vae=None, seed=0, **options):
    attention = pack("nodes.host.image_attention")
    chosen = pack("core.image_prompt.options").AttentionOptions(**options)
    return attention.apply_image_attention(model, prompt, pictures(count, seed), vae or Vae(), None, chosen)


def trained(model, seed=5, **parts):
    """An IMAGE_PROMPT_MODEL with random weights for the tiny UNet."""
    network, tiny = pack("core.image_prompt.network"), pack("tests.nodes.tiny")
    blocks = pack("core.image_prompt.attach").find_blocks(model.model.diffusion_model)
    places = tuple(block.place for block in blocks)
    parts = parts or {"text": True, "fine": True}
    built = network.ImagePrompt(network.ImagePromptConfig(places=places, **parts))
    return pack("nodes.host.nets").as_patcher(tiny.fill(built, seed))


def host_unet(config, weights):
    """The host's UNet of a golden file's sizes with diffusers' weights under the host's names."""
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
    from comfy.ops import manual_cast

    widths = config["block_out_channels"]
    settings = unet_config(
        model_channels=widths[0],
        channel_mult=tuple(width // widths[0] for width in widths),
        num_res_blocks=[config["layers_per_block"]] * len(widths),
        transformer_depth=[1, 1, 1, 0],
        transformer_depth_output=[1] * 6 + [0] * 2,
        context_dim=config["cross_attention_dim"],
        num_heads=config["attention_head_dim"],
        image_size=config["sample_size"],
    )
    unet = UNetModel(**settings, operations=manual_cast)
    unet_key = partial(pack("core.training.base_model").unet_key, layers=config["layers_per_block"])
    known = {}
    for key, weight in weights.items():
        if re.search(r"attn_temp|norm_temp|_new|_exemplar|_global|watermark", key):
            continue
        known[unet_key(key)] = weight
    unet.load_state_dict(known)
    return unet.eval()


def golden_weights(about):
    """Every weight of the file's UNet, from its manifest's names; the published file lists them."""
    import gzip
    import json

    name = about["weights"].rpartition("/")[2]
    data = GOLDEN.parents[1] / "manifests" / f"{name}.gz"
    shapes = json.loads(gzip.decompress(data.read_bytes()))
    fill, prefix = pack("devtools.golden_weights").fill, about["prefix"]
    return {key.removeprefix(prefix): t for key, t in fill(shapes, int(about["seed"]), 0.05).items()}


def test_two_passes_in_the_hosts_unet_are_the_published_numbers():
    path = GOLDEN / "b5_videobooth_tiny_unet_nowm.safetensors"
    with safe_open(path, "pt") as file:
        about = file.metadata()
    import json

    data, config, weights = load_file(path), json.loads(about["config"]), golden_weights(about)
    unet = host_unet(config, weights)
    attach = pack("core.image_prompt.attach")
    kept = {key: t for key, t in weights.items() if not key.startswith("watermark")}
    prompt = pack("core.image_prompt.layouts").read_image_prompt(kept).eval()
    state, frames = attach.PromptState(), data["z"].shape[2]
    handles = attach.attach(prompt, unet, state, shared_norm=True)

    def run(clip, text):
        rows, state.frames = clip.transpose(1, 2).flatten(0, 1), frames
        with torch.no_grad():
            y = unet(
                rows, torch.full((frames,), 500.0), text.repeat_interleave(frames, 0), transformer_options={}
            )
        return y.unflatten(0, (-1, frames)).transpose(1, 2)

    def error(ours, reference):
        return ((ours - reference).abs().max() / reference.abs().max()).item()

    assert error(run(data["z"], data["uncond"]), data["eps_uncond"]) <= 1e-5
    state.capture = {}
    run(data["exemplar_t"], data["uncond"])
    state.pictures, state.capture, state.weights = state.capture, None, torch.ones(frames, 1)
    assert error(run(data["z"], data["cond"]), data["eps_cond"]) <= 1e-5
    for handle in handles:
        handle.remove()
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in unet.modules()) == 0


def test_pictures_change_the_clip_and_nothing_stays_behind():
    model = make_model()
    before = sample(model, **PLAIN)
    seeing = applied(model)
    run = sample(seeing, **PLAIN)
    assert not same(run, before, 1e-3)
    assert torch.equal(run, sample(seeing, **PLAIN))
    assert hook_count(model) == 0 and torch.equal(sample(model, **PLAIN), before)
    assert torch.equal(sample(applied(model, strength=0.0), **PLAIN), before)
    assert not same(run, sample(applied(model, seed=9), **PLAIN), 3e-4)


def test_only_the_positive_prompt_sees_them():
    """With guidance 0 nothing but the negative prompt counts: the same whatever the picture."""
    model = make_model()
    assert same(sample(applied(model), cfg=0.0, **PLAIN), sample(applied(model, seed=9), cfg=0.0, **PLAIN))
    one = sample(applied(model), cfg=1.0, **PLAIN)
    assert not same(one, sample(model, cfg=1.0, **PLAIN), 1e-3)


def watched(monkeypatch):
    """What runs are told: which conditions of each batch see the pictures, by their number."""
    attention, calls = pack("nodes.host.image_attention"), []
    tell = attention.AttentionRun.tell

    def watch(self, call):
        tell(self, call)
        entries = call.transformer_options["cond_or_uncond"]
        calls.extend((entry, number not in self.state.blind) for number, entry in enumerate(entries))

    monkeypatch.setattr(attention.AttentionRun, "tell", watch)
    return calls


def test_the_positive_prompt_is_known_wherever_a_guider_puts_it(monkeypatch):
    import comfy.samplers
    from comfy_extras.nodes_custom_sampler import Guider_DualCFG

    calls, model = watched(monkeypatch), applied(make_model())
    guider = Guider_DualCFG(model)  # it evaluates negative, middle, positive
    guider.set_conds(make_cond(11), make_cond(13), make_cond(12))
    guider.set_cfg(4.0, 2.0)
    sigmas = comfy.samplers.calculate_sigmas(model.get_model_object("model_sampling"), "normal", 1)
    with torch.inference_mode():
        noise = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        guider.sample(noise, noise * 0, comfy.samplers.sampler_object("euler"), sigmas, disable_pbar=True)
    assert set(calls) == {(0, False), (1, False), (2, True)}


def test_of_prompts_with_areas_the_positive_ones_see(monkeypatch):
    """The host gives the other prompt a copy of each area."""
    calls = watched(monkeypatch)
    (text, _), positive = make_cond(14)[0], make_cond(11)
    for area in ((4, 8, 0, 0), (4, 8, 4, 0)):
        positive.append([text, {"area": area, "strength": 1.0, "set_area_to_bounds": False}])
    sample(applied(make_model()), steps=1, positive=positive, negative=make_cond(12))
    assert len(calls) > 2 and set(calls) == {(0, True), (1, False)}


def test_pictures_that_are_clips_run_one_by_one(monkeypatch):
    """As published a picture is a clip as long as the window: so many latents the host knows nothing of."""
    attention, passes = pack("nodes.host.image_attention"), []
    capture = attention.AttentionRun._capture

    def count(self, numbers, *args):
        passes.append(len(numbers))
        capture(self, numbers, *args)

    monkeypatch.setattr(attention.AttentionRun, "_capture", count)
    sample(applied(make_model(), 2, published=True), steps=1, **PLAIN)
    assert passes == [1, 1]


def test_percents_layers_and_frames_are_kept_to():
    model = make_model()
    before, full = sample(model, **PLAIN), sample(applied(model), **PLAIN)
    between = sample(applied(model, start_percent=0.2, end_percent=0.4), **PLAIN)  # no step begins there
    assert torch.equal(between, before)
    for factors in ((1,), (2,), (4,)):
        part = sample(applied(model, factors=factors), **PLAIN)
        assert not same(part, before) and not same(part, full)
    assert torch.equal(
        sample(applied(model, factors=(8,)), **PLAIN), before
    )  # three levels: none is that coarse
    keys = pack("core.prompts.schedule").parse_values("0:1, 1:1, 2:0")
    some = sample(applied(model, schedules=(keys,)), **PLAIN)
    assert not same(some[0], before[0], 1e-3) and same(some[3], before[3])
    assert same(some[1], full[1])


def test_with_motion_in_either_order():
    model, motion = make_model(), make_motion()
    apply = pack("nodes.host.patching").apply_motion_module
    moved = sample(apply(model, motion), **PLAIN)
    first, last = (
        sample(apply(applied(model), motion), **PLAIN),
        sample(applied(apply(model, motion)), **PLAIN),
    )
    assert same(first, last) and not same(first, moved, 1e-3)


def test_trained_weights_act_without_a_picture_too():
    model = make_model()
    apply = pack("nodes.host.image_attention").apply_image_attention
    before, prompt = sample(model, **PLAIN), trained(make_model())
    bare = sample(apply(model, prompt, ()), **PLAIN)
    seen = sample(applied(model, prompt=prompt), **PLAIN)
    assert not same(bare, before, 1e-3) and not same(seen, bare, 1e-3)
    text = sample(apply(model, trained(make_model(), text=True), ()), **PLAIN)
    assert not same(text, before, 1e-3)


def windows(model, length=4, overlap=2):
    apply = pack("nodes.host.windows").apply_context_windows
    return apply(model, "standard_static", "flat", length, overlap, 1, False)


def test_in_tiles_pictures_run_at_the_size_of_a_tile():
    tiles, seen = pack("nodes.host.tiles"), []
    seeing = tiles.apply_tiles(applied(make_model()), tiles.TileOptions(8, 2))
    seeing.set_model_unet_function_wrapper(
        lambda f, a: seen.append(a["input"].shape) or f(a["input"], a["timestep"], **a["c"])
    )
    Vae.sizes.clear()
    sample(seeing, 2, steps=1, size=12, **PLAIN)
    assert Vae.sizes == [(64, 64)] and {shape[2:] for shape in seen} == {(8, 8)}
    sample(tiles.apply_tiles(applied(make_model()), tiles.TileOptions(16, 2)), 2, steps=1, size=12, **PLAIN)
    assert Vae.sizes[1:] == [(96, 96)]


def test_weights_and_positions_follow_context_windows():
    """Frames of a window get the weights of their own numbers: frames without a picture stay as they were."""
    model = make_model()
    keys = pack("core.prompts.schedule").parse_values("0:0, 5:0, 6:1, 7:1")
    some = sample(windows(applied(model, schedules=(keys,))), 8, **PLAIN)
    before = sample(windows(model), 8, **PLAIN)
    assert same(some[:6], before[:6])
    assert not same(some[6:], before[6:], 1e-3)
    late = pack("core.prompts.schedule").parse_values("0:1, 3:1, 4:0")
    assert not torch.allclose(
        sample(windows(applied(model, schedules=(late,), positions=0.5)), 8, **PLAIN)[:4],
        sample(windows(applied(model, schedules=(late,))), 8, **PLAIN)[:4],
        atol=1e-3,
    )


def test_many_pictures_through_windows_keep_only_those_of_one_window(monkeypatch):
    """A picture a frame: what is held at any time is a window's, whatever the length of the clip."""
    attention, held, passes = pack("nodes.host.image_attention"), [], []
    original = attention.AttentionRun._look_at
    capture = attention.AttentionRun._capture

    def look_at(self, *args):
        original(self, *args)
        held.append(len(self._seen))

    def count(self, numbers, *args):
        passes.append(len(numbers))
        capture(self, numbers, *args)

    monkeypatch.setattr(attention.AttentionRun, "_look_at", look_at)
    monkeypatch.setattr(attention.AttentionRun, "_capture", count)
    Vae.encoded = 0
    run = sample(windows(applied(make_model(), 12, placement="spread")), 12, steps=1, **PLAIN)
    assert torch.isfinite(run).all() and Vae.encoded == 12
    assert max(held) == 4 and len(held) == 5 and max(passes) <= attention.AT_ONCE
    assert sum(passes) == 12  # each once a step: overlapping windows share them


def test_loras_act_on_all_but_the_keys_and_values_that_are_replaced():
    """As the node's page and its report say."""
    prompt, weight = (
        trained(make_model(), fine=True),
        "diffusion_model.middle_block.1.transformer_blocks.0.attn1",
    )

    def run(name):
        model = make_model()
        if name:
            key = f"{weight}.{name}.weight"
            model.add_patches({key: ("diff", (torch.ones_like(model.model.state_dict()[key]),))}, 0.1)
        return sample(applied(model, prompt=prompt), steps=1, **PLAIN)

    before = run(None)
    assert torch.equal(run("to_k"), before) and torch.equal(run("to_v"), before)
    assert not same(run("to_q"), before, 1e-5)
    for given, said in ((prompt, True), (None, False), (trained(make_model(), temporal=True), False)):
        node = pack("nodes.image_attention").ApplyImageAttention
        value = pack("nodes.host.image_prompt").ImagePromptValue(pictures())
        report = node.execute(
            make_model(), 1.0, 0.0, 1.0, "1, 2, 4, 8", "all frames", 0.0, 0, given, value, Vae()
        ).result[1]
        assert ("what LoRAs changed in these" in report) is said


def test_another_nodes_attention_counts():
    """Perturbed-attention guidance and its kind replace a layer's attention: there theirs is used."""
    model, calls = make_model(), []

    def replace(q, k, v, options):
        calls.append((q.shape[1], k.shape[1]))
        return v

    seeing = applied(model)
    seeing.set_model_attn1_replace(replace, "middle", 0)
    sample(seeing, steps=1, **PLAIN)
    assert calls and all(queries == keys for queries, keys in calls)


def test_frames_of_a_part_have_their_numbers_in_the_clip(monkeypatch):
    """Positions too: what 'Refine Faces' samples are the frames from 6 on of a clip of 8."""
    attention, told = pack("nodes.host.image_attention"), []
    tell = attention.AttentionRun.tell

    def watch(self, call):
        tell(self, call)
        told.append(self.state.numbers.tolist())

    monkeypatch.setattr(attention.AttentionRun, "tell", watch)
    for model in (applied(make_model(), positions=0.5), attention.apply_image_attention(
        make_model(), trained(make_model()), ()
    )):  # fmt: skip
        told.clear()
        sample(pack("nodes.host.hooks").as_part(model, 6, 8), steps=1, **PLAIN)
        assert told and all(numbers == [6, 7, 7, 7] for numbers in told)


def test_models_with_more_channels_are_refused():
    """Inpainting models: the pictures have no mask to go with them."""
    for channels in (8, 9):
        model = make_model(in_channels=channels)
        with pytest.raises(ValueError, match=f"This model takes {channels} channels, 4 of them the latents"):
            applied(model)


def test_a_failed_run_leaves_the_model_clean():
    model = make_model()
    before = sample(model, **PLAIN)

    def stop(step, *args):
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        sample(applied(model), callback=stop, **PLAIN)
    assert hook_count(model) == 0 and torch.equal(sample(model, **PLAIN), before)


def test_published_details():
    model = make_model()
    prompt = trained(model, text=True, fine=True, temporal=True)
    run = applied(model, prompt=prompt, published=True)
    sigma = float(run.get_model_object("model_sampling").sigma_max)
    assert sigma == pytest.approx(157.4, abs=0.1)  # betas from 0.0001 to 0.02
    guide = run.model_options["sampler_cfg_function"]
    cond, uncond = torch.ones(1, 4, 2, 2), torch.zeros(1, 4, 2, 2)
    guided = guide({"cond": cond, "uncond": uncond, "cond_scale": 4.0})
    assert guided[0, :, 0, 0].tolist() == [4, 4, 4, 1]
    first = sample(run, cfg=4.0, **PLAIN)
    assert torch.isfinite(first).all() and torch.equal(first, sample(run, cfg=4.0, **PLAIN))


def test_mistakes_are_one_sentence():
    model, attention = make_model(), pack("nodes.host.image_attention")
    with pytest.raises(ValueError, match="Nothing to apply"):
        attention.apply_image_attention(model, None, ())
    with pytest.raises(ValueError, match="connect the checkpoint's VAE"):
        attention.apply_image_attention(model, None, pictures())
    with pytest.raises(ValueError, match="sees pictures already"):
        applied(applied(model))
    tuning = pack("nodes.host.tuning")
    for twice in (
        lambda: tuning.apply_tuning(applied(model), None),
        lambda: applied(tuning.apply_tuning(model, None)),
    ):
        with pytest.raises(ValueError, match="self-attention is replaced already"):
            twice()
    with pytest.raises(ValueError, match="end_percent is 0.2"):
        applied(model, start_percent=0.5, end_percent=0.2)
    with pytest.raises(ValueError, match="made for another kind of model"):
        applied(model, prompt=trained(make_model(context_dim=32)))
    with pytest.raises(ValueError, match="layers is '1, 3', expected some of"):
        pack("core.image_prompt.options").parse_factors("1, 3")
    with pytest.raises(ValueError, match="5 pictures cannot be spread over 4 frames"):
        sample(applied(model, 5, placement="spread"), **PLAIN)
    keys = pack("core.prompts.schedule").parse_values("0:-1")
    with pytest.raises(ValueError, match="a value below 0"):
        sample(applied(model, schedules=(keys,)), **PLAIN)
    with pytest.raises(ValueError, match="3 weight schedules for 2 pictures"):
        sample(applied(model, 2, schedules=(keys,) * 3), **PLAIN)
    assert hook_count(model) == 0 and CONTEXT == 64


def hooked(seed, hooks):
    """A prompt with what 'Create Hook LoRA' has made."""
    return [[make_cond(seed)[0][0], {"hooks": hooks} if hooks else {}]]


@pytest.mark.parametrize("on", [("positive", "negative"), ("positive",), ("negative",)])
def test_the_pictures_run_with_the_hook_loras_of_the_prompt_that_sees_them(monkeypatch, on):
    import comfy.hooks
    import comfy.lora

    attention, model, norms = pack("nodes.host.image_attention"), make_model(), []
    layer = model.model.diffusion_model.middle_block[1].transformer_blocks[0].attn1.to_k
    key = "diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_k"
    before, capture = layer.weight.clone(), attention.AttentionRun._capture
    keys = comfy.lora.model_lora_keys_unet(model.model, {})
    name = next(name for name, weight in keys.items() if weight == f"{key}.weight")
    hooks = comfy.hooks.create_hook_lora({f"{name}.diff": torch.ones_like(before)}, 1.0, 0.0)

    def watch(self, *args):
        norms.append(float((layer.weight - before).mean()))
        capture(self, *args)

    monkeypatch.setattr(attention.AttentionRun, "_capture", watch)
    positive, negative = (hooked(seed, hooks if part in on else None) for seed, part in
                          ((11, "positive"), (12, "negative")))  # fmt: skip
    sample(applied(model), 2, positive=positive, negative=negative)
    assert norms == pytest.approx([1.0 if "positive" in on else 0.0] * 3)
    assert torch.equal(layer.weight, before) and hook_count(model) == 0


def test_of_positive_prompts_in_turn_the_hook_lora_of_the_one_that_acts_counts():
    apply, used = pack("nodes.host.image_attention").AttentionRun._apply_hooks, []

    class Patcher:
        def prepare_hook_patches_current_keyframe(self, *args):
            pass

        def apply_hooks(self, hooks):
            used.append(hooks)

    run = pack("nodes.host.image_attention").AttentionRun(None, (), None, None, None)
    run._positive = frozenset({1, 2})
    first = {"uuid": 1, "hooks": "early", "timestep_start": 9.0, "timestep_end": 4.0}
    second = {"uuid": 2, "hooks": "late", "timestep_start": 4.0, "timestep_end": 0.0}
    model = type("Model", (), {"current_patcher": Patcher()})
    for sigma in (8.0, 2.0):
        conds = [[{"uuid": 3, "hooks": "negative"}], None, [first, second]]
        apply(run, model, conds, torch.tensor([sigma]), {})
    assert used == ["early", "late"]


def divided(model, by):
    """A clone with one of ComfyUI's nodes that change the tokens of the self-attention."""
    import comfy_extras.nodes_hypertile
    import comfy_extras.nodes_tomesd

    if by == "Token Merging":
        return comfy_extras.nodes_tomesd.TomePatchModel.execute(model, 0.3).result[0]
    return comfy_extras.nodes_hypertile.HyperTile.execute(model, 32, 1, 0, False)[0]


@pytest.mark.parametrize("by", ["Token Merging", "HyperTile"])
def test_a_node_that_divides_the_tokens_is_named(by):
    model = make_model()
    seeing, causal = applied(model), pack("nodes.host.tuning").apply_tuning(model, None)
    message = "Another node divides or merges the tokens of the self-attention .HyperTile, Token Merging."
    with pytest.raises(ValueError, match=message):
        sample(divided(seeing, by), steps=1, size=16, **PLAIN)
    if by == "HyperTile":
        with pytest.raises(ValueError, match=message):
            sample(divided(causal, by), steps=1, size=16, **PLAIN)
    else:  # fewer queries, and keys and values of all frames
        assert torch.isfinite(sample(divided(causal, by), steps=1, size=16, **PLAIN)).all()
    assert hook_count(model) == 0
