"""The socket types of this pack."""

from comfy_api.latest import io

# A ComfyUI ModelPatcher whose model is a core.motion MotionModel: cloned, patched by LoRAs and offloaded like
# any model.
MOTION_MODEL = io.Custom("CHOREO_MOTION_MODEL")
