"""Noise that goes with what moves."""

from comfy_api.latest import io

from ..core.trajectory.moving_noise import Layers
from .host.noise import noise_along
from .inputs import frames_input, seed_input
from .noise import CATEGORY
from .trajectory import SPREAD, trajectories_input


def _likeness(name: str, default: float, tooltip: str) -> io.Float.Input:
    """Correlation of neighbouring frames."""
    return io.Float.Input(name, default=default, min=-1.0, max=1.0, step=0.01, tooltip=tooltip)


class NoiseAlongTracks(io.ComfyNode):
    """Noise at rest on the ground, and moving with each object."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Id, inputs and outputs."""
        numbers = Layers()
        return io.Schema(
            node_id="ChoreoNoiseAlongTracks",
            display_name="Noise Along Tracks",
            category=CATEGORY,
            description="Noise for a clip in which objects follow drawn tracks: it rests on the ground and "
            "goes with each object, so that the ground stays still and the objects move. Connect it to "
            "'SamplerCustomAdvanced', and the same trajectories to 'Flow Map'.",
            inputs=[
                trajectories_input(
                    "Tracks of the objects. Those of the camera, and those at rest, belong to the ground."
                ),
                frames_input(SPREAD),
                seed_input("Seed of the clip's noise."),
                _likeness(
                    "ground",
                    numbers.ground,
                    "How alike the noise of neighbouring frames is where nothing moves: 1 = the same in all "
                    "frames, the ground stays still; 0 = independent.",
                ),
                _likeness(
                    "objects",
                    numbers.objects,
                    "The same around each object, where it moves along: 1 = the object looks the same "
                    "throughout; 0 = only its track leads it.",
                ),
                io.Float.Input(
                    "radius",
                    default=numbers.radius,
                    min=1.0,
                    max=8192.0,
                    step=1.0,
                    tooltip="How far around its track an object's own noise reaches, in pixels: a little "
                    "more than the object.",
                ),
            ],
            outputs=[io.Noise.Output(display_name="noise", tooltip="Noise for the frames of the clip.")],
        )

    @classmethod
    def execute(cls, trajectories, frames, seed, ground, objects, radius) -> io.NodeOutput:
        """Give the NOISE; it is drawn when a sampler asks for it."""
        return io.NodeOutput(noise_along(trajectories, frames, seed, Layers(ground, objects, radius)))


NODES = [NoiseAlongTracks]
