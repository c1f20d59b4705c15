"""Denoising losses: plain epsilon prediction, and CCDM's with its neighbour and keyframe terms."""

import torch

from ..schedules import alphas_cumprod


class Diffusion:
    """Adds noise by one or several beta schedules; with several, each item draws its own.

    A still-image model trained on both schedules denoises well under either, which is what lets one
    checkpoint serve plain sampling (scaled_linear) and a motion module's (linear).

    Timesteps are drawn with density min(1, SNR_LIMIT / SNR), the min-SNR weighting of Hang et al. 2023 as
    importance sampling: a small model otherwise spends itself on the last traces of noise, whose loss is the
    largest, and learns shapes and colours late.

    SD1.5's last step still shows a trace of the picture, and sixteen frames of a large sprite show enough of
    it to tell where everything goes: a model trained on such steps alone never needs the words of motion, and
    is lost when sampling begins with nothing but noise (Lin et al. 2023 on flawed schedules). So a share
    `blind` of the items is pure noise, at a step of the noisier half, and the noise to predict is that which
    leads from there to the picture (or to what is `expected` of it, see `expected.ExpectedClips`). What is
    learnt at the middle steps carries over to the last, where it could hardly be learnt: one percent wrong in
    the noise is a picture a quarter wrong there.
    """

    SNR_LIMIT = 2.0

    def __init__(self, schedules, device="cpu", blind=0.0):
        """Take names of `core.schedules`."""
        kept = torch.stack([alphas_cumprod(name) for name in schedules]).float()
        self.density = (self.SNR_LIMIT * (1 - kept) / kept).clamp(max=1)  # schedules x T, on the CPU
        self.kept, self.blind = kept.to(device), blind

    def noised(self, latents, generator, noise=None, expected=None):
        """(B, ...) clean latents -> noisy latents, noise to predict, timesteps (B,); one timestep an item.

        `expected` (B, ...) takes the latents' place in what blind items must predict.
        """
        count, device = len(latents), latents.device
        which = torch.randint(len(self.kept), (count,), generator=generator)
        steps = torch.multinomial(self.density[which], 1, generator=generator)[:, 0]
        if noise is None:
            noise = torch.randn(latents.shape, generator=generator)
        noise = noise.to(device)
        unseen = torch.zeros(count, dtype=torch.bool)
        if self.blind:
            unseen = torch.rand(count, generator=generator) < self.blind
            late = torch.randint(self.kept.shape[1] // 2, self.kept.shape[1], (count,), generator=generator)
            steps = torch.where(unseen, late, steps)
        unseen, steps = (per_item(x.to(device), latents) for x in (unseen, steps))
        kept = self.kept[which.to(device).view_as(steps), steps]
        noisy = torch.where(unseen, noise, kept.sqrt() * latents + (1 - kept).sqrt() * noise)
        goal = latents if expected is None else expected
        target = torch.where(unseen, (noise - kept.sqrt() * goal) / (1 - kept).sqrt(), noise)
        return noisy, target, steps.flatten()


def per_item(values, like):
    """(B,) -> (B, 1, ...), to go with the (B, ...) tensor `like`."""
    return values.view(-1, *[1] * (like.ndim - 1))


def frame_weights(frames, lambda1=0.0, lambda2=0.0, window=2, keyframes=(), device=None):
    """Weight of each frame's squared error under CCDM Eq. 13, (F,), mean 1.

    Eq. 13 adds to each frame's noise loss `lambda1` times the losses of its 2k+1 neighbours (k = `window`,
    the frame itself included as printed) and `lambda2` times those of the keyframes. "t+i" is read as a frame
    offset. Summed over the clip, that is one weight a frame: 1 + lambda1 * (frames whose window holds it) +
    lambda2 * F * (is a keyframe). The mean is divided out, so the lambdas change the balance and not the
    learning rate.

    Raises: ValueError for a keyframe outside the clip.
    """
    bad = [k for k in keyframes if not 0 <= k < frames]
    if bad:
        raise ValueError(f"Keyframe {bad[0]} is outside the clip, which has frames 0 to {frames - 1}.")
    place = torch.arange(frames, device=device)
    inside = (place[:, None] - place[None, :]).abs() <= window
    weights = 1 + lambda1 * inside.sum(0).float()
    for keyframe in keyframes:
        weights[keyframe] += lambda2 * frames
    return weights / weights.mean()


def ccdm_loss(predicted, noise, **terms):
    """CCDM Eq. 13: (B, F, C, H, W) predicted and true noise -> scalar; `terms` as in `frame_weights`."""
    error = (predicted.float() - noise.float()).square().mean((0, 2, 3, 4))
    return (frame_weights(len(error), device=error.device, **terms) * error).mean()


def stress_motion(clips, debias):
    """(B, F, ...) clips -> the same, what changes over the frames enlarged so that it counts 1 + debias.

    What stands still (the ground, a texture) is most of a clip's error and says nothing about motion. The
    idea is that of MotionDirector's appearance-debiased loss (Zhao et al. 2023), about the mean instead of
    an anchor frame.
    """
    return clips + ((1 + debias) ** 0.5 - 1) * (clips - clips.mean(1, keepdim=True))


def orthogonal_loss(first, second, target="zero"):
    """Image Conductor Eq. 4: mean over layers of ||T - A B^T||^2 (Frobenius) -> scalar.

    `first` and `second` are the LoRA matrices A, B of each layer, rank x ... (kernels are flattened). Taken
    literally T is the identity, which pulls the product of the two to it; with `target` "zero" T = 0, which
    makes them orthogonal.

    Raises: ValueError for another target, or lists of different length.
    """
    if target not in ("zero", "identity"):
        raise ValueError(f"The target of the orthogonal loss is 'zero' or 'identity', not '{target}'.")
    losses = []
    for a, b in zip(first, second, strict=True):
        product = a.flatten(1) @ b.flatten(1).T
        goal = torch.eye(*product.shape).to(product) if target == "identity" else 0.0
        losses.append((goal - product).square().sum())
    return torch.stack(losses).mean()
