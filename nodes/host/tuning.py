"""Sparse-causal attention and video tunings on a host model, and DDIM inversion with its samplers."""

from __future__ import annotations

from dataclasses import dataclass

import comfy.model_management
import comfy.ops
import comfy.samplers
import latent_preview
import torch
from comfy.model_patcher import ModelPatcher
from comfy.model_sampling import ModelSamplingDiscrete
from torch import Tensor

from ...core.motion.attach import Attachment
from ...core.motion.shared_norm import share_norms
from ...core.tuning.attach import TuningState, attach
from ...core.tuning.ddim import invert
from ...core.tuning.layouts import read_tuning
from ...core.tuning.network import VideoTuning
from .hooks import (
    TUNING,
    Call,
    HookRun,
    block_keys,
    check_percents,
    check_self_attention,
    in_range,
    replaced_places,
)
from .nets import difference_dtype, load_net
from .preview import add_clip_preview
from .progress import check_interrupt


@dataclass(frozen=True)
class TuningOptions:
    """How it acts: `causal` of the self-attention, `effect` of a tuning, from start to end of sampling.

    shared_norm: the UNet's norms take statistics over all frames, as in Tune-A-Video's own UNet. Raises
    ValueError for an empty range.
    """

    causal: float = 1.0
    effect: float = 1.0
    start_percent: float = 0.0
    end_percent: float = 1.0
    shared_norm: bool = False

    def __post_init__(self):
        """Check the range."""
        check_percents(self)


def load_tuning_file(path: str) -> ModelPatcher:
    """Load a VIDEO_TUNING; the host picks the precision, casts and offloads. Raises ValueError."""
    return load_net(read_tuning, path, dtype=difference_dtype())


def apply_tuning(
    model: ModelPatcher, tuning: ModelPatcher | None, options: TuningOptions | None = None
) -> ModelPatcher:
    """A clone of `model` with sparse-causal attention, and a tuning's weights where there is one.

    Raises ValueError when the model's self-attention is replaced already, or another kind of model than the
    tuning's.
    """
    options = options or TuningOptions()
    check_self_attention(model)
    run = TuningRun(None if tuning is None else tuning.model, options)
    tuned = run.put_on(model, TUNING, [] if tuning is None else [tuning])
    add_clip_preview(tuned)
    return tuned


class TuningRun(HookRun):
    """One application of sparse-causal attention, and of a tuning's weights where there are some."""

    def __init__(self, tuning: VideoTuning | None, options: TuningOptions):
        """Take the parts."""
        super().__init__(TuningState(causal=options.causal, effect=options.effect))
        self.tuning, self.options, self._blocks = tuning, options, {}

    def attach(self, unet) -> list[Attachment]:
        """Hooks on the attention, and on the norms where they should see all frames."""
        found, tuning = attach(unet, self.state, self.tuning), self.tuning
        self._blocks = block_keys(unet)
        own = tuning is not None and tuning.config.shared_norm
        return [*found, share_norms(unet, self.state)] if self.options.shared_norm and not own else found

    def tell(self, call: Call) -> None:
        """Act from start to end only, and leave other nodes' attention alone."""
        self.state.active = in_range(call.sigma, call.sampling, self.options)
        self.state.skip = replaced_places(self._blocks, call.transformer_options)


def inverted(model: ModelPatcher, conditioning: list, latent: dict, sigmas: Tensor, refine: int) -> dict:
    """The LATENT that deterministic sampling along `sigmas` turns into `latent`, for samplers without noise.

    No guidance; `conditioning` is usually an empty prompt. Right for models that predict noise and for those
    that predict v, since the host's prediction of the clean clip is used. Raises ValueError for a noise mask,
    sigmas without a step, or a model that does not add noise in discrete steps.
    """
    sampling = model.get_model_object("model_sampling")
    if not isinstance(sampling, ModelSamplingDiscrete):
        raise ValueError(
            f"The model samples by {type(sampling).__name__}; an inversion needs one with discrete noise "
            "steps, as Stable Diffusion 1.x and 2.x have"
        )
    if "noise_mask" in latent:
        raise ValueError("The latent has a noise mask, which an inversion cannot keep: take it off first")
    if len(sigmas) < 2:
        raise ValueError(f"SIGMAS has {len(sigmas)} values, an inversion needs at least 2")
    upwards = sigmas.flip(0).cpu()
    guider = comfy.samplers.CFGGuider(model)
    guider.set_conds(conditioning, conditioning)
    guider.set_cfg(1.0)
    samples = latent["samples"]
    made = guider.sample(
        torch.zeros_like(samples),
        samples,
        comfy.samplers.KSAMPLER(_invert, extra_options={"refine": refine}),
        upwards,
        callback=latent_preview.prepare_callback(model, len(upwards) - 1),
        disable_pbar=True,
        seed=0,
    )
    return {**latent, "samples": made.to(comfy.model_management.intermediate_device())}


def _invert(model, x: Tensor, sigmas: Tensor, extra_args=None, callback=None, disable=None, refine: int = 0):
    """A host sampler that walks upwards."""
    extra_args, ones, seen = extra_args or {}, x.new_ones(x.shape[0]), []

    def denoise(noisy: Tensor, sigma: float) -> Tensor:
        check_interrupt()
        seen[:] = [model(noisy, sigma * ones, **extra_args)]
        return seen[0]

    def report(done: int, _total: int, now: Tensor) -> None:
        if callback is not None:
            callback({"i": done - 1, "denoised": seen[0], "x": now})

    return invert(denoise, x, sigmas.flip(0).tolist(), refine, report)
