"""Image prompt nodes: words replaced in the host's own text encoder, picture encoders, boxes, reports."""

from functools import partial

import pytest
import torch
from choreographer.tests.nodes.tiny import CONTEXT, fill, pack

pytestmark = pytest.mark.usefixtures("comfy_host")


@pytest.fixture(scope="module")
def clip(comfy_host):
    """The demo family's text encoder with random weights, as the stock loader makes one."""
    from comfy.sd import CLIP

    family = pack("nodes.host.demo_family")

    class Target:
        params, clip, tokenizer = {}, family.DemoClipModel, family.DemoTokenizerPair

    made = CLIP(Target(), embedding_directory=None)
    fill(made.cond_stage_model, 3)
    return made


def config(**changes):
    network, vision = pack("core.image_prompt.network"), pack("core.image_prompt.vision")
    tower = vision.VisionConfig(width=16, layers=3, heads=2, inner=32, patch=8, image=32)
    return network.MapperConfig(
        **{"source": 16, "hidden": 16, "target": CONTEXT, "layers": (3, 1), "vision": tower, **changes}
    )


@pytest.fixture(scope="module")
def model(comfy_host):
    """An IMAGE_PROMPT_MODEL with a picture encoder of its own."""
    network = pack("core.image_prompt.network")
    built = network.ImagePrompt(network.ImagePromptConfig(mapper=config()))
    return pack("nodes.host.nets").as_patcher(fill(built, 7))


def image(count=1, channels=3, seed=0):
    return torch.rand(count, 24, 16, channels, generator=torch.Generator().manual_seed(seed))


def encoded(model, images=None, **more):
    nodes = pack("nodes.image_prompt")
    given = {"image": image() if images is None else images, "margin": 0.0, "image_prompt_model": model}
    return nodes.EncodeImagePrompt.execute(**{**given, **more}).result


def prompted(clip, text, subject, value, pictures="average", frames=8):
    return (
        pack("nodes.image_prompt")
        .PromptWithImage.execute(clip, text, subject, value, pictures, frames)
        .result
    )


def by_hand(clip, rows):
    """The text encoder's answer to given input embeddings (a row for a token, or a vector)."""
    encoder = clip.cond_stage_model.clip_l
    table = encoder.transformer.get_input_embeddings().weight
    embeds = torch.stack([table[r] if isinstance(r, int) else r for r in rows])[None].float()
    with torch.inference_mode():
        return encoder.transformer(None, None, embeds=embeds, num_tokens=[len(rows)], dtype=torch.float32)[0]


def plain(clip, text):
    (parts,) = clip.tokenize(text).values()
    return [token for token, _ in parts[0]]


def test_the_word_becomes_the_picture(clip, model):
    value, report = encoded(model)
    assert value.tokens.shape == (1, 2, CONTEXT) and "coarse tokens" in report
    conditioning, said = prompted(clip, "a red dog runs, Dog!", "dog", value)
    assert said == "1 picture in place of 'dog', 2 times"
    dog = plain(clip, "dog")[1]
    rows = []
    for token in plain(clip, "a red dog runs, Dog!"):
        rows += list(value.tokens[0]) if token == dog else [token]
    assert torch.allclose(conditioning[0][0], by_hand(clip, rows[:77]), atol=1e-5)


def test_weights_and_neighbours_of_the_word_are_kept(clip, model):
    value = encoded(model)[0]
    strong = prompted(clip, "a (dog:1.5) runs", "dog", value)[0][0][0]
    assert not torch.allclose(strong, prompted(clip, "a dog runs", "dog", value)[0][0][0], atol=1e-3)
    with pytest.raises(ValueError, match="The prompt has no word 'dog' .*: 'a hotdog and two dogs'"):
        prompted(clip, "a hotdog and two dogs", "dog", value)


def test_at_the_token_limit_nothing_is_lost(clip, model):
    """75 tokens fit; with the picture for the last word there are more, which go on in another part."""
    value = encoded(model)[0]
    full = "cat " * 74 + "dog"
    conditioning, said = prompted(clip, full, "dog", value)
    assert conditioning[0][0].shape == (1, 154, CONTEXT) and "fills 2 parts" in said
    start, *_, end = plain(clip, "")
    second = by_hand(clip, [start, *value.tokens[0], *[end] * 74])
    assert torch.allclose(conditioning[0][0][:, 77:], second, atol=1e-5)
    assert prompted(clip, "cat " * 73 + "dog", "dog", value)[0][0][0].shape[1] == 77


def test_several_pictures_are_averaged_or_spread(clip, model):
    value = encoded(model, image(3))[0]
    average, said = prompted(clip, "a dog", "dog", value)
    assert average[0][0].shape == (1, 77, CONTEXT) and said.startswith("3 pictures, averaged, in place")
    spread, said = prompted(clip, "a dog", "dog", value, "spread", 9)
    assert spread[0][0].shape == (9, 77, CONTEXT) and spread[0][1]["choreo_frames"] == 9
    parts = pack("nodes.host.image_prompt").ImagePromptValue
    middle = prompted(clip, "a dog", "dog", parts(value.pictures[1:2], value.tokens[1:2]))[0][0][0]
    assert torch.allclose(spread[0][0][4], middle[0], atol=1e-6)
    with pytest.raises(ValueError, match="3 pictures cannot be spread over 2 frames"):
        prompted(clip, "a dog", "dog", value, "spread", 2)


def test_prompts_of_a_schedule_take_the_picture(clip, model):
    value = encoded(model)[0]
    run = pack("nodes.prompts").PromptSchedule.execute
    positive, negative = run(
        clip,
        "0: a dog sits\n50% [hold]: a cat",
        9,
        "linear",
        negative="ugly",
        image_prompt=value,
        subject="dog",
    ).result
    assert torch.allclose(
        positive[0][0][0], prompted(clip, "a dog sits", "dog", value)[0][0][0][0], atol=1e-6
    )
    assert negative[0][0].shape == (1, 77, CONTEXT) and "choreo_frames" not in negative[0][1]
    assert torch.equal(negative[0][0], run(clip, "0: ugly", 1, "linear").result[0][0][0])
    with pytest.raises(ValueError, match="No prompt of the schedule has the word 'dog'"):
        run(clip, "0: a cat", 9, "linear", image_prompt=value, subject="dog")
    with pytest.raises(ValueError, match="No prompt of the schedule has the word 'dog'"):
        run(clip, "0: two hotdogs", 9, "linear", image_prompt=value, subject="dog")
    with pytest.raises(ValueError, match="write its subject"):
        run(clip, "0: a dog", 9, "linear", image_prompt=value)


def test_a_schedule_finds_words_as_the_text_encoder_divides_them(clip, model):
    value, run = encoded(model)[0], pack("nodes.prompts").PromptSchedule.execute
    for text, subject in (("a dog! runs", "dog!"), ("3dog", "dog")):
        scheduled = run(clip, f"0: {text}", 1, "linear", image_prompt=value, subject=subject).result[0]
        assert torch.equal(scheduled[0][0], prompted(clip, text, subject, value)[0][0][0])


def test_a_negative_track_and_weights(clip):
    run = pack("nodes.prompts").PromptSchedule.execute
    positive, negative = run(clip, "0 [1.5]: red\n8: blue", 9, "linear", negative="0: fog\n8: rain").result
    red, blue = (run(clip, f"0: {word}", 1, "linear").result[0][0][0] for word in ("red", "blue"))
    empty = run(clip, '0: ""', 1, "linear").result[0][0][0]
    assert torch.allclose(positive[0][0][0], (empty + 1.5 * (red - empty))[0], atol=1e-5)
    assert torch.equal(positive[0][0][8], blue[0])
    assert torch.equal(negative[0][0][0], run(clip, "0: fog", 1, "linear").result[0][0][0][0])
    with pytest.raises(ValueError, match="line 2: key 9 is past the last frame"):
        run(clip, "0: red", 9, "linear", negative="0: fog\n9: rain")


def test_pictures_with_masks_alpha_and_boxes(model):
    mask = torch.zeros(1, 24, 16)
    mask[:, 4:12, 2:10] = 1
    value, report = encoded(model, mask=mask)
    assert value.pictures[0].box == (2, 4, 10, 12) and "white outside the mask" in report
    assert encoded(model, image(channels=4))[0].pictures[0].image.shape[0] == 3
    boxed = encoded(model, image(2), box="0: 1, 1, 9, 9")[0]
    assert boxed.pictures[0].box == (1, 1, 9, 9) and boxed.pictures[1].box == (0, 0, 16, 24)
    bare, report = encoded(None)
    assert bare.tokens is None and "image attention only" in report
    with pytest.raises(ValueError, match="2 masks for 3 pictures"):
        encoded(model, image(3), mask=mask.repeat(2, 1, 1))
    with pytest.raises(ValueError, match="has no tokens: connect an image prompt model"):
        pack("nodes.host.worded").prompt_with_pictures(None, "a dog", "dog", bare, "average", 1)


def test_subject_box_finds_and_shows(comfy_host):
    run = pack("nodes.image_prompt").SubjectBox.execute
    mask = torch.zeros(1, 24, 16)
    mask[:, 4:12, 2:10] = 1
    box, subject, report = run(image(2), "mask", 0.0, mask=mask).result
    assert box == "0: 2, 4, 10, 12\n1: 2, 4, 10, 12" and subject.shape == (2, 8, 8, 3)
    assert "box of the mask" in report
    assert run(image(), "written", 0.0, box="1, 2, 9, 8").result[1].shape == (1, 8, 8, 3)
    assert run(image(), "whole picture", 0.5).result[0] == "0: 0, 0, 16, 24"
    for of_two in (partial(run, image(2), "written", 0.0), partial(encoded, None, image(2))):
        with pytest.raises(ValueError, match="boxes: picture 0 has 2 boxes"):
            of_two(box="1, 2, 9, 8\n0: 1, 1, 9, 9")
    for source, message in (
        ("mask", "source is 'mask', and there is none"),
        ("written", "box says nothing for picture 0"),
        ("face", "no face in picture 0"),
    ):
        with pytest.raises(ValueError, match=message):
            run(image(), source, 0.0)


class ClipVision:
    """Stands for the host's CLIP_VISION with CLIP's own tower in a small size."""

    image_size = 28

    def __init__(self, layers=24, width=16):
        import comfy.clip_model
        import comfy.ops
        from comfy.model_patcher import ModelPatcher

        sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": 2}
        sizes |= {"intermediate_size": 32, "hidden_act": "quick_gelu", "model_type": "clip_vision_model"}
        sizes |= {"num_channels": 3, "image_size": 28, "patch_size": 14, "projection_dim": 8}
        self.model = comfy.clip_model.CLIPVisionModelProjection(
            sizes, torch.float32, "cpu", comfy.ops.manual_cast
        )
        fill(self.model, 9).eval()
        self.load_device = torch.device("cpu")
        self.patcher = ModelPatcher(self.model, self.load_device, self.load_device)


def test_the_stock_picture_encoder_gives_the_published_states(comfy_host):
    """The host's layers, index k - 1, are the hidden states k that the tower of the same weights has."""
    host, vision = pack("nodes.host.image_prompt"), ClipVision()
    sizes = pack("core.image_prompt.vision").VisionConfig(16, 24, 2, 32, 14, 28)
    tower = pack("core.image_prompt.vision").VisionTower(sizes)
    weights = vision.model.vision_model.state_dict()
    tower.load_state_dict({key: weights[key] for key in tower.state_dict()})
    pixels = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        ours, theirs = tower(pixels), host.clip_states(vision, pixels)
    for number in (4, 8, 12, 16, 24):
        assert torch.allclose(ours[number], theirs[number], atol=1e-5)
    network = pack("core.image_prompt.network")
    built = network.ImagePrompt(network.ImagePromptConfig(mapper=config(vision=None, layers=network.LAYERS)))
    value = encoded(pack("nodes.host.nets").as_patcher(fill(built, 8)), clip_vision=vision)[0]
    assert value.tokens.shape == (1, 5, CONTEXT)
    with pytest.raises(ValueError, match="connect 'Load CLIP Vision'"):
        encoded(pack("nodes.host.nets").as_patcher(built))
    with pytest.raises(ValueError, match="has 6 layers 16 wide; .* reads 24 layers 16 wide"):
        encoded(pack("nodes.host.nets").as_patcher(built), clip_vision=ClipVision(6))
    dino, siglip = ClipVision(), ClipVision()
    dino.model = torch.nn.Module()
    siglip.model.vision_model.embeddings.class_embedding = None
    for other in (dino, siglip):
        with pytest.raises(ValueError, match="has no class embedding, as DINOv2 and SigLIP"):
            encoded(pack("nodes.host.nets").as_patcher(built), clip_vision=other)


def test_text_encoders_of_other_models_are_refused(model):
    class Other:
        cond_stage_model = tokenizer = object()

    value = encoded(model)[0]
    with pytest.raises(ValueError, match="Stable Diffusion 1.5's text encoder; this one is object"):
        prompted(Other(), "a dog", "dog", value)
    with pytest.raises(ValueError, match="There is no text encoder"):
        prompted(None, "a dog", "dog", value)
    with pytest.raises(ValueError, match="subject is empty"):
        prompted(Other(), "a dog", " ", value)
