"""Context windows for clips whose frames are the batch: long clips sampled through overlapping short windows.

The host's handler plans windows and fuses results. Mended here for frames on the batch axis: finding the step
from per-frame sigmas, and giving each window the prompts, masks and ControlNet hints of its own frames.
"""

from __future__ import annotations

import copy

import comfy.context_windows as host
import torch
from comfy.conds import CONDConstant
from comfy.controlnet import ControlBase
from comfy.patcher_extension import WrappersMP

from .hooks import check_prompts

SCHEDULES = list(host.CONTEXT_MAPPING)
FUSE_METHODS = host.ContextFuseMethods.LIST_STATIC


def frame_rows(value: torch.Tensor, index: list[int], frames: int) -> torch.Tensor:
    """Rows of a per-frame tensor (M, ...) for the frames in `index`, where M may differ from `frames`.

    As in the host, one row serves all frames, fewer rows than frames repeat in turn, rows past the clip are
    not used.
    """
    count = min(value.shape[0], frames)
    return value if count == 1 else value[[i % count for i in index]]


class FrameWindow(host.IndexListContextWindow):
    """Frames on the batch axis, indexed in the one way that every torch understands."""

    def __init__(self, index_list: list[int], clip_frames: int):
        """Take the window's frames, and how many the whole clip has."""
        super().__init__(index_list)
        self.clip_frames = clip_frames

    def get_tensor(self, full, device=None, dim=None):
        """The window's rows of `full`; one row serves all."""
        return full if full.shape[0] == 1 else full[self.index_list].to(device)

    def add_window(self, full, to_add, dim=None):
        """Add to the window's rows of `full`, in place."""
        full[self.index_list] += to_add
        return full


def _is_clip(index: list[int], frames: int) -> bool:
    return len(set(index)) == len(index) > 1 and min(index) >= 0 and max(index) < frames


def _relative(length: int, **_) -> list[float]:
    """Weights that fall from the middle of a window to its ends, the host's 'relative' by place."""
    middle, half = (length - 1) / 2, (length - 1 + 1e-2) / 2
    return [max(1e-2, 1 - abs(place - middle) / half) for place in range(length)]


def _faded(length: int, full_length: int, idxs: list[int], handler, **_) -> torch.Tensor:
    """Weights 1 that fade over the overlap, where another window follows: in a loop at both ends."""
    count, weights = handler.context_overlap, torch.ones(length)
    ramp = torch.arange(1, count + 1) / (count + 1)
    looped = handler.context_schedule.name == host.ContextSchedules.UNIFORM_LOOPED
    if looped or min(idxs) > 0:
        weights[:count] = ramp
    if looped or max(idxs) < full_length - 1:
        weights[-count:] = torch.minimum(weights[-count:], ramp.flip(0))
    return weights


# In place of the host's, which read frame numbers: a window that goes round the end of a loop gets a seam.
FUSES = {host.ContextFuseMethods.RELATIVE: _relative, host.ContextFuseMethods.OVERLAP_LINEAR: _faded}


def fuse_method(name: str) -> host.ContextFuseMethod:
    """How windows are weighed; a name of its own, for the host counts 'relative' by frame numbers too."""
    own = FUSES.get(name)
    return (
        host.ContextFuseMethod(f"choreographer {name}", own) if own else host.get_matching_fuse_method(name)
    )


class FrameWindows(host.IndexListContextHandler):
    """The host's window handler for latents (F, C, h, w), with per-frame conditions and stock ControlNets."""

    def __init__(
        self, schedule: str, fuse: str, length: int, overlap: int, stride: int = 1, closed_loop: bool = False
    ):
        """Plan windows of `length` frames by the host's schedule and fuse method of these names."""
        super().__init__(
            context_schedule=host.get_matching_context_schedule(schedule),
            fuse_method=fuse_method(fuse),
            context_length=length,
            context_overlap=overlap,
            context_stride=stride,
            closed_loop=closed_loop,
            dim=0,
        )
        self._controls: dict[int, ControlBase] = {}
        self._controls_of = None

    def should_use_context(self, model, conds, x_in, timestep, model_options) -> bool:
        """Windows are needed when the clip is longer than one."""
        return x_in.shape[0] > self.context_length

    def set_step(self, timestep, model_options) -> None:
        """Find the step of the sampler: the last of its sigmas that is not below the current one.

        Samplers also call the model between two sigmas; such calls belong to the step that they started from.
        """
        sigmas = model_options["transformer_options"]["sample_sigmas"]
        reached = sigmas.to(timestep.device) >= timestep.flatten()[0] * (1 - 1e-4)
        self._step = max(int(reached.sum()) - 1, 0)

    def get_context_windows(self, model, x_in, model_options) -> list:
        """The host's plan for this step, mended where its strides go wrong near the ends of a clip.

        Windows that leave the clip, visit a frame twice or have one frame alone are dropped, and frames that
        no window holds get one.
        """
        frames, length = x_in.shape[0], self.context_length
        planned = super().get_context_windows(model, x_in, model_options)
        kept = (plan.index_list for plan in planned if _is_clip(plan.index_list, frames))
        windows = [FrameWindow(index, frames) for index in kept]
        left = set(range(frames)).difference(*(window.index_list for window in windows))
        while left:
            start = min(min(left), frames - length)
            windows.append(FrameWindow(list(range(start, start + length)), frames))
            left.difference_update(windows[-1].index_list)
        return windows

    def execute(self, calc_cond_batch, model, conds, x_in, timestep, model_options):
        """Run every window and fuse; afterwards nothing that belongs to a window is left behind."""
        try:
            return super().execute(calc_cond_batch, model, conds, x_in, timestep, model_options)
        finally:
            model_options["transformer_options"].pop("context_window", None)
            self._forget_controls()

    def get_resized_cond(self, cond_in, x_in, window, device=None):
        """Conditioning of one window: copies of the dicts, with all that is per frame cut to its frames."""
        if cond_in is None:
            return None
        return [self._cut(cond, x_in.shape[0], window) for cond in cond_in]

    def _cut(self, cond: dict, frames: int, window) -> dict:
        cut = dict(cond)
        for name, value in cond.items():
            if name == "model_conds":
                cut[name] = {
                    key: _cut_model_cond(item, window.index_list, frames) for key, item in value.items()
                }
            elif name == "control":
                cut[name] = self._control_of(value, frames, window)
            elif name == "mask" or (
                isinstance(value, torch.Tensor) and value.ndim and value.shape[0] == frames
            ):
                cut[name] = frame_rows(value, window.index_list, frames)
        return cut

    def _control_of(self, control: ControlBase, frames: int, window) -> ControlBase:
        """The window's copy of a control: one for all conditions, or the host would not batch them."""
        if self._controls_of is not window:
            self._forget_controls()
            self._controls_of = window
        if id(control) not in self._controls:
            self._controls[id(control)] = cut_control(control, window.index_list, frames)
        return self._controls[id(control)]

    def _forget_controls(self) -> None:
        self._controls, self._controls_of = {}, None


def _cut_model_cond(item, index: list[int], frames: int):
    """A copy of the host's CONDRegular and its kind with the window's rows; constants stay."""
    value = item.cond
    if isinstance(item, CONDConstant):
        return item
    if isinstance(value, torch.Tensor):
        return item._copy_with(frame_rows(value, index, frames))
    if isinstance(value, list):
        return item._copy_with([frame_rows(part, index, frames) for part in value])
    return item


def cut_control(control: ControlBase, index: list[int], frames: int) -> ControlBase:
    """A copy of a control, and of those chained before it, with the hints of the frames in `index`.

    Shallow copies share the loaded model and the state of `pre_run`. Controls that read
    `transformer_options["context_window"]` themselves say so by `reads_context_window = True` and are used as
    they are.
    """
    previous = control.previous_controlnet
    cut_previous = None if previous is None else cut_control(previous, index, frames)
    hint = control.cond_hint_original
    own = getattr(control, "reads_context_window", False)
    per_frame = not own and isinstance(hint, torch.Tensor) and hint.shape[0] > 1
    if not per_frame and cut_previous is previous:
        return control
    cut = copy.copy(control)
    cut.previous_controlnet = cut_previous
    if per_frame:
        rows = range(min(hint.shape[0], frames))
        cut.cond_hint_original = frame_rows(hint, index, frames)
        cut.extra_concat_orig = [
            frame_rows(frame_rows(part, rows, frames), index, frames) for part in control.extra_concat_orig
        ]
        cut.cond_hint = cut.extra_concat = None
    return cut


def apply_context_windows(
    model, schedule: str, fuse: str, length: int, overlap: int, stride: int, closed_loop: bool
):
    """A clone of a ModelPatcher that samples clips longer than `length` in windows. Raises ValueError."""
    check_windows(schedule, fuse, length, overlap, stride, closed_loop)
    model = model.clone()
    model.model_options["context_handler"] = FrameWindows(
        schedule, fuse, length, overlap, stride, closed_loop
    )
    host.create_prepare_sampling_wrapper(model)
    model.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, "choreo_windows", check_prompts)
    return model


def check_windows(
    schedule: str, fuse: str, length: int, overlap: int, stride: int, closed_loop: bool
) -> None:
    """Raise ValueError, in one sentence, for settings that contradict each other."""
    batched, uniform = schedule == host.ContextSchedules.BATCHED, "uniform" in schedule
    if overlap >= length:
        raise ValueError(f"overlap is {overlap}, it must be smaller than length, {length}")
    if fuse == host.ContextFuseMethods.OVERLAP_LINEAR and (batched or overlap < 1):
        raise ValueError(
            f"fuse '{fuse}' needs windows that overlap, got schedule '{schedule}' with overlap {overlap}: "
            "use 'pyramid' or 'flat'"
        )
    if stride > 1 and not uniform:
        raise ValueError(f"stride {stride} works with the uniform schedules only, got schedule '{schedule}'")
    if closed_loop and schedule != host.ContextSchedules.UNIFORM_LOOPED:
        raise ValueError(f"closed_loop works with schedule 'looped_uniform' only, got '{schedule}'")
