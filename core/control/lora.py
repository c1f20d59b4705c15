"""Switchable LoRA of a video ControlNet: low-rank branches beside its layers, weighed anew at every call.

Image Conductor keeps two LoRAs over one base: "camera", trained on clips where the camera moves, and
"object". The base weights are never changed, so one loaded net serves all of them in the same step. A branch
adds B(A(x)) to its layer's output (LoRA with alpha = rank); for a convolution A has the layer's kernel,
stride and padding, and B is 1x1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

ROLES = ("camera", "object")
FUSED = ".qkv"  # end of the names of layers that compute q, k and v, which have a LoRA each
TEMPORAL = ".motion_modules."  # in the names of layers whose input is sequences x frames x channels
PREFIX = "lora."  # of the names of LoRA weights in a net's state dict
Weight = float | tuple[float, ...]


@dataclass(frozen=True)
class LoraMix:
    """How much of each LoRA acts: a number, or one number for each frame of the clip."""

    camera: Weight = 0.0
    object: Weight = 0.0

    @property
    def per_frame(self) -> bool:
        """Whether a weight differs between frames."""
        return any(isinstance(getattr(self, role), tuple) for role in ROLES)

    @property
    def acting(self) -> tuple[str, ...]:
        """The roles whose weight is not zero throughout."""
        return tuple(role for role in ROLES if any(_numbers(getattr(self, role))))

    def check(self, frames: int) -> None:
        """Raise ValueError when there are weights for a clip of another length."""
        for weight in (self.camera, self.object):
            if isinstance(weight, tuple) and len(weight) != frames:
                raise ValueError(f"The LoRA mix is for {len(weight)} frames, the clip has {frames}")

    def at(self, index: Sequence[int]) -> LoraMix:
        """The mix of the frames in `index` alone."""
        return LoraMix(
            *(tuple(w[i] for i in index) if isinstance(w, tuple) else w for w in (self.camera, self.object))
        )


def _numbers(weight: Weight) -> tuple[float, ...]:
    return weight if isinstance(weight, tuple) else (weight,)


BASE = LoraMix()
MIXES = {"base": BASE, "camera": LoraMix(camera=1.0), "object": LoraMix(object=1.0)}


class Branch(nn.Module):
    """B(A(x)) beside one Linear or Conv2d; beside a fused q, k, v layer, one each, side by side.

    A fresh branch adds nothing: its B is zero.
    """

    def __init__(self, layer: nn.Module, rank: int, fused: bool = False, ops=nn, device=None, dtype=None):
        """Make A (`down`) and B (`ups`, one or three) for `layer` from `ops`; none has a bias."""
        super().__init__()
        where, parts = {"bias": False, "device": device, "dtype": dtype}, 3 if fused else 1
        if isinstance(layer, nn.Conv2d):
            geometry = {"stride": layer.stride, "padding": layer.padding}
            self.down = ops.Conv2d(layer.in_channels, rank, layer.kernel_size, **geometry, **where)
            ups = [ops.Conv2d(rank, layer.out_channels, 1, **where)]
        else:
            self.down = ops.Linear(layer.in_features, parts * rank, **where)
            ups = [ops.Linear(rank, layer.out_features // parts, **where) for _ in range(parts)]
        self.ups = nn.ModuleList(ups)

    def reset(self) -> Branch:
        """Draw A as torch draws its layers, and set B to zero; returns itself."""
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        for up in self.ups:
            nn.init.zeros_(up.weight)
        return self

    def forward(self, x: Tensor, weight: float | Tensor) -> Tensor:
        """What is added to the layer's output for its input `x`; `weight` broadcasts to A(x)."""
        inner = self.down(x)
        if isinstance(weight, Tensor) or weight != 1.0:
            inner = inner * weight
        if len(self.ups) == 1:
            return self.ups[0](inner)
        parts = inner.chunk(len(self.ups), -1)
        return torch.cat([up(part) for up, part in zip(self.ups, parts, strict=True)], -1)


class SwitchableLora(nn.Module):
    """The branches of one net, by role and layer, and the mix that is in use.

    It is a child of its net, so that the host moves, casts and offloads its weights like all others, while
    hooks on the net's layers run the branches: no name of a base weight changes.
    """

    def __init__(self):
        """Nothing is there yet; see `add`."""
        super().__init__()
        self.roles = nn.ModuleDict()
        self.gaps: dict[str, tuple[str, ...]] = {}  # by role: layers that its file did not hold
        self._weights: dict[str, float | Tensor] = {}  # of the roles that act now

    def add(self, net: nn.Module, role: str, ranks: Mapping[str, int], ops=nn, device=None, dtype=None):
        """Make branches of rank `ranks[layer]` at the named layers of `net`, and hook them on.

        Raises ValueError for a role that does not exist, or that is there already.
        """
        if role not in ROLES or role in self.roles:
            has = ", ".join(self.roles) or "none"
            raise ValueError(
                f"A LoRA for {' or '.join(ROLES)} can be added once, got '{role}' (there: {has})"
            )
        layers, where = lora_layers(net), {"ops": ops, "device": device, "dtype": dtype}
        self.roles[role] = nn.ModuleDict()
        for name, rank in ranks.items():
            branch = Branch(layers[name], rank, name.endswith(FUSED), **where)
            self.roles[role][name.replace(".", "/")] = branch  # names of modules cannot have dots
            layers[name].register_forward_hook(self._hook(role, branch, TEMPORAL in name))

    def branches(self, role: str) -> dict[str, Branch]:
        """The branches of a role by the names of their layers; none when the role is not there."""
        own = self.roles[role] if role in self.roles else {}
        return {name.replace("/", "."): branch for name, branch in own.items()}

    @contextmanager
    def use(self, mix: LoraMix, like: Tensor) -> Iterator[None]:
        """Let the branches act inside the `with` statement; weights of frames go where `like` is."""
        weights = ((role, getattr(mix, role)) for role in mix.acting)
        self._weights = {role: like.new_tensor(w) if isinstance(w, tuple) else w for role, w in weights}
        try:
            yield
        finally:
            self._weights = {}

    def _hook(self, role: str, branch: Branch, temporal: bool):
        def run(_layer, inputs, output):
            weight = self._weights.get(role)
            return (
                None if weight is None else output + branch(inputs[0], _spread(weight, inputs[0], temporal))
            )

        return run


def _spread(weight: float | Tensor, x: Tensor, temporal: bool) -> float | Tensor:
    """Weights (F,) shaped for a layer's input: (B F) ... at spatial layers, N x F x C at temporal ones.

    One row that all frames share is taken for each frame.
    """
    if not isinstance(weight, Tensor):
        return weight
    if temporal:
        return weight[:, None]
    return weight.repeat(max(1, x.shape[0] // len(weight))).view(-1, *[1] * (x.ndim - 1))


def lora_layers(net: nn.Module) -> dict[str, nn.Module]:
    """The layers of a net that LoRA changes, by name: all but the norms."""
    return {
        name: layer
        for name, layer in net.named_modules()
        if isinstance(layer, (nn.Linear, nn.Conv2d)) and not name.startswith(PREFIX)
    }


def add_lora(net: nn.Module, role: str, rank: int = 64, device=None, dtype=None) -> SwitchableLora:
    """Give a VideoControlNet a fresh LoRA of all its layers, to be trained; it adds nothing yet.

    Returns all LoRAs of the net. Raises ValueError as `SwitchableLora.add`.
    """
    net.lora = net.lora or SwitchableLora()
    net.lora.add(net, role, dict.fromkeys(lora_layers(net), rank), device=device, dtype=dtype)
    for branch in net.lora.branches(role).values():
        branch.reset()
    return net.lora


def check_mix(net: nn.Module, mix: LoraMix) -> None:
    """Raise ValueError when `mix` needs a LoRA that a VideoControlNet lacks."""
    for role in mix.acting:
        if net.lora is None or role not in net.lora.roles:
            has = "none" if net.lora is None else ", ".join(net.lora.roles)
            raise ValueError(
                f"This ControlNet has no {role} LoRA (it has: {has}); load a file that holds it, or give its "
                f"part as {role}_lora in 'Load Video ControlNet'"
            )
