"""Trajectories from and for other packs and programs: coordinates, CSV, TRACKS."""

from comfy_api.latest import io

from ..core.trajectory.document import write_document
from ..core.trajectory.formats import (
    UNITS,
    Reading,
    parse,
    read_tracks,
    write_ati,
    write_coordinates,
    write_csv,
    write_tracks,
)
from ..core.trajectory.sample import sample
from ..core.trajectory.track import CURVES, ROLES, TIMINGS, Trajectories
from .inputs import choice_input, frames_input
from .sockets import TRACKS
from .trajectory import (
    CATEGORY,
    SPREAD,
    side_inputs,
    trajectories_input,
    trajectories_output,
)

WRITERS = {"coordinates": write_coordinates, "ati": write_ati, "csv": write_csv}
FORMATS = (*WRITERS, "trajectories")
JOINS = tuple(curve for curve in CURVES if curve != "bezier")  # points from elsewhere have no handles


class TrajectoriesFromPoints(io.ComfyNode):
    """Trajectories from coordinates or TRACKS."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoTrajectoriesFromPoints",
            display_name="Trajectories from Points",
            category=CATEGORY,
            description="Take trajectories from elsewhere: coordinate strings of other packs, ATI and Wan "
            "lists, CSV, or TRACKS of a tracker. How many points there are says nothing about the clip.",
            inputs=[
                io.String.Input(
                    "coordinates",
                    multiline=True,
                    default="",
                    tooltip="JSON lists of points with x and y, or lines of CSV. Empty when tracks are "
                    "connected.",
                ),
                *side_inputs("the frame that the points belong to"),
                choice_input(
                    "unit", UNITS, "What the numbers are: pixels, percent, or fractions from 0 to 1."
                ),
                choice_input("role", ROLES, "What follows the tracks: objects, or the whole view."),
                choice_input(
                    "curve",
                    JOINS,
                    "How the points are joined. pchip never swings past a point, catmull-rom is rounder, "
                    "linear goes straight.",
                ),
                choice_input(
                    "timing",
                    TIMINGS,
                    "How time is shared. points: the same from each point to the next. length: constant "
                    "speed. keys: by the frame of each point, in CSV.",
                ),
                TRACKS.Input("tracks", optional=True, tooltip="Tracked points, instead of coordinates."),
            ],
            outputs=[trajectories_output("The trajectories.")],
        )

    @classmethod
    def execute(cls, coordinates, width, height, unit, role, curve, timing, tracks=None) -> io.NodeOutput:
        """Read whichever is given."""
        if (tracks is None) == (not coordinates.strip()):
            given = "neither" if tracks is None else "both"
            raise ValueError(f"Trajectories from Points needs coordinates or tracks, got {given}")
        reading = Reading((width, height), unit, role, curve, timing)
        if tracks is None:
            return io.NodeOutput(parse(coordinates, reading))
        return io.NodeOutput(Trajectories(read_tracks(tracks, reading), size=(width, height)))


class ExportTrajectories(io.ComfyNode):
    """Trajectories as text and as TRACKS, for other packs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoExportTrajectories",
            display_name="Export Trajectories",
            category=CATEGORY,
            description="Write trajectories for other packs, as points in pixels.",
            inputs=[
                trajectories_input("What to write; camera moves are written as tracks."),
                frames_input(SPREAD),
                *side_inputs("the clip"),
                choice_input(
                    "format",
                    FORMATS,
                    "coordinates: a JSON list of points a track, one a frame. ati: the same with 121 points "
                    "spread evenly over the clip, as ATI and Wan's track node take it. csv: a table. "
                    "trajectories: this pack's own JSON, with its control points.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="text", tooltip="The trajectories in the chosen format."),
                TRACKS.Output(
                    display_name="tracks",
                    tooltip="The same as TRACKS, one point a frame, whatever the format.",
                ),
            ],
        )

    @classmethod
    def execute(cls, trajectories, frames, width, height, format) -> io.NodeOutput:
        """Sample and write."""
        found = sample(trajectories, frames, (width, height))
        text = write_document(trajectories) if format == "trajectories" else WRITERS[format](found)
        return io.NodeOutput(text, write_tracks(found.paths, found.visible))


NODES = [TrajectoriesFromPoints, ExportTrajectories]
