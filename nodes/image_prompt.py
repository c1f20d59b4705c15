"""Image prompts: a picture says what the subject looks like, a sentence says what happens."""

from comfy_api.latest import io

from .host import files
from .host.image_prompt import ImagePromptValue, encode_pictures, load_image_prompt_file, prepare_pictures
from .host.subject_box import SOURCES, subject_boxes
from .host.worded import MANY, prompt_with_pictures
from .inputs import amount_input, choice_input, frames_input, text_input
from .sockets import IMAGE_PROMPT, IMAGE_PROMPT_MODEL

CATEGORY = "Choreographer/Image Prompt"
NONE = "none"


def report_output() -> io.String.Output:
    """What every node that takes a picture says."""
    return io.String.Output(display_name="report", tooltip="What the pictures were used for, in words.")


def _box(tooltip: str) -> io.String.Input:
    return text_input("box", tooltip, multiline=True)


class SubjectBox(io.ComfyNode):
    """Where the subject is in a picture."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoSubjectBox",
            display_name="Subject Box",
            category=CATEGORY,
            description="Find the part of a picture that shows the subject, and see what an image prompt "
            "will be made from: white around the subject, cut to its box, in a white square.",
            inputs=[
                io.Image.Input("image", tooltip="Pictures of the subject; transparent pixels become white."),
                choice_input(
                    "source",
                    SOURCES,
                    "Where the box comes from. mask: around the white of the mask. face: the largest face. "
                    "written: the numbers in 'box'. whole picture: no cutting.",
                ),
                amount_input(
                    "margin", 0.05, "How much wider and higher the box is made: 0.1 = a tenth.", most=2.0
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="White where the subject is. The mask of 'Load Image' is the reverse: invert it.",
                ),
                _box("Only for 'written': left, top, right, bottom in pixels, as in 40, 20, 90, 80."),
            ],
            outputs=[
                io.String.Output(
                    display_name="box", tooltip="A line a picture, for 'Encode Image Prompt'; may be edited."
                ),
                io.Image.Output(display_name="subject", tooltip="What an image prompt is made from."),
                report_output(),
            ],
        )

    @classmethod
    def execute(cls, image, source, margin, mask=None, box="") -> io.NodeOutput:
        """Find the boxes, and show what they cut out."""
        return io.NodeOutput(*subject_boxes(image, source, margin, mask, box))


class LoadImagePromptModel(io.ComfyNode):
    """An image prompt file as an IMAGE_PROMPT_MODEL."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoLoadImagePromptModel",
            display_name="Load Image Prompt Model",
            category=CATEGORY,
            description="Load a model that turns pictures into prompts: VideoBooth's published files and "
            "this pack's own. Image attention also works without one.",
            inputs=[
                io.Combo.Input(
                    "image_prompt_model",
                    options=files.file_names(files.IMAGE_PROMPTS),
                    tooltip="A file in ComfyUI/models/image_prompt_models. The kind of file is recognised.",
                ),
                io.Combo.Input(
                    "video_unet",
                    options=[NONE, *files.file_names(files.DIFFUSION_MODELS)],
                    default=NONE,
                    optional=True,
                    tooltip="Only for published files: the video UNet that they were trained with, also "
                    "loaded as the model by 'Load Diffusion Model'. Its temporal attention is added.",
                ),
            ],
            outputs=[
                IMAGE_PROMPT_MODEL.Output(
                    display_name="image_prompt_model",
                    tooltip="For 'Encode Image Prompt' and 'Apply Image Attention'.",
                )
            ],
        )

    @classmethod
    def execute(cls, image_prompt_model, video_unet=NONE) -> io.NodeOutput:
        """Read the files."""
        video = None if video_unet == NONE else files.full_path(files.DIFFUSION_MODELS, video_unet)
        path = files.full_path(files.IMAGE_PROMPTS, image_prompt_model)
        return io.NodeOutput(load_image_prompt_file(path, video))


class EncodeImagePrompt(io.ComfyNode):
    """Pictures of a subject as an IMAGE_PROMPT."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoEncodeImagePrompt",
            display_name="Encode Image Prompt",
            category=CATEGORY,
            description="Prepare pictures of a subject: for 'Prompt with Image', where they stand for a "
            "word, and for 'Apply Image Attention', where the clip looks at them.",
            inputs=[
                io.Image.Input("image", tooltip="One or more pictures; transparent pixels become white."),
                amount_input(
                    "margin",
                    0.0,
                    "How much wider and higher the subject's box is made: 0.1 = a tenth.",
                    most=2.0,
                ),
                IMAGE_PROMPT_MODEL.Input(
                    "image_prompt_model",
                    optional=True,
                    tooltip="Makes tokens for 'Prompt with Image'. Without it the pictures serve image "
                    "attention alone.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="CLIP ViT-L/14, for published models. This pack's own bring their picture "
                    "encoder.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="White where the subject is; the rest becomes white. The mask of 'Load Image' is "
                    "the reverse: invert it.",
                ),
                _box(
                    "Where the subject is, from 'Subject Box' or as left, top, right, bottom in pixels. "
                    "Empty = around the mask, or the whole picture."
                ),
            ],
            outputs=[
                IMAGE_PROMPT.Output(
                    display_name="image_prompt",
                    tooltip="The pictures, for 'Prompt with Image' and 'Apply Image Attention'.",
                ),
                report_output(),
            ],
        )

    @classmethod
    def execute(
        cls, image, margin, image_prompt_model=None, clip_vision=None, mask=None, box=""
    ) -> io.NodeOutput:
        """Prepare the pictures, and encode them where there is a model."""
        pictures, tokens = prepare_pictures(image, mask, box, margin), None
        if image_prompt_model is not None:
            tokens = encode_pictures(image_prompt_model, clip_vision, pictures)
        value = ImagePromptValue(pictures, tokens)
        return io.NodeOutput(value, value.report)


class PromptWithImage(io.ComfyNode):
    """A prompt in which a picture stands for a word."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoPromptWithImage",
            display_name="Prompt with Image",
            category=CATEGORY,
            description="A prompt in which the subject's word is replaced by its picture. Use it in place of "
            "'CLIP Text Encode' for the positive prompt.",
            inputs=[
                io.Clip.Input("clip", tooltip="The text encoder of the checkpoint."),
                io.String.Input(
                    "text",
                    default="a dog runs on a beach",
                    multiline=True,
                    dynamic_prompts=True,
                    tooltip="What happens. It must name the subject by the word below; (word:1.2) works.",
                ),
                io.String.Input(
                    "subject",
                    default="dog",
                    tooltip="The word, or words, that the picture stands for. Every occurrence is replaced.",
                ),
                IMAGE_PROMPT.Input(
                    "image_prompt", tooltip="From 'Encode Image Prompt' with an image prompt model."
                ),
                choice_input(
                    "pictures",
                    MANY,
                    "What to do with several pictures. average: they show one subject. spread: over the "
                    "clip, one after the other.",
                ),
                frames_input("Only for 'spread': frames of the clip, as in 'Empty Video Latent'."),
            ],
            outputs=[
                io.Conditioning.Output(
                    display_name="conditioning", tooltip="The prompt, for a sampler's positive input."
                ),
                report_output(),
            ],
        )

    @classmethod
    def execute(cls, clip, text, subject, image_prompt, pictures, frames) -> io.NodeOutput:
        """Replace and encode."""
        return io.NodeOutput(*prompt_with_pictures(clip, text, subject, image_prompt, pictures, frames))


NODES = [SubjectBox, LoadImagePromptModel, EncodeImagePrompt, PromptWithImage]
