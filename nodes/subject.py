"""Masks of the subject of pictures: from boxes, or from words."""

from comfy_api.latest import io

from ..core.identity.subject import subject_masks
from ..core.identity.text_mask import BOX_THRESHOLD, masks_by_text
from ..core.image_prompt.picture import written_boxes
from ..core.refine.detect import detect_faces
from .host.masks import DINO, SAM, load_masker, model_folders
from .host.progress import reporter
from .identity import CATEGORY
from .inputs import amount_input
from .sockets import FACES


class SubjectMask(io.ComfyNode):
    """Masks of the subject, from boxes and GrabCut."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoSubjectMask",
            display_name="Subject Mask",
            category=CATEGORY,
            description="Finds the subject in each picture: a box from the face detector or from you, and in "
            "it what is not like its surroundings (GrabCut). Needs no model. A picture without a face or a "
            "box gets an empty mask.",
            inputs=[
                io.Image.Input("images", tooltip="The pictures."),
                io.String.Input(
                    "boxes",
                    default="",
                    multiline=True,
                    tooltip="Boxes around the subject, one a line: 40, 20, 90, 80 (left, top, right, bottom "
                    "in pixels) for every picture, or 2: 40, 20, 90, 80 for picture 2, counted from 0. Empty "
                    "= the best face of each picture.",
                ),
                io.Float.Input(
                    "grow",
                    default=2.5,
                    min=0.5,
                    max=10.0,
                    step=0.1,
                    tooltip="The box is made so many times as large first: 1 for boxes of your own, 2 to 4 "
                    "for the person around a face.",
                ),
                FACES.Input(
                    "faces",
                    optional=True,
                    tooltip="Faces from 'Detect Faces', where its settings matter. Empty = they are detected "
                    "here.",
                ),
            ],
            outputs=[io.Mask.Output(display_name="masks", tooltip="One mask a picture.")],
        )

    @classmethod
    def execute(cls, images, boxes, grow, faces=None) -> io.NodeOutput:
        """Find it."""
        if boxes.strip():
            given = written_boxes(boxes, len(images), (images.shape[2], images.shape[1]))
            found = [() if box is None else (box,) for box in given]
        else:
            faces = faces or detect_faces(images, report=reporter())
            found, (width, height) = faces.boxes, faces.size
            if (height, width) != tuple(images.shape[1:3]):
                size = f"{images.shape[2]}x{images.shape[1]}"
                raise ValueError(f"The faces are of pictures of {width}x{height}, these are {size}")
        if len(found) != len(images):
            raise ValueError(f"The faces are of {len(found)} pictures, there are {len(images)}")
        return io.NodeOutput(subject_masks(images, found, grow, reporter()))


class SubjectMaskFromText(io.ComfyNode):
    """Masks of what a text names, by models the user has."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoSubjectMaskFromText",
            display_name="Subject Mask from Text",
            category=CATEGORY,
            description="Finds what a text names in each picture, with Grounding DINO and SAM from folders "
            "of yours in the layout of the transformers library. Nothing is downloaded.",
            inputs=[
                io.Image.Input("images", tooltip="The pictures."),
                io.String.Input(
                    "text", default="a person", tooltip="What to find, such as a person, a dog or a red car."
                ),
                io.Combo.Input(
                    "grounding_dino",
                    options=model_folders(DINO),
                    tooltip="A folder in models/grounding_dino with config.json, weights and processor.",
                ),
                io.Combo.Input(
                    "sam",
                    options=model_folders(SAM),
                    tooltip="A folder in models/sams with config.json, weights and processor.",
                ),
                amount_input(
                    "threshold",
                    BOX_THRESHOLD,
                    "How certain Grounding DINO must be. Lower finds more, and more that is wrong.",
                ),
            ],
            outputs=[
                io.Mask.Output(display_name="masks", tooltip="One mask a picture; empty where not found.")
            ],
        )

    @classmethod
    def execute(cls, images, text, grounding_dino, sam, threshold) -> io.NodeOutput:
        """Find it."""
        masker = load_masker(grounding_dino, sam)
        return io.NodeOutput(masks_by_text(images, text, masker, threshold, reporter()))


NODES = [SubjectMask, SubjectMaskFromText]
