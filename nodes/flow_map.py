"""Flow maps of trajectories, and pictures of both."""

import logging

import torch
from comfy_api.latest import io, ui

from ..core.trajectory.flow_map import SIGMA, flow_map
from ..core.trajectory.preview import preview_clip, preview_still
from ..core.trajectory.sample import EVERY_ROLE, sample
from ..core.trajectory.track import ROLES
from .host.progress import reporter
from .inputs import choice_input, frames_input
from .sockets import FLOW_MAP
from .trajectory import CATEGORY, SPREAD, side_inputs, trajectories_input

GREY = 0.35  # of the background where there is no image


class FlowMapNode(io.ComfyNode):
    """Trajectories as the motion of every pixel."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoFlowMap",
            display_name="Flow Map",
            category=CATEGORY,
            description="Turn trajectories into the flow map that a trajectory ControlNet follows, for a "
            "clip of this size and length.",
            inputs=[
                trajectories_input("What moves, and how."),
                frames_input(SPREAD),
                *side_inputs("the clip"),
                choice_input(
                    "role",
                    [EVERY_ROLE, *ROLES],
                    "Which tracks go into the map: all, those of objects, or those of the camera.",
                ),
                io.Float.Input(
                    "sigma",
                    default=SIGMA,
                    min=0.5,
                    max=200.0,
                    step=0.5,
                    tooltip="How far a point's motion spreads, in pixels. 10 = as Image Conductor was "
                    "trained.",
                ),
            ],
            outputs=[
                FLOW_MAP.Output(
                    display_name="flow_map", tooltip="The map, for 'Apply Trajectory ControlNet'."
                ),
                io.String.Output(
                    display_name="notes",
                    tooltip="What to know about it, such as tracks that leave the frame; empty = nothing.",
                ),
            ],
        )

    @classmethod
    def execute(cls, trajectories, frames, width, height, role, sigma) -> io.NodeOutput:
        """Sample and spread."""
        made = flow_map(sample(trajectories, frames, (width, height)).of_role(role), sigma)
        for note in made.notes:
            logging.warning("Flow Map: %s", note)
        return io.NodeOutput(made.flow, "\n".join(made.notes))


class FlowMapPreview(io.ComfyNode):
    """Trajectories and their flow map over an image."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoFlowMapPreview",
            display_name="Flow Map Preview",
            category=CATEGORY,
            description="Look at a flow map and its trajectories over an image: trails with a dot for every "
            "frame, arrows for the flow. Only to look at: the condition is not changed.",
            inputs=[
                FLOW_MAP.Input("flow_map", tooltip="From 'Flow Map'. It says how many frames there are."),
                io.Boolean.Input(
                    "arrows", default=True, tooltip="Whether to draw the flow as arrows on a grid."
                ),
                trajectories_input(
                    "The trajectories of the flow map, drawn as trails. Empty = only arrows.", optional=True
                ),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="What to draw on, at its own size: one image, or one a frame. Empty = grey.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="picture", tooltip="All frames in one picture."),
                io.Image.Output(display_name="clip", tooltip="The same as a clip."),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, flow_map, arrows, trajectories=None, image=None) -> io.NodeOutput:
        """Draw, and show the picture on the node."""
        if trajectories is None and not arrows:
            raise ValueError("Flow Map Preview has nothing to draw: connect trajectories or draw arrows")
        images = torch.full((1, *flow_map.shape[2:], 3), GREY) if image is None else image
        size = images.shape[2], images.shape[1]
        tracks = None if trajectories is None else sample(trajectories, len(flow_map), size)
        flow = flow_map if arrows else None
        picture = preview_still(images[0], tracks, flow)[None]
        clip = preview_clip(images, tracks, flow, reporter())
        return io.NodeOutput(picture, clip, ui=ui.PreviewImage(picture, cls=cls))


NODES = [FlowMapNode, FlowMapPreview]
