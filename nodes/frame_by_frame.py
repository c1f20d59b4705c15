"""The frame loop: every frame is sampled by itself, steered by the source or the frame before."""

from comfy_api.latest import io

from ..core.control_modes.loop import MODES, SEEDS, Loop
from ..core.control_modes.maps import Edges
from .control_maps import CATEGORY, thresholds
from .host.previous_frame import FrameSampler, Guide, sample_frames
from .host.sampling import SamplerSettings
from .inputs import amount_input, choice_input, sampler_inputs, seed_input
from .sockets import UNI_CONTROLNET


def _sampling() -> list:
    return [
        seed_input("Seed of the first frame."),
        choice_input(
            "seeds",
            SEEDS,
            "Seeds of the frames. paper: seed + f (f - 1) / 2, as published. shared: the same for all, which "
            "is steadiest. per frame: seed + f.",
        ),
        *sampler_inputs("Steps for each frame.", "Guidance scale: how strongly a frame follows the prompt."),
    ]


class PreviousFrameSampler(io.ComfyNode):
    """A clip, one frame after another."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoPreviousFrameSampler",
            display_name="Previous-Frame Sampler",
            category=CATEGORY,
            description="Sample a clip frame by frame with an image model, each frame steered by the "
            "source's maps, by those of the frame made before, or by its content and flow. Needs no motion "
            "module.",
            inputs=[
                io.Model.Input("model", tooltip="An image model, without a motion module."),
                io.Conditioning.Input("positive", tooltip="What the clip should show."),
                io.Conditioning.Input("negative", tooltip="What it should not show."),
                io.Vae.Input("vae", tooltip="The model's VAE: frames are decoded, to steer the next ones."),
                io.Image.Input("images", tooltip="The source clip: its length, size, edges and motion."),
                choice_input(
                    "mode",
                    MODES,
                    "What steers a frame. per frame: the source's maps. previous frame: maps of the frame "
                    "made before, which freezes. interpolated: those mixed with the source's. interpolated "
                    "along flow: the same, moved with the source. content and flow: the content of the frame "
                    "made before, blended with it. maps, content and flow: all of these, with the source's "
                    "flow.",
                ),
                *_sampling(),
                amount_input(
                    "strength", 1.0, "How strongly the maps act: 0 = not at all, 1 = as trained.", most=10.0
                ),
                amount_input(
                    "blend", 0.5, "For the modes with flow: how much of the moved frame before is blended in."
                ),
                *thresholds(),
                io.ControlNet.Input(
                    "control_net",
                    optional=True,
                    tooltip="A stock ControlNet for Canny edges. Either this or a uni_controlnet.",
                ),
                UNI_CONTROLNET.Input(
                    "uni_controlnet",
                    optional=True,
                    tooltip="A Uni-ControlNet, which also takes depth and content.",
                ),
                io.Image.Input(
                    "depth",
                    optional=True,
                    tooltip="Depth maps of the source, near is white, for a uni_controlnet.",
                ),
                io.ClipVision.Input(
                    "clip_vision", optional=True, tooltip="CLIP ViT-L/14, for content; the demo needs none."
                ),
                io.Image.Input(
                    "first_frame",
                    optional=True,
                    tooltip="An image that is frame 0 as it is (first-frame pinning).",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="images", tooltip="The clip."),
                io.Image.Output(display_name="maps", tooltip="Edge maps of the source."),
                io.String.Output(display_name="report", tooltip="What was applied, and what could not be."),
            ],
        )

    @classmethod
    def execute(
        cls, model, positive, negative, vae, images, mode, seed, seeds, steps, cfg, sampler_name, scheduler,
        strength, blend, low, high, control_net=None, uni_controlnet=None, depth=None, clip_vision=None,
        first_frame=None,
    ) -> io.NodeOutput:  # fmt: skip
        """Sample the frames."""
        guide = Guide(control_net, uni_controlnet, clip_vision, strength)
        settings = SamplerSettings(seed, steps, cfg, sampler_name, scheduler)
        sampler = FrameSampler(model, vae, (positive, negative), guide, settings)
        edges = Edges("canny", low, high)
        return io.NodeOutput(
            *sample_frames(sampler, images, depth, Loop(mode, seeds, blend), edges, first_frame)
        )


NODES = [PreviousFrameSampler]
