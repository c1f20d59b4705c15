"""The socket types of this pack."""

from comfy_api.latest import io

# A ComfyUI ModelPatcher whose model is a core.motion MotionModel: cloned, patched by LoRAs and offloaded like
# any model.
MOTION_MODEL = io.Custom("CHOREO_MOTION_MODEL")
# A core.keyframes Keyframes: images at frames of a clip, in the order the user gave them.
KEYFRAMES = io.Custom("CHOREO_KEYFRAMES")
# A ComfyUI ModelPatcher whose model is a core.control VideoControlNet: loaded and offloaded like any model.
VIDEO_CONTROLNET = io.Custom("CHOREO_VIDEO_CONTROLNET")
# Motion of every pixel from the frame before: (F, 2, H, W) float32 in pixels, dx and dy; frame 0 is zero.
FLOW_MAP = io.Custom("CHOREO_FLOW_MAP")
# A core.trajectory Trajectories: tracks and camera moves in parts of the frame, for any size and frame count.
TRAJECTORIES = io.Custom("CHOREO_TRAJECTORIES")
# The host's type: {"track_path": (F, N, 2) pixels, "track_visibility": (F, N) bool}.
TRACKS = io.Custom("TRACKS")
