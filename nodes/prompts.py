"""Prompts that change over a clip."""

from comfy_api.latest import io

from ..core.prompts.schedule import EASINGS
from .host.prompt_schedule import schedule_conditioning
from .inputs import choice_input, frames_input, text_input
from .sockets import IMAGE_PROMPT

CATEGORY = "Choreographer/Prompts"
EXAMPLE = "0: a red ball on grass\n8: a blue ball on grass"


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
        frames_input("Frames of the clip: the same number as in 'Empty Video Latent'."),
        choice_input(
            "easing",
            EASINGS,
            "How prompts blend between two keys: linear, smooth (slow start and end), or hold (change at "
            "once). A key's own easing comes first.",
            default="linear",
        ),
        text_input(
            "prefix", "Text put before every prompt of the schedule, followed by a comma.", multiline=True
        ),
        text_input(
            "suffix", "Text put after every prompt of the schedule, preceded by a comma.", multiline=True
        ),
    ]


def _negative_and_picture() -> list:
    return [
        text_input(
            "negative",
            "What the clip should not show, in the same form: 'frame: prompt' lines, or one text for all "
            "frames. Empty = nothing in particular.",
            multiline=True,
        ),
        IMAGE_PROMPT.Input(
            "image_prompt",
            optional=True,
            tooltip="Pictures that stand for the subject's word in the prompts, from 'Encode Image Prompt'.",
        ),
        text_input(
            "subject",
            "Only with an image prompt: the word that the pictures stand for. Several pictures are averaged.",
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
