"""A copy of a video ControlNet computes the same, has the same LoRAs, and shares nothing."""

import torch
from choreographer.core.control.copies import copy_control
from choreographer.core.control.lora import MIXES, add_lora
from choreographer.core.control.network import ControlConfig, VideoControlNet

CONFIG = ControlConfig(
    (32, 64), (True, False), 1, context=16, heads=4, motion_heads=4, kind="flow", condition=2
)


def make_net():
    torch.manual_seed(1)
    net = VideoControlNet(CONFIG)
    add_lora(net, "camera", 2)
    add_lora(net, "object", 3)
    with torch.no_grad():
        for weight in (p for p in net.parameters() if not p.any()):
            weight.normal_(std=0.05)
    return net


def test_a_copy_computes_the_same_and_shares_nothing():
    net = make_net()
    made = copy_control(net, dtype=torch.float64)
    flow, text = torch.randn(1, 2, 2, 32, 32).double(), torch.randn(2, 5, 16).double()
    with torch.inference_mode():
        want, found = (
            {mode: n.double()(flow, 7, text, mix=mix).mid for mode, mix in MIXES.items()} for n in (net, made)
        )
    assert all(torch.allclose(want[mode], found[mode], 1e-9, 1e-9) for mode in MIXES)
    assert not torch.equal(want["camera"], want["object"])
    for key, weight in made.state_dict().items():
        assert weight.dtype == torch.float64 and weight.data_ptr() != net.state_dict()[key].data_ptr()


def test_a_copy_of_host_weights_can_be_trained():
    with torch.inference_mode():
        net = make_net().half()
    made = copy_control(net, dtype=torch.float32)
    assert not any(p.is_inference() for p in made.parameters())
    found = made(torch.randn(1, 2, 2, 32, 32), 7, torch.randn(2, 5, 16), mix=MIXES["camera"])
    found.mid.square().mean().backward()
    assert made.lora.roles["camera"]["conv_in"].down.weight.grad is not None
    bare = copy_control(VideoControlNet(CONFIG))
    assert bare.lora is None
