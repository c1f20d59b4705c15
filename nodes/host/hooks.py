"""Hooks on a model's UNet for the length of its sampling runs: put on, told about each batch, taken off.

The same bridge for all that acts inside the UNet by forward hooks: a clone carries it, nothing is inserted,
and the hooks do nothing except while the UNet is called for that clone.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import PatcherInjection, WrappersMP

from ...core.motion.attach import Attachment
from .patching import frame_index
from .preview import add_clip_preview


class HookRun:
    """One set of hooks on one clone of a model."""

    def __init__(
        self,
        state,
        attach: Callable[..., list[Attachment]],
        tell: Callable[[Sequence[int], float, object], None] = lambda *_: None,
    ):
        """Take the parts.

        state: what the hooks read; it has `frames` and `active`. attach(unet): puts them on. tell(index,
        sigma, model_sampling): called before each batch with the frames that it holds; it may silence the
        hooks for this batch by `state.active = False`.
        """
        self.state, self.attach, self.tell = state, attach, tell
        self._attachments: list[Attachment] = []
        state.active = False

    def put_on(self, model: ModelPatcher, name: str, extra: Sequence[ModelPatcher] = ()) -> ModelPatcher:
        """A clone of `model` that carries the hooks, with models that they need; `model` stays as it is.

        Raises ValueError when the hooks do not fit the UNet.
        """
        self.inject(model)  # says what does not fit
        self.eject(model)
        model, key = model.clone(), f"{name}_{uuid.uuid4().hex}"
        if extra:
            model.set_additional_models(key, list(extra))
        model.set_injections(key, [PatcherInjection(inject=self.inject, eject=self.eject)])
        model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, key, self.sample)
        model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, key, self.apply)
        add_clip_preview(model)
        return model

    def inject(self, patcher) -> None:
        """Attach to the UNet of `patcher`."""
        self.eject(patcher)
        self._attachments = self.attach(patcher.model.diffusion_model)

    def eject(self, _patcher) -> None:
        """Take the hooks off; also when there are none."""
        while self._attachments:
            self._attachments.pop().remove()

    def sample(self, executor, *args, **kwargs):
        """OUTER_SAMPLE wrapper: leave the UNet clean however sampling ends."""
        guider = executor.class_obj
        try:
            return executor(*args, **kwargs)
        finally:
            guider.model_patcher.eject_model()
            self.eject(guider.model_patcher)

    def apply(self, executor, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options=None,
              **kwargs):  # fmt: skip
        """APPLY_MODEL wrapper: tell the hooks about this batch, and silence them after it."""
        base, transformer_options = executor.class_obj, transformer_options or {}
        if not self._attachments:  # taken off in mid-run, such as by a clone that was thrown away
            self._attachments = self.attach(base.diffusion_model)
        index = frame_index(x.shape[0], transformer_options)
        self.state.frames, self.state.active = len(index), True
        self.tell(index, float(t.flatten()[0]), base.model_sampling)
        try:
            return executor(x, t, c_concat, c_crossattn, control, transformer_options, **kwargs)
        finally:
            self.state.active = False


def in_range(sigma: float, sampling, start: float, end: float) -> bool:
    """Whether a sigma lies between two percents of sampling; 0 and 1 include the first and the last step."""
    before_start = start > 0.0 and sigma > sampling.percent_to_sigma(start)
    after_end = end < 1.0 and sigma <= sampling.percent_to_sigma(end)
    return not (before_start or after_end)
