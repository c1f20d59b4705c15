"""Uni-ControlNet in a real host: subsets of maps, content, frames and windows, chaining, and its cost."""

import copy

import pytest
import torch
from choreographer.tests.nodes.tiny import CONTEXT, fill, make_cond, make_model, make_motion, pack, sample

pytestmark = pytest.mark.usefixtures("comfy_host")
FRAMES, SIDE = 4, 8


@pytest.fixture(scope="module")
def net(comfy_host):
    """A Uni-ControlNet for the tiny UNet, of the host's layers, with random weights."""
    import comfy.ops

    network = pack("core.uni_control.network")
    config = network.UniConfig(
        channels=(64, 128, 128),
        attends=(True, True, False),
        context=CONTEXT,
        heads=4,
        features=(8, 12, 16),
        content=64,
        content_of="latent",
    )
    made = fill(network.UniControlNet(config, comfy.ops.manual_cast), 4)
    for layer in made.local.zero_convs:
        layer.weight.data.mul_(0.3)
    return pack("nodes.host.nets").as_patcher(made)


def maps(seed=1, frames=FRAMES, side=8 * SIDE):
    return torch.rand(frames, side, side, 3, generator=torch.Generator().manual_seed(seed))


def steered(net, given, content=None, positive=None, negative=None, **options):
    host, control = pack("nodes.host.uni_control"), pack("nodes.host.control")
    prompts = (positive or make_cond(11), negative or make_cond(12))
    return host.apply_uni_control(prompts, net, given, control.ControlOptions(**options), content)


def run(net, given, content=None, model=None, frames=FRAMES, **options):
    positive, negative = steered(net, given, content, **options)
    return sample(model or make_model(), frames, positive=positive, negative=negative)


def test_each_map_steers_and_none_leaves_no_trace(net):
    model = make_model()
    before = sample(model, FRAMES)
    both = run(net, {"canny": maps(1), "midas": maps(2)}, model=model)
    one = run(net, {"canny": maps(1)}, model=model)
    assert not torch.allclose(both, one) and not torch.allclose(one, before)
    assert torch.equal(run(net, {}, model=model), before)
    assert torch.equal(run(net, {"canny": maps(1)}, model=model, strength=0.0), before)
    assert torch.equal(sample(model, FRAMES), before)


def test_a_black_map_is_an_absent_one(net):
    given = {"canny": maps(1)}
    black = torch.zeros(1, 8 * SIDE, 8 * SIDE, 3)
    assert torch.equal(run(net, {**given, "hed": black}), run(net, given))


def test_every_frame_has_its_own_map(net):
    model, clip = make_model(), maps(1)
    changed = clip.clone()
    changed[2] = 1 - changed[2]
    first, second = (run(net, {"canny": one}, model=model) for one in (clip, changed))
    same = [torch.equal(a, b) for a, b in zip(first, second, strict=True)]
    assert same == [True, True, False, True]


def test_windows_take_the_maps_of_their_frames(net):
    model = pack("nodes.host.patching").apply_motion_module(make_model(), make_motion())
    windows = pack("nodes.host.windows").apply_context_windows
    long = windows(model, "standard_static", "pyramid", 4, 2, 1, False)
    positive, negative = steered(net, {"canny": maps(1, 6)})
    made = sample(long, 6, steps=2, positive=positive, negative=negative)
    shuffled = steered(net, {"canny": maps(1, 6).flip(0)})
    other = sample(long, 6, steps=2, positive=shuffled[0], negative=shuffled[1])
    assert made.shape[0] == 6 and not torch.allclose(made, other)


def test_content_steers_the_positive_and_zeros_the_negative(net):
    host = pack("nodes.host.uni_control")
    content = torch.randn(1, 64, generator=torch.Generator().manual_seed(3))
    positive, negative = steered(net, {}, content)
    assert positive[0][0].shape == (1, 11, CONTEXT) and negative[0][0].shape == (1, 11, CONTEXT)
    nothing = net.model.content(torch.zeros(1, 64))
    assert torch.allclose(negative[0][0][:, 7:], nothing, atol=1e-5)
    each = steered(net, {}, content.expand(FRAMES, -1))[0]
    assert each[0][0].shape == (FRAMES, 11, CONTEXT)
    assert "absent: mlsd" in host.applied(net, {"canny": None}, True)
    assert host.applied(net, {"canny": None}, True).startswith("applied: canny, content;")


def test_content_of_every_frame_is_for_a_clip_of_as_many(net):
    content = torch.randn(3, 64, generator=torch.Generator().manual_seed(3))
    positive, negative = steered(net, {}, content)
    model = pack("nodes.host.patching").apply_motion_module(make_model(), make_motion())
    assert sample(model, 3, 1, positive=positive, negative=negative).shape[0] == 3
    with pytest.raises(ValueError, match="has 3 frames, the latent has 4"):
        sample(model, FRAMES, 1, positive=positive, negative=negative)
    with pytest.raises(ValueError, match="3 content images and 4 canny maps"):
        steered(net, {"canny": maps(1)}, content)
    assert steered(net, {"canny": maps(1, 1)}, content)[0][0][0].shape[0] == 3


def test_content_goes_through_a_net_in_fp8(net):
    small = torch.nn.Module()
    small.content = copy.deepcopy(net.model.content).to(torch.float8_e4m3fn)
    content = torch.randn(1, 64, generator=torch.Generator().manual_seed(3))
    given = make_cond(11), pack("nodes.host.nets").as_patcher(small), content, 1.0
    ((text, _),) = pack("nodes.host.uni_control").with_content(*given)
    assert text.shape == (1, 11, CONTEXT) and torch.isfinite(text).all()


def test_what_the_maps_show_is_found_once_a_window(net):
    counted, model = [], make_model()
    handle = net.model.local.feature_extractor.register_forward_hook(lambda *_: counted.append(1))
    made = run(net, {"canny": maps(1)}, model=model)
    assert len(counted) == 1
    other = run(net, {"canny": maps(2)}, model=model)
    handle.remove()
    assert len(counted) == 2 and not torch.allclose(made, other)


def test_it_chains_with_another_control(net):
    one = steered(net, {"canny": maps(1)})
    two = steered(net, {"midas": maps(2)}, positive=one[0], negative=one[1])
    model = make_model()
    made = sample(model, FRAMES, positive=two[0], negative=two[1])
    assert not torch.allclose(made, sample(model, FRAMES, positive=one[0], negative=one[1]))


def test_three_maps_cost_one_evaluation_of_the_net(net):
    counted = []
    handle = net.model.local.register_forward_hook(lambda *_: counted.append(1))
    run(net, {"canny": maps(1)})
    alone = len(counted)
    run(net, {"canny": maps(1), "midas": maps(2), "hed": maps(3)})
    handle.remove()
    assert len(counted) == 2 * alone > 0


def test_strength_schedule_and_range(net):
    keys = pack("core.prompts.schedule").parse_values("0:1, 3:0")
    model, given = make_model(), {"canny": maps(1)}
    plain, whole = sample(model, FRAMES), run(net, given, model=model)
    faded = run(net, given, model=model, strength_keys=keys)
    assert torch.equal(faded[0], whole[0]) and torch.equal(faded[3], plain[3])
    early = run(net, given, model=model, end_percent=0.4)
    assert not torch.allclose(early, whole) and not torch.allclose(early, plain)


def test_errors_are_sentences(net):
    host = pack("nodes.host.uni_control")
    with pytest.raises(ValueError, match="There are 3 canny maps, the clip has 4 frames"):
        run(net, {"canny": maps(1, 3)})
    with pytest.raises(ValueError, match="Control maps are"):
        run(net, {"canny": maps(1, side=32)})
    with pytest.raises(ValueError, match="connect the checkpoint's VAE"):
        host.encode_content(net, maps(1))
    wide, takes = (
        [[torch.zeros(1, 7, CONTEXT + 8), {}]],
        "The Uni-ControlNet takes text states 64 wide, .* 72",
    )
    with pytest.raises(ValueError, match=takes):
        steered(net, {}, torch.zeros(1, 64), positive=wide)
    positive, negative = steered(net, {"canny": maps(1)}, positive=wide, negative=wide)
    with pytest.raises(ValueError, match=takes):
        sample(make_model(context_dim=CONTEXT + 8), FRAMES, positive=positive, negative=negative)
    with pytest.raises(ValueError, match="The Uni-ControlNet was made for a model of widths"):
        run(net, {"canny": maps(1)}, model=make_model(model_channels=32, num_heads=2))
