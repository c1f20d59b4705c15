"""A second pass that begins where the first one ended: FreeInit."""

from comfy_api.latest import io

from ..core.freeinit import FILTERS
from .host.noise import freeinit_noise
from .inputs import choice_input, seed_input


def _cutoff(name: str, what: str) -> io.Float.Input:
    """Where a filter ends, in parts of the highest frequency."""
    return io.Float.Input(name, default=0.25, min=0.01, max=1.0, step=0.01, tooltip=what)


class FreeInitNoise(io.ComfyNode):
    """Low frequencies of a finished clip and high ones of new noise, as a NOISE (FreeInit Eq. 6 to 9)."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoFreeInitNoise",
            display_name="FreeInit Noise",
            category="Choreographer/Noise",
            description="Noise for a second pass, which keeps what moves slowly in a finished clip and "
            "renews the rest: the second clip has the layout of the first and is often steadier (FreeInit). "
            "Connect it to a second 'SamplerCustomAdvanced' that has an empty latent of the same size and "
            "the full steps.",
            inputs=[
                io.Model.Input(
                    "model", tooltip="The model as it goes into the sampler; its highest sigma counts."
                ),
                io.Latent.Input("latent", tooltip="What the first pass made, one latent a frame."),
                io.Noise.Input("noise", tooltip="The noise that the first pass began with."),
                seed_input("Seed of the new noise."),
                choice_input(
                    "filter",
                    FILTERS,
                    "How the low frequencies end: butterworth keeps all below the cutoff and ends steeply, "
                    "gaussian fades.",
                ),
                _cutoff(
                    "cutoff_space",
                    "Up to where in the picture the first clip is kept, in parts of the finest detail: "
                    "higher keeps more of its shapes.",
                ),
                _cutoff(
                    "cutoff_time",
                    "Up to where in time it is kept, in parts of the fastest change: lower is steadier, "
                    "higher keeps more of its motion.",
                ),
            ],
            outputs=[io.Noise.Output(display_name="noise", tooltip="Noise for the second pass.")],
        )

    @classmethod
    def execute(cls, model, latent, noise, seed, filter, cutoff_space, cutoff_time) -> io.NodeOutput:
        """Noise the clip again; the new noise is drawn when a sampler asks for it."""
        return io.NodeOutput(freeinit_noise(model, seed, latent, noise, filter, cutoff_space, cutoff_time))


NODES = [FreeInitNoise]
