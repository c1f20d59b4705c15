"""Layered atlases: unwrap a clip into pictures, paint on them, and render it back."""

from comfy_api.latest import io

from ..core.atlas.fit import AtlasSettings
from ..core.atlas.propagate import enlarged, propagate
from .host.atlas import apply_atlas_guidance, build_atlas, clip_quality, rendered
from .host.feedback import FeedbackOptions, parse_percents
from .host.progress import reporter
from .inputs import amount_input, seed_input
from .sockets import ATLAS, KEYFRAMES

CATEGORY = "Choreographer/Atlas"


def _atlas():
    return ATLAS.Input("atlas", tooltip="From 'Build Atlas'.")


def _clip(tooltip: str, optional: bool = False) -> io.Image.Input:
    return io.Image.Input("images", optional=optional, tooltip=tooltip)


def _masks(tooltip: str) -> io.Mask.Input:
    return io.Mask.Input("masks", optional=True, tooltip=tooltip)


def _steps(default: int) -> io.Int.Input:
    return io.Int.Input(
        "steps",
        default=default,
        min=1,
        max=100_000,
        tooltip="Steps of the fit: more follow the clip more closely.",
    )


class BuildAtlas(io.ComfyNode):
    """A clip as an ATLAS."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoBuildAtlas",
            display_name="Build Atlas",
            category=CATEGORY,
            description="Unwrap a clip into one picture of its background and one of its foreground, "
            "together with where each pixel of each frame lies in them. Takes about a minute for 16 small "
            "frames.",
            inputs=[
                _clip("The clip, in order, without cuts."),
                _steps(600),
                seed_input("Seed of the fit.", advance=False),
                _masks(
                    "Where the foreground is, one mask a frame, from any source. Without masks the atlas has "
                    "one layer."
                ),
            ],
            outputs=[
                ATLAS.Output(
                    display_name="atlas", tooltip="The atlas, for 'Atlas to Images' and 'Render Atlas'."
                ),
                io.String.Output(
                    display_name="report", tooltip="How closely it shows the clip (PSNR), and its layers."
                ),
            ],
        )

    @classmethod
    def execute(cls, images, steps, seed, masks=None) -> io.NodeOutput:
        """Fit."""
        atlas = build_atlas(images, masks, AtlasSettings(steps=steps, seed=seed))
        made = rendered(atlas, None, None, None)
        return io.NodeOutput(atlas, clip_quality(atlas, made, images))


class AtlasToImages(io.ComfyNode):
    """The pictures of an atlas."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoAtlasToImages",
            display_name="Atlas to Images",
            category=CATEGORY,
            description="The layers of an atlas as ordinary images: paint on them, or run any image workflow "
            "on them, then 'Render Atlas'.",
            inputs=[
                _atlas(),
                io.Int.Input(
                    "enlarge", default=1, min=1, max=8, tooltip="How many times larger, for finer painting."
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="foreground", tooltip="The foreground; the background if there is none."
                ),
                io.Image.Output(display_name="background", tooltip="The background."),
                io.Mask.Output(
                    display_name="foreground_seen", tooltip="How often each place of the foreground shows."
                ),
                io.Mask.Output(
                    display_name="background_seen", tooltip="How often each place of the background shows."
                ),
            ],
        )

    @classmethod
    def execute(cls, atlas, enlarge) -> io.NodeOutput:
        """Give the pictures."""
        pictures = enlarged(atlas.pictures, enlarge)
        seen = enlarged(atlas.coverage(reporter())[..., None], enlarge)[..., 0]
        return io.NodeOutput(pictures[:1], pictures[-1:], seen[:1], seen[-1:])


class RenderAtlas(io.ComfyNode):
    """A clip from an atlas."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoRenderAtlas",
            display_name="Render Atlas",
            category=CATEGORY,
            description="Make the clip again from an atlas, with edited layers: what was painted once moves "
            "with the clip and is hidden where something is in front of it.",
            inputs=[
                _atlas(),
                io.Image.Input(
                    "foreground",
                    optional=True,
                    tooltip="The edited foreground, of any size. Empty = as it is.",
                ),
                io.Image.Input(
                    "background",
                    optional=True,
                    tooltip="The edited background, of any size. Empty = as it is.",
                ),
                _clip(
                    "The clip that the atlas was built from: then only what was edited changes, and all else "
                    "keeps every detail.",
                    optional=True,
                ),
            ],
            outputs=[io.Image.Output(display_name="images", tooltip="The clip.")],
        )

    @classmethod
    def execute(cls, atlas, foreground=None, background=None, images=None) -> io.NodeOutput:
        """Render."""
        return io.NodeOutput(rendered(atlas, foreground, background, images))


class PropagateKeyframeEdit(io.ComfyNode):
    """Edits of a few frames on all of them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoPropagateKeyframeEdit",
            display_name="Propagate Keyframe Edit",
            category=CATEGORY,
            description="Edit one or a few frames of a clip, and carry the edits to all others through its "
            "atlas. Where several edited frames show the same place, the median counts.",
            inputs=[
                _atlas(),
                _clip("The clip that the atlas was built from."),
                KEYFRAMES.Input(
                    "keyframes", tooltip="The edited frames at their places; each counts by its strength."
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="The clip with the edits."),
                io.Image.Output(display_name="foreground", tooltip="The edited foreground layer."),
                io.Image.Output(display_name="background", tooltip="The edited background layer."),
            ],
        )

    @classmethod
    def execute(cls, atlas, images, keyframes) -> io.NodeOutput:
        """Propagate and render."""
        pictures = propagate(atlas, keyframes, images[..., :3], reporter())
        foreground, background = pictures[:1], pictures[-1:]
        edited = foreground if len(atlas.names) == 2 else None
        return io.NodeOutput(rendered(atlas, edited, background, images), foreground, background)


class AtlasGuidance(io.ComfyNode):
    """A MODEL whose clips are pulled to what an atlas can show."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoAtlasGuidance",
            display_name="Atlas Guidance (experimental)",
            category=CATEGORY,
            is_experimental=True,
            description="Steady a clip while it is sampled: at chosen points the predicted clip is decoded, "
            "an atlas is fitted whose pictures come from its first frames, and all frames are pulled to it.",
            inputs=[
                io.Model.Input("model", tooltip="The model, before or after 'Apply Motion Module'."),
                io.Vae.Input("vae", tooltip="The VAE of the model."),
                io.String.Input(
                    "percents",
                    default="0.5",
                    tooltip="When in sampling, as in 0.4, 0.7: 0 = start, 1 = the last step. Each costs a "
                    "decoding, a fit and two encodings.",
                ),
                amount_input(
                    "strength", 0.5, "How far predictions are pulled: 0 = not at all, 1 = all the way."
                ),
                io.Int.Input(
                    "first_frames",
                    default=4,
                    min=0,
                    max=4096,
                    tooltip="How many first frames colour the atlas; later ones follow them. 0 = all frames.",
                ),
                _steps(100),
                seed_input("Seed of the fit.", advance=False),
                _masks("Where the foreground will be, one mask a frame. Without masks one layer is fitted."),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The model with guidance, for a sampler.")
            ],
        )

    @classmethod
    def execute(cls, model, vae, percents, strength, first_frames, steps, seed, masks=None) -> io.NodeOutput:
        """Patch a clone."""
        settings = AtlasSettings(steps=steps, seed=seed, anchor=first_frames)
        options = FeedbackOptions(parse_percents(percents), strength)
        return io.NodeOutput(apply_atlas_guidance(model, vae, settings, masks, options))


NODES = [BuildAtlas, AtlasToImages, RenderAtlas, PropagateKeyframeEdit, AtlasGuidance]
