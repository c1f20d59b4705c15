"""The commands of trajectory control: clips with tracks, the flow net, its LoRAs."""

from __future__ import annotations

from pathlib import Path

import torch

from ..control.layouts import read_video_controlnet
from ..control.lora import ROLES
from ..data.dataset import read_datasets
from ..data.free_motion import KINDS
from ..data.scene import SIZE
from . import autoencoder
from .control import make_control, save_control
from .flow_clips import build_flow_clips, read_flow_clips, sprite_clips
from .flow_control import CLIPS, FlowTraining, Orthogonal, scale_residuals

FLOW_CONTROL = "flow_control.safetensors"


def add_options(parser) -> None:
    """The options that only these commands have."""
    add = parser.add_argument
    add("--dataset", type=Path, nargs="*", help="flow_clips: folders of `dev.py curate`")
    add("--dense-steps", type=int, default=500, help="flow_control: steps on dense maps, before --steps")
    add("--flow-control", type=Path, help="motion_loras: file of the net they are for")
    add("--image-control", type=Path, help="flow_control, motion_loras: an image net to act besides")
    add("--rank", type=int, default=8, help="motion_loras: rank of each fresh LoRA")
    add("--roles", choices=ROLES, nargs="+", default=ROLES, help="motion_loras: which to train, or train on")
    add("--orthogonal", type=float, default=0.1, help="motion_loras: weight of the loss of Eq. 4")
    add("--orthogonal-target", choices=("zero", "identity"), default="zero", help="its target")
    seen = "motion_loras: kinds of clips that the object LoRA sees"
    add("--object-clips", choices=KINDS, nargs="+", default=CLIPS["object"], help=seen)
    add("--residuals", type=float, default=1.0, help="motion_loras: factor on what the finished net adds")


def flow_clips(options) -> None:
    """Draw and encode clips of the sprite world, or read and encode curated ones."""
    encoder, _ = autoencoder.load(options.autoencoder, options.device)
    size, clips = (SIZE, SIZE), sprite_clips(options.clips, options.frames, options.seed)
    if options.dataset:
        size, clips = read_datasets(*options.dataset)
    build_flow_clips(encoder, options.folder, clips, size, reversible=not options.dataset)


def flow_control(options, plan, batch, family) -> None:
    """Train the flow net, and write its file."""
    training = _training(options, plan, batch, family, make_control(family, "flow"))
    save_control(training.train_base(options.dense_steps).half(), options.folder / FLOW_CONTROL)


def motion_loras(options, plan, batch, family) -> None:
    """Train LoRAs of a flow net, fresh ones or those that it has, and write them with it into one file."""
    if options.flow_control is None:
        raise ValueError("motion_loras needs --flow-control FILE, the net that the LoRAs are for")
    training = _training(options, plan, batch, family, _read(options.flow_control, options))
    orthogonal = Orthogonal(options.orthogonal, options.orthogonal_target)
    net = training.train_loras(options.rank, orthogonal, options.roles)
    scale_residuals(net, options.residuals)
    save_control(net.half(), options.folder / FLOW_CONTROL)


def _training(options, plan, batch, family, net) -> FlowTraining:
    image = options.image_control and _read(options.image_control, options)
    kinds = {**CLIPS, "object": options.object_clips}
    return FlowTraining(family, net, read_flow_clips(*options.latents), plan, batch, image, kinds=kinds)


def _read(file: Path, options):
    return read_video_controlnet(file, device=options.device, dtype=torch.float32)
