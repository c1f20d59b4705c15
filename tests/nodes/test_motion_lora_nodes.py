"""Train Motion LoRAs in a real host: what it trains, refuses, keeps, and leaves behind."""

import numpy as np
import pytest
import torch
from choreographer.tests.nodes.control import RANK, make_net, patcher
from choreographer.tests.nodes.demo import make_demo_model, make_vae
from choreographer.tests.nodes.test_training_nodes import Words, same
from choreographer.tests.nodes.tiny import hook_count, make_motion, pack

pytestmark = pytest.mark.usefixtures("comfy_host")
FRAMES, SIDE = 2, 64


@pytest.fixture
def folders(own_folders):
    """The host's input, output and ControlNet folders, in a place of their own."""
    return own_folders(nets="controlnet")


@pytest.fixture(scope="module")
def parts(comfy_host):
    """Model, VAE, motion module and a flow net with an object LoRA, as the stock loaders make them."""
    with torch.inference_mode():
        return {
            "model": make_demo_model(),
            "clip": Words(),
            "vae": make_vae(),
            "motion": make_motion(layers_per_block=1, mid_block=True),
            "control": patcher(make_net("flow", roles=())),
        }


def images(clips=1, seed=3):
    """Clips of the sprite world in which the view pans."""
    rng, data = np.random.default_rng(seed), pack("core.data.free_motion")
    scenes = [data.free_scene(rng, FRAMES, "camera") for _ in range(clips)]
    drawn = [pack("core.data.render").render_images(scene, SIDE, SIDE) for scene in scenes]
    return torch.from_numpy(np.concatenate(drawn))


def train(parts, footage, dataset="none", **changes):
    """As the host runs a node: in inference mode."""
    host, lora = pack("nodes.host.motion_lora_training"), pack("core.training.flow_control")
    models = host.Models(**{**parts, **{k: changes.pop(k) for k in ("control", "image") if k in changes}})
    asked = {"frames": FRAMES, "rank": 2, "steps": 1, "learning_rate": 1e-3, "seed": 5, **changes}
    settings = host.LoraSettings(**{"orthogonal": lora.Orthogonal(0.5), **asked})
    clips = [pack("nodes.host.footage").Footage(kind, pixels, FRAMES, text) for kind, pixels, text in footage]
    with torch.inference_mode():
        return host.train_motion_loras(models, clips, settings, dataset)


def both():
    return [("camera", images(), "a view"), ("mixed", images(1, 4), "a ball")]


def test_both_loras_learn_and_nothing_else_is_touched(folders, parts):
    before = {
        k: {n: w.clone() for n, w in parts[k].model.state_dict().items()}
        for k in ("model", "motion", "control")
    }
    rng = torch.get_rng_state()
    net, curves = train(parts, both(), save_prefix="mine")
    assert torch.equal(torch.get_rng_state(), rng) and hook_count(parts["model"]) == 0
    assert all(same(kept, parts[k].model.state_dict()) for k, kept in before.items())
    assert parts["control"].model.lora is None and curves.shape[0] == 2 and curves.shape[-1] == 3
    lora = net.model.lora
    assert set(lora.roles) == {"camera", "object"}
    assert all(
        any(branch.ups[0].weight.any() for branch in lora.branches(role).values()) for role in lora.roles
    )
    assert lora.branches("camera")["conv_in"].down.weight.shape[0] == 2
    base = {k: v for k, v in net.model.state_dict().items() if not k.startswith("lora.")}
    assert same(base, parts["control"].model.state_dict())
    (file,) = folders.nets.glob("*")
    read = pack("core.control.layouts").read_video_controlnet(file)
    assert file.name == "mine_00001_.safetensors" and set(read.lora.roles) == {"camera", "object"}
    assert not folders.runs.exists() or not list(folders.runs.glob("*")), "a finished run keeps no checkpoint"


def test_one_kind_of_clips_trains_one_lora_and_a_lora_is_trained_further(folders, parts):
    given = patcher(make_net("flow", roles=("camera",)))
    camera = {k: v.clone() for k, v in given.model.lora.roles["camera"].state_dict().items()}
    net, curves = train(parts, both()[1:], control=given)
    assert curves.shape[0] == 1 and same(camera, net.model.lora.roles["camera"].state_dict())
    assert set(net.model.lora.roles) == {"camera", "object"}
    net, _ = train(parts, both()[:1], control=given, image=patcher(make_net("image", roles=())))
    further = net.model.lora.roles["camera"].state_dict()
    assert not same(camera, further) and set(net.model.lora.roles) == {"camera"}
    assert further["conv_in.down.weight"].shape[0] == RANK and same(
        camera, given.model.lora.roles["camera"].state_dict()
    )


def test_an_interrupt_is_raised_and_the_next_run_goes_on(folders, parts, monkeypatch):
    import comfy.model_management as management

    whole, _ = train(parts, both(), steps=2)
    recipe = pack("core.training.control")
    true_loss, calls = recipe.keyframe_loss, []

    def loss(*args, **terms):
        calls.append(1)
        if len(calls) == 3:
            management.interrupt_current_processing()
        return true_loss(*args, **terms)

    monkeypatch.setattr(recipe, "keyframe_loss", loss)
    with pytest.raises(management.InterruptProcessingException):
        train(parts, both(), steps=2)
    assert len(calls) == 3 and hook_count(parts["model"]) == 0
    assert sorted(p.parent.name for p in folders.runs.glob("*/*/checkpoint.pt")) == ["camera", "object"]
    resumed, _ = train(parts, both(), steps=2)
    assert len(calls) == 4 and same(whole.model.state_dict(), resumed.model.state_dict())
    assert not list(folders.runs.glob("*"))


def test_a_folder_of_curated_clips_is_read_from_the_input_folder(folders, parts):
    dataset, footage = pack("core.data.dataset"), pack("nodes.host.footage")
    with pytest.raises(ValueError, match="no folder of curated clips 'real'"):
        train(parts, [], "real")
    folders.input.mkdir()
    tracks, seen = torch.rand(9, FRAMES, 2) * SIDE, torch.ones(9, FRAMES, dtype=torch.bool)
    clip = (images().numpy() * 255).astype(np.uint8)
    dataset.write_clip(folders.input / "real", "00000", clip, tracks, seen)
    entry = {"name": "00000", "kind": "camera", "caption": "a street"}
    dataset.write_index(folders.input / "real", (SIDE, SIDE), [entry], [])
    assert footage.dataset_names() == ["none", "real"]
    net, _ = train(parts, [], "real")
    assert set(net.model.lora.roles) == {"camera"}
    with pytest.raises(ValueError, match=f"Clip '00000' of 'real' has {FRAMES} frames, frames is 3"):
        train({**parts, "vae": None}, [], "real", frames=3)


def test_what_cannot_be_trained_is_refused_in_a_sentence(folders, parts):
    moving = pack("nodes.host.patching").apply_motion_module(parts["model"], parts["motion"])
    image, other = (
        patcher(make_net("image", roles=())),
        patcher(make_net("flow", channels=(32, 64, 64), roles=())),
    )
    odd = torch.rand(2, 60, 64, 3)
    for message, call in {
        "nothing to learn from": lambda: train(parts, []),
        "before 'Apply Motion Module'": lambda: train({**parts, "model": moving}, both()),
        "control_net takes image as condition, expected flow": lambda: train(parts, both(), control=image),
        "image_net takes flow": lambda: train(parts, both(), image=parts["control"]),
        "was made for a model of widths": lambda: train(parts, both(), control=other),
        "take at most 32": lambda: train(parts, both(), frames=33),
        "There are 3 images, expected a multiple of 2": lambda: train(
            parts, [("camera", torch.rand(3, 64, 64, 3), "")]
        ),
        "64x60, expected multiples of 8": lambda: train(parts, [("camera", odd, "")]),
        "save_prefix is": lambda: train({**parts, "vae": None}, both(), save_prefix="../net"),
        "2 captions for 1 clips": lambda: train(parts, [("camera", images(), "a\nb")]),
    }.items():
        with pytest.raises(ValueError, match=message):
            call()
        assert hook_count(parts["model"]) == 0
    assert not folders.runs.exists()


def test_the_host_predicts_as_the_command_line_does(folders, parts):
    """The same net on diffusers' UNet with the same weights: one prediction, and its gradient."""
    base, recipe = pack("core.training.base_model"), pack("core.training.control")
    attach, sites = pack("core.motion.attach"), pack("core.motion.sites")
    training, motion_model = pack("nodes.host.training"), pack("core.motion.model")
    own = parts["model"].model.diffusion_model.state_dict()
    unet = base.make_unet()
    unet.load_state_dict({key: own[base.unet_key(key)].clone() for key in unet.state_dict()})
    motion = motion_model.MotionModel(parts["motion"].model.config)
    motion.load_state_dict({k: v.clone() for k, v in parts["motion"].model.state_dict().items()})
    contexts = {"a": torch.randn(1, 7, 64)}
    host = training.HostFamily(parts["model"], motion, contexts)
    net = pack("core.control.copies").copy_control(parts["control"].model, dtype=torch.float32)
    noisy, steps = torch.randn(1, FRAMES, 4, 8, 8), torch.tensor([300])
    drawn = recipe.Drawn(noisy, ["a"], torch.randn(1, FRAMES, 2, SIDE, SIDE), [[]], torch.tensor([0, 5]))
    gradients = []
    state = attach.MotionState(frames=FRAMES, places=drawn.places)

    class Plain:
        device = torch.device("cpu")

        def context(self, texts):
            return contexts["a"]

        def predict(self, folded, times, texts, frames, places, residuals):
            text, times = contexts["a"].repeat_interleave(frames, 0), times.repeat_interleave(frames, 0)
            added = dict(
                zip(
                    ("down_block_additional_residuals", "mid_block_additional_residual"),
                    residuals,
                    strict=True,
                )
            )
            return unet(folded, times, text, return_dict=False, **added)[0]

    for family, module, own_state in ((host, host.unet, host.state), (Plain(), unet, state)):
        hooks = attach.attach(motion, sites.find_sites(module, True), own_state)
        found = recipe.predict(family, recipe.Acting(net), noisy, steps, ["a"], drawn)
        net.zero_grad()
        found.square().mean().backward()
        hooks.remove()
        gradients.append((found.detach(), net.controlnet_cond_embedding.weight.grad.clone()))
    for ours, theirs in zip(*gradients, strict=True):
        assert float((ours - theirs).abs().max() / theirs.abs().max()) < 1e-4


def test_the_node_reads_its_inputs(comfy_host, monkeypatch):
    node, asked = pack("nodes.motion_loras"), {}

    def note(models, footage, settings, dataset):
        asked.update(models=models, footage=footage, settings=settings, dataset=dataset)
        return "net", torch.zeros(2, 8, 8, 3)

    monkeypatch.setattr(node, "train_motion_loras", note)
    monkeypatch.setattr(node.ui, "PreviewImage", lambda image, cls: {"images": []})
    result = node.TrainMotionLoras.execute(
        "model", "clip", "vae", "motion", "control", 4, 8, 2, 1e-3, 1, 3, 0.2, "identity",
        object_clips=torch.zeros(4, 8, 8, 3), object_captions="a", image_net="image", save_prefix=" x ",
    ).result  # fmt: skip
    assert result[0] == "net" and result[1].shape == (2, 8, 8, 3)
    (only,) = asked["footage"]
    assert (only.kind, only.frames, only.captions) == ("mixed", 4, "a") and asked["dataset"] == "none"
    settings, models = asked["settings"], asked["models"]
    assert (settings.rank, settings.clips_per_step, settings.save_prefix) == (8, 3, "x")
    assert (settings.orthogonal.weight, settings.orthogonal.target) == (0.2, "identity")
    assert models.motion == "motion" and models.control == "control" and models.image == "image"
