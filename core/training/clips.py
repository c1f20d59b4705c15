"""Encoded clips in memory, from wherever they come: what the motion recipe draws from."""

import torch

from .expected import ExpectedClips


class Clips:
    """Clips to train on.

    `clips`: tensors (F, 4, h, w) of one size, in the UNet's latent units; `clip_captions`: a text for each.
    """

    def __init__(self, clips, captions):
        """Keep them; raises ValueError when the numbers of clips and captions differ."""
        if len(clips) != len(captions):
            raise ValueError(f"There are {len(clips)} clips and {len(captions)} captions; give one a clip.")
        self.clips, self.clip_captions = list(clips), list(captions)
        self._expected = None

    def draw_clips(self, count, frames, generator):
        """`count` runs of `frames` consecutive frames: (count, frames, 4, h, w) float32 and captions."""
        spare = min(map(len, self.clips), default=0) - frames
        if spare < 0:
            raise ValueError(f"The encoded clips have {spare + frames} frames, the recipe asks for {frames}.")
        picks = torch.randint(len(self.clips), (count,), generator=generator).tolist()
        starts = torch.randint(spare + 1, (count,), generator=generator).tolist()
        latents = [self.clips[c][s : s + frames].float() for c, s in zip(picks, starts, strict=True)]
        return torch.stack(latents), [self.clip_captions[c] for c in picks]

    def expected(self, captions, places=None):
        """What is to be expected of clips with these captions, as `expected.ExpectedClips` gives it.

        Fitted at the first call, to all clips, which must be of one length.
        """
        if self._expected is None:
            self._expected = ExpectedClips(*self.told())
        return self._expected(captions, places)

    def told(self):
        """All clips and their captions."""
        return self.clips, self.clip_captions
