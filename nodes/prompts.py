"""Prompts that change over a clip."""

from comfy_api.latest import io

from ..core.prompts.schedule import EASINGS
from .host.prompt_schedule import schedule_conditioning
from .sockets import IMAGE_PROMPT

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
            '"0": "a red ball", "8": "a blue ball". 50 percent, written with its sign, is the middle of the '
            "clip. 8 [hold, 1.2]: gives the key an easing and a weight. Before the first key the first "
            "prompt holds, after the last the last. Lines that start with # are skipped.",
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
            "(change at once). A key's own easing comes first.",
        ),
        _text("prefix", "Text put before every prompt of the schedule, followed by a comma."),
        _text("suffix", "Text put after every prompt of the schedule, preceded by a comma."),
    ]


def _negative_and_picture() -> list:
    return [
        _text(
            "negative",
            "What the clip should not show, in the same form: 'frame: prompt' lines, or one text for all "
            "frames. Empty = nothing in particular.",
        ),
        IMAGE_PROMPT.Input(
            "image_prompt",
            optional=True,
            tooltip="Pictures that stand for the subject's word in the prompts, from 'Encode Image Prompt'.",
        ),
        io.String.Input(
            "subject",
            default="",
            optional=True,
            tooltip="Only with an image prompt: the word that the pictures stand for.",
        ),
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
                *_negative_and_picture(),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="conditioning", tooltip="One text embedding a frame, for a sampler's input."
                ),
                io.Conditioning.Output(
                    display_name="negative",
                    tooltip="The same of the negative prompts, for a sampler's negative input.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls, clip, schedule, frames, easing, prefix="", suffix="", negative="", image_prompt=None, subject=""
    ) -> io.NodeOutput:
        """Encode each key once and blend; raises ValueError that names the line of a mistake."""
        return io.NodeOutput(
            *schedule_conditioning(
                clip, schedule, negative, frames, easing, (prefix, suffix), (image_prompt, subject)
            )
        )


NODES = [PromptSchedule]
