"""Nodes for the initial noise of a clip: how the noise of its frames belongs together."""

from comfy_api.latest import io

from ..core.noise import LAYOUTS, NoiseLayout
from .host.noise import LATENT_SCALE, layout_noise, noised_latent, prior_noise
from .host.sampling import SamplerSettings, empty_latent, sample_with_noise
from .inputs import amount_input, choice_input, frames_input, sampler_inputs, seed_input

CATEGORY = "Choreographer/Noise"
LATENT_CHANNELS = 4  # Stable Diffusion 1.5
MAX_SIDE = 16384


def _gamma() -> io.Float.Input:
    """The prior's one number."""
    return io.Float.Input(
        "gamma",
        default=0.15,
        min=-1.0,
        max=1.0,
        step=0.01,
        tooltip="How alike the noise of neighbouring frames is: 0 = independent frames (most motion), 1 = "
        "one noise for all (least motion). Frames d apart correlate by gamma^d. Try 0.05 to 0.2; negative "
        "values alternate.",
    )


class GaussianNoisePrior(io.ComfyNode):
    """3-D Gaussian prior as a NOISE (VCD Eq. 4)."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoGaussianNoisePrior",
            display_name="3-D Gaussian Noise Prior",
            category=CATEGORY,
            description="Noise for a clip whose neighbouring frames resemble each other, which steadies "
            "motion. Connect it to 'SamplerCustomAdvanced' or 'Noise to Latent'. The latent batch is taken "
            "as one clip.",
            inputs=[
                seed_input(
                    "Seed of the clip's noise. A longer clip with the same seed begins with the same frames."
                ),
                _gamma(),
            ],
            outputs=[
                io.Noise.Output(display_name="noise", tooltip="Correlated noise for the frames of one clip.")
            ],
        )

    @classmethod
    def execute(cls, seed: int, gamma: float) -> io.NodeOutput:
        """Give the NOISE; it is drawn when a sampler asks for it."""
        return io.NodeOutput(prior_noise(seed, gamma))


class NoiseLayoutNode(io.ComfyNode):
    """The other ways to share noise between frames, as a NOISE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoNoiseLayout",
            display_name="Noise Layout",
            category=CATEGORY,
            description="Noise for a clip, shared between its frames in one of several ways.",
            inputs=[
                seed_input(
                    "Seed of the clip's noise. A longer clip with the same seed begins with the same frames."
                ),
                choice_input(
                    "layout",
                    LAYOUTS,
                    "per-frame seeds: frame i is drawn from seed + i. shared: one noise for all frames. "
                    "mixed: a shared part plus a part of each frame's own. reshuffled windows: for long "
                    "clips, the first window's frames come back in shuffled order (FreeNoise).",
                ),
                amount_input(
                    "ratio",
                    0.5,
                    "Only for 'mixed': correlation between any two frames, 0 = independent, 1 = the same.",
                ),
                io.Int.Input(
                    "window",
                    default=16,
                    min=1,
                    max=4096,
                    tooltip="Only for 'reshuffled windows': frames with noise of their own. Use the context "
                    "length.",
                ),
                io.Int.Input(
                    "stride",
                    default=4,
                    min=1,
                    max=4096,
                    tooltip="Only for 'reshuffled windows': frames shuffled together, at most the window. "
                    "Use the context length minus the overlap.",
                ),
            ],
            outputs=[io.Noise.Output(display_name="noise", tooltip="Noise for the frames of one clip.")],
        )

    @classmethod
    def execute(cls, seed: int, layout: str, ratio: float, window: int, stride: int) -> io.NodeOutput:
        """Give the NOISE; it is drawn when a sampler asks for it."""
        return io.NodeOutput(layout_noise(seed, NoiseLayout(layout, ratio, window, stride)))


class NoiseToLatent(io.ComfyNode):
    """A LATENT that carries its noise, for stock samplers that take no NOISE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoNoiseToLatent",
            display_name="Noise to Latent",
            category=CATEGORY,
            description="Adds noise to a latent at the first sigma, for the stock 'KSampler (Advanced)' with "
            "add_noise set to 'disable'. The result is that of 'SamplerCustomAdvanced' with this noise and "
            "these sigmas.",
            inputs=[
                io.Model.Input(
                    "model", tooltip="The model as it goes into the sampler, motion module included."
                ),
                io.Noise.Input(
                    "noise", tooltip="Noise to add, from a noise node of this pack or of the host."
                ),
                io.Sigmas.Input(
                    "sigmas",
                    tooltip="The schedule the sampler will walk, from 'BasicScheduler' with the sampler's "
                    "scheduler and steps; only the first value counts. For start_at_step, pass the rest of "
                    "'SplitSigmas'.",
                ),
                io.Latent.Input(
                    "latent", tooltip="Latent to add noise to: empty, or an encoded clip. No noise mask."
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="latent", tooltip="Noised latent, for samplers that add no noise."
                )
            ],
        )

    @classmethod
    def execute(cls, model, noise, sigmas, latent) -> io.NodeOutput:
        """Add the noise."""
        return io.NodeOutput(noised_latent(model, noise, sigmas, latent))


class NoisePriorKSampler(io.ComfyNode):
    """The stock KSampler with the 3-D Gaussian prior."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoNoisePriorKSampler",
            display_name="Noise Prior KSampler",
            category=CATEGORY,
            description="The stock KSampler, started from the 3-D Gaussian noise prior. With gamma 0 it "
            "gives the stock sampler's result, if both sides are multiples of 16 or one is of 32.",
            inputs=[
                io.Model.Input(
                    "model", tooltip="Model that removes the noise, usually with a motion module applied."
                ),
                seed_input("Seed of the clip's noise, and of the noise that ancestral samplers add."),
                _gamma(),
                *sampler_inputs(
                    "Steps in which the noise is removed.",
                    "Guidance scale: how strongly the result follows the prompt. 1 switches guidance off.",
                ),
                io.Conditioning.Input("positive", tooltip="What the clip should show."),
                io.Conditioning.Input("negative", tooltip="What the clip should not show."),
                io.Latent.Input(
                    "latent", tooltip="The clip to start from, one latent a frame; noise mask allowed."
                ),
                amount_input(
                    "denoise", 1.0, "How much of the latent is renewed: 1 = all, lower keeps its structure."
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="latent", tooltip="The sampled clip, one latent a frame.")
            ],
        )

    @classmethod
    def execute(
        cls, model, seed, gamma, steps, cfg, sampler_name, scheduler, positive, negative, latent, denoise
    ) -> io.NodeOutput:
        """Sample with the host's sampler."""
        settings = SamplerSettings(seed, steps, cfg, sampler_name, scheduler, denoise)
        return io.NodeOutput(
            sample_with_noise(model, prior_noise(seed, gamma), settings, positive, negative, latent)
        )


class EmptyVideoLatent(io.ComfyNode):
    """An empty clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        side = {"default": 512, "min": 16, "max": MAX_SIDE, "step": LATENT_SCALE}
        return io.Schema(
            node_id="ChoreoEmptyVideoLatent",
            display_name="Empty Video Latent",
            category=CATEGORY,
            description="An empty latent for a clip of Stable Diffusion 1.5: one latent a frame.",
            inputs=[
                io.Int.Input("width", **side, tooltip="Width of the clip in pixels, a multiple of 8."),
                io.Int.Input("height", **side, tooltip="Height of the clip in pixels, a multiple of 8."),
                frames_input(),
            ],
            outputs=[io.Latent.Output(display_name="latent", tooltip="Empty latent, one entry a frame.")],
        )

    @classmethod
    def execute(cls, width: int, height: int, frames: int) -> io.NodeOutput:
        """Make the zeros."""
        if width % LATENT_SCALE or height % LATENT_SCALE:
            raise ValueError(f"The clip is {width}x{height}, expected multiples of {LATENT_SCALE}.")
        samples = empty_latent(frames, LATENT_CHANNELS, height // LATENT_SCALE, width // LATENT_SCALE)
        return io.NodeOutput({"samples": samples})


NODES = [GaussianNoisePrior, NoiseLayoutNode, NoiseToLatent, NoisePriorKSampler, EmptyVideoLatent]
