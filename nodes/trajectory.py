"""Trajectories: as text, made from camera moves, put together; and what nodes that take them share."""

from dataclasses import replace

from comfy_api.latest import io

from ..core.trajectory.camera import PRESETS
from ..core.trajectory.camera import preset as preset_move
from ..core.trajectory.formats import Reading, parse
from ..core.trajectory.track import CAMERA_EASINGS, ZOOM_CURVES, Trajectories
from .inputs import MOST_FRAMES, choice_input
from .sockets import TRAJECTORIES

CATEGORY = "Choreographer/Trajectory"
SPREAD = "Frames of the clip. The trajectories are spread over them."
AS_PRESET = "as preset"
EXAMPLE = """{"version": 1, "size": [512, 512],
 "tracks": [{"name": "1", "role": "object", "curve": "pchip", "points": [
   {"x": 0.25, "y": 0.6}, {"x": 0.5, "y": 0.4}, {"x": 0.75, "y": 0.6}]}]}
"""


def side_inputs(what: str, width: int = 512, height: int = 512) -> list:
    """Width and height in pixels."""
    return [
        io.Int.Input("width", default=width, min=8, max=16384, tooltip=f"Width of {what} in pixels."),
        io.Int.Input("height", default=height, min=8, max=16384, tooltip=f"Height of {what} in pixels."),
    ]


def trajectories_input(tooltip: str, name: str = "trajectories", optional: bool = False):
    """A TRAJECTORIES socket."""
    return TRAJECTORIES.Input(name, optional=optional, tooltip=tooltip)


def trajectories_output(tooltip: str):
    """The TRAJECTORIES output."""
    return TRAJECTORIES.Output(display_name="trajectories", tooltip=tooltip)


class TrajectoriesNode(io.ComfyNode):
    """Trajectories from their JSON."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoTrajectories",
            display_name="Trajectories",
            category=CATEGORY,
            description="Paths that objects or the camera follow: draw them in the node, or give their text, "
            "this pack's JSON or a coordinate string of another pack.",
            inputs=[
                io.String.Input(
                    "trajectories",
                    multiline=True,
                    default=EXAMPLE,
                    tooltip="This pack's JSON: control points in parts of the frame, 0 to 1 from left to "
                    "right and from top to bottom. Coordinate strings and CSV in pixels work too.",
                ),
                *side_inputs("the frame that pixel coordinates belong to; not used for this pack's JSON"),
                io.Image.Input(
                    "background",
                    optional=True,
                    tooltip="Shown behind the paths in the editor, not part of the trajectories. Empty = "
                    "grey.",
                ),
            ],
            outputs=[trajectories_output("The trajectories, for 'Flow Map' and others.")],
        )

    @classmethod
    def execute(cls, trajectories, width, height, background=None) -> io.NodeOutput:
        """Read the text; the background is for the editor alone."""
        return io.NodeOutput(parse(trajectories, Reading((width, height))))


def _number(name: str, default: float, least: float, most: float, tooltip: str) -> io.Float.Input:
    return io.Float.Input(name, default=default, min=least, max=most, step=0.01, tooltip=tooltip)


def _frame(name: str, default: int, tooltip: str) -> io.Int.Input:
    return io.Int.Input(name, default=default, min=-MOST_FRAMES, max=MOST_FRAMES, tooltip=tooltip)


def _cells(name: str) -> io.Int.Input:
    return io.Int.Input(
        name,
        default=2,
        min=1,
        max=64,
        tooltip=f"How many {name} of points show the move. The first camera move's count for all.",
    )


def _move_inputs() -> list:
    return [
        choice_input(
            "preset",
            PRESETS,
            "How the camera moves. The picture's content moves the other way.",
            default="pan right",
        ),
        _number("amount", 1.0, -10.0, 10.0, "How far the preset goes: 0 = not at all, -1 = the opposite."),
        _number("pan", 0.0, -10.0, 10.0, "More pan to the right, in parts of the frame's width."),
        _number("tilt", 0.0, -10.0, 10.0, "More tilt upwards, in parts of the frame's height."),
        _number("zoom", 1.0, 0.01, 100.0, "More zoom, as a factor: 2 = twice as near, 0.5 = out."),
        _number("roll", 0.0, -3600.0, 3600.0, "More roll, in degrees clockwise."),
        choice_input(
            "zoom_curve",
            [AS_PRESET, *ZOOM_CURVES],
            "How a zoom grows. even: by the same factor each frame. linear: by the same amount. dolly: as "
            "when the camera itself comes near at constant speed.",
        ),
        choice_input(
            "easing",
            [AS_PRESET, *CAMERA_EASINGS],
            "How the move starts and ends. there and back: it returns at half time.",
        ),
        _frame("start", 0, "Frame at which the move begins; negative counts from the end."),
        _frame("end", -1, "Frame at which the move ends; -1 is the last."),
        _cells("columns"),
        _cells("rows"),
    ]


class CameraMoveNode(io.ComfyNode):
    """A move of the camera as trajectories."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoCameraMove",
            display_name="Camera Move",
            category=CATEGORY,
            description="Pan, tilt, zoom, roll or dolly as trajectories. Chain several: they act together, "
            "each in its own frames.",
            inputs=[
                *_move_inputs(),
                trajectories_input("Trajectories to add the move to. Empty = none.", "previous", True),
            ],
            outputs=[trajectories_output("The trajectories with this move.")],
        )

    @classmethod
    def execute(
        cls, preset, amount, pan, tilt, zoom, roll, zoom_curve, easing, start, end, columns, rows,
        previous=None,
    ) -> io.NodeOutput:  # fmt: skip
        """Add the move."""
        known = preset_move(preset, amount)
        chosen = {"zoom_curve": zoom_curve, "easing": easing}
        move = replace(
            known,
            pan=known.pan + pan,
            tilt=known.tilt + tilt,
            zoom=known.zoom * zoom,
            roll=known.roll + roll,
            start=start,
            end=end,
            **{what: word for what, word in chosen.items() if word != AS_PRESET},
        )
        return io.NodeOutput((previous or Trajectories()).plus(Trajectories((), (move,), (columns, rows))))


class CombineTrajectories(io.ComfyNode):
    """Two trajectories as one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoCombineTrajectories",
            display_name="Combine Trajectories",
            category=CATEGORY,
            description="Put the tracks and camera moves of two trajectories together.",
            inputs=[
                trajectories_input("The first; its camera moves act first.", "first"),
                trajectories_input("The second; where tracks meet in a pixel it counts.", "second"),
                io.Boolean.Input(
                    "carry_objects",
                    default=False,
                    tooltip="Whether objects are also moved by the camera: a ball drawn at rest then pans "
                    "with its ground. Off = object tracks are where the picture shows them.",
                ),
            ],
            outputs=[trajectories_output("Both together.")],
        )

    @classmethod
    def execute(cls, first, second, carry_objects) -> io.NodeOutput:
        """Join them."""
        return io.NodeOutput(first.plus(second, carry_objects))


NODES = [TrajectoriesNode, CameraMoveNode, CombineTrajectories]
