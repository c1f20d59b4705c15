"""Keyframes and prompts on one timeline."""

from comfy_api.latest import io

from ..core.keyframes import Keyframes
from ..core.timeline import read_timeline
from .inputs import frames_input
from .keyframes import CATEGORY
from .sockets import KEYFRAMES

EMPTY = '{"version": 1,\n "keys": [],\n "prompts": []}'


class KeyframeTimeline(io.ComfyNode):
    """Images and prompts at frames of a clip, from one JSON."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoKeyframeTimeline",
            display_name="Keyframe Timeline",
            category=CATEGORY,
            description="Put keyframe images and prompts on one timeline: drag them to their frames, set how "
            "strongly each image holds and how it gives way to the next.",
            inputs=[
                io.String.Input(
                    "timeline",
                    multiline=True,
                    default=EMPTY,
                    tooltip="Which frame each image stands at, and the prompts, as JSON. Without keys the "
                    "images are spread evenly over the clip, first and last frame included.",
                ),
                frames_input("Frames of the clip: the same number as in 'Empty Video Latent'."),
                io.Image.Input(
                    "images",
                    optional=True,
                    tooltip="The keyframe images as a batch, all of the clip's size. Empty = prompts only.",
                ),
                KEYFRAMES.Input(
                    "previous",
                    optional=True,
                    tooltip="Keyframes to add to, from another keyframe node. Empty = none.",
                ),
            ],
            outputs=[
                KEYFRAMES.Output(display_name="keyframes", tooltip="All keyframes so far."),
                io.String.Output(
                    display_name="schedule", tooltip="The prompts, for the schedule of 'Prompt Schedule'."
                ),
                io.Int.Output(display_name="frames", tooltip="Frames of the clip, for other nodes."),
            ],
        )

    @classmethod
    def execute(cls, timeline, frames, images=None, previous=None) -> io.NodeOutput:
        """Place the images and write the prompts; raises ValueError that names the entry it cannot take."""
        found = read_timeline(timeline)
        keyframes = previous or Keyframes()
        if images is not None:
            keyframes = keyframes.plus(*found.keyframes(images, frames).items)
        elif found.keys:
            raise ValueError(f"Keyframe Timeline has {len(found.keys)} keys and no images; connect them")
        return io.NodeOutput(keyframes, found.schedule(), frames)


NODES = [KeyframeTimeline]
