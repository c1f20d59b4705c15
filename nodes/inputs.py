"""Inputs that many nodes have, so that they are everywhere alike."""

from collections.abc import Sequence

from comfy_api.latest import io

from ..core.noise import SEED_RANGE
from .host.sampling import sampler_names, scheduler_names

MOST_FRAMES = 4096


def seed_input(tooltip: str, advance: bool = True) -> io.Int.Input:
    """The seed, as the stock samplers have it.

    advance: the editor may change it after each run. What trains or fits does not let it: with another seed
    it would begin anew on every run, and never go on where it was cancelled.
    """
    return io.Int.Input(
        "seed", default=0, min=0, max=SEED_RANGE - 1, control_after_generate=advance, tooltip=tooltip
    )


def learning_rate_input(tooltip: str, default: float = 1e-4, step: float = 1e-7) -> io.Float.Input:
    """How fast a training learns."""
    return io.Float.Input("learning_rate", default=default, min=step, max=1.0, step=step, tooltip=tooltip)


def amount_input(
    name: str, default: float, tooltip: str, most: float = 1.0, optional: bool = False
) -> io.Float.Input:
    """How much of something: a number from 0, in hundredths."""
    return io.Float.Input(
        name, default=default, min=0.0, max=most, step=0.01, optional=optional, tooltip=tooltip
    )


def percent_inputs(begins: str, ends: str) -> list[io.Float.Input]:
    """The part of sampling in which something acts."""
    return [amount_input("start_percent", 0.0, begins), amount_input("end_percent", 1.0, ends)]


def sampler_inputs(steps: str, cfg: str, scale: float = 8.0) -> list:
    """Steps, guidance scale, sampler and scheduler, as the stock KSampler has them."""
    return [
        io.Int.Input("steps", default=20, min=1, max=10000, tooltip=steps),
        io.Float.Input("cfg", default=scale, min=0.0, max=100.0, step=0.1, round=0.01, tooltip=cfg),
        io.Combo.Input("sampler_name", options=sampler_names(), tooltip="Algorithm that removes the noise."),
        io.Combo.Input("scheduler", options=scheduler_names(), tooltip="How the noise falls over the steps."),
    ]


def frames_input(tooltip: str = "Frames of the clip.") -> io.Int.Input:
    """How many frames a clip has."""
    return io.Int.Input("frames", default=16, min=1, max=MOST_FRAMES, tooltip=tooltip)


def choice_input(name: str, options: Sequence[str], tooltip: str, default: str | None = None):
    """One of some words, by default the first."""
    options = list(options)
    return io.Combo.Input(name, options=options, default=default or options[0], tooltip=tooltip)


def text_input(name: str, tooltip: str, multiline: bool = False) -> io.String.Input:
    """A text that may be left empty."""
    return io.String.Input(name, default="", multiline=multiline, optional=True, tooltip=tooltip)


def strength_schedule_input() -> io.String.Input:
    """A control's strength by frame."""
    return text_input(
        "strength_schedule",
        "Strength at frames, as in 0:1.0, 8:0.5; frames between blend, and 'strength' multiplies all. Empty "
        "= the same for every frame.",
    )
