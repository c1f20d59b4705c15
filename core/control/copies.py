"""A video ControlNet once more, of other layers or precision: what training needs of a net in use."""

from __future__ import annotations

from torch import nn

from .lora import SwitchableLora
from .network import VideoControlNet


def copy_control(net: VideoControlNet, ops=nn, device=None, dtype=None) -> VideoControlNet:
    """A net with the same weights and LoRAs, its layers from `ops`; None: device and dtype as they are.

    The weights are copies: what happens to one net does not touch the other.
    """
    made = VideoControlNet(net.config, ops=ops, device="meta")
    for role in [] if net.lora is None else net.lora.roles:
        branches = net.lora.branches(role)
        ranks = {name: len(branch.down.weight) // len(branch.ups) for name, branch in branches.items()}
        made.lora = made.lora or SwitchableLora()
        made.lora.add(made, role, ranks, ops=ops, device="meta")
        made.lora.gaps[role] = net.lora.gaps.get(role, ())
    weights = net.state_dict()
    copied = {key: t.detach().to(device=device, dtype=dtype, copy=True) for key, t in weights.items()}
    made.load_state_dict(copied, assign=True)
    return made
