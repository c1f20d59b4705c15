"""Noise for prompts that change: what all frames share, with a little of each frame's own."""

from comfy_api.latest import io

from .host.noise import turned_noise
from .inputs import amount_input, seed_input


class MixedNoise(io.ComfyNode):
    """cos(ratio pi / 2) base + sin(ratio pi / 2) residual as a NOISE."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        return io.Schema(
            node_id="ChoreoMixedNoise",
            display_name="Mixed Noise",
            category="Choreographer/Noise",
            description="Noise made of a base that all frames share and a residual of each frame's own "
            "(Free-Bloom). It keeps a clip together whose prompts change from frame to frame.",
            inputs=[
                seed_input("Seed of the base and of the residual, where none is connected."),
                amount_input(
                    "ratio",
                    0.1,
                    "How much of the residual: 0 = the base alone, 1 = the residual alone. The noise stays "
                    "as strong in between.",
                ),
                io.Noise.Input("base", optional=True, tooltip="Without it, one noise for all frames."),
                io.Noise.Input(
                    "residual", optional=True, tooltip="Without it, independent noise for each frame."
                ),
            ],
            outputs=[io.Noise.Output(display_name="noise", tooltip="Noise for the frames of one clip.")],
        )

    @classmethod
    def execute(cls, seed, ratio, base=None, residual=None) -> io.NodeOutput:
        """Give the NOISE; it is drawn when a sampler asks for it."""
        return io.NodeOutput(turned_noise(seed, ratio, base, residual))


NODES = [MixedNoise]
