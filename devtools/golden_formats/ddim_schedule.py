"""A DDIM schedule: betas, cumulative alphas, time steps, single steps with eta 0."""

import re
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from core import schedules

from .finding import Finding, relative


def schedule_named(text: str) -> str:
    """Our name of the schedule that a file calls "linear 0.00085..0.012": kind, first and last beta.

    Raises:
        ValueError: we have no such schedule.
    """
    kind, start, end = re.split(r"\s+|\.\.", text)
    wanted = schedules.Schedule(float(start), float(end), kind == "scaled_linear")
    for name, schedule in schedules.SCHEDULES.items():
        if schedule == wanted:
            return name
    raise ValueError(f"no beta schedule of ours is '{text}'")


def check_ddim_schedule(path: Path) -> Iterator[Finding]:
    """Betas, cumulative alphas, time steps and single DDIM steps (eta 0) of the schedule the file names."""
    with safe_open(path, "pt") as file:
        about = file.metadata() or {}
    data = load_file(path)
    steps = len(data["betas"])
    name = schedule_named(about.get("beta_schedule", "linear 0.00085..0.012"))
    kept = schedules.alphas_cumprod(name, steps)
    yield Finding("betas", relative(schedules.betas(name, steps), data["betas"]), 1e-6)
    yield Finding("alphas_cumprod", relative(kept, data["alphas_cumprod"]), 1e-5)
    for key, times in data.items():
        if key.startswith("timesteps_"):
            stride = steps // len(times)
            expected = torch.arange(len(times)).flip(0) * stride + int(about.get("steps_offset", 1))
            yield Finding(key, relative(expected, times), 0.0)
            yield from check_ddim_steps(data, kept, times, stride)


def check_ddim_steps(data: dict, kept: torch.Tensor, times: torch.Tensor, stride: int) -> Iterator[Finding]:
    """The stored results `prev_sample_step<i>` of one DDIM step from time `times[i]`."""
    for key, reference in data.items():
        step = re.fullmatch(r"prev_sample_step(\d+)", key)
        if step:
            now = int(times[int(step[1])])
            before = kept[now - stride] if now >= stride else data["final_alpha_cumprod"].double()
            yield Finding(
                key, relative(ddim_step(data["x"], data["eps"], kept[now], before), reference), 1e-5
            )


def ddim_step(x, eps, kept, kept_before):
    """One step of DDIM with eta 0 (Song et al. 2021, Eq. 12): from signal share `kept` to `kept_before`."""
    clean = (x - (1 - kept).sqrt() * eps) / kept.sqrt()
    return kept_before.sqrt() * clean + (1 - kept_before).sqrt() * eps
