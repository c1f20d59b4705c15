"""The options that all recipes of the command line share, and which of them each recipe needs.

Every option has the value that the shipped demo was made with where it matters.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch

NEEDS = {
    "latents": ("autoencoder",),
    "base": ("latents",),
    "motion": ("latents",),
    "image_control": ("latents",),
    "flow_clips": ("autoencoder",),
    "flow_control": ("latents",),
    "uni_control": ("autoencoder",),
    "motion_loras": ("latents",),
    "subjects": ("autoencoder",),
    "vision": ("subjects",),
    "image_prompt": ("subjects",),
    "image_report": ("subjects", "prompt", "autoencoder"),
    "ablation": ("latents",),
}  # recipe -> finished runs without which it cannot begin


def need(options, *names: str) -> None:
    """Raise ValueError for the first of these options that is not given."""
    for name in names:
        if not getattr(options, name):
            raise ValueError(f"{options.recipe} needs --{name.replace('_', '-')} RUN")


def add_options(parser) -> None:
    """How a recipe trains, what it reads, how much it sees a step, and what counts."""
    _add_training(parser.add_argument)
    _add_runs(parser.add_argument)
    _add_clips(parser.add_argument)
    _add_losses(parser.add_argument)


def _add_training(add) -> None:
    cuda = torch.cuda.is_available()
    add("--steps", type=int, default=1000)
    add("--learning-rate", type=float, default=1e-3)
    add("--seed", type=int, default=0)
    add("--precision", choices=("fp32", "bf16"), default="bf16" if cuda else "fp32")
    add("--threads", type=int, default=0, help="CPU threads, 0 = torch's choice")
    add("--device", default="cuda" if cuda else "cpu")
    add("--average", type=float, default=0.998, help="decay of the weight average")
    add("--constant", action="store_true", help="keep the learning rate: no warmup, no cosine")


def _add_runs(add) -> None:
    host = os.environ.get("COMFYUI_PATH")
    words = Path(host) / "comfy" / "sd1_tokenizer" if host else None
    add("--autoencoder", type=Path, help="finished autoencoder run")
    add("--latents", type=Path, nargs="+", help="finished latents runs")
    add("--from", dest="start", type=Path, nargs="*", default=[], help="runs whose weights to start from")
    add("--tokenizer", type=Path, default=words, help="folder with CLIP's vocab.json and merges.txt")


def _add_clips(add) -> None:
    add("--stills", type=int, default=24, help="pictures a step (latents: pictures to draw)")
    add("--pool", type=int, default=4000, help="uni_control: pictures to draw from")
    add("--clips", type=int, default=2, help="clips a step (latents: clips to draw)")
    add("--frames", type=int, default=16)
    for name, what in (("--still-camera", "a still camera"), ("--straight", "a straight move")):
        add(name, type=float, default=0.0, help=f"latents: share of scenes made with {what}")
    add(
        "--span", type=int, default=0, help="draw the frames thinly from runs of so many; 0: runs of --frames"
    )
    add("--places", type=int, nargs="*", default=[], help="with --span: only from these frames")
    add("--crop", type=int, default=48, help="autoencoder: side of the training crops")
    add("--clip-share", type=float, default=0.0, help="base: share of the steps that see clips")


def _add_losses(add) -> None:
    for name, what in (
        ("--blind", "base, motion: share of pure noise (losses.Diffusion)"),
        ("--debias", "base, motion: how much more the error of motion counts"),
        ("--gamma", "video ControlNets: gamma of VCD's prior, by which clips draw their noise"),
        ("--lambda1", "motion: weight of the neighbour term of Eq. 13"),
        ("--lambda2", "motion: weight of the keyframe term of Eq. 13"),
    ):
        add(name, type=float, default=0.0, help=what)
    add("--window", type=int, default=2, help="motion: k of Eq. 13")
    add("--keyframes", type=int, nargs="*", default=[], help="motion: keyframe indices of Eq. 13")
