"""Multi-frame fusion: frames steadied by their neighbours, drawn to keyframes, or made from them."""

from comfy_api.latest import io

from ..core.fusion.attention import Attention
from ..core.fusion.stream import Fusion
from ..core.metrics.rating import rate
from .host.fusion import fuse_images, interpolate_images
from .host.progress import reporter
from .inputs import amount_input
from .sockets import KEYFRAMES

CATEGORY = "Choreographer/Fusion"


def _window() -> io.Int.Input:
    return io.Int.Input(
        "window",
        default=4,
        min=0,
        max=64,
        tooltip="Frames before and after that each frame is fused with. More is steadier and takes longer.",
    )


def _strength() -> io.Float.Input:
    return amount_input(
        "strength",
        1.0,
        "How much each neighbour counts beside the frame itself: 1 = as much, 0 = frames stay as they are.",
    )


def _split() -> io.Boolean.Input:
    return io.Boolean.Input(
        "split_at_cuts",
        default=True,
        tooltip="Find cuts and never fuse frames across them.",
    )


def _radius() -> io.Int.Input:
    return io.Int.Input(
        "radius",
        default=3,
        min=1,
        max=8,
        tooltip="How far patches are searched on each level of the pyramid, in pixels. More finds faster "
        "motion, and takes longer with its square.",
    )


def _temperature() -> io.Float.Input:
    return io.Float.Input(
        "temperature",
        default=0.0,
        min=0.0,
        max=1000.0,
        step=1.0,
        tooltip="0 = each patch takes the nearest one. Above: a mix of all in reach; 10 to 20 keeps detail, "
        "100 blurs.",
    )


def _weight(name: str, default: float, tooltip: str) -> io.Float.Input:
    return io.Float.Input(name, default=default, min=0.0, max=100.0, step=0.1, tooltip=tooltip)


def _frames_output(tooltip: str) -> io.Image.Output:
    return io.Image.Output(display_name="images", tooltip=tooltip)


class FuseFrames(io.ComfyNode):
    """Every frame averaged with its aligned neighbours and keyframes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoFuseFrames",
            display_name="Fuse Frames",
            category=CATEGORY,
            description="Steady a clip: each frame becomes the mean of itself and its neighbours, moved to "
            "where it has them by matching patches. With keyframes, frames are also drawn to the keyframes "
            "around them, and keyframes come out exactly as given.",
            inputs=[
                io.Image.Input("images", tooltip="The clip, in order. Any number of frames and any size."),
                _window(),
                _strength(),
                _weight(
                    "keyframe_weight",
                    1.0,
                    "How much the two keyframes around a frame count together, where the frame counts 1.",
                ),
                _weight(
                    "style_weight",
                    0.1,
                    "With a guide: how much the clip's own look counts in matching, where the guide counts "
                    "1. More for a poor guide, such as a depth map.",
                ),
                _radius(),
                _temperature(),
                _split(),
                io.Image.Input(
                    "guide",
                    optional=True,
                    tooltip="A clip without flicker that moves alike, such as the source video: as many "
                    "frames, the same size. Empty = the clip itself, evened out, is matched.",
                ),
                KEYFRAMES.Input(
                    "keyframes", optional=True, tooltip="Images fixed at frames of the clip. Empty = none."
                ),
            ],
            outputs=[_frames_output("The fused clip.")],
        )

    @classmethod
    def execute(
        cls, images, window, strength, keyframe_weight, style_weight, radius, temperature, split_at_cuts,
        guide=None, keyframes=None,
    ) -> io.NodeOutput:  # fmt: skip
        """Fuse."""
        attention = Attention(radius=radius, temperature=temperature)
        settings = Fusion(window, strength, keyframe_weight, style_weight, split_at_cuts, attention)
        return io.NodeOutput(fuse_images(images, settings, guide, keyframes))


class InterpolateKeyframes(io.ComfyNode):
    """A clip made from keyframes alone, moved as a guide moves."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoInterpolateKeyframes",
            display_name="Interpolate Keyframes",
            category=CATEGORY,
            description="Make all frames from a few finished ones: patches of the keyframes are moved as a "
            "guide video moves, and mixed in between. Keyframes come out exactly as given.",
            inputs=[
                io.Image.Input(
                    "guide",
                    tooltip="The clip that says how everything moves, one frame for each frame of the "
                    "result, for example the video that the keyframes were painted from.",
                ),
                KEYFRAMES.Input("keyframes", tooltip="The finished frames, of the guide's size."),
                _radius(),
                _temperature(),
            ],
            outputs=[_frames_output("The clip made from the keyframes.")],
        )

    @classmethod
    def execute(cls, guide, keyframes, radius, temperature) -> io.NodeOutput:
        """Interpolate."""
        settings = Fusion(attention=Attention(radius=radius, temperature=temperature))
        return io.NodeOutput(interpolate_images(guide, keyframes, settings))


class DeflickerVideo(io.ComfyNode):
    """Any clip without its flicker."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoDeflickerVideo",
            display_name="Deflicker Video",
            category=CATEGORY,
            description="Remove flicker from any clip, generated or filmed, with no model and no guide: each "
            "frame is averaged with its neighbours after their motion is taken out.",
            inputs=[
                io.Image.Input("images", tooltip="The clip, in order. Any number of frames and any size."),
                _strength(),
                _window(),
                _split(),
            ],
            outputs=[_frames_output("The clip without flicker.")],
        )

    @classmethod
    def execute(cls, images, strength, window, split_at_cuts) -> io.NodeOutput:
        """Fuse, with the clip as its own guide."""
        return io.NodeOutput(fuse_images(images, Fusion(window, strength, split=split_at_cuts)))


class FlowRatingNode(io.ComfyNode):
    """CCDM's flow rating, with its caveat."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoFlowRating",
            display_name="Flow Rating",
            category="Choreographer/Metrics",
            description="Rate a clip by the size of its optical flow, as CCDM does, beside its sharpness: a "
            "low rating may be calm, or it may be ghosting. 'Video Metrics' measures more.",
            inputs=[
                io.Image.Input("frames", tooltip="The clip, at least 2 frames."),
                io.Image.Input(
                    "reference",
                    optional=True,
                    tooltip="A clip that moves as this one should, of the same size and length, for example "
                    "the source video.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="report", tooltip="The rating in words, with warnings."),
                io.Float.Output(
                    display_name="flow_total", tooltip="Sum of Farneback flow over all pixels, px."
                ),
                io.Float.Output(display_name="flow_mean", tooltip="Mean Farneback flow, pixels a frame."),
                io.Float.Output(
                    display_name="flow_percent", tooltip="flow_mean in percent of the image diagonal."
                ),
                io.Float.Output(
                    display_name="detail",
                    tooltip="Sharpness in parts of the reference's: 1 = as sharp; NaN without a reference.",
                ),
            ],
        )

    @classmethod
    def execute(cls, frames, reference=None) -> io.NodeOutput:
        """Rate."""
        found = rate(frames, reference, reporter())
        flow = found.flow
        return io.NodeOutput(found.text(), flow.total_px, flow.mean_px, flow.mean_over_diagonal, found.detail)


NODES = [FuseFrames, InterpolateKeyframes, DeflickerVideo, FlowRatingNode]
