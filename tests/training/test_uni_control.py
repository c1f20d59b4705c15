"""The recipe of a small Uni-ControlNet: it starts as the UNet, learns, and reads its own files back."""

from types import SimpleNamespace

import pytest
import torch
from choreographer.core.training.loop import Plan
from choreographer.core.training.uni_control import (
    Stills,
    draw_batch,
    make_uni_control,
    predict,
    train_uni_control,
)
from choreographer.core.uni_control.layouts import read_uni_controlnet, save_uni_controlnet
from choreographer.tests.tuning.conftest import filled

COUNT, SIDE = 4, 8


@pytest.fixture(scope="module")
def family():
    """The parts that the recipe asks of a family, small."""
    from choreographer.core.training.base_model import make_unet

    unet = filled(make_unet((32, 64), context=24, heads=4)).requires_grad_(False)
    found = SimpleNamespace(unet=unet, device="cpu", state=SimpleNamespace(active=True), freeze=lambda: None)
    found.motion = torch.nn.Identity()
    found.words = lambda texts: torch.tensor([[len(text)] for text in texts]).float()

    def text(lengths):
        return SimpleNamespace(last_hidden_state=torch.sin(lengths[..., None] * torch.arange(24)))

    found.text = text
    return found


def stills():
    generator = torch.Generator().manual_seed(0)
    maps = {
        kind: (torch.rand(COUNT, 8 * SIDE, 8 * SIDE, generator=generator) * 255).byte()
        for kind in ("canny", "midas")
    }
    return Stills(torch.randn(COUNT, 4, SIDE, SIDE, generator=generator), maps, ["a", "bb", "ccc", "dddd"])


def test_a_fresh_net_changes_nothing_and_its_encoder_is_the_unets(family):
    net = make_uni_control(family)
    latents, texts, maps, content = draw_batch(stills(), 3, torch.Generator().manual_seed(1))
    steps = torch.tensor([10, 500, 900])
    with torch.no_grad():
        made = predict(family, net, latents, steps, texts, maps, content * 0)
        tokens = torch.cat((family.text(family.words(texts)).last_hidden_state, net.content(content * 0)), 1)
        assert torch.allclose(made, family.unet(latents, steps, tokens).sample, atol=1e-5)
    ours = net.local.middle_block[0].conv1.weight
    assert torch.equal(ours, family.unet.mid_block.resnets[0].conv1.weight)


def test_conditions_are_missing_in_every_combination():
    seen = set()
    generator = torch.Generator().manual_seed(2)
    for _ in range(40):
        _, _, maps, content = draw_batch(stills(), 4, generator)
        for row, picture in zip(maps, content, strict=True):
            seen.add((bool(row[:3].any()), bool(row[15:18].any()), bool(picture.any())))
    assert len(seen) == 8


def test_training_moves_the_net_alone_and_its_file_comes_back(family, tmp_path):
    net = make_uni_control(family)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    unet = {key: value.clone() for key, value in family.unet.state_dict().items()}
    weights = train_uni_control(family, net, stills(), Plan(3, tmp_path, 1e-3, 1, average=0.0), 2)
    assert any(not torch.equal(before[key], value) for key, value in weights.items())
    assert all(torch.equal(unet[key], value) for key, value in family.unet.state_dict().items())
    net.load_state_dict(weights)
    save_uni_controlnet(net, tmp_path / "uni.safetensors")
    again = read_uni_controlnet(tmp_path / "uni.safetensors")
    assert again.config == net.config and again.config.content_of == "latent"
