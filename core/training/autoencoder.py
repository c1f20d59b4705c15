"""Recipe: an autoencoder of the TAESD shape (8x smaller, 4 channels), its latents of mean 0 and variance 1.

The layer numbering is TAESD's, so the weights load in hosts that read TAESD files. The encoder takes pictures
in 0..1.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn import Conv2d

from ..data.render import render_images
from ..data.scene import sample_scene
from ..files import write_weights
from .loop import Trainer

WIDTH = 64


def _conv(inside, outside, **options):
    return Conv2d(inside, outside, 3, padding=1, **options)


class _Block(nn.Module):
    """Three convolutions with a residual path, all of one width."""

    def __init__(self):
        super().__init__()
        relu = nn.ReLU
        self.conv = nn.Sequential(
            _conv(WIDTH, WIDTH), relu(), _conv(WIDTH, WIDTH), relu(), _conv(WIDTH, WIDTH)
        )

    def forward(self, x):
        return F.relu(self.conv(x) + x)


class _Clamp(nn.Module):
    """Soft limit to -3..3."""

    def forward(self, x):
        return torch.tanh(x / 3) * 3


def encoder():
    """(B, 3, H, W) in 0..1 -> latents (B, 4, H/8, W/8)."""
    stages = [_conv(3, WIDTH), _Block()]
    for _ in range(3):
        stages += [_conv(WIDTH, WIDTH, stride=2, bias=False), _Block(), _Block(), _Block()]
    return nn.Sequential(*stages, _conv(WIDTH, 4))


def decoder():
    """Latents (B, 4, h, w) -> pictures (B, 3, 8h, 8w), about 0..1."""
    stages = [_Clamp(), _conv(4, WIDTH), nn.ReLU()]
    for _ in range(3):
        stages += [_Block(), _Block(), _Block(), nn.Upsample(scale_factor=2), _conv(WIDTH, WIDTH, bias=False)]
    return nn.Sequential(*stages, _Block(), _conv(WIDTH, 3))


def _start_well(module):
    """He initialisation with damped residual branches.

    Torch's default starves so deep a ReLU net of signal.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for block in module.modules():
        if isinstance(block, _Block):
            block.conv[-1].weight.data.mul_(0.1)
    return module


def stills(rng, count, size=None):
    """`count` random sprite-world stills (count, 3, s, s) in 0..1.

    Crops of `size` that show a sprite when given.
    """
    out = []
    while len(out) < count:
        scene = sample_scene(rng, 16)
        image = render_images(scene, frames=[int(rng.integers(16))])[0]
        if size:
            x, y = rng.integers(0, image.shape[1] - size + 1, 2)
            image = image[y : y + size, x : x + size]
            saturation = image.max(-1) - image.min(-1)
            if (saturation > 0.4).mean() < 0.05 and rng.random() < 0.8:
                continue  # mostly ground: sprites matter more
        out.append(image)
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2).contiguous()


def _picture_loss(y, x):
    """Squared error, heavier on sprites, plus the absolute error of the gradients.

    A sprite is where saturated pixels are near, so that a face's dark paint and a ring's hole count too.
    """
    weight = 1 + 4 * F.max_pool2d(x.amax(1, keepdim=True) - x.amin(1, keepdim=True), 9, 1, 4)
    edges = sum((y.diff(dim=d) - x.diff(dim=d)).abs().mean() for d in (2, 3))
    return 5 * (weight * (y - x).square()).mean() + 0.25 * edges


def _whiteness(z):
    """How far the latents' channels are from zero mean and unit covariance.

    What a diffusion model likes to see.
    """
    flat = z.transpose(0, 1).flatten(1)
    gap = torch.cov(flat) - torch.eye(len(flat), device=z.device)
    return flat.mean(1).square().sum() + gap.square().sum()


def train_autoencoder(plan, batch=8, crop=64, device="cpu", progress=None, stop=None):
    """Train encoder and decoder on sprite-world crops.

    Returns {"encoder": ..., "decoder": ...} averaged state dicts.

    The decoder sees latents with a little noise, since a sampler never returns them exactly.
    """
    torch.manual_seed(plan.seed)
    modules = {"encoder": _start_well(encoder()), "decoder": _start_well(decoder())}
    for module in modules.values():
        module.to(device, memory_format=torch.channels_last)

    def loss(step, generator):
        rng = np.random.default_rng(int(torch.randint(1 << 62, (1,), generator=generator)))
        x = stills(rng, batch, crop).to(device, memory_format=torch.channels_last)
        z = modules["encoder"](x)
        noise = 0.08 * torch.randn(z.shape, generator=generator).to(device)
        y = modules["decoder"](z + noise).float()
        return _picture_loss(y, x) + 0.03 * _whiteness(z.float())

    trainer = Trainer(modules, loss, plan, progress, stop).resume().run()
    return trainer.averaged()


def load(folder, device="cpu"):
    """Encoder and decoder from a folder written by `save`, ready for inference."""
    from safetensors.torch import load_file

    pair = encoder(), decoder()
    for name, module in zip(("encoder", "decoder"), pair, strict=True):
        module.load_state_dict(load_file(Path(folder) / f"{name}.safetensors"))
        module.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    return pair


def save(weights, folder):
    """Write averaged weights as NAME.safetensors each."""
    for name, tensors in weights.items():
        write_weights(tensors, Path(folder) / f"{name}.safetensors")
