"""A folder of encoded sprite-world clips.

What the diffusion recipes read, so that no step waits for a picture.

`latents.safetensors` holds `stills` (N, 4, h, w) and `clips` (M, F, 4, h, w) in fp16; `captions.json` the
texts.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import autocast

from ..data.render import render_images
from ..data.scene import DIRECTIONS, reversed_caption, sample_scene
from ..files import write_text, write_weights
from .clips import Clips


def encode_images(encoder, images, batch=16):
    """(N, H, W, 3) float32 0..1 -> latents (N, 4, H/8, W/8) fp16, computed in bf16."""
    device = next(encoder.parameters()).device
    out = []
    with torch.inference_mode(), autocast(device.type, torch.bfloat16):
        for start in range(0, len(images), batch):
            x = torch.from_numpy(images[start : start + batch]).permute(0, 3, 1, 2)
            x = x.to(device, memory_format=torch.channels_last)
            out.append(encoder(x).half().cpu().contiguous())
    return torch.cat(out)


def draw_scene(rng, frames, still_camera=0.0, straight=0.0):
    """A scene of the sprite world; a share `still_camera` and a share `straight` are made so, beyond chance.

    A moving camera hides in a clip where the sprite goes, so these two teach the words of direction sooner.
    """
    fixed = {"camera": ""} if rng.random() < still_camera else {}
    if rng.random() < straight:
        fixed["motion"] = f"moving {list(DIRECTIONS)[rng.integers(4)]}"
    return sample_scene(rng, frames, **fixed)


def build(encoder, folder, stills, clips, frames=16, seed=1, progress=print, **shares):
    """Draw and encode `stills` single pictures and `clips` clips of `frames`, `shares` as in `draw_scene`.

    Writes the folder, under temporary names.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    still_parts, clip_parts, still_texts, clip_texts = [], [], [], []
    while len(still_texts) < stills:
        scenes = [draw_scene(rng, frames, **shares) for _ in range(min(16, stills - len(still_texts)))]
        images = np.concatenate([render_images(s, frames=[int(rng.integers(frames))]) for s in scenes])
        still_parts.append(encode_images(encoder, images))
        still_texts += [s.caption for s in scenes]
        if len(still_texts) % 1600 == 0:
            progress(f"{len(still_texts)}/{stills} stills")
    for number in range(clips):
        scene = draw_scene(rng, frames, **shares)
        clip_parts.append(encode_images(encoder, render_images(scene)))
        clip_texts.append(scene.caption)
        if (number + 1) % 100 == 0:
            progress(f"{number + 1}/{clips} clips")
    tensors = {"stills": torch.cat(still_parts)} if still_parts else {}
    tensors |= {"clips": torch.stack(clip_parts)} if clip_parts else {}
    _write(folder, tensors, still_texts, clip_texts)


def _write(folder, tensors, still_texts, clip_texts):
    write_text(json.dumps({"stills": still_texts, "clips": clip_texts}), folder / "captions.json")
    write_weights(tensors, folder / "latents.safetensors")


START = 4  # frames of a clip that count as its beginning


class Latents(Clips):
    """One or more such folders in memory: `stills`, `clips` (lists of fp16 tensors) and their captions."""

    def __init__(self, *folders):
        """Read the folders; raises ValueError for one that is not finished."""
        super().__init__([], [])
        self.stills, self.still_captions = [], []
        for folder in map(Path, folders):
            if not (folder / "latents.safetensors").exists():
                raise ValueError(f"No encoded clips in {folder}; make them first with the `latents` recipe.")
            tensors = load_file(folder / "latents.safetensors")
            captions = json.loads((folder / "captions.json").read_text())
            self.stills += tensors.get("stills", [])
            self.clips += tensors.get("clips", [])
            self.still_captions += captions["stills"]
            self.clip_captions += captions["clips"]

    @property
    def captions(self):
        """All texts that can be drawn."""
        return self.still_captions + self.told()[1]

    def told(self):
        """As `Clips.told`, and every clip played backwards."""
        back = [clip.flip(0) for clip in self.clips], [reversed_caption(text) for text in self.clip_captions]
        return self.clips + back[0], self.clip_captions + back[1]

    def draw_clips(self, count, frames, generator):
        """As `Clips.draw_clips`, half of them played backwards and told so: twice the clips for nothing."""
        latents, texts = super().draw_clips(count, frames, generator)
        back = torch.rand(count, generator=generator) < 0.5
        latents[back] = latents[back].flip(1)
        return latents, [
            reversed_caption(text) if b else text for text, b in zip(texts, back.tolist(), strict=True)
        ]

    def draw_stills(self, count, generator):
        """`count` pictures, half of them (all, without stills) from where clips begin.

        Returns (count, 4, h, w) float32 and captions.

        What moves left begins on the right. A picture of any frame would say nothing of that; so the words of
        motion mean something before the motion module has to make more of them.
        """
        picks = torch.randint(1 << 30, (count,), generator=generator).tolist()
        latents, texts = [], []
        for number, pick in enumerate(picks):
            if self.clips and (number % 2 or not self.stills):
                (clip,), (text,) = self.draw_clips(1, len(self.clips[0]), generator)
                latents.append(clip[pick % START])
                texts.append(text)
            else:
                latents.append(self.stills[pick % len(self.stills)].float())
                texts.append(self.still_captions[pick % len(self.stills)])
        return torch.stack(latents), texts
