"""Image prompts from coarse to fine: what each stage learns, what is drawn, what the measures say."""

import numpy as np
import pytest
import torch
from choreographer.core.data.scene import sample_scene
from choreographer.core.data.subject_records import describe, sprite_picture, sprite_records
from choreographer.core.image_prompt.layouts import read_image_prompt, save_image_prompt
from choreographer.core.image_prompt.network import MapperConfig
from choreographer.core.image_prompt.vision import VisionConfig
from choreographer.core.training.image_prompt import (
    COARSE,
    FINE,
    PromptBatch,
    PromptFamily,
    denoise_clips,
    make_prompt,
    take_over,
    train_image_prompt,
)
from choreographer.core.training.image_prompt_report import WAYS, interval, measure, sampled, table
from choreographer.core.training.latents import encode_images
from choreographer.core.training.loop import Plan
from choreographer.core.training.picture_encoder import train_picture_encoder
from choreographer.core.training.subjects import SubjectClips, encode_records, read_subjects, write_subjects

FRAMES, CONTEXT = 3, 64
TOWER = VisionConfig(width=16, layers=2, heads=2, inner=32, patch=16, image=64)
MAPPER = MapperConfig(source=16, hidden=16, target=CONTEXT, layers=(2, 0, 1), vision=TOWER)
BATCH = PromptBatch(clips=2, frames=FRAMES, drop=0.3)


class Words:
    """A tokenizer of whole words with CLIP's begin and end."""

    def __init__(self):
        self.known = {}

    def tokenizer(self, text):
        ids = [self.known.setdefault(word, len(self.known)) for word in text.replace(",", " ").split()]
        return {"input_ids": [49406, *ids, 49407]}

    def __call__(self, texts):
        rows = [self.tokenizer(text)["input_ids"] for text in texts]
        return torch.tensor([row + [49407] * (77 - len(row)) for row in rows])


def make_family():
    from choreographer.core.training.diffusion import Family

    family = Family(Words(), widths=(32, 64))
    with torch.no_grad():
        for site in family.motion.sites:  # fresh ones do nothing
            site.proj_out.weight.normal_(std=0.02)
    return family


@pytest.fixture(scope="module")
def family():
    return make_family()


def subjects(count=4):
    generator = torch.Generator().manual_seed(0)
    scenes = [sample_scene(np.random.default_rng(n), FRAMES, sprites=1) for n in range(count)]
    about = [describe(scene) for scene in scenes]
    return SubjectClips(
        torch.randn(count, FRAMES + 1, 4, 8, 8, generator=generator),
        [entry["text"] for entry in about],
        [entry["word"] for entry in about],
        torch.randint(256, (count, 2, 3, 64, 64), generator=generator).byte(),
        torch.randn(count, 2, 4, 8, 8, generator=generator),
        about,
    )


def plan(folder, steps=3):
    return Plan(steps, folder, learning_rate=1e-3, warmup=1, average=0.0)


def changed(before, after):
    return {key for key, value in after.items() if not torch.equal(value, before[key])}


@pytest.fixture(scope="module")
def coarse(family, tmp_path_factory):
    """The first stage: before and after."""
    prompt = make_prompt(family.unet, MAPPER, COARSE, positions=False)
    before = {key: value.clone() for key, value in prompt.state_dict().items()}
    prompted = PromptFamily(family, prompt)
    after = train_image_prompt(prompted, subjects(), plan(tmp_path_factory.mktemp("coarse")), COARSE, BATCH)
    prompted.remove()
    prompt.load_state_dict(after)
    return before, prompt


def test_stage_one_teaches_mapper_and_cross_attention_alone(coarse):
    before, prompt = coarse
    learnt = changed(before, prompt.state_dict())
    assert learnt and all(key.startswith(("mapper.", "places.")) for key in learnt)
    assert {key.split(".")[2] for key in learnt if key.startswith("places.")} == {"text"}


def test_stage_two_goes_on_and_teaches_everything(family, coarse, tmp_path):
    prompt = make_prompt(family.unet, MAPPER, FINE, positions=True)
    take_over(prompt, coarse[1])
    before = {key: value.clone() for key, value in prompt.state_dict().items()}
    assert all(torch.equal(before[key], value) for key, value in coarse[1].state_dict().items())
    prompted = PromptFamily(family, prompt)
    after = train_image_prompt(prompted, subjects(), plan(tmp_path / "run"), FINE, BATCH)
    prompted.remove()
    kinds = {".".join(key.split(".")[2:3]) for key in changed(before, after) if key.startswith("places.")}
    assert kinds == {"text", "frame", "picture", "gain"}
    assert not any(key.startswith("vision.") for key in changed(before, after))
    prompt.load_state_dict(after)
    save_image_prompt(prompt, tmp_path / "demo.safetensors", {"training": {"stage": FINE}})
    assert read_image_prompt(tmp_path / "demo.safetensors").config == prompt.config
    with pytest.raises(ValueError, match="made for another model: it differs at"):
        take_over(coarse[1], prompt)
    with pytest.raises(ValueError, match="Stage is 'all'"):
        make_prompt(family.unet, MAPPER, "all", False)


def test_the_picture_reaches_the_prediction_only_where_it_is_seen(family):
    """A dropped clip of a batch is predicted as if nobody had a picture."""
    torch.manual_seed(1)
    prompted = PromptFamily(family, make_prompt(family.unet, MAPPER, FINE, positions=False).eval())
    from choreographer.core.training.image_prompt import look
    from choreographer.core.training.losses import Diffusion

    diffusion, steps = Diffusion(("linear",)), torch.tensor([700, 300])
    noisy, looks = torch.randn(2, FRAMES, 4, 8, 8), torch.randn(2, 4, 8, 8)
    with torch.no_grad():
        context = prompted.context(["a", "b"], ["", ""], [None, None])
        without = denoise_clips(prompted, noisy, steps, context, None)
        look(prompted, looks, steps, torch.randn_like(looks), diffusion, (8, 8))
        seen = denoise_clips(prompted, noisy, steps, context, torch.diag(torch.tensor([1.0, 0.0])))
    prompted.remove()
    assert not torch.allclose(seen[0], without[0], atol=1e-4)
    assert torch.allclose(seen[1], without[1], atol=1e-5)


def test_words_become_tokens_in_the_text(family):
    prompted = PromptFamily(family, make_prompt(family.unet, MAPPER, COARSE, positions=False))
    tokens = torch.randn(3, CONTEXT)
    with torch.no_grad():
        plain = prompted.context(["a star moves"], ["star"], [None])
        given = prompted.context(["a star moves"], ["star"], [tokens])
        inputs = prompted._inputs("a star moves", "star", tokens)
    prompted.remove()
    assert torch.equal(inputs[2:5], tokens) and torch.equal(plain[0, :2], given[0, :2])
    assert not torch.allclose(plain[0, 2:], given[0, 2:], atol=1e-3)


def test_subject_pictures_show_the_sprite_and_captions_do_not():
    rng = np.random.default_rng(3)
    scene = sample_scene(rng, 4, sprites=1, colour="red", shape="star", texture="plain")
    about = describe(scene)
    assert about["word"] in about["text"] and "red" not in about["text"]
    picture = sprite_picture(scene, rng)
    assert picture.shape[1] == picture.shape[2] and picture[:, 0, 0].min() > 0.99
    middle = picture[:, picture.shape[1] // 2, picture.shape[2] // 2]
    assert middle[0] > 0.6 and middle[1] < 0.4
    other = sprite_picture(scene, rng)
    assert other.shape != picture.shape or not torch.equal(other, picture)


def test_a_folder_of_subjects_reads_back(tmp_path):
    from choreographer.core.training import autoencoder

    torch.manual_seed(0)
    encoder, done = autoencoder.encoder(), []
    made = encode_records(
        sprite_records(2, 2, seed=1, variants=2), lambda x: encode_images(encoder, x), 128, 64, done.append
    )
    write_subjects(tmp_path / "run", made)
    assert done == [1, 2]
    data = read_subjects(tmp_path / "run", tmp_path / "run")
    drawn = data.draw(3, 2, torch.Generator().manual_seed(0))
    assert drawn.latents.shape == (3, 2, 4, 16, 16) and drawn.looks.shape == (3, 4, 16, 16)
    assert drawn.pictures.shape == (3, 3, 64, 64) and 0 <= drawn.pictures.min() <= drawn.pictures.max() <= 1
    assert len(data.clips) == 4 and data.about[0]["colour"]
    with pytest.raises(ValueError, match="No subjects in"):
        read_subjects(tmp_path)
    with pytest.raises(ValueError, match="have 2 frames, the recipe asks for 3"):
        data.draw(1, 3, torch.Generator())
    with pytest.raises(ValueError, match="has no word 'dog'"):
        SubjectClips([0], ["a cat"], ["dog"], [0], [0])
    with pytest.raises(ValueError, match="differ in number"):
        SubjectClips([0], ["a cat", "a dog"], ["cat"], [0], [0])


def test_the_picture_encoder_learns_colours(tmp_path):
    """Pictures of one colour each: after a few steps they are told apart."""
    about = [
        {"shape": "star", "colour": c, "texture": "plain", "identity": 0}
        for c in ("blue", "green", "red") * 2
    ]
    pictures = torch.zeros(6, 1, 3, 64, 64, dtype=torch.uint8)
    for row, entry in enumerate(about):
        pictures[row, 0, ("red", "green", "blue").index(entry["colour"])] = 255
    data = SubjectClips([0] * 6, ["star"] * 6, ["star"] * 6, pictures, [0] * 6, about)
    losses = []
    tower = train_picture_encoder(
        data,
        Plan(12, tmp_path, 3e-3, warmup=1, average=0.0),
        6,
        progress=lambda s, n, so_far, t: losses.append(so_far[-1]),
    )
    assert losses[-1] < 0.2 * losses[0] and "embeddings.class_embedding" in tower


def test_measures_tell_right_from_wrong(family, monkeypatch):
    from choreographer.core.training import image_prompt_report

    monkeypatch.setattr(image_prompt_report, "STEPS", 2)
    prompted = PromptFamily(family, make_prompt(family.unet, MAPPER, FINE, positions=False).eval())
    data = subjects(2)
    made = {way: sampled(prompted, way, data, range(2), FRAMES, 0) for way in WAYS}
    assert made[WAYS[0]].shape == (2, FRAMES, 4, 8, 8)
    assert len({float(clip.sum()) for clip in made.values()}) == 3
    truth = [render(n) for n in range(2)]
    answers = iter(truth * 3)
    scores = measure(prompted, data, lambda _: next(answers), lambda x: x.flatten(1), WAYS, 2, FRAMES)
    prompted.remove()
    assert all(one.looks == 1.0 for one in scores[WAYS[1]])
    assert interval([0.2, 0.4])[0] == pytest.approx(0.3)
    text = table(scores)
    assert text.count("\n") == 7 and "coarse - text only" in text


def render(number):
    from choreographer.core.data.render import render_images

    return render_images(sample_scene(np.random.default_rng(number), FRAMES, sprites=1))
