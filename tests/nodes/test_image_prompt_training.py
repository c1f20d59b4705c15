"""Image prompts trained in the host: stages, what is kept, what is refused; subject data sets."""

import json

import pytest
import torch
from choreographer.tests.nodes.demo import make_demo_model
from choreographer.tests.nodes.test_image_attention import Vae
from choreographer.tests.nodes.test_image_prompt_nodes import ClipVision, clip, config  # noqa: F401
from choreographer.tests.nodes.tiny import fill, hook_count, make_motion, pack, sample

pytestmark = pytest.mark.usefixtures("comfy_host")
SMALL = {"steps": 2, "learning_rate": 1e-3, "seed": 0, "frames": 2, "size": (64, 64), "clips": 2}


@pytest.fixture(autouse=True)
def folders(own_folders, tmp_path):
    """Output and model folders of this test's own."""
    own_folders(models="image_prompt_models")
    return tmp_path


@pytest.fixture(scope="module")
def start(comfy_host):
    """An IMAGE_PROMPT_MODEL with a picture encoder, to go on from: places without weights yet."""
    network, attach = pack("core.image_prompt.network"), pack("core.image_prompt.attach")
    model = make_demo_model()
    places = tuple(block.place for block in attach.find_blocks(model.model.diffusion_model))
    built = network.ImagePrompt(network.ImagePromptConfig(places=places, mapper=config()))
    return pack("nodes.host.nets").as_patcher(fill(built, 7))


def train(clip, stage, prompt, model=None, motion=None, vision=None, **changes):  # noqa: F811
    training = pack("nodes.host.image_prompt_training")
    settings = training.PromptTraining(stage=stage, **{**SMALL, **changes})
    model = model or make_demo_model()
    with torch.inference_mode():
        return training.train_prompt(model, clip, Vae(), prompt, vision, motion, settings)


def test_coarse_then_fine_with_motion(clip, start, folders):  # noqa: F811
    model = make_demo_model()
    before = sample(model)
    coarse, curve = train(clip, "coarse", start, model, save_prefix="first")
    assert curve.shape[0] == 1 and curve.shape[3] == 3
    config_ = coarse.model.config
    assert config_.text and not config_.fine and config_.mapper == start.model.config.mapper
    assert [path.name for path in (folders / "models").iterdir()] == ["first_00001_.safetensors"]
    motion = make_motion(mid_block=True, layers_per_block=1)
    fine, _ = train(clip, "fine", coarse, model, motion, positions=True)
    assert fine.model.config.fine and fine.model.config.gains
    learnt = fine.model.places[0].picture.k.weight
    assert not torch.equal(
        learnt, model.model.diffusion_model.input_blocks[1][1].transformer_blocks[0].attn1.to_k.weight
    )
    assert hook_count(model) == 0 and torch.equal(sample(model), before)
    assert not any((folders / "output").rglob("checkpoint.pt"))
    apply = pack("nodes.host.image_attention").apply_image_attention
    assert not torch.equal(sample(apply(model, fine, ())), before)


def test_a_fresh_model_reads_the_given_picture_encoder(clip):  # noqa: F811
    trained, _ = train(clip, "coarse", None, vision=ClipVision())
    assert trained.model.config.mapper.source == 16 and trained.model.vision is None


def test_a_picture_encoder_that_is_no_clip_model_is_refused(clip):  # noqa: F811
    vision = ClipVision()
    vision.model = torch.nn.Module()
    with pytest.raises(ValueError, match="has no class embedding, as DINOv2 and SigLIP"):
        train(clip, "coarse", None, vision=vision)


def test_a_fresh_model_may_bring_its_own_picture_encoder(clip):  # noqa: F811
    trained, _ = train(clip, "joint", None)
    assert trained.model.config.mapper.vision is not None and trained.model.config.fine
    value = (
        pack("nodes.image_prompt").EncodeImagePrompt.execute(torch.rand(1, 32, 32, 3), 0.0, trained).result[0]
    )
    assert value.tokens.shape == (1, 5, 64)


def test_training_does_not_use_the_hosts_choice_of_attention(clip, start, monkeypatch):  # noqa: F811
    import comfy.ldm.modules.attention as attention

    def no_backward(*_, **__):
        raise RuntimeError("no backward pass")

    monkeypatch.setattr(attention, "optimized_attention", attention.wrap_attn(no_backward))
    train(clip, "coarse", start, steps=1)


def test_an_interrupt_keeps_what_was_learnt(clip, start, folders, monkeypatch):  # noqa: F811
    from comfy import model_management

    training = pack("nodes.host.image_prompt_training")

    def interrupting(losses):
        return lambda *_: model_management.interrupt_current_processing(True)

    monkeypatch.setattr(training, "reporter", interrupting)
    try:
        with pytest.raises(model_management.InterruptProcessingException):
            train(clip, "coarse", start)
    finally:
        model_management.interrupt_current_processing(False)
    (kept,) = (folders / "output").rglob("checkpoint.pt")
    assert torch.load(kept, weights_only=True)["step"] == 1


def test_an_interrupted_run_goes_on_only_with_the_same_models(clip, start, monkeypatch):  # noqa: F811
    """Another motion module, another schedule of it and another clip skip each have a run of their own."""
    training = pack("nodes.host.image_prompt_training")
    folders = []

    def full(family, *_):
        folders.append(make_plan(family, *_).folder)
        raise OSError("stopped here")

    make_plan = training.make_plan
    monkeypatch.setattr(training, "make_plan", full)
    skipped = clip.clone()
    skipped.clip_layer(-2)
    motions = [make_motion(mid_block=True, layers_per_block=1, **more) for more in ({}, {"seed": 8})]
    motions += [None, make_motion(mid_block=True, layers_per_block=1, beta_schedule="scaled_linear")]
    for chosen, motion in [(clip, each) for each in motions] + [(skipped, None), (clip, None)]:
        with pytest.raises(OSError, match="stopped here"):
            train(chosen, "coarse", start, motion=motion)
    assert folders[-1] == folders[2], "the same inputs find the run again"
    assert len(set(folders)) == 5


def test_clips_are_noised_as_the_motion_module_was(clip, start, monkeypatch):  # noqa: F811
    """By its schedule; by the host's own one without a module."""
    core, named = pack("core.training.image_prompt"), []
    diffusion = core.Diffusion
    monkeypatch.setattr(
        core, "Diffusion", lambda names, *rest: named.append(names) or diffusion(names, *rest)
    )
    moving = make_motion(mid_block=True, layers_per_block=1, beta_schedule="linear")
    for motion in (moving, None):
        train(clip, "coarse", start, motion=motion, steps=1)
    assert named == [("linear",), ("scaled_linear",)]


def test_clip_skip_is_that_of_the_connected_clip(clip, start):  # noqa: F811
    """Whatever was encoded last: all copies of a CLIP share one text encoder."""
    training = pack("nodes.host.image_prompt_training")
    skipped = clip.clone()
    skipped.clip_layer(-2)
    wanted = {one: one.encode_from_tokens(one.tokenize("a dog")) for one in (clip, skipped)}
    assert not torch.equal(wanted[clip], wanted[skipped])
    for one, other in ((clip, skipped), (skipped, clip)):
        other.encode_from_tokens(other.tokenize("a dog"))
        model = make_demo_model()
        with torch.inference_mode(False):
            family = training.HostPromptFamily(
                model, one, None, pack("core.image_prompt.network").ImagePrompt(start.model.config)
            )
            found = family.context(["a dog"], ["dog"], [None])
        family.remove()
        assert torch.allclose(found, wanted[one].float(), atol=1e-5)


def test_what_does_not_belong_together_is_refused(clip, start):  # noqa: F811
    with pytest.raises(ValueError, match="Real clips need a picture encoder"):
        train(clip, "coarse", None, dataset="somewhere")
    with pytest.raises(ValueError, match="There is no text encoder"):
        train(None, "coarse", start)
    with pytest.raises(ValueError, match="There is no data set"):
        train(clip, "coarse", start, dataset="nowhere")


def test_it_is_refused_before_anything_is_encoded(clip, start, monkeypatch):  # noqa: F811
    def encoded(*_):
        raise AssertionError("encoded")

    monkeypatch.setattr(Vae, "encode", encoded)
    with pytest.raises(ValueError, match="save_prefix is"):
        train(clip, "coarse", start, save_prefix="../there")
    with pytest.raises(ValueError, match="have 40 frames, this motion module takes at most 32"):
        train(clip, "coarse", start, motion=make_motion(mid_block=True, layers_per_block=1), frames=40)
    with pytest.raises(ValueError, match="parts, this UNet has"):
        train(clip, "coarse", start, motion=make_motion())


def test_a_run_that_cannot_begin_leaves_no_hooks(clip, start, monkeypatch):  # noqa: F811
    model = make_demo_model()
    with pytest.raises(ValueError, match="parts, this UNet has"):
        train(clip, "coarse", start, model, make_motion())
    assert hook_count(model) == 0

    def full(*_):
        raise OSError("no such output folder")

    monkeypatch.setattr(pack("nodes.host.image_prompt_training"), "make_plan", full)
    fitting = make_motion(mid_block=True, layers_per_block=1)
    with pytest.raises(OSError, match="no such output folder"):
        train(clip, "coarse", start, model, fitting)
    assert hook_count(model) == 0


def test_the_data_set_node(folders):
    from PIL import Image

    videos = folders / "videos"
    videos.mkdir()
    frames = [Image.new("RGB", (64, 64), (40 * n, 0, 0)) for n in range(3)]
    frames[0].save(videos / "a.webp", save_all=True, append_images=frames[1:])
    (videos / "a.txt").write_text("a dog runs")
    (videos / "a.boxes.json").write_text(json.dumps({"0": [8, 8, 40, 40]}))
    run = pack("nodes.image_prompt_training").BuildSubjectDataSet.execute
    path, report = run(str(videos), "set", "dog: dog", "known", 10, 0.6).result
    assert report.splitlines() == [
        "1 kept, 0 no caption, 0 no key word, 0 no box, 0 unreadable",
        "a.webp: 1 boxes",
    ]
    assert str(folders / "output" / "set") in path
    faces = run(str(videos), "set", "dog = face: dog", "faces", 10, 0.6).result[1]
    assert "1 no box" in faces
    for values, message in (
        (("", "set", "dog: dog", "known"), "videos is '', expected a folder"),
        ((str(videos), "../up", "dog: dog", "known"), "expected a name inside"),
        ((str(videos), "set", "dog: dog", "model"), "source is '', expected the folder that the model is in"),
    ):
        with pytest.raises(ValueError, match=message):
            run(*values, 10, 0.6)
