"""An atlas: where each pixel of a clip lies in one or two layer pictures, and what covers what."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .networks import Grid, Perceptron, alpha_of, look_up, splat

FOREGROUND, BACKGROUND = "foreground", "background"
HIDDEN, DEPTH, OCTAVES = 64, 4, 5


class Layer(nn.Module):
    """The mapping of one layer: moves that it is known to make, and a perceptron for the rest."""

    def __init__(self, grid: Grid, moves: Tensor):
        """Start from `moves` (F, 2, 3) of coordinates to the layer's picture."""
        super().__init__()
        self.grid = grid
        self.register_buffer("moves", moves.float())
        self.net = Perceptron(3, 2, HIDDEN, DEPTH)
        nn.init.zeros_(self.net.hidden[-1].weight)  # begin with the moves
        nn.init.zeros_(self.net.hidden[-1].bias)

    def forward(self, points: Tensor) -> Tensor:
        """Places (N, 2) in the layer's picture, -1..1, of coordinates (N, 3)."""
        frame = ((points[:, 2] + 1) * (self.grid.frames / 2)).round().long().clamp(0, len(self.moves) - 1)
        linear, shift = self.moves[frame].split((2, 1), dim=2)
        return (linear @ points[:, :2, None] + shift)[:, :, 0] + self.net(points)


class Atlas(nn.Module):
    """A clip of `size` (height, width) as layers, the foreground first where there is one."""

    def __init__(self, size: tuple[int, int], frames: int, moves: Sequence[Tensor], scale: float):
        """Make a layer for each of `moves` (F, 2, 3): (background,), or (foreground, background).

        scale: of the first frame in the pictures.
        """
        super().__init__()
        self.size, self.frames, self.scale = size, frames, scale
        self.grid = Grid(max(size), frames)
        self.names = (FOREGROUND, BACKGROUND)[-len(moves) :]
        self.layers = nn.ModuleList(Layer(self.grid, own) for own in moves)
        self.opacity = Perceptron(3, 1, HIDDEN, DEPTH, OCTAVES) if len(moves) == 2 else None
        self.side = round(max(size) / scale)  # one place for each pixel of a frame
        self.textures = nn.Parameter(torch.full((len(moves), 3, self.side, self.side), 0.5))

    @property
    def pictures(self) -> Tensor:
        """The layers' pictures, (layers, side, side, 3) in 0..1."""
        return self.textures.detach().clamp(0, 1).movedim(1, -1)

    def alpha(self, points: Tensor) -> Tensor:
        """Opacity of the foreground (N, 1) at coordinates (N, 3); 0 without a foreground."""
        if self.opacity is None:
            return points.new_zeros(len(points), 1)
        return alpha_of(self.opacity(points))

    def covered(self, uv: Sequence[Tensor], alpha: Tensor, textures: Tensor) -> Tensor:
        """Colours (N, 3) at places (N, 2) of each layer, the foreground over the background.

        textures: layer pictures (layers, 3, h, w) of any size.
        """
        found = [look_up(texture, place) for texture, place in zip(textures, uv, strict=True)]
        return found[0] if len(found) == 1 else alpha * found[0] + (1 - alpha) * found[1]

    def frame_points(self, frame: int) -> Tensor:
        """Coordinates (H W, 3) of a frame's pixels, row by row."""
        height, width = self.size
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        x, y = x.flatten().to(self.textures.device), y.flatten().to(self.textures.device)
        return self.grid(x, y, torch.full_like(x, frame))

    @torch.no_grad()
    def gathered(self, frame: int, values: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Values (H W, C) of a frame's pixels in each layer's picture, where seen; see `splat`."""
        points = self.frame_points(frame)
        alpha = self.alpha(points)[:, 0]
        shares = (alpha, 1 - alpha)[-len(self.layers) :]
        return [
            splat(layer(points), values.to(points), share, self.side)
            for layer, share in zip(self.layers, shares, strict=True)
        ]

    def coverage(self, report: Callable[[int, int], None] | None = None) -> Tensor:
        """How often each place of each picture is seen, in parts of the most: (layers, side, side).

        report(done, total) after each frame.
        """
        counts = torch.zeros(len(self.layers), self.side, self.side)
        for frame in range(self.frames):
            nothing = torch.zeros(self.size[0] * self.size[1], 0)
            counts += torch.stack([weight for _, weight in self.gathered(frame, nothing)]).cpu()
            if report is not None:
                report(frame + 1, self.frames)
        return counts / counts.amax((1, 2), keepdim=True).clamp_min(1e-6)


@torch.no_grad()
def render(
    atlas: Atlas,
    pictures: Tensor | None = None,
    images: Tensor | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Tensor:
    """The clip (F, H, W, 3) in 0..1 that an atlas stands for.

    pictures: (layers, h, w, 3) of any size, edited, in place of its own. images: the clip that the atlas was
    made from; then only what the edit changes is added to it, and all else stays as it is, to the last bit.
    report(done, total) after each frame. Raises ValueError for another number of layers, or another clip.
    """
    check_parts(atlas, pictures, images)
    edited = atlas.pictures if pictures is None else pictures.to(atlas.pictures)
    shown = resized(atlas.pictures, edited.shape[1:3])
    frames = []
    for frame in range(atlas.frames):
        points = atlas.frame_points(frame)
        places = [layer(points) for layer in atlas.layers], atlas.alpha(points)
        made = _frame(atlas, places, edited)
        if images is not None:
            made = images[frame].to(made) + (made - _frame(atlas, places, shown))
        frames.append(made.clamp(0, 1).cpu())
        if report is not None:
            report(frame + 1, atlas.frames)
    return torch.stack(frames)


def resized(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures (L, h, w, C) in another size, corner pixels on corner pixels; their own size leaves them."""
    if pictures.shape[1:3] == tuple(size):
        return pictures
    planes = functional.interpolate(pictures.movedim(-1, 1), tuple(size), mode="bilinear", align_corners=True)
    return planes.movedim(1, -1)


def _frame(atlas: Atlas, places: tuple[list[Tensor], Tensor], pictures: Tensor) -> Tensor:
    return atlas.covered(*places, pictures.movedim(-1, 1)).view(*atlas.size, 3)


def check_parts(atlas: Atlas, pictures: Tensor | None, images: Tensor | None) -> None:
    """Raise ValueError for pictures or a clip that do not belong to the atlas."""
    if pictures is not None and (pictures.ndim != 4 or len(pictures) != len(atlas.layers)):
        raise ValueError(
            f"The atlas has {len(atlas.layers)} layers ({', '.join(atlas.names)}), "
            f"got {len(pictures)} pictures."
        )
    if images is not None and tuple(images.shape[:3]) != (atlas.frames, *atlas.size):
        raise ValueError(
            f"The clip is {len(images)} frames of {images.shape[2]}x{images.shape[1]}, the atlas was made "
            f"from {atlas.frames} of {atlas.size[1]}x{atlas.size[0]}; connect the clip it was built from."
        )
