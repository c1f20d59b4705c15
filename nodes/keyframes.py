"""Keyframes: images fixed at frames of a clip, and sampling that goes through them."""

from comfy_api.latest import io

from ..core.keyframe_guidance import CURVES, Guidance
from ..core.keyframes import EASINGS, Keyframe, Keyframes, keyframes_of_batch, parse_frames, spread_frames
from .host.keyframes import FILLS, apply_guidance, keyframe_latent
from .inputs import MOST_FRAMES, amount_input, choice_input, frames_input, percent_inputs
from .sockets import KEYFRAMES

CATEGORY = "Choreographer/Keyframes"


def _easing() -> io.Combo.Input:
    return choice_input(
        "easing",
        EASINGS,
        "How the hold falls off over the frames around. linear: evenly. smooth: slowly at first and at the "
        "end. sharp: at once, so that neighbours are soon free.",
        default="linear",
    )


def _reach(default: float, tooltip: str) -> io.Float.Input:
    return io.Float.Input(
        "reach", default=default, min=0.0, max=float(MOST_FRAMES), step=0.5, tooltip=tooltip
    )


def _previous():
    return KEYFRAMES.Input(
        "previous", optional=True, tooltip="Keyframes to add to, from another keyframe node. Empty = none."
    )


def _output():
    return KEYFRAMES.Output(display_name="keyframes", tooltip="All keyframes so far.")


class KeyframeNode(io.ComfyNode):
    """One image at one frame."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoKeyframe",
            display_name="Keyframe",
            category=CATEGORY,
            description="Fix one frame of a clip to an image. Chain several; their order does not matter.",
            inputs=[
                io.Image.Input("image", tooltip="One image, of the clip's size."),
                io.Int.Input(
                    "frame",
                    default=0,
                    min=-MOST_FRAMES,
                    max=MOST_FRAMES,
                    tooltip="Which frame it fixes, counted from 0; -1 is the last, -2 the one before.",
                ),
                amount_input(
                    "strength", 1.0, "How much the image holds at its frame: 1 = fully, 0 = not at all."
                ),
                _easing(),
                _previous(),
            ],
            outputs=[_output()],
        )

    @classmethod
    def execute(cls, image, frame, strength, easing, previous=None) -> io.NodeOutput:
        """Add one keyframe."""
        if len(image) != 1:
            raise ValueError(f"'Keyframe' takes one image, got {len(image)}; use 'Keyframes from Batch'")
        keyframe = Keyframe(image[0], frame, strength, easing)
        return io.NodeOutput((previous or Keyframes()).plus(keyframe))


class KeyframesFromBatch(io.ComfyNode):
    """A batch of images at listed or evenly spread frames."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoKeyframesFromBatch",
            display_name="Keyframes from Batch",
            category=CATEGORY,
            description="Fix several frames of a clip to the images of a batch.",
            inputs=[
                io.Image.Input("images", tooltip="The images, all of the clip's size."),
                io.String.Input(
                    "at",
                    default="",
                    tooltip="The frame of each image, as in 0, 8, -1 (-1 is the last). Empty = spread evenly "
                    "over the clip, first and last frame included.",
                ),
                frames_input("Frames of the clip, for spreading evenly; not used when 'at' lists frames."),
                amount_input(
                    "strength", 1.0, "How much the images hold at their frames: 1 = fully, 0 = not at all."
                ),
                _easing(),
                _previous(),
            ],
            outputs=[_output()],
        )

    @classmethod
    def execute(cls, images, at, frames, strength, easing, previous=None) -> io.NodeOutput:
        """Add a keyframe for each image."""
        places = parse_frames(at) or spread_frames(len(images), frames)
        added = keyframes_of_batch(images, places, strength, easing)
        return io.NodeOutput((previous or Keyframes()).plus(*added.items))


class KeyframesToLatents(io.ComfyNode):
    """A LATENT that holds the keyframes, with a noise mask that keeps them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoKeyframesToLatents",
            display_name="Keyframes to Latents",
            category=CATEGORY,
            description="Encode the keyframes into a latent for a whole clip, with a noise mask: a sampler "
            "leaves the keyframes and makes the frames between them.",
            inputs=[
                KEYFRAMES.Input("keyframes", tooltip="The keyframes, all of one size: that of the clip."),
                io.Vae.Input("vae", tooltip="The VAE of the model that samples."),
                frames_input("Frames of the clip."),
                choice_input(
                    "fill",
                    FILLS,
                    "What the other frames start from. blend: the keyframes before and after, mixed. "
                    "nearest: the nearest keyframe. empty: nothing, as in an empty latent. It matters most "
                    "for a denoise below 1.",
                    default="blend",
                ),
                _reach(
                    0.0,
                    "Over how many frames on each side the hold fades out. 0 = only the keyframes are held, "
                    "all others are free.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent", tooltip="The clip's latent, with a noise mask, for a sampler."
                ),
                io.Mask.Output(
                    display_name="hold",
                    tooltip="How much each frame is held, one mask a frame: 1 = keyframe, 0 = free.",
                ),
            ],
        )

    @classmethod
    def execute(cls, keyframes, vae, frames, fill, reach) -> io.NodeOutput:
        """Encode."""
        return io.NodeOutput(*keyframe_latent(vae, keyframes, frames, fill, reach))


def _pull() -> list:
    return [
        amount_input(
            "strength", 1.0, "How strongly predictions are pulled, times each keyframe's own strength."
        ),
        _reach(
            4.0,
            "Over how many frames on each side a keyframe pulls its neighbours; it ends at the next "
            "keyframe. More ties the frames together and leaves less motion.",
        ),
        *percent_inputs(
            "When in sampling the pull begins: 0 = the first, noisiest step.",
            "When it ends: 1 = with the last step, so keyframes come out as given.",
        ),
        choice_input(
            "curve",
            CURVES,
            "How the pull changes meanwhile. focus: the reach shrinks to the keyframes alone. constant: it "
            "stays. fade: the strength falls to 0.",
            default="focus",
        ),
        amount_input(
            "tone",
            1.0,
            "How much the colours of all frames, on the whole, keep to those of the keyframes around them. "
            "Less where the light is to change on its own; 0 = free.",
            optional=True,
        ),
    ]


class KeyframeGuidance(io.ComfyNode):
    """A MODEL whose clips pass through keyframes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoKeyframeGuidance",
            display_name="Keyframe Guidance",
            category=CATEGORY,
            description="Make a model's clips pass through keyframes: at each step the predicted clean clip "
            "is pulled to them. Needs no ControlNet, and works with any stock sampler, with noise masks and "
            "with context windows.",
            inputs=[
                io.Model.Input("model", tooltip="The model, before or after 'Apply Motion Module'."),
                io.Vae.Input("vae", tooltip="The VAE of the model: it encodes the keyframes once."),
                KEYFRAMES.Input("keyframes", tooltip="The keyframes, all of the clip's size."),
                *_pull(),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="The guided model, for a sampler.")],
        )

    @classmethod
    def execute(
        cls, model, vae, keyframes, strength, reach, start_percent, end_percent, curve, tone=1.0
    ) -> io.NodeOutput:
        """Patch a clone."""
        guidance = Guidance(strength, reach, start_percent, end_percent, curve, tone)
        return io.NodeOutput(apply_guidance(model, vae, keyframes, guidance))


NODES = [KeyframeNode, KeyframesFromBatch, KeyframesToLatents, KeyframeGuidance]
