"""Recipe: extended ID tokens (VCD). Only the tokens learn; text encoder and UNet stay as they are."""

from dataclasses import dataclass

import torch

from ..identity.tokens import TokenRows
from .loop import Plan, Trainer
from .losses import Diffusion

NOISE_OFFSET = 0.1  # a shift of each channel's noise, which lets brightness be learnt
UNMASKED = 0.05  # share of the pictures that count whole


class UniformDiffusion(Diffusion):
    """Timesteps drawn evenly, as VCD does."""

    SNR_LIMIT = float("inf")


@dataclass(frozen=True, eq=False)
class Pictures:
    """What the tokens learn from.

    latents: (N, 4, h, w); masks, pictures: (N, 1, h, w), 1 on the subject, and where there is picture at all;
    texts: N prompts with the tokens in them.
    """

    latents: torch.Tensor
    masks: torch.Tensor
    pictures: torch.Tensor
    texts: tuple

    def rows(self, step, batch):
        """Numbers of the pictures of a step: all in turn."""
        return [(step * batch + i) % len(self.latents) for i in range(batch)]


def masked_loss(predicted, noise, masks):
    """Squared error inside masks (B, 1, h, w) alone, (B, C, h, w) each -> scalar.

    The mean over mask pixels and channels of each item, then over items, so that a small subject counts as
    much as a large one. Raises ValueError for an empty mask.
    """
    covered = masks.sum((1, 2, 3))
    if bool((covered == 0).any()):
        raise ValueError(f"The mask of item {int((covered == 0).nonzero()[0])} is empty: it has no loss")
    error = (predicted.float() - noise.float()).square().mean(1, keepdim=True)
    return ((error * masks).sum((1, 2, 3)) / covered).mean()


def offset_noise(shape, generator, offset=NOISE_OFFSET):
    """Noise (B, C, h, w) with one more normal, `offset` as large, a picture and channel."""
    shift = torch.randn((*shape[:2], 1, 1), generator=generator)
    return torch.randn(shape, generator=generator) + offset * shift


def train_tokens(
    family, tokens: TokenRows, data: Pictures, plan: Plan, *, schedule="linear", batch=4, unmasked=UNMASKED,
    progress=None, stop=None,
):  # fmt: skip
    """Train the tokens in place; they end as the smoothed vectors (N, width), which are returned.

    So they do when something raises in mid-step, as a host's interrupt does.
    family: anything with `device` and `predict(noisy, steps, texts)` -> noise prediction, in which the tokens
    take part. schedule: a name of `core.schedules`. unmasked: share of the pictures whose loss is not
    masked, 1 = no masks at all.
    """
    diffusion = UniformDiffusion((schedule,), family.device)

    def loss(step, generator):
        rows = data.rows(step, batch)
        latents = data.latents[rows].to(family.device)
        noise = offset_noise(latents.shape, generator).to(family.device)
        noisy, noise, steps = diffusion.noised(latents, generator, noise)
        whole = torch.rand(len(rows), generator=generator) < unmasked
        masks = torch.where(whole.view(-1, 1, 1, 1), data.pictures[rows], data.masks[rows])
        predicted = family.predict(noisy, steps, [data.texts[row] for row in rows])
        return masked_loss(predicted, noise, masks.to(family.device))

    trainer = Trainer({"tokens": tokens}, loss, plan, progress, stop).resume()
    try:
        trainer.run()
    finally:
        tokens.load_state_dict(trainer.averaged()["tokens"])
    return tokens.learnt()
