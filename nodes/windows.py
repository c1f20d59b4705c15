"""Sample clips longer than the motion module knows."""

from comfy_api.latest import io

from .host.windows import FUSE_METHODS, SCHEDULES, apply_context_windows
from .inputs import choice_input


def _frames(name: str, default: int, least: int, most: int, tooltip: str) -> io.Int.Input:
    return io.Int.Input(name, default=default, min=least, max=most, tooltip=tooltip)


def _plan() -> list:
    return [
        choice_input(
            "schedule",
            SCHEDULES,
            "Where windows lie. standard_uniform: they shift from step to step, which hides seams. "
            "looped_uniform: the same, going round the end, for clips that loop. standard_static: always the "
            "same. batched: one after the other, no overlap.",
            default="standard_uniform",
        ),
        choice_input(
            "fuse",
            FUSE_METHODS,
            "How overlapping windows are averaged. pyramid: the middle of a window counts most. relative: "
            "the same, one window after the other. flat: all the same. overlap-linear: fade over the overlap "
            "only.",
            default="pyramid",
        ),
        _frames(
            "stride",
            1,
            1,
            8,
            "Uniform schedules only: above 1 adds windows of every 2nd, 4th, ... frame, for coherence over "
            "longer times.",
        ),
        io.Boolean.Input(
            "closed_loop",
            default=False,
            tooltip="looped_uniform only: windows also join the last frames to the first, so the clip loops.",
        ),
    ]


class ContextWindows(io.ComfyNode):
    """A MODEL that samples long clips in windows."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoContextWindows",
            display_name="Context Windows",
            category="Choreographer/Motion",
            description="Sample clips longer than the motion module knows, in overlapping windows that are "
            "blended at every step. Prompt schedules, masks and ControlNet images follow their frames. "
            "Memory stays that of one window.",
            inputs=[
                io.Model.Input("model", tooltip="The model, before or after 'Apply Motion Module'."),
                _frames(
                    "length",
                    16,
                    2,
                    256,
                    "Frames of a window: what the motion module was trained with, mostly 16. Shorter clips "
                    "are not divided.",
                ),
                _frames(
                    "overlap",
                    4,
                    0,
                    255,
                    "Frames that neighbouring windows share. More is smoother and slower.",
                ),
                *_plan(),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The model that samples in windows.")],
        )

    @classmethod
    def execute(cls, model, length, overlap, schedule, fuse, stride, closed_loop) -> io.NodeOutput:
        """Patch a clone."""
        return io.NodeOutput(
            apply_context_windows(model, schedule, fuse, length, overlap, stride, closed_loop)
        )


NODES = [ContextWindows]
