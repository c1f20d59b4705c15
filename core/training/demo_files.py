"""The demo family's files: from what training runs leave in their folders, and back to a run."""

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from ..files import write_weights
from ..motion.layouts import read_motion_module, save_motion_module
from .base_model import checkpoint_parts, checkpoint_tensors
from .word_table import pack_words

CHECKPOINT = Path("checkpoints") / "choreographer_demo.safetensors"
MOTION = Path("animatediff_models") / "choreographer_demo_motion.safetensors"
# what a run calls its net -> where the demo has it
NETS = {
    "image_control.safetensors": Path("controlnet") / "choreographer_demo_image.safetensors",
    "flow_control.safetensors": Path("controlnet") / "choreographer_demo_flow.safetensors",
    "uni_control.safetensors": Path("controlnet") / "choreographer_demo_uni.safetensors",
    "image_prompt.safetensors": Path("image_prompt_models") / "choreographer_demo_image_prompt.safetensors",
}
MATRIX = 500  # numbers: what has more goes into fp8, LoRAs of rank 8 too; the rest stays


def export_checkpoint(demo, unet, text_encoder, encoder, decoder) -> None:
    """Write the parts' state dicts as one SD1.5-layout checkpoint, fp16."""
    tensors = pack_words(checkpoint_tensors(unet, text_encoder, encoder, decoder))
    halves = {key: t.half() if t.is_floating_point() else t for key, t in tensors.items()}
    write_weights(halves, demo / CHECKPOINT)


def export_motion(demo, motion) -> None:
    """Write a motion module, fp16."""
    save_motion_module(motion.half(), demo / MOTION)


def export_nets(demo, runs) -> None:
    """Write the nets that some of the runs' folders hold, their matrices in fp8 (e4m3), the rest as it is."""
    for run in runs:
        for name, target in NETS.items():
            if (run / name).exists():
                with safe_open(run / name, "pt") as file:
                    metadata = file.metadata()
                tensors = {key: _small(tensor) for key, tensor in load_file(run / name).items()}
                write_weights(tensors, demo / target, metadata)


def _small(tensor):
    return tensor.to(torch.float8_e4m3fn) if tensor.dim() > 1 and tensor.numel() > MATRIX else tensor


def unpack(demo, family) -> dict[str, dict]:
    """A demo folder's files as the parts that runs hold: encoder, decoder, unet, text, motion; fp32.

    family: any of the demo's shape, for its names.
    """
    tensors = {key: tensor.float() for key, tensor in load_file(demo / CHECKPOINT).items()}
    parts = checkpoint_parts(tensors, family.unet.state_dict(), family.text.state_dict())
    return {**parts, "motion": read_motion_module(demo / MOTION).float().state_dict()}
