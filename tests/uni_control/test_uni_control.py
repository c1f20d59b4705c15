"""Uni-ControlNet: published names and sizes, files there and back, maps that are absent, and content."""

import gzip
import json
from pathlib import Path

import pytest
import torch
from choreographer.core.uni_control.layouts import (
    published_weights,
    read_uni_controlnet,
    save_uni_controlnet,
)
from choreographer.core.uni_control.network import CONDITIONS, UniConfig, UniControlNet, stack_maps
from choreographer.tests.tuning.conftest import filled

MANIFESTS = Path(__file__).resolve().parents[1] / "data" / "manifests"
SMALL = UniConfig(
    channels=(32, 64),
    attends=(True, False),
    layers_per_block=1,
    context=24,
    heads=4,
    features=(8, 12),
    content=16,
)


def manifest(name):
    shapes = json.loads(gzip.decompress((MANIFESTS / f"{name}.json.gz").read_bytes()))
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


@pytest.fixture(scope="module")
def net():
    return filled(UniControlNet(SMALL))


def inputs(seed=0, count=2):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, 8, 8, generator=generator)
    return x, torch.full((count,), 300.0), torch.randn(count, 5, 24, generator=generator)


def maps(seed=1, count=2):
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def test_the_published_file_loads_and_has_the_published_sizes():
    state = manifest("unicontrolnet_adapters_both")
    net = read_uni_controlnet(state)
    assert net.config == UniConfig()
    named = published_weights(net)
    assert {key: weight.shape for key, weight in named.items()} == {k: w.shape for k, w in state.items()}
    sizes = [sum(p.numel() for p in part.parameters()) for part in (net.local, net.content)]
    assert len(list(net.local.parameters())) == 366 and len(list(net.content.parameters())) == 12
    assert sizes == pytest.approx([411.9e6, 47.2e6], rel=1e-3)


def test_a_file_with_a_whole_stable_diffusion_besides_and_one_without_content():
    state = manifest("unicontrolnet_local_adapter")
    state["model.diffusion_model.input_blocks.0.0.weight"] = torch.empty(320, 4, 3, 3, device="meta")
    assert read_uni_controlnet(state).content is None


def test_ours_comes_back(net, tmp_path):
    save_uni_controlnet(net, tmp_path / "uni.safetensors")
    again = read_uni_controlnet(tmp_path / "uni.safetensors")
    assert again.config == SMALL
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), net.parameters(), strict=True))


def test_a_fresh_net_changes_nothing():
    fresh = UniControlNet(SMALL)
    down, mid = fresh.local(*inputs(), stack_maps({"canny": maps()}))
    assert len(down) == 4 and all(not residual.any() for residual in (*down, mid))


def test_absent_maps_are_zero_and_one_map_serves_all_frames(net):
    canny, depth = maps(1), maps(2, count=1)
    stack = stack_maps({"midas": depth, "canny": canny})
    assert stack.shape == (2, 3 * len(CONDITIONS), 64, 64)
    assert torch.equal(stack[:, :3], canny) and torch.equal(stack[1, 15:18], depth[0])
    assert not stack[:, 3:15].any() and not stack[:, 18:].any()
    with torch.no_grad():
        given = net.local(*inputs(), stack)
        zero = net.local(*inputs(), torch.cat((stack[:, :15], stack[:, 15:] * 0), 1))
    assert not torch.allclose(given.mid, zero.mid)


def test_strength_a_frame_is_that_frames(net):
    stack = stack_maps({"hed": maps()})
    with torch.no_grad():
        whole = net.local(*inputs(), stack)
        each = net.local(*inputs(), stack, torch.tensor([1.0, 0.0]))
    assert torch.equal(each.mid[0], whole.mid[0]) and not each.mid[1].any()


def test_errors_are_sentences(net):
    with pytest.raises(ValueError, match="takes maps of canny, .*, got pose"):
        stack_maps({"pose": maps()})
    with pytest.raises(ValueError, match="expected the same size"):
        stack_maps({"canny": maps(), "midas": torch.zeros(2, 3, 32, 32)})
    with pytest.raises(ValueError, match="Control maps are"):
        net.local(*inputs(), torch.zeros(2, 21, 32, 32))
    with pytest.raises(ValueError, match="is not a Uni-ControlNet"):
        read_uni_controlnet(manifest("mm_sd_v15_v2"))
    state = manifest("unicontrolnet_local_adapter")
    del state["local_adapter.zero_convs.3.0.bias"]
    with pytest.raises(ValueError, match="missing local_adapter.zero_convs.3.0.bias"):
        read_uni_controlnet(state)
