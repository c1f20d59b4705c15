"""Points followed through a clip, and how far a clip is from the trajectories it should follow."""

from comfy_api.latest import io

from ..core.metrics.plot import plot
from ..core.metrics.trajectory_error import STATED, trajectory_error
from ..core.trajectory.formats import tracks_tensors, write_tracks
from ..core.trajectory.sample import sample
from ..core.trajectory.track import ROLES
from ..core.trajectory.tracker import Tracking, as_trajectories, grid_points, track_points
from .host.progress import reporter
from .inputs import choice_input
from .sockets import TRACKS
from .trajectory import CATEGORY, side_inputs, trajectories_input, trajectories_output


def _count(name: str, default: int, most: int, tooltip: str, least: int = 1) -> io.Int.Input:
    return io.Int.Input(name, default=default, min=least, max=most, tooltip=tooltip)


class TrackPoints(io.ComfyNode):
    """Points of a clip, followed with OpenCV."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoTrackPoints",
            display_name="Track Points",
            category=CATEGORY,
            description="Follow points through a clip: a grid of them, or those where trajectories or other "
            "tracks begin. Runs on the CPU, needs no model.",
            inputs=[
                io.Image.Input("images", tooltip="The clip."),
                _count("columns", 8, 256, "Columns of the grid of points, when nothing says where they are."),
                _count("rows", 8, 256, "Rows of the grid of points, when nothing says where they are."),
                _count("window", 15, 255, "Side in pixels of the patch that is compared around a point.", 3),
                _count("levels", 3, 8, "How often the frame is halved to find far motion.", 0),
                io.Float.Input(
                    "tolerance",
                    default=1.0,
                    min=0.01,
                    max=100.0,
                    step=0.01,
                    tooltip="A point is lost when following it back ends further than this from where it "
                    "was, in pixels.",
                ),
                choice_input("role", ROLES, "Role of the trajectories made."),
                trajectories_input("Follow the points where these begin, instead of a grid.", optional=True),
                TRACKS.Input(
                    "tracks",
                    optional=True,
                    tooltip="Follow the points of the first frame of these, instead of a grid.",
                ),
            ],
            outputs=[
                TRACKS.Output(
                    display_name="tracks", tooltip="Each point at each frame, and whether it is seen."
                ),
                trajectories_output("The same as trajectories, for 'Flow Map' and others."),
            ],
        )

    @classmethod
    def execute(
        cls, images, columns, rows, window, levels, tolerance, role, trajectories=None, tracks=None
    ) -> io.NodeOutput:
        """Follow them."""
        size = images.shape[2], images.shape[1]
        if trajectories is not None and tracks is not None:
            raise ValueError("Track Points takes its points from trajectories or from tracks, got both")
        if trajectories is not None:
            points = sample(trajectories, len(images), size).paths[:, 0]
        else:
            points = grid_points(size, columns, rows) if tracks is None else tracks_tensors(tracks)[0][:, 0]
        paths, seen = track_points(images, points, Tracking(window, levels, tolerance), reporter())
        return io.NodeOutput(write_tracks(paths, seen), as_trajectories(paths, seen, size, role))


class TrajectoryErrorNode(io.ComfyNode):
    """ObjMC and CamMC of a clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoTrajectoryError",
            display_name="Trajectory Error",
            category="Choreographer/Metrics",
            description="How far a clip is from the trajectories it should follow: points are followed "
            "through the clip and compared, in pixels of a stated frame size. Lower is better.",
            inputs=[
                io.Image.Input("images", tooltip="The clip, generated with the trajectories."),
                trajectories_input("The trajectories it should follow."),
                *side_inputs("the frame that the errors are told in", *STATED),
                TRACKS.Input(
                    "tracks",
                    optional=True,
                    tooltip="The clip's points as another tracker has them, one for each trajectory. Empty = "
                    "OpenCV follows the points where the trajectories begin.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="report", tooltip="All numbers as JSON."),
                io.Float.Output(
                    display_name="object_error", tooltip="ObjMC: mean over tracks of objects, px; else NaN."
                ),
                io.Float.Output(
                    display_name="camera_error", tooltip="CamMC: mean over tracks of the camera; else NaN."
                ),
                io.Float.Output(
                    display_name="lost", tooltip="Share of points and frames that were not found, 0 to 1."
                ),
                io.Image.Output(display_name="plot", tooltip="The error of each frame as curves."),
            ],
        )

    @classmethod
    def execute(cls, images, trajectories, width, height, tracks=None) -> io.NodeOutput:
        """Follow the points, and compare."""
        wanted = sample(trajectories, len(images), (images.shape[2], images.shape[1]))
        if tracks is None:
            followed, seen = track_points(images, wanted.paths[:, 0], report=reporter())
        else:
            followed, seen = tracks_tensors(tracks)
        found = trajectory_error(followed, seen, wanted, stated=(width, height))
        curves = {f"{role} error, px of {width}x{height}": row for role, row in found.per_frame.items()}
        means = found.mean("object"), found.mean("camera"), found.lost
        return io.NodeOutput(found.as_json(), *means, plot(curves)[None])


NODES = [TrackPoints, TrajectoryErrorNode]
