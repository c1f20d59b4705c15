"""Faces of a clip: find them, follow them, look at the tracks, and give each its own prompt."""

from comfy_api.latest import io

from ..core.fusion.cuts import find_cuts
from ..core.refine.detect import detect_faces
from ..core.refine.preview import preview_tracks
from ..core.refine.sights import sights
from ..core.refine.tracks import Linking, link
from .host.progress import reporter
from .inputs import text_input
from .sockets import FACE_TRACKS, FACES

CATEGORY = "Choreographer/Refine"


def tracks_input(tooltip: str = "Face tracks of this clip, from 'Track Faces'."):
    """The tracks socket of the nodes that take tracks."""
    return FACE_TRACKS.Input("tracks", tooltip=tooltip)


class DetectFaces(io.ComfyNode):
    """Faces in every frame, by the embedded detector."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoDetectFaces",
            display_name="Detect Faces",
            category=CATEGORY,
            description="Finds faces in pictures or in every frame of a clip, with the small detector that "
            "comes with the pack (YuNet). Runs on the CPU, some milliseconds a frame.",
            inputs=[
                io.Image.Input("images", tooltip="The clip, or pictures."),
                io.Float.Input(
                    "threshold",
                    default=0.6,
                    min=0.01,
                    max=0.99,
                    step=0.01,
                    tooltip="How certain it must be. Lower finds more faces, and more that are none.",
                ),
                io.Int.Input(
                    "detail",
                    default=640,
                    min=32,
                    max=4096,
                    step=32,
                    tooltip="Frames are scaled so that their longer side has so many pixels. More finds "
                    "smaller faces, and takes longer.",
                ),
            ],
            outputs=[
                FACES.Output(display_name="faces", tooltip="Boxes, for 'Track Faces' or 'Subject Mask'."),
                io.Int.Output(display_name="most", tooltip="The largest number of faces in one frame."),
            ],
        )

    @classmethod
    def execute(cls, images, threshold, detail) -> io.NodeOutput:
        """Look at every frame."""
        found = detect_faces(images, threshold, detail, reporter())
        return io.NodeOutput(found, max(found.counts))


class TrackFaces(io.ComfyNode):
    """Boxes of a clip as tracks."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoTrackFaces",
            display_name="Track Faces",
            category=CATEGORY,
            description="Says which boxes of a clip are one face: links them over the frames, fills short "
            "gaps, takes the jitter out, and begins anew at every cut. Instead of faces it follows the parts "
            "of a mask, or boxes of your own.",
            inputs=[
                io.Image.Input("images", tooltip="The clip."),
                io.Int.Input(
                    "gap",
                    default=8,
                    min=0,
                    max=1000,
                    tooltip="Frames for which a face may be out of sight and still be the same one.",
                ),
                io.Int.Input(
                    "least_frames",
                    default=3,
                    min=1,
                    max=1000,
                    tooltip="A face seen in fewer frames is taken for an error of the detector.",
                ),
                io.Float.Input(
                    "smoothing",
                    default=3.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    tooltip="Frames around each that steady its box; there is no lag. 0 = as detected.",
                ),
                io.Boolean.Input(
                    "split_at_cuts", default=True, tooltip="Find cuts, and never follow a face across them."
                ),
                io.String.Input(
                    "choose",
                    default="all",
                    tooltip="Which tracks to keep: all, largest, or numbers as in 0, 2. 'Preview Tracks' "
                    "shows the numbers; 0 is the one with most face in it.",
                ),
                text_input(
                    "boxes",
                    "Boxes of your own instead of faces, one a line: 40, 20, 90, 80 (left, top, right, "
                    "bottom in pixels) for all frames, or 3: 40, 20, 90, 80 for frame 3.",
                    multiline=True,
                ),
                FACES.Input(
                    "faces",
                    optional=True,
                    tooltip="From 'Detect Faces', where its settings matter. Empty = they are detected here.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Instead of faces: each connected part of a frame's mask. One mask serves all "
                    "frames.",
                ),
            ],
            outputs=[
                FACE_TRACKS.Output(display_name="tracks", tooltip="The tracks, largest first."),
                io.Int.Output(display_name="count", tooltip="How many there are."),
            ],
        )

    @classmethod
    def execute(
        cls, images, gap, least_frames, smoothing, split_at_cuts, choose, boxes="", faces=None, mask=None
    ) -> io.NodeOutput:
        """Find and link them."""
        linking = Linking(gap, least_frames, smoothing)
        found = sights(images, boxes, faces, mask, reporter())
        cuts = find_cuts(images, reporter()) if split_at_cuts else ()
        tracks = link(found, linking, cuts).only(choose, "choose")
        return io.NodeOutput(tracks, len(tracks.tracks))


class PreviewTracks(io.ComfyNode):
    """Tracks drawn over their clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoPreviewTracks",
            display_name="Preview Tracks",
            category=CATEGORY,
            description="Draws every track's box with its number, and the way it came. Boxes are thick where "
            "the face was seen and thin where a gap was filled; frames that begin a scene have a white bar.",
            inputs=[io.Image.Input("images", tooltip="The clip."), tracks_input()],
            outputs=[io.Image.Output(display_name="images", tooltip="The clip with the tracks.")],
        )

    @classmethod
    def execute(cls, images, tracks) -> io.NodeOutput:
        """Draw."""
        return io.NodeOutput(preview_tracks(images, tracks, reporter()))


class FacePrompt(io.ComfyNode):
    """A prompt for some of the faces."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoFacePrompt",
            display_name="Face Prompt",
            category=CATEGORY,
            description="Gives chosen faces a prompt of their own, with the ID tokens of another person for "
            "example. Chain several; 'Refine Faces' takes its own prompt for the faces without one.",
            inputs=[
                tracks_input(),
                io.Conditioning.Input("positive", tooltip="What these faces should show."),
                io.String.Input(
                    "faces",
                    default="0",
                    tooltip="Numbers of the tracks as in 0, 2, or all, or largest. 'Preview Tracks' shows "
                    "them.",
                ),
            ],
            outputs=[FACE_TRACKS.Output(display_name="tracks", tooltip="The tracks with the prompt.")],
        )

    @classmethod
    def execute(cls, tracks, positive, faces) -> io.NodeOutput:
        """Put it on them."""
        return io.NodeOutput(tracks.with_prompt(faces, positive))


NODES = [DetectFaces, TrackFaces, PreviewTracks, FacePrompt]
