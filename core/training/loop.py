"""The one training loop.

Seeded, checkpointed, resumable, averaged weights, a progress bar and a loss curve.

A recipe gives modules and a loss; every random number of step `n` comes from `step_seed(seed, n)`, so a run
that was stopped and resumed draws what an uninterrupted one would have drawn.
"""

import contextlib
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import autocast

from ..files import first_process, write_whole
from .curve import draw_curve


@dataclass(frozen=True)
class Plan:
    """How long and how fast.

    Steps; peak learning_rate with warmup steps and a cosine to a tenth, or constant; seed; averaging decay
    (0: the last weights); precision "fp32" or "bf16" (autocast); save_every steps a checkpoint; folder for
    checkpoints and the curve; betas of AdamW; clip, the largest norm of the gradients.
    """

    steps: int
    folder: Path
    learning_rate: float = 1e-3
    warmup: int = 50
    seed: int = 0
    average: float = 0.998
    weight_decay: float = 0.01
    precision: str = "fp32"
    save_every: int = 250
    constant: bool = False
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0

    def rate(self, step):
        """Learning rate at a step."""
        if self.constant:
            return self.learning_rate
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        part = (step - self.warmup) / max(self.steps - self.warmup, 1)
        return self.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * part)))


def step_seed(seed, step):
    """A 63-bit seed for one step of one run, the same on every machine."""
    return (seed * 1_000_003 + step * 7_919 + 12_345) % (1 << 63)


class Trainer:
    """Trains `modules` (name -> nn.Module; only parameters that require grad) on `loss(step, generator)`.

    After `run()`, `averaged()` gives the smoothed weights, name -> state dict. `stop` is polled every step:
    when it returns True the run saves a checkpoint and returns, keeping what was learnt.
    """

    def __init__(self, modules, loss, plan, progress=None, stop=None):
        self.modules, self.loss, self.plan = modules, loss, plan
        self.progress, self.stop = progress or bar, stop or (lambda: False)
        self.accelerator = _accelerator()
        self.names = [
            f"{m}.{n}" for m, mod in modules.items() for n, p in mod.named_parameters() if p.requires_grad
        ]
        self.parameters = [p for mod in modules.values() for p in mod.parameters() if p.requires_grad]
        if not self.parameters:
            raise ValueError("Nothing to train: no parameter of the given modules requires a gradient.")
        self.device = self.parameters[0].device
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=plan.learning_rate, betas=plan.betas, weight_decay=plan.weight_decay
        )
        self.shadow = [p.detach().clone() for p in self.parameters]
        self.step, self.losses = 0, []

    @property
    def checkpoint(self):
        """Where the run is kept."""
        return Path(self.plan.folder) / "checkpoint.pt"

    def resume(self):
        """Go on from the folder's checkpoint, if there is one of the same parameters."""
        if not self.checkpoint.exists():
            return self
        kept = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self._check_same(kept)
        for p, value, shadow, average in zip(
            self.parameters, kept["values"], self.shadow, kept["shadow"], strict=True
        ):
            p.data.copy_(value)
            shadow.copy_(average)
        self.optimizer.load_state_dict(kept["optimizer"])
        self.step, self.losses = kept["step"], kept["losses"]
        return self

    def _check_same(self, kept):
        """Raise ValueError unless a checkpoint's parameters have the names and shapes of these."""
        there = {name: tuple(value.shape) for name, value in zip(kept["names"], kept["values"], strict=True)}
        here = {name: tuple(p.shape) for name, p in zip(self.names, self.parameters, strict=True)}
        if list(there) != list(here):
            found = "its parameters have other names"
        else:
            differ = next((name for name in here if there[name] != here[name]), None)
            found = differ and f"{differ} is {there[differ]} there and {here[differ]} here"
        if found:
            raise ValueError(
                f"{self.checkpoint.name} in {self.plan.folder} belongs to another model: {found}; "
                "use a new folder."
            )

    def run(self):
        """Train to the end of the plan or until `stop`; returns self.

        What was learnt is kept, too, when something raises in mid-step, as a host's interrupt does. Raises
        ValueError for a loss or a gradient that is not finite.
        """
        started, first = time.monotonic(), self.step
        if first:  # so that whoever shows losses has those of the earlier run, even if nothing is left to do
            self.progress(first, self.plan.steps, self.losses, 0.0)
        try:
            while self.step < self.plan.steps and not self.stop():
                self.losses.append(self._one_step())
                self.step += 1
                seconds = (time.monotonic() - started) / (self.step - first)
                self.progress(self.step, self.plan.steps, self.losses, seconds)
                if self.step % self.plan.save_every == 0:
                    self.save()
        finally:
            if self.step:
                self.save()
        return self

    def averaged(self):
        """Smoothed weights: module name -> state dict on the CPU, with the frozen entries as they are."""
        average = dict(zip(self.names, self.shadow, strict=True))
        return {
            m: {k: average.get(f"{m}.{k}", v).detach().cpu().clone() for k, v in mod.state_dict().items()}
            for m, mod in self.modules.items()
        }

    def save(self):
        """Write checkpoint and curve, each under a temporary name first."""
        if not first_process():
            return
        kept = {"names": self.names, "values": [p.detach() for p in self.parameters], "shadow": self.shadow}
        kept |= {"optimizer": self.optimizer.state_dict(), "step": self.step, "losses": self.losses}
        write_whole(self.checkpoint, lambda part: torch.save(kept, part))
        draw_curve(self.losses, Path(self.plan.folder) / "loss.png")

    def _one_step(self):
        generator = torch.Generator("cpu").manual_seed(
            step_seed(self.plan.seed + int(os.environ.get("RANK", "0")), self.step)
        )
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.rate(self.step)
        with _autocast(self.device, self.plan.precision):
            loss = self.loss(self.step, generator)
        loss.backward()
        if self.accelerator:
            self._average_gradients()
        size = torch.nn.utils.clip_grad_norm_(self.parameters, self.plan.clip)
        value = loss.item()
        self._check_finite(value, float(size))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        decay = min(self.plan.average, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.shadow, [p.detach() for p in self.parameters], 1 - decay)
        return value

    def _check_finite(self, loss, gradient):
        """Raise ValueError before a step that would turn all weights into no numbers."""
        if math.isfinite(loss) and math.isfinite(gradient):
            return
        self.optimizer.zero_grad(set_to_none=True)
        raise ValueError(
            f"Step {self.step + 1} has a loss of {loss:.4g} and a gradient of {gradient:.4g}, from which "
            "nothing can be learnt: lower the learning rate, or look whether a clip's latents hold values "
            "that are no numbers (a VAE in fp16 can make them). What was learnt before is kept."
        )

    def _average_gradients(self):
        """Give every process the mean gradient.

        A part that one process did not use this step counts as zero there.
        """
        flat = torch.cat(
            [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in self.parameters]
        )
        mean = self.accelerator.reduce(flat, "mean").split([p.numel() for p in self.parameters])
        for p, gradient in zip(self.parameters, mean, strict=True):
            p.grad = gradient.view_as(p)


def bar(step, steps, losses, seconds):
    """Text progress.

    A line each fifty steps, and one at the end; only the first of several processes prints.
    """
    if (step % 50 == 0 or step == steps) and first_process():
        recent = sum(losses[-100:]) / len(losses[-100:])
        left = (steps - step) * seconds / 60
        filled = "#" * (20 * step // steps)
        print(
            f"[{filled:<20}] {step}/{steps} loss {recent:.4f} {seconds:.3f} s/step, {left:.1f} min left",
            flush=True,
        )


def _autocast(device, precision):
    if precision == "fp32":
        return contextlib.nullcontext()
    return autocast(device.type, torch.bfloat16)


def _accelerator():
    """Hugging Face accelerate when `accelerate launch` started several processes, else None."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    from accelerate import Accelerator

    return Accelerator(cpu=not torch.cuda.is_available())
