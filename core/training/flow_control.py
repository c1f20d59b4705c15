"""Recipes of Image Conductor: the flow net on mixed clips, then its camera LoRA and its object LoRA."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..control.lora import BASE, ROLES, Branch, LoraMix, add_lora
from ..control.network import VideoControlNet
from .control import Acting, control_loss
from .diffusion import Batch
from .flow_clips import TrackedLatents
from .flow_source import FlowSource
from .loop import Plan, Trainer
from .losses import orthogonal_loss

# what acts while a role's LoRA learns: the object's learns on top of the camera's, which is stopped (Eq. 2)
ACTING = {"camera": ("camera",), "object": ROLES}
CLIPS = {"camera": ("camera",), "object": ("object", "mixed")}  # kinds of clips that a role's LoRA sees
DENSE, SPARSE = "dense", "sparse"


@dataclass(frozen=True)
class Orthogonal:
    """Image Conductor Eq. 4 between the LoRAs: the weight of the loss, and its target (`orthogonal_loss`)."""

    weight: float = 0.1
    target: str = "zero"


@dataclass
class FlowTraining:
    """A flow net (`control`) on a frozen family, and an `image` net that acts besides and is frozen too.

    Each stage keeps its checkpoint in a folder of its own below the plan's, so that a run that was stopped
    goes on where it was. `progress` and `stop` as in `Trainer`. `kinds`: of clips, that a role's LoRA sees.
    """

    family: Any
    control: VideoControlNet
    clips: TrackedLatents
    plan: Plan
    batch: Batch
    image: VideoControlNet | None = None
    progress: Callable | None = None
    stop: Callable[[], bool] | None = None
    kinds: Mapping[str, Sequence[str]] = field(default_factory=lambda: CLIPS)

    def train_base(self, dense_steps: int) -> VideoControlNet:
        """The net without LoRA: `dense_steps` on dense flow maps, then the plan's on sparse ones."""
        for name, steps in ((DENSE, dense_steps), (SPARSE, self.plan.steps)):
            loss = self._denoising(FlowSource(self.clips, name == DENSE, self.image is not None), BASE)
            self._train(name, self.control, loss, steps)
        return self.control

    def train_loras(self, rank: int, orthogonal: Orthogonal, roles: Sequence[str] = ROLES) -> VideoControlNet:
        """The LoRAs of some roles, one after the other, the plan's steps each.

        One that the net has is trained on, another begins fresh, with this rank.
        """
        for role in roles:
            if self.control.lora is None or role not in self.control.lora.roles:
                add_lora(self.control, role, rank, device=self.family.device)
        for role in roles:
            self.train_lora(role, orthogonal)
        return self.control

    def train_lora(self, role: str, orthogonal: Orthogonal) -> None:
        """One LoRA that the net has; all else is frozen.

        By default "camera" learns from clips in which the camera alone moves, "object" from the others; it
        does so with the camera LoRA acting but stopped, and with the loss of Eq. 4, if the net has that LoRA.
        """
        roles = self.control.requires_grad_(False).lora.roles
        lora, acting = roles[role].requires_grad_(True), [r for r in ACTING[role] if r in roles]
        source = FlowSource(self.clips.of_kinds(*self.kinds[role]), image=self.image is not None)
        denoising = self._denoising(source, LoraMix(**dict.fromkeys(acting, 1.0)))

        def with_eq_4(step, generator):
            return denoising(step, generator) + orthogonal.weight * overlap(self.control, orthogonal.target)

        apart = len(acting) == 2 and orthogonal.weight > 0
        self._train(role, lora, with_eq_4 if apart else denoising, self.plan.steps)

    def _denoising(self, source: FlowSource, mix: LoraMix) -> Callable:
        if self.image is not None:
            self.image.requires_grad_(False)
        return control_loss(self.family, Acting(self.control, mix, self.image), source, self.batch)

    def _train(self, name: str, module: nn.Module, loss: Callable, steps: int) -> None:
        """Train a part, and leave it with its averaged weights; nothing once the run was stopped."""
        if self.stop and self.stop():
            return
        plan = replace(self.plan, steps=steps, folder=self.plan.folder / name)
        trainer = Trainer({name: module}, loss, plan, self.progress, self.stop).resume().run()
        module.load_state_dict(trainer.averaged()[name])


@torch.no_grad()
def scale_residuals(control: VideoControlNet, factor: float) -> None:
    """Give a net's file another strength: what it and its LoRAs add to the UNet is `factor` times as much."""
    outputs = {"controlnet_mid_block": control.controlnet_mid_block}
    outputs |= {f"controlnet_down_blocks.{i}": conv for i, conv in enumerate(control.controlnet_down_blocks)}
    for name, conv in outputs.items():
        parts = [conv]
        if control.lora is not None:
            parts += [control.lora.branches(role)[name].ups for role in control.lora.roles]
        for weight in (weight for part in parts for weight in part.parameters()):
            weight.mul_(factor)


def overlap(control: VideoControlNet, target: str = "zero") -> Tensor:
    """Eq. 4 between the matrices A of the camera and the object LoRA, mean over layers; q, k and v apart."""
    camera, moving = (control.lora.branches(role) for role in ROLES)
    pairs = [pair for name in camera for pair in zip(_downs(camera, name), _downs(moving, name), strict=True)]
    return orthogonal_loss(*zip(*pairs, strict=True), target)


def _downs(branches: Mapping[str, Branch], name: str) -> tuple[Tensor, ...]:
    return branches[name].down.weight.chunk(len(branches[name].ups))
