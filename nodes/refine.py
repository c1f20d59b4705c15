"""Second passes: faces in crops of their own, and the whole clip larger, in tiles."""

from comfy_api.latest import io

from ..core.refine.regions import CropPlan
from ..core.refine.tiles import WEIGHTS
from .faces import CATEGORY, tracks_input
from .host.progress import reporter
from .host.refine import FaceOptions, Hold, Pass, check_colours, check_tiles, refine_faces, refine_tiles
from .host.sampling import SamplerSettings
from .host.tiles import TileOptions
from .host.upscale import upscale_clip
from .inputs import amount_input, choice_input, sampler_inputs, seed_input
from .regions import CROPS, crop_inputs, paste_inputs


def _sampling_inputs(denoise: float, denoise_note: str) -> list:
    """The inputs of the stock KSampler, with the clip's gamma."""
    return [
        io.Model.Input("model", tooltip="Stable Diffusion 1.5, with or without a motion module applied."),
        io.Vae.Input("vae", tooltip="The VAE of the model."),
        io.Conditioning.Input("positive", tooltip="What it should show; ID tokens as in the first pass."),
        io.Conditioning.Input("negative", tooltip="What it should not show."),
        seed_input("Seed of the noise."),
        io.Float.Input(
            "gamma",
            default=0.15,
            min=-1.0,
            max=1.0,
            step=0.01,
            tooltip="How alike the noise of neighbouring frames is (the 3-D Gaussian prior). Use the gamma "
            "of the first pass; 0 = independent noise.",
        ),
        *sampler_inputs("Sampling steps, before denoise.", "Guidance scale.", scale=7.0),
        amount_input("denoise", denoise, f"How much is made new. {denoise_note}"),
    ]


class RefineFaces(io.ComfyNode):
    """Face by face, large and steady (Face VCD)."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoRefineFaces",
            display_name="Refine Faces",
            category=CATEGORY,
            description="Makes small faces sharp: each track is cut out, enlarged, sampled as one clip with "
            "its own prompt, and pasted back. Frames without a face stay bit for bit.",
            inputs=[
                io.Image.Input("images", tooltip="The clip."),
                tracks_input(),
                *_sampling_inputs(0.8, "0.8 renews a face from its ID tokens, 0.3 to 0.5 keeps its looks."),
                *crop_inputs(
                    512, "Faces whose crop has it already are skipped. 512 for Stable Diffusion 1.5."
                ),
                io.Float.Input(
                    "paste_factor",
                    default=2.0,
                    min=0.1,
                    max=100.0,
                    step=0.1,
                    tooltip="How much of the crop is pasted back, in face boxes.",
                ),
                io.Boolean.Input(
                    "skip_large",
                    default=True,
                    tooltip="Leave faces as they are whose crop is as large as guide_size already.",
                ),
                *paste_inputs(),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="What of the clip may change, one mask a frame. Empty = all.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="The clip with the refined faces."),
                io.String.Output(
                    display_name="report", tooltip="One line a face: frames, sizes, and which were skipped."
                ),
            ],
        )

    @classmethod
    def execute(
        cls, images, tracks, model, vae, positive, negative, seed, gamma, steps, cfg, sampler_name, scheduler,
        denoise, crop, crop_factor, guide_size, paste_factor, skip_large, feather, colour_match, mask=None,
    ) -> io.NodeOutput:  # fmt: skip
        """Refine every track."""
        settings = SamplerSettings(seed, steps, cfg, sampler_name, scheduler, denoise)
        plan = CropPlan(crop == CROPS[0], crop_factor, guide_size, guide_size, paste_factor)
        options = FaceOptions(plan, feather, colour_match, skip_large)
        second = Pass(settings, gamma, positive, negative)
        return io.NodeOutput(*refine_faces(model, vae, images, tracks, second, options, mask))


class RefineTiles(io.ComfyNode):
    """The whole clip, large, in tiles that agree (Tiled VCD)."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoRefineTiles",
            display_name="Refine Tiles",
            category=CATEGORY,
            description="Makes a clip larger and adds detail: it is enlarged, then sampled in tiles that are "
            "merged at every step, from one large latent and one noise. So there are no seams, and memory is "
            "that of one tile.",
            inputs=[
                io.Image.Input("images", tooltip="The clip."),
                io.Float.Input(
                    "scale",
                    default=2.0,
                    min=0.1,
                    max=16.0,
                    step=0.05,
                    tooltip="How much larger the clip becomes; 1 = it keeps its size.",
                ),
                *_sampling_inputs(0.2, "0.2 adds detail, more changes what is seen; 0 = only enlarge."),
                io.Int.Input(
                    "tile_size",
                    default=512,
                    min=64,
                    max=4096,
                    step=8,
                    tooltip="Side of a tile in pixels: what the model was trained at. Smaller needs less "
                    "memory.",
                ),
                io.Int.Input(
                    "overlap",
                    default=64,
                    min=0,
                    max=2048,
                    step=8,
                    tooltip="Least pixels that neighbouring tiles share. More is smoother, and takes longer.",
                ),
                choice_input("weights", WEIGHTS, "How a tile counts from its middle to its edge."),
                io.UpscaleModel.Input(
                    "upscale_model",
                    optional=True,
                    tooltip="Enlarges the frames first, from 'Load Upscale Model'. Empty = bicubic.",
                ),
                io.ControlNet.Input(
                    "control_net",
                    optional=True,
                    tooltip="A tile ControlNet that holds the picture to the enlarged frames. Empty = none.",
                ),
                amount_input(
                    "control_strength", 1.0, "Strength of the ControlNet.", most=10.0, optional=True
                ),
            ],
            outputs=[io.Image.Output(display_name="images", tooltip="The larger clip.")],
        )

    @classmethod
    def execute(
        cls, images, scale, model, vae, positive, negative, seed, gamma, steps, cfg, sampler_name, scheduler,
        denoise, tile_size, overlap, weights, upscale_model=None, control_net=None, control_strength=1.0,
    ) -> io.NodeOutput:  # fmt: skip
        """Enlarge, then sample."""
        check_colours(images)
        options = TileOptions.of_pixels(tile_size, overlap, weights)
        hold = None if control_net is None else Hold(control_net, control_strength)
        settings = SamplerSettings(seed, steps, cfg, sampler_name, scheduler, denoise)
        second = Pass(settings, gamma, positive, negative)
        check_tiles(model, len(images), second, hold)
        large = upscale_clip(images, scale, upscale_model, reporter())
        return io.NodeOutput(refine_tiles(model, vae, large, second, options, hold))


NODES = [RefineFaces, RefineTiles]
