"""The nodes of the control room: files and parts, images at any frames, trajectories, what they refuse."""

import pytest
import torch
from choreographer.tests.nodes.control import RANK, flow_map, make_net, patcher, run_guider
from choreographer.tests.nodes.demo import make_demo_model, make_vae
from choreographer.tests.nodes.tiny import make_cond, pack, sample
from safetensors.torch import save_file

pytestmark = pytest.mark.usefixtures("comfy_host")
SIDE, FRAMES = 64, 4  # 8 x 8 latents
ALL = (1.0, 0.0, 1.0)  # strength and percents


@pytest.fixture(scope="module")
def model(comfy_host):
    return make_demo_model()


@pytest.fixture(scope="module")
def vae(comfy_host):
    return make_vae()


@pytest.fixture(scope="module")
def image_net(comfy_host):
    return patcher(make_net("image", roles=()))


@pytest.fixture
def nodes(comfy_host):
    return pack("nodes.control")


def keyframes(*frames, side=SIDE, **options):
    images = torch.rand(len(frames), side, side, 3, generator=torch.Generator().manual_seed(3))
    return pack("core.keyframes").keyframes_of_batch(images, frames, **options)


def with_images(nodes, net, vae, *frames, **options):
    with torch.inference_mode():
        return nodes.ApplyImageControlNet.execute(
            make_cond(11), make_cond(12), net, keyframes(*frames, **options), *ALL, vae
        ).result


def run(model, prompts, frames=FRAMES, steps=2):
    return sample(model, frames, steps, positive=prompts[0], negative=prompts[1])


def far(a, b):
    return float((a - b).abs().max() / b.abs().max())


def test_any_set_of_frames(nodes, model, image_net, vae):
    """Each set acts, differs, is told by its frames alone, and the last frame may be called -1."""
    sets = [(0,), (3,), (0, 3), (0, 1, 2, 3)]
    results = [run(model, with_images(nodes, image_net, vae, *frames)) for frames in sets]
    plain = sample(model, FRAMES, 2)
    for i, first in enumerate(results):
        assert all(far(first, other) > 1e-3 for other in (plain, *results[:i]))
    assert torch.equal(run(model, with_images(nodes, image_net, vae, -1)), results[1])


def test_the_condition_holds_latents_and_masks_at_the_frames(nodes, model, image_net, vae):
    prompts = with_images(nodes, image_net, vae, 2, 0)
    hint = prompts[0][0][1]["control"].hint
    hint.prepare(model.model)
    found = hint.condition(FRAMES, range(FRAMES), (8, 8))
    with torch.inference_mode():
        latents = model.model.process_latent_in(vae.encode(keyframes(2, 0).images))
    assert torch.equal(found[0, [2, 0], :4], latents) and not found[0, [1, 3]].any()
    assert found[0, :, 4].amax((1, 2)).tolist() == found[0, :, 4].amin((1, 2)).tolist() == [1, 0, 1, 0]
    window = hint.condition(FRAMES, [3, 2], (8, 8))
    assert torch.equal(window, found[:, [3, 2]])


def test_a_weak_keyframe_is_a_share_of_it(nodes, model, image_net, vae):
    hints = [
        with_images(nodes, image_net, vae, 1, **options)[0][0][1]["control"].hint
        for options in ({}, {"strength": 0.25})
    ]
    conditions = []
    for hint in hints:
        hint.prepare(model.model)
        conditions.append(hint.condition(FRAMES, range(FRAMES), (8, 8)))
    assert torch.equal(conditions[0] * 0.25, conditions[1])


def test_a_scribble_net_needs_no_vae(nodes, model):
    net = patcher(make_net("pixels", roles=()))
    result = run(model, with_images(nodes, net, None, 0))
    assert far(result, sample(model, FRAMES, 2)) > 1e-3


@pytest.mark.parametrize(
    ("frames", "options", "message"),
    [
        ((4,), {}, r"set for frame 4, the clip has frames 0 to 3 \(or -4 to -1 from the end\)"),
        ((0, -4), {}, "Frame 0 has two keyframes"),
        ((0,), {"side": 128}, "image for frame 0 is 128x128, the clip is 64x64.* a prompt has an area"),
    ],
)
def test_keyframes_that_do_not_fit(nodes, model, image_net, vae, frames, options, message):
    with pytest.raises(ValueError, match=message):
        run(model, with_images(nodes, image_net, vae, *frames, **options))


def test_the_wrong_kind_of_net(nodes, image_net, vae):
    flow_net = patcher(make_net())
    with pytest.raises(ValueError, match="takes trajectories, not images"):
        with_images(nodes, flow_net, vae, 0)
    with pytest.raises(ValueError, match="takes images as latents: connect the model's VAE"):
        with_images(nodes, image_net, None, 0)
    with pytest.raises(ValueError, match="takes image, not trajectories"):
        along(nodes, image_net)


def along(nodes, net, mode="object", weights=(1.0, 1.0), schedules=(), prompts=None):
    prompts = prompts or (make_cond(11), make_cond(12))
    return nodes.ApplyTrajectoryControlNet.execute(
        *prompts, net, flow_map(), mode, *weights, *ALL, *schedules
    ).result


def test_modes_and_mixes(nodes):
    net, lora = patcher(make_net()), pack("core.control.lora")
    mixes = {
        mode: along(nodes, net, mode)[0][0][1]["control"].mix for mode in ("object", "camera", "base", "mix")
    }
    assert mixes == {**lora.MIXES, "mix": lora.LoraMix(1.0, 1.0)}
    weighed = along(nodes, net, "mix", (0.5, 2.0), ("", "0:0, 2:1", ""))[0][0][1]["control"].mix
    assert weighed == lora.LoraMix((0.0, 0.25, 0.5, 0.5), 2.0)
    with pytest.raises(ValueError, match="camera_schedule: key 9 is past the last frame"):
        along(nodes, net, "mix", schedules=("", "9:1", ""))
    names = ("strength_schedule", "camera_schedule", "object_schedule")
    for i, name in enumerate(names):
        with pytest.raises(ValueError, match=f"{name}: expected 'frame:number'"):
            along(nodes, net, "mix", schedules=tuple("fast" if i == j else "" for j in range(3)))


@pytest.mark.parametrize(("place", "name"), [(1, "camera_schedule"), (2, "object_schedule")])
def test_schedules_of_the_loras_need_mode_mix(nodes, place, name):
    schedules = ["", "", ""]
    schedules[place] = "0:0, 2:1"
    for mode in ("object", "camera", "base"):
        with pytest.raises(ValueError, match=f"{name} acts in mode mix only, the mode is {mode}"):
            along(nodes, patcher(make_net()), mode, schedules=tuple(schedules))


def test_image_and_trajectory_together_under_the_guider(nodes, model, image_net, vae):
    prompts = along(nodes, patcher(make_net()), prompts=with_images(nodes, image_net, vae, 0, -1))
    guider = nodes.CameraFreeGuider.execute(model, *prompts, 4.0, 1.5, "eq5", 0.0, 1.0).result[0]
    found = run_guider(guider, steps=2)
    assert torch.isfinite(found).all() and far(found, run(model, prompts)) > 1e-3


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder in place of the user's models/controlnet."""
    import folder_paths

    places = ([str(tmp_path)], folder_paths.supported_pt_extensions)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "controlnet", places)
    return tmp_path


@pytest.fixture
def net_files(folder):
    """A net in one file, and in parts."""
    files, layouts, net = (
        pack("core.control.lora_files"),
        pack("core.control.layouts"),
        make_net(heads=8, motion_heads=8),
    )
    base = {key: tensor.contiguous() for key, tensor in layouts.published_weights(net).items()}
    save_file(base, folder / "base.safetensors")
    whole = files.wrapped_weights(net, base)
    torch.save({"state_dict": {key: t.contiguous() for key, t in whole.items()}}, folder / "whole.ckpt")
    for role in ("camera", "object"):
        files.save_lora(net, role, folder / f"{role}.safetensors")
    return net


def test_one_file_and_parts_are_the_same_net(nodes, net_files):
    load = nodes.LoadVideoControlNet
    assert [i.options for i in load.define_schema().inputs][1][0] == nodes.IN_THE_FILE
    whole = load.execute("whole.ckpt", nodes.IN_THE_FILE, nodes.IN_THE_FILE).result[0].model
    parts = load.execute("base.safetensors", "camera.safetensors", "object.safetensors").result[0].model
    expected = net_files.state_dict()
    for net in (whole, parts):
        state = net.state_dict()
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[key].float(), expected[key]) for key in expected)
        assert len(net.lora.branches("object")["conv_in"].down.weight) == RANK


def test_what_is_missing_is_said(nodes, net_files, caplog):
    with caplog.at_level("INFO"):
        net = nodes.LoadVideoControlNet.execute("base.safetensors", nodes.IN_THE_FILE, "object.safetensors")
    assert "Video ControlNet: no camera LoRA" in caplog.text and "no object LoRA" not in caplog.text
    with pytest.raises(ValueError, match=r"no camera LoRA \(it has: object\)"):
        along(nodes, net.result[0], "camera")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("camera.safetensors", None, None), "holds LoRA weights alone"),
        (("base.safetensors", "object.safetensors", None), "holds the object LoRA, expected the camera LoRA"),
        (("base.safetensors", None, "base.safetensors"), "no LoRA part of a video ControlNet"),
        (("gone.safetensors", None, None), "File 'gone.safetensors' is not in"),
    ],
)
def test_files_that_are_no_net_or_part(nodes, net_files, names, message):
    with pytest.raises(ValueError, match=message):
        nodes.LoadVideoControlNet.execute(*(name or nodes.IN_THE_FILE for name in names))


def test_a_file_that_is_no_video_controlnet(nodes, folder):
    save_file({"input_hint_block.0.weight": torch.zeros(1)}, folder / "other.safetensors")
    with pytest.raises(ValueError, match="is not a video ControlNet"):
        nodes.LoadVideoControlNet.execute("other.safetensors", nodes.IN_THE_FILE, nodes.IN_THE_FILE)
