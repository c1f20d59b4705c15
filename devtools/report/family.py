"""The demo's parts outside the host, for what the training rooms measure, and encoded sprite clips."""

from __future__ import annotations

import os
from pathlib import Path

from ..pack import register_pack
from .context import CHECKPOINT, MOTION, Context


class Parts:
    """Tensors of the demo's checkpoint and motion module; families and autoencoder made from them."""

    def __init__(self, context: Context):
        """Read the files."""
        register_pack()
        from choreographer.core.motion.layouts import read_motion_module
        from choreographer.core.training import autoencoder, base_model
        from safetensors.torch import load_file

        self.device = context.device
        self.words = base_model.Words(Path(os.environ["COMFYUI_PATH"]) / "comfy" / "sd1_tokenizer")
        tensors = {k: v.float() for k, v in load_file(context.file(CHECKPOINT)).items()}
        empty = base_model.make_unet().state_dict(), base_model.make_text_encoder().state_dict()
        self.weights = base_model.checkpoint_parts(tensors, *empty)
        self.motion = read_motion_module(context.file(MOTION)).float().state_dict()
        self.encoder, self.decoder = autoencoder.encoder(), autoencoder.decoder()
        for name in ("encoder", "decoder"):
            part = getattr(self, name)
            part.load_state_dict(self.weights[name])
            part.to(self.device).eval().requires_grad_(False)

    def family(self, seed: int = 0, motion: bool = True):
        """A trainable family with the demo's weights; without `motion` its motion module is fresh."""
        from choreographer.core.training.diffusion import Family

        family = Family(self.words, device=self.device, seed=seed)
        family.load({name: self.weights[name] for name in ("unet", "text")})
        return family.load({"motion": self.motion}) if motion else family

    def encode(self, images):
        """Latents (N, 4, h, w) of images (N, H, W, 3) numpy in 0..1."""
        import torch

        with torch.inference_mode():
            planes = torch.from_numpy(images).float().movedim(-1, 1).to(self.device)
            return torch.cat([self.encoder(part) for part in planes.split(16)]).cpu().clone()

    def decode(self, latents):
        """Frames (F, H, W, 3) numpy in 0..1 of latents (F, 4, h, w)."""
        import torch

        with torch.inference_mode():
            made = self.decoder(latents.to(self.device)).clamp(0, 1)
            return made.movedim(1, -1).float().cpu().numpy()

    def clips(self, count: int, frames: int, seed: int):
        """Encoded sprite clips with their captions, as the motion recipe takes them."""
        import numpy as np
        from choreographer.core.data.render import render_images
        from choreographer.core.data.scene import sample_scene
        from choreographer.core.training.clips import Clips

        rng = np.random.default_rng(seed)
        scenes = [sample_scene(rng, frames) for _ in range(count)]
        return Clips([self.encode(render_images(s)) for s in scenes], [s.caption for s in scenes])
