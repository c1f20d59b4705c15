"""Motion files through the nodes: loading, motion LoRAs, the domain adapter, v1's shared norms."""

import pytest
import torch
from choreographer.tests.nodes.tiny import hook_count, make_model, make_motion, pack, sample
from safetensors.torch import save_file

pytestmark = pytest.mark.usefixtures("comfy_host")
BLOCK = "temporal_transformer.transformer_blocks.0.attention_blocks"


@pytest.fixture
def folders(tmp_path, monkeypatch, comfy_host):
    """Empty folders of the three kinds in place of the user's own."""
    import folder_paths

    files = pack("nodes.host.files")
    for kind in (files.MOTION_MODULES, files.MOTION_LORAS, files.LORAS):
        (tmp_path / kind).mkdir()
        places = ([str(tmp_path / kind)], folder_paths.supported_pt_extensions)
        monkeypatch.setitem(folder_paths.folder_names_and_paths, kind, places)
    return tmp_path


@pytest.fixture
def nodes(folders):
    return pack("nodes.motion")


def run(node, *args):
    return node.execute(*args).result[0]


def save_module(folders, name="moves.safetensors", **changes):
    motion = make_motion(**changes).model
    pack("core.motion.layouts").save_motion_module(motion, folders / "animatediff_models" / name)
    return motion


def apply(nodes, model, motion, effect=1.0, keys=""):
    return run(nodes.ApplyMotionModule, model, motion, 1.0, effect, 0.0, 1.0, "auto", keys)


def random_pair(out, width, rank, seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) * 0.2 for shape in ((rank, width), (out, rank))]


def motion_lora(folders, config, mid=False, width=None, name="pan.safetensors"):
    state, sites = {}, list(config.sites())
    if mid:
        sites.append(("mid_block.motion_modules.0", 128))
    for i, (site, channels) in enumerate(sites):
        for j, part in enumerate("q k v out".split()):
            down, up = random_pair(width or channels, width or channels, 4, 10 * i + j)
            for attention in range(config.attentions):
                layer = f"{site}.{BLOCK}.{attention}.processor.to_{part}_lora"
                state[f"{layer}.down.weight"], state[f"{layer}.up.weight"] = down.clone(), up.clone()
    save_file(state, folders / "animatediff_motion_lora" / name)


def test_a_file_runs_as_the_module_it_was_made_from(nodes, folders):
    motion = save_module(folders)
    assert nodes.files.file_names(nodes.files.MOTION_MODULES) == ["moves.safetensors"]
    schema = nodes.LoadMotionModule.define_schema()
    assert schema.inputs[0].options == ["moves.safetensors"]
    loaded = run(nodes.LoadMotionModule, "moves.safetensors")
    model = make_model()
    expected = pack("nodes.host.patching").apply_motion_module(
        model, pack("nodes.host.nets").as_patcher(motion)
    )
    heads = loaded.model.config.heads, motion.config.heads
    assert heads[0] == heads[1]
    assert torch.equal(sample(apply(nodes, model, loaded)), sample(expected))


def test_effect_schedule_reaches_the_module(nodes, folders):
    save_module(folders)
    model, motion = make_model(), run(nodes.LoadMotionModule, "moves.safetensors")
    full = sample(apply(nodes, model, motion))
    assert torch.allclose(sample(apply(nodes, model, motion, keys="0:1")), full, atol=1e-4)
    assert not torch.allclose(sample(apply(nodes, model, motion, keys="0:1, 3:0")), full, atol=1e-2)
    with pytest.raises(ValueError, match="effect_schedule: expected 'frame:number'"):
        apply(nodes, model, motion, keys="fast")
    with pytest.raises(ValueError, match="effect_schedule: key 16 is past the last frame of the clip, 3"):
        sample(apply(nodes, model, motion, keys="0:1, 16:0"))


@pytest.mark.parametrize("strength", [0.7, -1.0])
def test_a_motion_lora_equals_merged_weights(nodes, folders, strength):
    motion = save_module(folders)
    motion_lora(folders, motion.config)
    loaded = run(nodes.LoadMotionModule, "moves.safetensors")
    model = make_model()
    plain = sample(apply(nodes, model, loaded))
    with_lora = run(nodes.LoadMotionLora, loaded, "pan.safetensors", strength)
    result = sample(apply(nodes, model, with_lora))
    lora = pack("core.motion.lora")
    lora.merge_lora(
        motion, lora.read_motion_lora(folders / "animatediff_motion_lora" / "pan.safetensors"), strength
    )
    merged = pack("nodes.host.nets").as_patcher(motion)
    assert torch.allclose(result, sample(apply(nodes, model, merged)), atol=1e-3)
    assert not torch.allclose(result, plain, atol=1e-2)
    assert torch.equal(sample(apply(nodes, model, loaded)), plain), "the loaded module itself is not changed"


def test_two_loras_add_up_and_two_mixes_keep_apart(nodes, folders):
    motion = save_module(folders)
    motion_lora(folders, motion.config)
    loaded, model = run(nodes.LoadMotionModule, "moves.safetensors"), make_model()
    lora = nodes.LoadMotionLora
    twice = run(lora, run(lora, loaded, "pan.safetensors", 0.25), "pan.safetensors", 0.5)
    once = run(lora, loaded, "pan.safetensors", 0.75)
    assert torch.allclose(sample(apply(nodes, model, twice)), sample(apply(nodes, model, once)), atol=1e-3)
    a, b = apply(nodes, model, once), apply(nodes, model, loaded)
    first_a, first_b = sample(a), sample(b)
    assert torch.equal(sample(a), first_a) and torch.equal(sample(b), first_b)
    with pytest.raises(ValueError, match="on the model already, with other motion LoRAs"):
        apply(nodes, a, loaded)


def test_a_lora_s_middle_block_is_skipped_with_a_message(nodes, folders, caplog):
    motion = save_module(folders)
    motion_lora(folders, motion.config, mid=True)
    run(nodes.LoadMotionLora, run(nodes.LoadMotionModule, "moves.safetensors"), "pan.safetensors", 1.0)
    assert "layers of the middle block skipped" in caplog.text


def domain_adapter(folders, width=64, name="adapter.safetensors"):
    """An adapter of the tiny UNet's first transformer, in AnimateDiff's spelling."""
    state = {}
    for attention, context in (("attn1", width), ("attn2", 64)):
        for i, part in enumerate("q k v out".split()):
            into = context if part in "kv" else width
            layer = f"down_blocks.0.attentions.0.transformer_blocks.0.{attention}.processor.to_{part}_lora"
            state[f"{layer}.down.weight"], state[f"{layer}.up.weight"] = random_pair(width, into, 4, i)
    save_file(state, folders / "loras" / name)


def test_a_domain_adapter_patches_the_image_model(nodes, folders):
    save_module(folders)
    domain_adapter(folders)
    model, motion = make_model(), run(nodes.LoadMotionModule, "moves.safetensors")
    plain = sample(model)
    adapted = run(nodes.ApplyDomainAdapter, model, "adapter.safetensors", 1.0)
    assert len(adapted.patches) == 8
    assert not torch.allclose(sample(adapted), plain, atol=1e-2)
    before, after = (
        apply(nodes, adapted, motion),
        run(nodes.ApplyDomainAdapter, apply(nodes, model, motion), "adapter.safetensors", 1.0),
    )
    assert torch.equal(sample(before), sample(after))
    assert torch.equal(sample(run(nodes.ApplyDomainAdapter, model, "adapter.safetensors", 0.0)), plain)
    assert torch.equal(sample(model), plain)


def test_files_of_the_wrong_kind_are_one_sentence(nodes, folders):
    config = save_module(folders).config
    motion_lora(folders, config)
    motion_lora(folders, config, width=32, name="narrow.safetensors")
    domain_adapter(folders)
    domain_adapter(folders, width=48, name="wide.safetensors")
    for source, target in (
        ("animatediff_motion_lora/pan.safetensors", "animatediff_models/lora.safetensors"),
        ("loras/adapter.safetensors", "animatediff_motion_lora/adapter.safetensors"),
        ("animatediff_motion_lora/pan.safetensors", "loras/pan.safetensors"),
    ):
        (folders / target).write_bytes((folders / source).read_bytes())
    whole = (folders / "animatediff_models/moves.safetensors").read_bytes()
    (folders / "animatediff_models/cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (folders / "animatediff_models/page.ckpt").write_text("<!DOCTYPE html><html>not found</html>")
    loaded, model = run(nodes.LoadMotionModule, "moves.safetensors"), make_model()
    for message, call in (
        ("use 'Load Motion LoRA'", lambda: run(nodes.LoadMotionModule, "lora.safetensors")),
        ("truncated or damaged", lambda: run(nodes.LoadMotionModule, "cut.safetensors")),
        ("is not a weights file", lambda: run(nodes.LoadMotionModule, "page.ckpt")),
        ("use 'Apply Domain Adapter'", lambda: run(nodes.LoadMotionLora, loaded, "adapter.safetensors", 1.0)),
        (
            "it was made for another module",
            lambda: run(nodes.LoadMotionLora, loaded, "narrow.safetensors", 1.0),
        ),
        ("use 'Load Motion LoRA'", lambda: run(nodes.ApplyDomainAdapter, model, "pan.safetensors", 1.0)),
        (
            "changes 8 layers, 0 of them fit",
            lambda: run(nodes.ApplyDomainAdapter, model, "wide.safetensors", 1.0),
        ),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_v1_shares_norms_over_frames_and_leaves_none_behind():
    """Statistics over a clip: one odd frame changes all others' norms; cond and uncond never mix."""
    patching, model = pack("nodes.host.patching"), make_model()
    plain = sample(model)
    motion = make_motion(shared_norm=True, max_frames=24)
    own = make_motion(max_frames=24)
    shared = patching.apply_motion_module(model, motion)
    first = sample(shared)
    assert not torch.allclose(first, sample(patching.apply_motion_module(model, own)), atol=1e-2)
    assert torch.equal(sample(shared), first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("comfy.model_base.BaseModel.memory_required", lambda *args, **kwargs: 1e18)
        assert torch.allclose(sample(shared), first, atol=1e-3 * float(first.abs().max()))
    assert hook_count(model) == 0
    assert torch.equal(sample(model), plain)


def test_v1_hooks_are_on_the_45_norms_of_sd15():
    """The count that AnimateDiff v1 trained with, on the SD1.5 structure."""
    import comfy.ldm.modules.diffusionmodules.openaimodel as host
    import comfy.ops
    from choreographer.tests.nodes.tiny import unet_config

    settings = unet_config(
        channel_mult=(1, 2, 4, 4),
        num_res_blocks=[2] * 4,
        transformer_depth=[1] * 6 + [0, 0],
        transformer_depth_output=[1] * 9 + [0] * 3,
        operations=comfy.ops.disable_weight_init,
        device="meta",
    )
    unet = host.UNetModel(**settings)
    names = pack("core.motion.shared_norm").shared_norm_targets(unet)
    assert len(names) == len(set(names)) == 45
