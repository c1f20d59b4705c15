"""Switchable LoRA: it is what merging would be, whatever mix runs, and switching moves no weight."""

import copy

import pytest
import torch
from choreographer.core.control.batching import residuals_of_clips
from choreographer.core.control.lora import BASE, MIXES, ROLES, LoraMix, add_lora
from choreographer.core.control.lora_files import lora_weights
from choreographer.core.control.network import VideoControlNet
from choreographer.devtools.golden_weights import weight_of
from torch.utils._python_dispatch import TorchDispatchMode

from .conftest import SMALL

CLIPS, FRAMES, RANK = 2, 4, 4
BOTH = LoraMix(camera=1.0, object=1.0)


def inputs(clips=CLIPS, seed=1):
    generator = torch.Generator().manual_seed(seed)
    flow = torch.randn(1, FRAMES, 2, 64, 64, generator=generator)
    context = torch.randn(clips, 7, SMALL["context"], generator=generator).repeat_interleave(FRAMES, 0)
    return flow, torch.full((clips * FRAMES,), 481.0), context


def run(net, mix=BASE, **options):
    with torch.no_grad():
        down, mid = net(*inputs(), mix=mix, **options)
    return [*down, mid]


def worst(ours, expected):
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(ours, expected, strict=True))


@pytest.fixture
def net(small):
    net = small("flow")
    for role in ROLES:
        add_lora(net, role, RANK)
        for name, branch in net.lora.branches(role).items():
            for key, weight in branch.named_parameters():
                side = (
                    "lora_A" if key.startswith("down") else "lora_B"
                )  # B is drawn smaller, as in the golden nets
                weight.data.copy_(weight_of(f"{name}.{role}.{key}.{side}.weight", weight.shape))
    return net.eval()


def merged(net, mix):
    """A plain net with B A added into its weights: the convolutions' A is run as a kernel through B."""
    plain = copy.deepcopy({k: v for k, v in net.state_dict().items() if not k.startswith("lora.")})
    for role in mix.acting:
        for name, branch in net.lora.branches(role).items():
            down, ups = branch.down.weight, [up.weight for up in branch.ups]
            parts = [
                torch.einsum("or,r...->o...", up.flatten(1), part)
                for up, part in zip(ups, down.chunk(len(ups)), strict=True)
            ]
            plain[f"{name}.weight"] += getattr(mix, role) * torch.cat(parts)
    model = VideoControlNet(net.config)
    model.load_state_dict(plain)
    return model.eval()


@pytest.mark.parametrize(
    "mix",
    [*MIXES.values(), BOTH, LoraMix(0.5, 1.5), LoraMix(-1.0, 0.25)],
    ids=lambda m: f"{m.camera}-{m.object}",
)
def test_a_branch_equals_merging(net, mix):
    assert worst(run(net, mix), run(merged(net, mix))) <= 1e-5


def test_the_mixes_are_told_apart(net):
    results = [run(net, mix) for mix in (*MIXES.values(), BOTH)]
    for i, first in enumerate(results):
        assert all(worst(first, other) > 1e-2 for other in results[:i])


def test_base_is_the_net_without_lora_to_the_bit(net):
    plain = merged(net, BASE)
    assert all(torch.equal(a, b) for a, b in zip(run(net), run(plain), strict=True))
    run(net, BOTH)
    assert all(torch.equal(a, b) for a, b in zip(run(net), run(plain), strict=True))


def test_weights_of_frames_that_are_equal_are_one_weight(net):
    mix = LoraMix(camera=(0.5,) * FRAMES, object=(1.0,) * FRAMES)
    assert worst(run(net, mix), run(net, LoraMix(0.5, 1.0))) <= 1e-6


def test_weights_of_frames_act_where_they_are_set(net):
    """Without attention between frames each frame is what its own weight gives."""
    for block in net.down_blocks:
        for motion in block.motion_modules:
            motion.proj_out.weight.data.zero_(), motion.proj_out.bias.data.zero_()
            for role in ROLES:
                for name, branch in net.lora.branches(role).items():
                    if name.endswith("proj_out") and ".motion_modules." in name:
                        branch.ups[0].weight.data.zero_()
    mixed = run(net, LoraMix(object=(0.0, 1.0, 0.0, 0.5)))
    for frame, weight in enumerate((0.0, 1.0, 0.0, 0.5)):
        one = run(net, LoraMix(object=weight))
        rows = [x.unflatten(0, (CLIPS, FRAMES))[:, frame] for x in mixed]
        assert worst(rows, [x.unflatten(0, (CLIPS, FRAMES))[:, frame] for x in one]) <= 1e-5


class Moved(TorchDispatchMode):
    """Elements of the largest tensor that is written anywhere inside this context."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self.largest = max(self.largest, out.numel())
        return out


def test_switching_copies_no_weight(net):
    places = {name: weight.data_ptr() for name, weight in net.state_dict().items()}
    with Moved() as moved:
        for mix in (BOTH, MIXES["camera"], LoraMix(object=(0.0, 1.0, 1.0, 1.0)), BASE):
            with net.lora.use(mix, torch.zeros(1)):
                pass
    assert moved.largest <= FRAMES
    run(net, BOTH)
    assert {name: weight.data_ptr() for name, weight in net.state_dict().items()} == places


def test_an_error_leaves_the_base(net):
    before = run(net)
    with pytest.raises(RuntimeError), net.lora.use(BOTH, torch.zeros(1)):
        raise RuntimeError
    assert all(torch.equal(a, b) for a, b in zip(run(net), before, strict=True))


def test_clips_of_one_batch_have_mixes_of_their_own(net):
    flow, time, context = inputs(3)
    mixes = [MIXES["object"], BASE, BOTH]
    with torch.no_grad():
        down, mid = residuals_of_clips(net, flow, time, context, mixes, 0.7)
        for clip, mix in enumerate(mixes):
            rows = slice(clip * FRAMES, (clip + 1) * FRAMES)
            one = net(flow, time[rows], context[rows], 0.7, mix)
            assert worst([x[rows] for x in (*down, mid)], [*one.down, one.mid]) <= 1e-5


def test_what_is_the_same_is_computed_once(net):
    flow, time, context = inputs(2)
    context = torch.cat((context, context[:FRAMES]))
    time = time[:FRAMES].repeat(3)
    seen = []
    handle = net.mid_block.register_forward_hook(lambda module, given, out: seen.append(len(out)))
    with torch.no_grad():
        down, mid = residuals_of_clips(net, flow, time, context, [BASE] * 3)
        assert seen == [2 * FRAMES]
        assert all(torch.equal(x[:FRAMES], x[2 * FRAMES :]) for x in (*down, mid))
        residuals_of_clips(net, flow, time, context, [BASE, BASE, BOTH])
    handle.remove()
    assert seen[1:] == [2 * FRAMES, FRAMES]


def test_strength_of_frames(net):
    strength = torch.tensor([1.0, 0.0, 0.5, 2.0])
    for whole, scaled in zip(run(net), run(net, strength=strength), strict=True):
        parts = whole.unflatten(0, (CLIPS, FRAMES)) * strength.view(1, -1, 1, 1, 1)
        assert torch.equal(parts.flatten(0, 1), scaled)


def test_every_layer_but_norms_has_a_branch_and_a_fresh_one_adds_nothing(small):
    net = small("flow")
    before = run(net)
    lora = add_lora(net, "camera", RANK)
    norms = [name for name, weight in net.named_parameters() if "norm" in name]
    layers = [name for name, weight in net.named_parameters() if weight.ndim > 1 and "lora." not in name]
    assert len(lora.branches("camera")) == len(layers) and norms
    assert all(torch.equal(a, b) for a, b in zip(run(net, MIXES["camera"]), before, strict=True))
    down, mid = net(*inputs(), mix=MIXES["camera"])
    sum(x.square().mean() for x in (*down, mid)).backward()
    assert all(branch.ups[0].weight.grad is not None for branch in lora.branches("camera").values())
    assert len(lora_weights(net, "camera")) == 2 * (len(layers) + 2 * 6)  # 6 modules' q, k, v are one layer


def test_the_state_dict_keeps_its_names(small):
    net = small("flow")
    names = list(net.state_dict())
    add_lora(net, "object", RANK)
    assert [name for name in net.state_dict() if not name.startswith("lora.")] == names


def test_wrong_mixes_and_roles(small):
    net = small("flow")
    with pytest.raises(ValueError, match=r"no object LoRA \(it has: none\)"):
        run(net, MIXES["object"])
    add_lora(net, "camera", RANK)
    with pytest.raises(ValueError, match=r"no object LoRA \(it has: camera\)"):
        run(net, BOTH)
    for role in ("camera", "zoom"):
        with pytest.raises(ValueError, match=f"got '{role}'"):
            add_lora(net, role, RANK)
    with pytest.raises(ValueError, match="for 3 frames, the clip has 4"):
        LoraMix(camera=(1.0, 1.0, 0.0)).check(4)
    assert LoraMix((1.0, 2.0, 3.0), 0.5).at([2, 0]) == LoraMix((3.0, 1.0), 0.5)
