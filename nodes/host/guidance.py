"""Camera-free guidance as a GUIDER: what the LoRA of a trajectory ControlNet adds is amplified."""

from __future__ import annotations

import math
from dataclasses import dataclass

from comfy.samplers import CFGGuider, calc_cond_batch, cfg_function
from torch import Tensor

from ...core.guidance import EQ5, EXTRAPOLATE, Pair, evaluate, one_by_one, trajectory_change
from .control import BASE_CONDS, uses_lora
from .hooks import check_percents, in_range

POSITIVE, NEGATIVE = 0, 1  # places of the evaluations without LoRA; those with it follow in the same order


@dataclass(frozen=True)
class GuiderOptions:
    """`cfg` as in the host; `trajectory_scale` 0 = off; `form` of core.guidance; the range where it acts.

    Raises ValueError for an empty range.
    """

    cfg: float = 8.5
    trajectory_scale: float = 1.5
    form: str = EQ5
    start_percent: float = 0.0
    end_percent: float = 1.0

    def __post_init__(self):
        """Check the range."""
        check_percents(self)


class CameraFreeGuider(CFGGuider):
    """The host's CFGGuider with one evaluation more: the prompt with the ControlNet's LoRA (Eq. 5).

    Outside its range it is the stock guider, with the LoRA in all evaluations. All evaluations run in one
    batch where memory allows; the host splits it, or it is split after running out of memory.
    """

    def set_guidance(self, options: GuiderOptions) -> None:
        """Take the options."""
        self.set_cfg(options.cfg)
        self.options = options

    def outer_sample(self, *args, **kwargs):
        """Begin a run; before anything is loaded, check that there is a LoRA. Raises ValueError."""
        if self.options.trajectory_scale and not uses_lora(self.conds["positive"]):
            raise ValueError(
                "'Camera-Free Guider' amplifies a LoRA of the ControlNet: connect 'Apply Trajectory "
                "ControlNet' in mode object, camera or mix to positive, or use 'CFGGuider'"
            )
        self.together = True  # memory may be free again since the last run
        return super().outer_sample(*args, **kwargs)

    def predict_noise(
        self, x: Tensor, timestep: Tensor, model_options: dict | None = None, seed=None
    ) -> Tensor:
        """The guided clean latents (F, C, h, w) at noisy latents `x` and sigmas `timestep`."""
        model_options = model_options or {}
        if not in_range(timestep, self.inner_model.model_sampling, self.options):
            return super().predict_noise(x, timestep, model_options, seed)
        # functions before and after guidance evaluate again: their prompts are then without LoRA as well
        told = {**model_options.get("transformer_options", {}), BASE_CONDS: (POSITIVE, NEGATIVE)}
        model_options = {**model_options, "transformer_options": told}
        plain = math.isclose(self.cfg, 1.0) and not model_options.get("disable_cfg1_optimization", False)
        conds = [self.conds["positive"], None if plain else self.conds["negative"]]
        found = self._evaluate(self._with_driven(conds, timestep), x, timestep, model_options)
        base = self._pre_cfg(found[:2], conds, x, timestep, model_options)
        options = {**model_options, "sampler_post_cfg_function": self._post_cfg(found, conds, model_options)}
        return cfg_function(
            self.inner_model, *base, self.cfg, x, timestep,
            model_options=options, cond=conds[POSITIVE], uncond=conds[NEGATIVE],
        )  # fmt: skip

    def _with_driven(self, conds: list, sigma: Tensor) -> list:
        """The evaluations without LoRA, and those with it that the form needs while a LoRA acts."""
        driven = [conds[POSITIVE], conds[NEGATIVE] if self.options.form == EXTRAPOLATE else None]
        if not self.options.trajectory_scale or not any(uses_lora(each or (), sigma) for each in driven):
            return conds
        return [*conds, *driven]

    def _evaluate(self, conds: list, x: Tensor, timestep: Tensor, model_options: dict) -> list[Tensor]:
        """Clean latents for each condition; zeros where it is None."""

        def run(some):
            return calc_cond_batch(self.inner_model, some, x, timestep, model_options)

        if not self.together:
            return one_by_one(run, conds)
        found, self.together = evaluate(run, conds)
        return found

    def _pre_cfg(self, found: list[Tensor], conds: list, x: Tensor, timestep: Tensor, options: dict) -> list:
        """What the host's functions before guidance make of the two predictions without LoRA."""
        given = {"conds": conds, "cond_scale": self.cfg, "timestep": timestep, "input": x, "sigma": timestep}
        given.update(model=self.inner_model, model_options=options)
        for function in options.get("sampler_pre_cfg_function", []):
            found = function({**given, "conds_out": found})
        return found

    def _post_cfg(self, found: list[Tensor], conds: list, model_options: dict) -> list:
        """The host's functions after guidance, behind one that adds the trajectory's change."""
        others = model_options.get("sampler_post_cfg_function", [])
        if len(found) == 2:
            return others
        pairs = [
            Pair(cond, None if conds[NEGATIVE] is None else uncond)
            for cond, uncond in zip(found[::2], found[1::2], strict=True)
        ]
        change = trajectory_change(self.options.form, *pairs, self.cfg) * self.options.trajectory_scale
        return [lambda arguments: arguments["denoised"] + change, *others]


def camera_free_guider(model, positive: list, negative: list, options: GuiderOptions) -> CameraFreeGuider:
    """The GUIDER for a ModelPatcher and two CONDITIONINGs."""
    guider = CameraFreeGuider(model)
    guider.set_conds(positive, negative)
    guider.set_guidance(options)
    return guider
