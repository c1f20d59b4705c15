"""The coarse half of an image prompt: features of a picture become tokens that stand for the subject word."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

SLOPE = 0.01  # of the LeakyReLU


def projection(source: int, hidden: int, target: int, ops=nn, device=None, dtype=None) -> nn.Sequential:
    """Linear, LayerNorm, LeakyReLU, twice, and a Linear: ... x source -> ... x target."""
    where = {"device": device, "dtype": dtype}
    return nn.Sequential(
        ops.Linear(source, hidden, **where),
        ops.LayerNorm(hidden, **where),
        nn.LeakyReLU(SLOPE),
        ops.Linear(hidden, hidden, **where),
        ops.LayerNorm(hidden, **where),
        nn.LeakyReLU(SLOPE),
        ops.Linear(hidden, target, **where),
    )


class Mapper(nn.Module):
    """One token a feature map: of its class token, plus the mean over its patches (VideoBooth, coarse)."""

    def __init__(self, features: int, source: int, hidden: int, target: int, ops=nn, device=None, dtype=None):
        """Make two projections for each of `features` maps, from `source` channels to `target`."""
        super().__init__()
        sizes = (source, hidden, target, ops, device, dtype)
        self.whole = nn.ModuleList(projection(*sizes) for _ in range(features))
        self.patches = nn.ModuleList(projection(*sizes) for _ in range(features))

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Feature maps N x (1 + patches) x source, class token first -> a token N x target for each."""
        return [
            whole(map_[:, 0]) + patches(map_[:, 1:]).mean(dim=1)
            for whole, patches, map_ in zip(self.whole, self.patches, features, strict=True)
        ]
