"""Subject masks: GrabCut from a box, and Grounding DINO with SAM from local folders."""

import json

import numpy as np
import pytest
import torch
from choreographer.core.data.render import render
from choreographer.core.data.scene import sample_scene
from choreographer.core.identity.subject import subject_mask, subject_masks
from choreographer.core.identity.text_mask import TextMasker, check_folder, masks_by_text
from choreographer.core.refine.boxes import Box


def sprite(seed=3):
    """A clip of one red face on grass."""
    scene = sample_scene(np.random.default_rng(seed), 3, 1, "", shape="face", colour="red", ground="grass")
    return render(scene, 96, 96)


def around(mask):
    ys, xs = np.nonzero(mask)
    return np.array([[xs.min() - 4, ys.min() - 4, xs.max() + 5, ys.max() + 5, 1.0]])


def overlap(one, other):
    return float((one * other).sum() / np.maximum(one, other).sum())


def test_grabcut_finds_a_sprite_inside_its_box_and_repeats():
    clip = sprite()
    images, truth = torch.from_numpy(clip.images), clip.masks[0]
    masks = subject_masks(images, [around(mask) for mask in truth])
    assert min(overlap(m.numpy(), t) for m, t in zip(masks, truth, strict=True)) > 0.93
    assert torch.equal(masks, subject_masks(images, [around(mask) for mask in truth]))
    small = [np.array([[*Box(*row[0][:4]).grown(0.5), 1.0]]) for row in map(around, truth)]
    assert overlap(subject_masks(images, small, grow=2.0)[0].numpy(), truth[0]) > 0.93


def test_no_box_a_whole_box_and_a_flat_picture():
    images = torch.from_numpy(sprite().images)
    assert not subject_masks(images[:1], [np.zeros((0, 5))]).any()
    assert subject_masks(images[:1], [np.array([[0, 0, 96, 96, 1.0]])]).all()
    flat = subject_mask(np.full((20, 30, 3), 128, np.uint8), Box(5, 5, 15, 12))
    assert flat.sum() == 70 and set(np.unique(flat)) == {0.0, 1.0}
    assert not subject_mask(np.zeros((20, 30, 3), np.uint8), Box(50, 5, 60, 12)).any()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Grounding DINO and SAM of a few thousand random weights, saved as transformers saves them."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "a", "face", "red"]
    (root / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    tokenizer = transformers.BertTokenizer(str(root / "vocab.txt"))
    text = {"vocab_size": 10, "hidden_size": 16, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 300}
    backbone = transformers.SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=2,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = transformers.GroundingDinoConfig(
        backbone_config=backbone, text_config=transformers.BertConfig(**text),
        d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=32, decoder_ffn_dim=32, num_queries=5, num_feature_levels=4,
    )  # fmt: skip
    transformers.GroundingDinoForObjectDetection(config).save_pretrained(root / "dino")
    size = {"shortest_edge": 160, "longest_edge": 200}
    images = transformers.GroundingDinoImageProcessor(size=size)
    transformers.GroundingDinoProcessor(images, tokenizer).save_pretrained(root / "dino")
    vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 64}
    vision |= {
        "num_pos_feats": 8,
        "patch_size": 16,
        "output_channels": 16,
        "window_size": 2,
        "global_attn_indexes": [0],
        "mlp_dim": 16,
    }
    prompt = {
        "hidden_size": 16,
        "image_size": 64,
        "patch_size": 16,
        "image_embedding_size": 4,
        "mask_input_channels": 4,
    }
    decoder = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "mlp_dim": 16,
        "iou_head_hidden_dim": 16,
    }
    sam = transformers.SamConfig(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder
    )
    transformers.SamModel(sam).save_pretrained(root / "sam")
    cutter = transformers.SamImageProcessor(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    transformers.SamProcessor(cutter).save_pretrained(root / "sam")
    return root


def test_masks_by_text_run_from_local_folders(folders):
    images = torch.from_numpy(sprite().images[:2])
    masker = TextMasker(folders / "dino", folders / "sam")
    found = masks_by_text(images, "A red face", masker, threshold=0.0)
    assert found.shape == (2, 96, 96) and set(found.unique().tolist()) <= {0.0, 1.0}
    assert not masks_by_text(images, "a face", masker, threshold=1.0).any(), "nothing that certain is found"


def test_folders_of_another_kind_are_named(folders, tmp_path):
    with pytest.raises(ValueError, match="holds no sam in transformers' layout: config.json is missing"):
        check_folder(tmp_path, "sam")
    with pytest.raises(ValueError, match="not of a sam model"):
        TextMasker(folders / "dino", folders / "dino")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "sam"}))
    with pytest.raises(ValueError, match="preprocessor_config.json is missing"):
        check_folder(tmp_path, "sam")
