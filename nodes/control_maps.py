"""Control sequences: maps for every frame, steadied, moved, interpolated; noise and frames along the flow."""

from comfy_api.latest import io

from ..core.control_modes.blend import FlowBlend
from ..core.control_modes.flow import FLOWS
from ..core.control_modes.maps import METHODS, Edges, edge_maps
from ..core.control_modes.residual import THRESHOLD, WAYS
from ..core.control_modes.sequence import SEQUENCES, control_sequence, interpolate_maps
from ..core.fusion.stream import Fusion
from ..core.keyframes import parse_frames, spread_frames
from .host.control_maps import blended, residual_noise, steadied
from .host.progress import reporter
from .inputs import MOST_FRAMES, amount_input, choice_input, frames_input, seed_input

CATEGORY = "Choreographer/Control Sequences"


def thresholds() -> list:
    """The two numbers of Canny."""
    return [
        io.Float.Input(
            "low",
            default=100.0,
            min=0.0,
            max=1000.0,
            step=1.0,
            tooltip="Canny: edges weaker than this are dropped, in grey levels. Lower = more lines.",
        ),
        io.Float.Input(
            "high",
            default=200.0,
            min=0.0,
            max=1000.0,
            step=1.0,
            tooltip="Canny: edges stronger than this are kept; those between only where they join one.",
        ),
    ]


def _maps(tooltip: str) -> io.Image.Input:
    return io.Image.Input("maps", tooltip=tooltip)


def _made(tooltip: str) -> io.Image.Output:
    return io.Image.Output(display_name="maps", tooltip=tooltip)


def _source(tooltip: str) -> io.Image.Input:
    return io.Image.Input("images", optional=True, tooltip=tooltip)


class EdgeMaps(io.ComfyNode):
    """Edges of every frame."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoEdgeMaps",
            display_name="Edge Maps",
            category=CATEGORY,
            description="Edges of every frame of a clip, white on black, for ControlNets. No model needed; "
            "for depth, poses and the like use a preprocessor pack.",
            inputs=[
                io.Image.Input("images", tooltip="The clip, or any batch of images."),
                choice_input(
                    "method",
                    METHODS,
                    "canny: thin lines. soft: how steep the picture is, as grey. lines: straight segments "
                    "only.",
                ),
                *thresholds(),
            ],
            outputs=[_made("The edges, one map a frame.")],
        )

    @classmethod
    def execute(cls, images, method, low, high) -> io.NodeOutput:
        """Find the edges."""
        return io.NodeOutput(edge_maps(images[..., :3], Edges(method, low, high), reporter()))


class ControlSequence(io.ComfyNode):
    """Maps that steer each frame of a clip that is sampled at once."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoControlSequence",
            display_name="Control Sequence",
            category=CATEGORY,
            description="Choose which map steers which frame of a clip: its own, the one before, or a "
            "mixture. For ControlNets on a whole clip, with or without a motion module.",
            inputs=[
                _maps("Maps of the source clip, one a frame: edges, depth, poses."),
                choice_input(
                    "mode",
                    SEQUENCES,
                    "per frame: each frame its own map. previous frame: the map of the one before. "
                    "interpolated: the one before mixed with its own, more of its own towards the end. "
                    "between keyframes: every few frames a map, mixed between. along flow: the same, moved "
                    "as the source moves, so lines stay single.",
                ),
                io.Int.Input(
                    "spacing",
                    default=4,
                    min=1,
                    max=MOST_FRAMES,
                    tooltip="Frames from one keyframe to the next, for 'between keyframes' and 'along flow'.",
                ),
                _source("The source clip, as long and large as the maps; only 'along flow' needs it."),
            ],
            outputs=[_made("The map for each frame.")],
        )

    @classmethod
    def execute(cls, maps, mode, spacing, images=None) -> io.NodeOutput:
        """Choose the maps."""
        source = None if images is None else images[..., :3]
        return io.NodeOutput(control_sequence(maps[..., :3], mode, spacing, source, reporter()))


class InterpolateMaps(io.ComfyNode):
    """A map for every frame from maps at some."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoInterpolateMaps",
            display_name="Interpolate Maps",
            category=CATEGORY,
            description="Make a control map for every frame from maps at a few: mixed, or moved along the "
            "motion of a clip.",
            inputs=[
                _maps("The maps that are there, in order."),
                io.String.Input(
                    "at",
                    default="",
                    tooltip="The frame of each map, as in 0, 8, 15. Empty = spread evenly, first and last "
                    "frame included.",
                ),
                frames_input("Frames of the clip to make."),
                _source(
                    "A clip of that many frames that moves as the maps should. With it maps are moved, "
                    "without it they are mixed where they are."
                ),
            ],
            outputs=[_made("A map for every frame; the given ones come out as they are.")],
        )

    @classmethod
    def execute(cls, maps, at, frames, images=None) -> io.NodeOutput:
        """Interpolate."""
        places = [place + frames if place < 0 else place for place in parse_frames(at)]
        places = places or spread_frames(len(maps), frames)
        source = None if images is None else images[..., :3]
        return io.NodeOutput(interpolate_maps(maps[..., :3], places, frames, source, reporter()))


class StabiliseMaps(io.ComfyNode):
    """Maps without flicker."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoStabiliseMaps",
            display_name="Stabilise Maps",
            category=CATEGORY,
            description="Average estimated maps over time, along the motion of the clip that they were made "
            "from. Unsteady maps are a main cause of flicker.",
            inputs=[
                _maps("Estimated maps, one a frame: depth, soft edges, segmentation."),
                io.Int.Input(
                    "window",
                    default=2,
                    min=0,
                    max=64,
                    tooltip="Frames before and after that each map is averaged with. More is steadier and "
                    "blurs more.",
                ),
                amount_input(
                    "strength",
                    1.0,
                    "How much neighbours count: 0 = not at all, 1 = as much as the frame itself.",
                ),
                io.Boolean.Input(
                    "level",
                    default=True,
                    tooltip="Take out jumps of brightness and contrast first, as estimated depth has them.",
                ),
                _source(
                    "The clip that the maps were made from. Without it maps are matched with each other."
                ),
            ],
            outputs=[_made("The steadied maps.")],
        )

    @classmethod
    def execute(cls, maps, window, strength, level, images=None) -> io.NodeOutput:
        """Average."""
        return io.NodeOutput(steadied(maps, images, Fusion(window, strength), level))


class FlowBlendNode(io.ComfyNode):
    """Each frame drawn to the one before it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoFlowBlend",
            display_name="Flow Blend",
            category=CATEGORY,
            description="Draw each frame of a clip to the one before it, moved along the optical flow, where "
            "that flow can be trusted. Steadies clips that were made frame by frame.",
            inputs=[
                io.Image.Input("images", tooltip="The clip, in order."),
                amount_input(
                    "amount",
                    0.5,
                    "How much of the moved frame before counts: 0 = nothing changes, 0.5 = half.",
                ),
                choice_input(
                    "flow",
                    FLOWS,
                    "How motion is found. dis: accurate, follows large motion. farneback: as published, "
                    "loses large motion.",
                    default="dis",
                ),
                io.Image.Input(
                    "guide",
                    optional=True,
                    tooltip="A clip of the same size and length whose motion is used, for example the source "
                    "video. Empty = the clip's own.",
                ),
            ],
            outputs=[io.Image.Output(display_name="images", tooltip="The blended clip.")],
        )

    @classmethod
    def execute(cls, images, amount, flow, guide=None) -> io.NodeOutput:
        """Blend."""
        return io.NodeOutput(blended(images, FlowBlend(amount, flow), guide))


class ResidualNoise(io.ComfyNode):
    """Noise that travels with a source clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoResidualNoise",
            display_name="Residual Noise",
            category="Choreographer/Noise",
            description="Noise for a clip that stays where a source clip stays, and is new where it changes "
            "(Control-A-Video). For 'SamplerCustomAdvanced' or 'Noise to Latent'.",
            inputs=[
                io.Image.Input("images", tooltip="The source clip, as long as the clip to make."),
                seed_input("Seed of the noise."),
                choice_input(
                    "motion",
                    WAYS,
                    "in place: noise stays where the source does not change, as published. along flow: noise "
                    "moves with the source, and is new only where something new appears.",
                ),
                amount_input(
                    "threshold",
                    THRESHOLD,
                    "For 'in place': a change of a pixel by more than this (of 0 to 1) renews the noise.",
                ),
            ],
            outputs=[io.Noise.Output(display_name="noise", tooltip="Noise for the frames of one clip.")],
        )

    @classmethod
    def execute(cls, images, seed, motion, threshold) -> io.NodeOutput:
        """Give the NOISE; it is drawn when a sampler asks for it."""
        return io.NodeOutput(residual_noise(images, seed, motion, threshold))


NODES = [EdgeMaps, ControlSequence, InterpolateMaps, StabiliseMaps, FlowBlendNode, ResidualNoise]
