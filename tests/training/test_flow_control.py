"""Image Conductor's recipes: what learns, what stays, the loss between the LoRAs, the file, going on."""

from dataclasses import replace

import pytest
import torch
from choreographer.core.control.layouts import missing_parts, read_video_controlnet
from choreographer.core.control.lora import MIXES, add_lora
from choreographer.core.training import __main__ as command
from choreographer.core.training import control as recipe
from choreographer.core.training import flow_control
from choreographer.core.training.diffusion import Batch, Family
from choreographer.core.training.flow_clips import TrackedLatents
from choreographer.core.training.loop import Plan
from safetensors.torch import load_file

FRAMES, WIDTHS, SIDE = 2, (32, 64, 64), 32


def words(texts):
    return torch.stack([torch.full((77,), 49407 - len(text)) for text in texts])


@pytest.fixture(scope="module")
def clips():
    generator = torch.Generator().manual_seed(1)
    tracks = SIDE * torch.rand(3, 9, FRAMES, 2, generator=generator)
    latents = torch.randn(3, FRAMES, 4, 4, 4, generator=generator)
    seen = torch.ones(3, 9, FRAMES, dtype=torch.bool)
    kinds = "camera", "object", "mixed"
    return TrackedLatents(latents, tracks, seen, ("a", "bb", "ccc"), kinds, (True,) * 3, (SIDE, SIDE))


@pytest.fixture
def training(clips, tmp_path):
    family = Family(words, WIDTHS, seed=2)
    net = recipe.make_control(family, "flow")
    plan = Plan(2, tmp_path, learning_rate=1e-2, warmup=0, average=0.0)
    return flow_control.FlowTraining(
        family, net, clips, plan, Batch(clips=1, frames=FRAMES), progress=lambda *_: None
    )


def weights(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def changed(module, before):
    return {key for key, value in module.state_dict().items() if not torch.equal(value, before[key])}


def test_the_net_learns_dense_then_sparse_and_goes_on_where_it_was(training, tmp_path):
    image = recipe.make_control(training.family)
    training.image = image
    frozen = (training.family.unet, training.family.text, training.family.motion, image)
    before = [weights(part) for part in frozen]
    start, seen = weights(training.control), []
    training.progress = lambda step, steps, *_: seen.append((step, steps))
    net = training.train_base(dense_steps=1)
    assert seen == [(1, 1), (1, 2), (2, 2)]
    assert not any(changed(part, own) for part, own in zip(frozen, before, strict=True))
    assert "controlnet_cond_embedding.weight" in changed(net, start)
    assert sorted(p.parent.name for p in tmp_path.glob("*/checkpoint.pt")) == ["dense", "sparse"]
    done = weights(net)
    net.load_state_dict(start)
    training.train_base(dense_steps=1)
    assert seen[3:] == [(1, 1), (2, 2)], "a finished run is read back and told of, not made again"
    assert not changed(net, done)


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(training, tmp_path):
    whole = replace(training, control=recipe.make_control(training.family, "flow"))
    whole.plan = replace(training.plan, folder=tmp_path / "whole")
    start = weights(whole.control)
    training.control.load_state_dict(start)
    steps = []
    training.progress, training.stop = lambda step, *_: steps.append(step), lambda: len(steps) == 1
    training.train_base(dense_steps=2)
    assert steps == [1] and not (tmp_path / "sparse").exists()
    training.stop = None
    training.control.load_state_dict(start)
    assert not changed(training.train_base(dense_steps=2), weights(whole.train_base(dense_steps=2)))


def test_each_lora_learns_alone_on_its_own_clips(training):
    net = training.control
    with torch.no_grad():
        for weight in (p for p in net.parameters() if not p.any()):
            weight.normal_(std=0.05)
    base = weights(net)
    add_lora(net, "camera", 2)
    add_lora(net, "object", 2)
    training.plan = replace(training.plan, steps=1)
    roles = {role: weights(net.lora.roles[role]) for role in ("camera", "object")}
    texts, mixes = [], []
    predict = recipe.predict
    spy = pytest.MonkeyPatch()
    spy.setattr(recipe, "predict", lambda *a: (texts.extend(a[4]), mixes.append(a[1].mix), predict(*a))[-1])
    try:
        training.train_lora("camera", flow_control.Orthogonal())
        camera = weights(net.lora.roles["camera"])
        assert changed(net.lora.roles["camera"], roles["camera"]) and set(texts) <= {"a", ""}
        assert not changed(net.lora.roles["object"], roles["object"])
        training.train_lora("object", flow_control.Orthogonal())
    finally:
        spy.undo()
    assert not changed(net.lora.roles["camera"], camera) and changed(
        net.lora.roles["object"], roles["object"]
    )
    assert [(mix.camera, mix.object) for mix in mixes] == [(1.0, 0.0), (1.0, 1.0)]
    now = net.state_dict()
    assert all(torch.equal(now[key], value) for key, value in base.items())


def test_eq_4_compares_the_matrices_of_each_published_layer(training):
    net = training.control
    camera, moving = (add_lora(net, role, 2).branches(role) for role in ("camera", "object"))
    pairs = []
    for name, branch in camera.items():
        parts = 3 if name.endswith(".qkv") else 1
        assert len(branch.down.weight) == 2 * parts
        pairs += zip(branch.down.weight.split(2), moving[name].down.weight.split(2), strict=True)
    products = torch.stack([a.flatten(1) @ b.flatten(1).T for a, b in pairs])
    zero, literal = flow_control.overlap(net), flow_control.overlap(net, "identity")
    assert torch.allclose(zero, products.square().sum((1, 2)).mean())
    assert torch.allclose(literal, (torch.eye(2) - products).square().sum((1, 2)).mean())


def test_one_lora_is_trained_on_while_the_other_stays(training):
    training.plan = replace(training.plan, steps=1)
    net = training.train_loras(3, flow_control.Orthogonal())
    with torch.no_grad():
        for weight in (p for p in net.parameters() if not p.any()):
            weight.normal_(std=0.05)
    kept = {role: weights(net.lora.roles[role]) for role in ("camera", "object")}
    training.plan = replace(training.plan, folder=training.plan.folder / "more")
    assert training.train_loras(5, flow_control.Orthogonal(), ["object"]) is net
    assert not changed(net.lora.roles["camera"], kept["camera"]), "it is neither trained nor made anew"
    assert changed(net.lora.roles["object"], kept["object"])
    assert {k: v.shape for k, v in weights(net.lora.roles["object"]).items()} == {
        k: v.shape for k, v in kept["object"].items()
    }, "trained on at the rank that it has"


def test_a_net_scaled_adds_what_its_strength_would(training):
    net = training.control
    for role in ("camera", "object"):
        add_lora(net, role, 2)
    with torch.no_grad():
        for weight in (p for p in net.parameters() if not p.any()):
            weight.normal_(std=0.05)
    net.double()
    flow, text = torch.randn(1, FRAMES, 2, SIDE, SIDE).double(), torch.randn(FRAMES, 77, 64).double()
    with torch.inference_mode():
        wanted = {mode: net(flow, 7, text, strength=1.4, mix=mix) for mode, mix in MIXES.items()}
        flow_control.scale_residuals(net, 1.4)
        made = {mode: net(flow, 7, text, mix=mix) for mode, mix in MIXES.items()}
    for mode in MIXES:
        pairs = zip((*made[mode].down, made[mode].mid), (*wanted[mode].down, wanted[mode].mid), strict=True)
        assert all(torch.allclose(a, b, rtol=1e-9) and b.any() for a, b in pairs)


def test_one_file_holds_base_and_both_loras_and_each_acts(training, tmp_path):
    training.plan = replace(training.plan, steps=1)
    net = training.train_loras(3, flow_control.Orthogonal(0.5))
    with torch.no_grad():
        for weight in (p for p in net.parameters() if not p.any()):
            weight.normal_(std=0.05)
    recipe.save_control(net, tmp_path / "net.safetensors")
    back = read_video_controlnet(tmp_path / "net.safetensors")
    assert not missing_parts(back) and set(back.lora.roles) == {"camera", "object"}
    flow, text = torch.randn(1, FRAMES, 2, SIDE, SIDE).double(), torch.randn(FRAMES, 77, 64).double()
    nets = net.double(), back.double()  # norms over two values at the bottom make much of the last bit
    with torch.inference_mode():
        made = {mode: [n(flow, 7, text, mix=mix).mid for n in nets] for mode, mix in MIXES.items()}
    assert max(float((a - b).abs().max()) for a, b in made.values()) < 1e-9
    assert not torch.equal(made["base"][0], made["camera"][0])
    assert not torch.equal(made["object"][0], made["camera"][0])


def test_the_commands_make_clips_net_and_loras(tmp_path, monkeypatch):
    from choreographer.core.training import autoencoder

    pair = {"encoder": autoencoder.encoder().state_dict(), "decoder": autoencoder.decoder().state_dict()}
    autoencoder.save(pair, tmp_path / "ae")
    monkeypatch.setattr(command, "_family", lambda options, fresh=(): Family(words, WIDTHS, seed=2))
    small = ["--clips", "3", "--frames", "3", "--device", "cpu", "--precision", "fp32"]
    command.main(["flow_clips", f"{tmp_path}/clips", "--autoencoder", f"{tmp_path}/ae", *small])
    steps = ["--latents", f"{tmp_path}/clips", "--steps", "1", "--clips", "1", "--frames", "2", "--span", "3"]
    steps += small[4:]
    command.main(["image_control", f"{tmp_path}/image", *steps])
    beside = ["--image-control", f"{tmp_path}/image/image_control.safetensors"]
    command.main(["flow_control", f"{tmp_path}/flow", *steps, *beside, "--dense-steps", "1"])
    net = read_video_controlnet(tmp_path / "flow" / "flow_control.safetensors")
    assert net.config.kind == "flow" and net.lora is None and net.config.channels == WIDTHS
    base = ["--flow-control", f"{tmp_path}/flow/flow_control.safetensors", "--rank", "2"]
    command.main(["motion_loras", f"{tmp_path}/loras", *steps, *beside, *base])
    net = read_video_controlnet(tmp_path / "loras" / "flow_control.safetensors")
    assert set(net.lora.roles) == {"camera", "object"} and not missing_parts(net)
    base[1] = f"{tmp_path}/loras/flow_control.safetensors"
    more = ["--roles", "object", "--object-clips", "object", "--residuals", "2"]
    command.main(["motion_loras", f"{tmp_path}/more", *steps, *beside, *base, *more])
    before, after = (load_file(tmp_path / run / "flow_control.safetensors") for run in ("loras", "more"))
    differ = [key for key in before if not torch.equal(before[key], after[key])]
    out = "controlnet_mid_block.base_layer.weight"
    assert before[out].any() and torch.equal(after[out], 2 * before[out])
    assert any("omcm" in key for key in differ) and all(
        "omcm" in key or key.startswith(("controlnet_down_", "controlnet_mid_")) for key in differ
    )
