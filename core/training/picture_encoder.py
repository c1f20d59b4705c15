"""Recipe: a small picture encoder for the demo's image prompts, where larger models have CLIP's.

It learns to tell what the sprites of the sprite world are, from their pictures alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import Linear, functional

from ..image_prompt.network import MapperConfig
from ..image_prompt.vision import VisionConfig, VisionTower, standardized
from .base_model import CONTEXT
from .loop import Trainer
from .subjects import PICTURE_SIZE, SubjectClips

VISION = VisionConfig(width=96, layers=4, heads=4, inner=192, patch=8, image=PICTURE_SIZE)
MAPPER = MapperConfig(source=96, hidden=96, target=CONTEXT, layers=(4, 0, 1, 2, 3), vision=VISION)
ATTRIBUTES = ("shape", "colour", "texture", "identity")
UNKNOWN = -100  # an attribute that says nothing of a sprite: only faces have an identity


class PictureClassifier(nn.Module):
    """A picture encoder, and a linear layer on its class token for each attribute."""

    def __init__(self, sizes: dict[str, int], config: VisionConfig = VISION):
        """`sizes`: how many values each attribute has."""
        super().__init__()
        self.tower = VisionTower(config)
        self.heads = nn.ModuleDict({name: Linear(config.width, size) for name, size in sizes.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Pictures B x 3 x S x S in 0..1 -> logits of every attribute."""
        first = self.tower(standardized(pictures))[-1][:, 0]
        return {name: head(first) for name, head in self.heads.items()}


def attribute_numbers(about: list[dict]) -> tuple[Tensor, dict[str, int]]:
    """Number of each clip's value of each attribute (M, attributes), and how many values each has."""
    columns, sizes = [], {}
    for name in ATTRIBUTES:
        values = sorted({entry[name] for entry in about})
        known = [name != "identity" or entry["shape"] == "face" for entry in about]
        numbers = [values.index(e[name]) if k else UNKNOWN for e, k in zip(about, known, strict=True)]
        columns.append(torch.tensor(numbers))
        sizes[name] = len(values)
    return torch.stack(columns, dim=1), sizes


def train_picture_encoder(
    data: SubjectClips, plan, batch: int = 32, device="cpu", progress=None, stop=None
) -> dict[str, Tensor]:
    """Teach a picture encoder what the sprites are; returns the averaged state dict of its tower."""
    numbers, sizes = attribute_numbers(data.about)
    torch.manual_seed(plan.seed)
    model = PictureClassifier(sizes).to(device)

    def loss(step, generator):
        picks = torch.randint(len(data.clips), (batch,), generator=generator)
        views = torch.randint(data.pictures.shape[1], (batch,), generator=generator)
        found = model(data.pictures[picks, views].to(device).float() / 255)
        return sum(
            _error(logits.float(), column.to(device))
            for logits, column in zip(found.values(), numbers[picks].unbind(1), strict=True)
        )

    trained = Trainer({"vision": model}, loss, plan, progress, stop).resume().run().averaged()["vision"]
    return {key.removeprefix("tower."): t for key, t in trained.items() if key.startswith("tower.")}


def _error(logits: Tensor, wanted: Tensor) -> Tensor:
    """Mean cross-entropy over what is known; 0 where nothing is."""
    total = functional.cross_entropy(logits, wanted, ignore_index=UNKNOWN, reduction="sum")
    return total / (wanted != UNKNOWN).sum().clamp(min=1)
