"""The shape of a clip, and the only place that folds (B F) into B, F and back."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class VideoShape:
    """Extent of a batch of clips: `batch` clips of `frames` frames, `height` x `width` cells each.

    Frames of one clip are neighbours in the folded batch: index b * frames + f.
    """

    batch: int
    frames: int
    height: int
    width: int

    @classmethod
    def of(cls, x: Tensor, frames: int) -> VideoShape:
        """Shape of a folded tensor (B F) ... H W that holds clips of `frames` frames.

        Raises ValueError when the batch is no multiple of
        `frames`.
        """
        if frames < 1 or x.shape[0] % frames:
            raise ValueError(f"A batch of {x.shape[0]} frames does not divide into clips of {frames} frames")
        return cls(x.shape[0] // frames, frames, x.shape[-2], x.shape[-1])

    def split(self, x: Tensor) -> Tensor:
        """Unfold (B F) ... to B F ... without a copy; raises ValueError when the batch does not fit."""
        if x.shape[0] != self.batch * self.frames:
            raise ValueError(
                f"Expected {self.batch} clips of {self.frames} frames, got a batch of {x.shape[0]}"
            )
        return x.unflatten(0, (self.batch, self.frames))

    def join(self, x: Tensor) -> Tensor:
        """Fold B F ... to (B F) ...; raises ValueError when the first two axes are not (batch, frames)."""
        if tuple(x.shape[:2]) != (self.batch, self.frames):
            raise ValueError(f"Expected axes ({self.batch}, {self.frames}, ...), got {tuple(x.shape)}")
        return x.flatten(0, 1)
