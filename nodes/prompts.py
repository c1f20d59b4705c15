"""Prompts that change over a clip."""

from comfy_api.latest import io

from ..core.prompts.blend import blend, same_length
from ..core.prompts.schedule import EASINGS, check_range, key_weights, parse_prompts
from .host.patching import SCHEDULE_FRAMES
from .host.progress import track

CATEGORY = "Choreographer/Prompts"
EXAMPLE = "0: a red ball on grass\n8: a blue ball on grass"


def _text(name: str, tooltip: str) -> io.String.Input:
    return io.String.Input(name, default="", multiline=True, optional=True, tooltip=tooltip)


def _schedule() -> list:
    return [
        io.String.Input(
            "schedule",
            default=EXAMPLE,
            multiline=True,
            dynamic_prompts=True,
            tooltip="One 'frame: prompt' a line, frames counted from 0; or "
            '"0": "a red ball", "8": "a blue ball". '
            "Before the first key the first prompt holds, after the last the last. Lines that start with # "
            "are skipped.",
        ),
        io.Int.Input(
            "frames",
            default=16,
            min=1,
            max=4096,
            tooltip="Frames of the clip: the same number as in 'Empty Video Latent'.",
        ),
        io.Combo.Input(
            "easing",
            options=list(EASINGS),
            default="linear",
            tooltip="How prompts blend between two keys: linear, smooth (slow start and end), or hold "
            "(change at once).",
        ),
        _text("prefix", "Text put before every prompt of the schedule, followed by a comma."),
        _text("suffix", "Text put after every prompt of the schedule, preceded by a comma."),
    ]


class PromptSchedule(io.ComfyNode):
    """Text keyed to frames, encoded and blended to one embedding a frame."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoPromptSchedule",
            display_name="Prompt Schedule",
            category=CATEGORY,
            description="A prompt for every frame of a clip: write prompts at some frames, and the frames "
            "between them blend. Use it in place of 'CLIP Text Encode'; it works with any sampler, and with "
            "'Context Windows'.",
            inputs=[
                io.Clip.Input("clip", tooltip="The text encoder of the checkpoint."),
                *_schedule(),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="conditioning", tooltip="One text embedding a frame, for a sampler's input."
                )
            ],
        )

    @classmethod
    def execute(cls, clip, schedule, frames, easing, prefix="", suffix="") -> io.NodeOutput:
        """Encode each key once and blend; raises ValueError that names the line of a mistake."""
        if clip is None:
            raise ValueError(
                "Prompt Schedule has no text encoder: this checkpoint holds none; use 'Load CLIP'"
            )
        keys = parse_prompts(schedule)
        check_range(keys, frames)
        weights = key_weights(keys, range(frames), easing)
        encoded = [encode(clip, ", ".join(filter(None, (prefix, key.value, suffix)))) for key in track(keys)]
        cond = blend(same_length([part["cond"] for part in encoded]), weights)
        extra = {key: value for key, value in encoded[0].items() if key not in ("cond", "pooled_output")}
        if all(part["pooled_output"] is not None for part in encoded):
            extra["pooled_output"] = blend([part["pooled_output"] for part in encoded], weights)
        return io.NodeOutput([[cond, {**extra, SCHEDULE_FRAMES: frames}]])


def encode(clip, text: str) -> dict:
    """The dict of one prompt that the host's CLIP gives: `cond` 1 x T x C, `pooled_output` 1 x C or None."""
    return clip.encode_from_tokens(clip.tokenize(text), return_pooled=True, return_dict=True)


NODES = [PromptSchedule]
