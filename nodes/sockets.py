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
# A ComfyUI ModelPatcher whose model is a core.image_prompt ImagePrompt.
IMAGE_PROMPT_MODEL = io.Custom("CHOREO_IMAGE_PROMPT_MODEL")
# A nodes.host ImagePromptValue: prepared pictures of a subject, and their tokens where a model made some.
IMAGE_PROMPT = io.Custom("CHOREO_IMAGE_PROMPT")
# The host's type: {"track_path": (F, N, 2) pixels, "track_visibility": (F, N) bool}.
TRACKS = io.Custom("TRACKS")
# A core.identity IdTokens: vectors of new words and the name by which prompts call them.
ID_TOKENS = io.Custom("CHOREO_ID_TOKENS")
# A core.refine Detections: boxes in each frame of a clip.
FACES = io.Custom("CHOREO_FACES")
# A core.refine FaceTracks: which boxes are one face, smoothed; a track's prompt is a CONDITIONING or None.
FACE_TRACKS = io.Custom("CHOREO_FACE_TRACKS")
# A core.refine Region: a window that moves over some frames of a clip.
REGION = io.Custom("CHOREO_REGION")
# A ComfyUI ModelPatcher whose model is a core.uni_control UniControlNet.
UNI_CONTROLNET = io.Custom("CHOREO_UNI_CONTROLNET")
# A ComfyUI ModelPatcher whose model is a core.tuning VideoTuning.
VIDEO_TUNING = io.Custom("CHOREO_VIDEO_TUNING")
# A core.atlas Atlas: a clip as layer pictures and where each pixel lies in them.
ATLAS = io.Custom("CHOREO_ATLAS")
