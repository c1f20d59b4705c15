"""ID tokens in a real host: names in prompts, the stock loader, and training inside the graph."""

from types import SimpleNamespace

import pytest
import torch
from choreographer.tests.nodes.demo import make_parts, write_checkpoint
from choreographer.tests.nodes.tiny import make_motion, pack
from safetensors import safe_open

pytestmark = pytest.mark.usefixtures("comfy_host")
SIZE = 64


@pytest.fixture(scope="module")
def demo(comfy_host, tmp_path_factory):
    """The demo family with random weights through the stock loader: model, clip, vae."""
    import comfy.sd

    pack("nodes.host.demo_family").register()
    folder = tmp_path_factory.mktemp("demo")
    path = write_checkpoint(make_parts(), folder / "demo.safetensors")
    (folder / "embeddings").mkdir()
    with torch.inference_mode():
        model, clip, vae, _ = comfy.sd.load_checkpoint_guess_config(
            str(path), embedding_directory=[str(folder / "embeddings")]
        )
    return SimpleNamespace(model=model, clip=clip, vae=vae, folder=folder)


@pytest.fixture
def folders(demo, own_folders):
    """The host's output and embeddings folders, in a place of their own."""
    own = own_folders(embeddings="embeddings")
    own.embeddings.mkdir()
    return own


def tokens(name="me", count=4, width=64, seed=0):
    rows = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    return pack("core.identity.tokens").IdTokens(name, rows)


def encode(clip, text):
    with torch.inference_mode():
        return clip.encode_from_tokens(clip.tokenize(text), return_dict=True)["cond"].clone()


def call(node, *args, **more):
    with torch.inference_mode():
        return node.execute(*args, **more).result


def same(one, other):
    """Bit-equal; what the file does not hold is left as memory was, so it may be NaN."""
    return one.shape == other.shape and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


def pictures(count=3):
    generator = torch.Generator().manual_seed(4)
    images, masks = torch.rand(count, SIZE, SIZE, 3, generator=generator), torch.zeros(count, SIZE, SIZE)
    masks[:, 16:48, 16:48] = 1
    return images, masks


def settings(**changes):
    values = {"class_word": "face", "steps": 3, "batch": 2, "size": SIZE, "seed": 1}
    return pack("nodes.host.identity_training").IdSettings(**{**values, **changes})


def train(demo, asked=None, images=None, masks=None, model=None):
    known = pictures()
    with torch.inference_mode():
        return pack("nodes.host.identity_training").train_id_tokens(
            model or demo.model, demo.clip, demo.vae, known[0] if images is None else images,
            known[1] if masks is None else masks, asked or settings(),
        )  # fmt: skip


def test_our_files_and_the_published_layout_work_by_the_stock_embedding_syntax(demo):
    """What a file gives by name is what the node gives without one."""
    own = tokens()
    write = pack("core.identity.tokens").write_id_tokens
    apply = pack("nodes.host.identity").apply_id_tokens
    for name in ("ours.safetensors", "published.pt"):
        write(own, demo.folder / "embeddings" / name)
        stem = name.split(".")[0]
        by_file = encode(demo.clip, f"photo of a embedding:{stem} face, on grass")
        taught = apply(demo.clip, tokens(name="me"))
        assert torch.equal(by_file, encode(taught, "photo of a embedding:me face, on grass"))
    assert not torch.equal(by_file, encode(demo.clip, "photo of a face, on grass"))


def test_names_are_taught_to_a_clone_and_chain(demo):
    apply = pack("nodes.host.identity").apply_id_tokens
    one, two = tokens("one", seed=1), tokens("two", seed=2)
    both = apply(apply(demo.clip, one), two)
    plain = encode(demo.clip, "a face")
    first, second = encode(both, "embedding:one"), encode(both, "embedding:two")
    assert not torch.equal(first, second) and torch.equal(
        first, encode(apply(demo.clip, one), "embedding:one")
    )
    assert torch.equal(encode(both, "a face"), plain), "other words are as before"
    comma = encode(both, "embedding:one, red")
    assert torch.equal(comma, encode(both, "embedding:one , red"))
    assert len(both.tokenize("embedding:one")["l"][0]) == 77
    assert torch.equal(encode(demo.clip, "embedding:one"), encode(demo.clip, "")), (
        "the clip itself knows nothing"
    )
    weighted = encode(both, "(embedding:one:1.5) red")
    assert not torch.equal(weighted, encode(both, "embedding:one red"))


def test_load_and_apply_nodes(demo, folders):
    nodes = pack("nodes.identity")
    pack("core.identity.tokens").write_id_tokens(tokens(), folders.embeddings / "her.pt")
    (loaded,) = call(nodes.LoadIdTokens, "her.pt", "")
    assert loaded.name == "her" and torch.equal(loaded.vectors, tokens().vectors)
    (renamed,) = call(nodes.LoadIdTokens, "her.pt", " she ")
    taught, word = call(nodes.ApplyIdTokens, demo.clip, renamed)
    assert word == "embedding:she"
    assert torch.equal(
        encode(taught, f"a {word} face"),
        encode(pack("nodes.host.identity").apply_id_tokens(demo.clip, tokens()), "a embedding:me face"),
    )
    with pytest.raises(ValueError, match="768 wide, this text encoder takes 64"):
        call(nodes.ApplyIdTokens, demo.clip, tokens(width=768))
    (folders.embeddings / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    with pytest.raises(ValueError, match="'cut.safetensors' is"):
        call(nodes.LoadIdTokens, "cut.safetensors", "")


def test_start_rows_are_the_rows_of_the_words(demo):
    rows = pack("nodes.host.identity_training").start_rows
    table = demo.clip.cond_stage_model.clip_l.transformer.get_input_embeddings().weight
    start = pack("core.identity.tokens").START
    assert torch.equal(rows(demo.clip, start), table[[42170, 47629, 43514, 43514]].float())
    assert torch.equal(rows(demo.clip, "ucd #42170"), table[[43514, 42170]].float())
    assert len(rows(demo.clip, "face")) == 1
    with pytest.raises(ValueError, match="start_words is empty"):
        rows(demo.clip, " ")
    with pytest.raises(ValueError, match="#99999, this text encoder has rows #0 to #49407"):
        rows(demo.clip, "#99999")


def test_training_moves_the_tokens_and_nothing_else(demo, folders):
    parts = {"unet": demo.model.model, "text": demo.clip.cond_stage_model, "vae": demo.vae.first_stage_model}
    kept = {name: {k: v.clone() for k, v in part.state_dict().items()} for name, part in parts.items()}
    before, rng = encode(demo.clip, "a face"), torch.get_rng_state()
    learnt, curve = train(demo, settings(steps=6, learning_rate=1e-2))
    start = pack("nodes.host.identity_training").start_rows(demo.clip, settings().start)
    moved = (learnt.vectors - start).abs()
    assert learnt.vectors.shape == (4, 64) and float(moved.max()) > 1e-3 and bool((moved.amax(1) > 0).all())
    for name, part in parts.items():
        changed = [k for k, v in part.state_dict().items() if not same(v, kept[name][k])]
        assert not changed, name
        assert all(weight.grad is None for weight in part.parameters())
        assert not any(module._forward_pre_hooks for module in part.modules())
    assert torch.equal(encode(demo.clip, "a face"), before) and torch.equal(torch.get_rng_state(), rng)
    assert curve.ndim == 4 and curve.shape[-1] == 3
    assert not list(folders.runs.glob("*")) and not list(folders.embeddings.iterdir())
    again, _ = train(demo, settings(steps=6, learning_rate=1e-2))
    assert torch.equal(again.vectors, learnt.vectors)


def test_training_lowers_the_loss_of_the_pictures_it_saw(demo, folders, monkeypatch):
    seen = []
    monkeypatch.setattr(
        pack("nodes.host.identity_training"), "curve", lambda losses: seen.append(list(losses))
    )
    train(demo, settings(steps=12, learning_rate=5e-2))
    train(demo, settings(steps=12, learning_rate=1e-6))
    assert sum(seen[0][6:]) < 0.999 * sum(seen[1][6:]), "the same draws, with tokens that do not learn"


def test_the_masks_decide_what_is_learnt(demo, folders):
    masked, _ = train(demo)
    whole, _ = train(demo, settings(masked=False))
    other = pictures()[1].roll(12, 2)
    elsewhere, _ = train(demo, masks=other)
    assert not torch.equal(masked.vectors, whole.vectors) and not torch.equal(
        masked.vectors, elsewhere.vectors
    )


def test_an_interrupt_keeps_what_was_learnt_in_the_file_and_for_the_next_run(demo, folders, monkeypatch):
    import comfy.model_management as management

    whole, _ = train(demo, settings(steps=5))
    recipe = pack("core.training.identity")
    true_loss, calls = recipe.masked_loss, []

    def loss(*args):
        calls.append(1)
        if len(calls) == 2:
            management.interrupt_current_processing()
        return true_loss(*args)

    monkeypatch.setattr(recipe, "masked_loss", loss)
    with pytest.raises(management.InterruptProcessingException):
        train(demo, settings(steps=5, save_prefix="mine"))
    assert len(calls) == 2 and not management.processing_interrupted()
    (file,) = folders.embeddings.iterdir()
    read = pack("core.identity.tokens").read_id_tokens
    assert file.name == "mine_00001_.safetensors" and bool(read(file).vectors.any())
    resumed, _ = train(demo, settings(steps=5, save_prefix="mine"))
    assert len(calls) == 5 and torch.equal(resumed.vectors, whole.vectors)
    assert torch.equal(read(folders.embeddings / "mine_00002_.safetensors").vectors, whole.vectors)
    assert not list(folders.runs.glob("*"))


def test_an_interrupt_inside_a_layer_saves_what_was_learnt(demo, folders, monkeypatch):
    import comfy.model_management as management

    recipe, calls = pack("core.training.identity"), []
    true_noise = recipe.offset_noise

    def noise(*args):
        calls.append(1)
        if len(calls) == 2:  # before the second step's forward, whose layers raise the interrupt
            management.interrupt_current_processing()
        return true_noise(*args)

    monkeypatch.setattr(recipe, "offset_noise", noise)
    with pytest.raises(management.InterruptProcessingException):
        train(demo, settings(steps=5, save_prefix="mine", learning_rate=1e-2))
    (file,) = folders.embeddings.iterdir()
    saved = pack("core.identity.tokens").read_id_tokens(file).vectors
    start = pack("nodes.host.identity_training").start_rows(demo.clip, settings().start)
    assert len(calls) == 2 and not torch.equal(saved, start)
    with safe_open(file, "pt") as kept:
        assert kept.metadata()["steps_done"] == "1", "the second step was cut short"
    hooks = (module._forward_pre_hooks for module in demo.clip.cond_stage_model.modules())
    assert not any(hooks)


def test_an_interrupt_before_the_first_step_saves_nothing(demo, folders, monkeypatch):
    import comfy.model_management as management

    training = pack("nodes.host.identity_training")
    true_plan = training.make_plan

    def plan(*args):
        management.interrupt_current_processing()
        return true_plan(*args)

    monkeypatch.setattr(training, "make_plan", plan)
    with pytest.raises(management.InterruptProcessingException):
        train(demo, settings(save_prefix="mine"))
    assert not management.processing_interrupted() and not list(folders.embeddings.iterdir())


def test_words_before_the_prompt_may_need_more_tokens_than_the_prompt(demo, folders, monkeypatch):
    """Without them it fits the encoder's 75 tokens, with "a far away" it does not."""
    family, lengths = pack("nodes.host.identity_training").IdFamily, set()
    true_encoded = family._encoded

    def encoded(self, text):
        found = true_encoded(self, text)
        lengths.add(found.shape[1])
        return found

    monkeypatch.setattr(family, "_encoded", encoded)
    prompt = "photo of a [id] [class]" + " red" * 66
    learnt, _ = train(demo, settings(prompt=prompt, steps=1, batch=8))
    assert lengths == {77, 154} and bool(torch.isfinite(learnt.vectors).all())


def test_the_host_is_asked_for_room_for_the_copies_of_the_weights(demo, folders, monkeypatch):
    import comfy.model_management as management

    asked, true = [], management.load_models_gpu

    def load(models, memory_required=0, **more):
        asked.append(memory_required)
        return true(models, memory_required, **more)

    monkeypatch.setattr(management, "load_models_gpu", load)
    train(demo, settings(steps=1))
    parts = demo.model.model.diffusion_model, demo.clip.cond_stage_model
    assert 4 * sum(weight.numel() for part in parts for weight in part.parameters()) in asked


@pytest.mark.cuda
def test_pictures_may_lie_on_the_gpu(demo, folders):
    images, masks = (part.cuda() for part in pictures())
    learnt, _ = train(demo, settings(steps=1), images, masks)
    assert learnt.vectors.shape == (4, 64)


def test_masking_by_text_asks_the_host_for_room(comfy_host, monkeypatch):
    import comfy.model_management as management

    host, order = pack("nodes.host.masks"), []

    class Masker:
        def __init__(self, dino, sam):
            self.finder, self.cutter = torch.nn.Linear(10, 10), torch.nn.Linear(10, 5)

        def to(self, device):
            order.append("moved")
            return self

    monkeypatch.setattr(host, "TextMasker", Masker)
    monkeypatch.setattr(host, "find_folder", lambda kind, name: name)
    monkeypatch.setattr(management, "minimum_inference_memory", lambda: 1000)
    monkeypatch.setattr(management, "free_memory", lambda need, device: order.append(need))
    assert isinstance(host.load_masker("dino", "sam"), Masker)
    assert order == [4 * (110 + 55) + 1000, "moved"]


def test_the_node_trains_three_pictures_and_saves(demo, folders):
    nodes, (images, masks) = pack("nodes.identity"), pictures()
    args = (
        demo.model, demo.clip, demo.vae, images, "me", "face", "photo of a [id] [class]", "face", 2, 1e-3, 0,
        2, SIZE, "linear", True, "her", masks,
    )  # fmt: skip
    learnt, curve = call(nodes.TrainIdTokens, *args)
    assert learnt.vectors.shape == (1, 64) and learnt.name == "me" and curve.shape[0] == 1
    assert [file.name for file in folders.embeddings.iterdir()] == ["her_00001_.safetensors"]


def test_what_cannot_be_trained_is_refused_in_a_sentence(demo, folders):
    images, masks = pictures()
    moving = pack("nodes.host.patching").apply_motion_module(
        demo.model, make_motion(layers_per_block=1, mid_block=True)
    )
    for message, wrong in {
        "mask of picture 1 is empty": lambda: train(
            demo, masks=masks * torch.tensor([1.0, 0, 1])[:, None, None]
        ),
        "one mask of the same size": lambda: train(demo, masks=masks[:2]),
        r"expected \[id\] as a word": lambda: train(demo, settings(prompt="a face")),
        "size is 60": lambda: train(demo, settings(size=60)),
        "called 'a b'": lambda: train(demo, settings(name="a b")),
        "before 'Apply Motion Module'": lambda: train(demo, model=moving),
    }.items():
        with pytest.raises(ValueError, match=message):
            wrong()
    assert not folders.runs.exists() and not list(folders.embeddings.iterdir())


@pytest.mark.parametrize("wrong", [{"name": "a b"}, {"save_prefix": "../me"}])
def test_what_is_wrong_in_words_is_refused_before_pictures_are_encoded(demo, folders, monkeypatch, wrong):
    def encoded(*_):
        raise AssertionError("encoded")

    monkeypatch.setattr(pack("nodes.host.identity_training"), "encode_pictures", encoded)
    with pytest.raises(ValueError, match="called 'a b'|save_prefix is"):
        train(demo, settings(**wrong))


def test_subject_mask_nodes(demo, tmp_path, monkeypatch):
    import folder_paths

    nodes, (images, _) = pack("nodes.subject"), pictures()
    (found,) = call(nodes.SubjectMask, images, "0: 8, 8, 40, 40\n1: 2, 2, 20, 20\n2: 8, 8, 40, 40", 1.0)
    assert found.shape == (3, SIZE, SIZE) and bool((found.sum((1, 2)) > 0).all())
    assert not bool(found[:, 44:].any()), "nothing outside the box"
    assert not bool(found[1, 20:].any()), "each picture has its own"
    with pytest.raises(ValueError, match="boxes: picture 1 has 2 boxes, expected at most one"):
        call(nodes.SubjectMask, images, "8, 8, 40, 40\n1: 2, 2, 20, 20", 1.0)
    (some,) = call(nodes.SubjectMask, images, "1: 2, 2, 20, 20", 1.0)
    assert torch.equal(some[1], found[1]) and not some[[0, 2]].any()
    (none,) = call(nodes.SubjectMask, images, "", 2.5)
    assert not none.any(), "no face, no mask"
    faces = pack("core.refine.detect").detect_faces(images[:2])
    with pytest.raises(ValueError, match="faces are of 2 pictures, there are 3"):
        call(nodes.SubjectMask, images, "", 2.5, faces)
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    (tmp_path / "sams" / "vit").mkdir(parents=True)
    (tmp_path / "sams" / "vit" / "config.json").write_text("{}")
    masks = pack("nodes.host.masks")
    assert masks.model_folders("sams") == ["vit"] and masks.model_folders("grounding_dino") == []
    with pytest.raises(ValueError, match="no folder 'tiny' in models/grounding_dino"):
        call(nodes.SubjectMaskFromText, images, "a dog", "tiny", "vit", 0.3)
