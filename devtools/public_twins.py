"""Twins of the demo's workflows for public Stable Diffusion 1.5 files, under their published names.

A twin is the demo's API prompt with other files, four times the size, and words that a photographic model
knows. Clips that a workflow begins with stay those of the sprite world, so that nothing but the models is
needed.
"""

import json

PREFIX = "public/"
FILES = {
    "choreographer_demo.safetensors": "v1-5-pruned-emaonly-fp16.safetensors",
    "choreographer_demo_motion.safetensors": "v3_sd15_mm.ckpt",
    "choreographer_demo_flow.safetensors": "flow_controlnet.ckpt",
    "choreographer_demo_image.safetensors": "v3_sd15_sparsectrl_rgb.ckpt",
    "choreographer_demo_id.safetensors": "me_00001_.safetensors",
    "choreographer_demo_uni.safetensors": "uni.ckpt",
}
FOLDERS = {
    "choreographer_demo_motion.safetensors": "`v3_sd15_mm.ckpt` of AnimateDiff (models/animatediff_models)",
    "choreographer_demo_flow.safetensors": "Image Conductor's `flow_controlnet.ckpt` (models/controlnet)",
    "choreographer_demo_image.safetensors": "AnimateDiff's `v3_sd15_sparsectrl_rgb.ckpt` (models/controlnet)",
    "choreographer_demo_id.safetensors": "ID tokens as `me_00001_.safetensors` (models/embeddings): see "
    "*public_train_identity_on_photos*",
    "choreographer_demo_uni.safetensors": "Uni-ControlNet's `uni.ckpt` (models/controlnet)",
}
LARGER = 4  # 128 pixels of the demo's models are 512 of these
SIDES = ("width", "height", "tile_size", "overlap", "guide_size")
FRAMES = {("ChoreoContextWindows", "overlap")}  # by the name of a side, but a number of frames
NUMBERS = {
    ("cfg", 3.5): 7.5,
    ("steps", 12): 50,  # of an inversion and of what samples from it
    ("learning_rate", 0.001): 0.00003,  # of a tuning on one video
}
# what a twin has that the demo's does not: (node class, input) -> its value, and more nodes
OWN = {
    "tune_on_video": {
        ("ChoreoTuneOnVideo", "steps"): 300,
        ("ChoreoTuneOnVideo", "save_prefix"): "my_video",
        ("KSamplerAdvanced", "cfg"): 12.5,
    },
}
MORE = {
    "tune_on_video": {
        "19": {
            "class_type": "SaveLatent",
            "inputs": {"samples": ["9", 0], "filename_prefix": "my_video"},
            "_meta": {"title": "Keep the noise"},
        },
    },
}
NEGATIVE = "blurry, text, watermark"
COAST = "waves break on a rocky coast, a lighthouse, evening light, photograph"
# name -> the words in place of the demo's; sentences about a sprite-world clip that goes in stay
WORDS = {
    "atlas_guidance": {"a red circle moving right on grass": COAST},
    "control_maps_to_video": {},
    "directed_prompt_to_video": {
        "a red circle moving right on grass, then an orange circle moving right on grass, then a yellow "
        "circle moving right on grass": "a bud on a branch, then an opening flower, then one in full bloom",
        "a blue star moving up on sand, camera zooms in": "a grey cat asleep on a red sofa, soft light",
    },
    "fusion_feedback": {"a red circle moving right on grass": COAST},
    "identity_to_video": {
        "a embedding:me face moving left on grass": "photo of a embedding:me person in a garden, soft light"
    },
    "image_prompt_to_video": {},
    "keyframe_latents": {},
    "keyframes_to_video": {},
    "long_video": {
        "0: a red circle circling on sand\n40: a blue circle circling on sand": "0: a meadow in spring, "
        "photograph\n40: a meadow in autumn, photograph"
    },
    "noise_layouts": {"a yellow square moving left on stone": COAST},
    "noise_prior_ksampler": {"a green star moving up on water": COAST},
    "previous_frame_control": {},
    "refine_tiles": {"a green star moving up on water": COAST},
    "second_pass": {"a green circle moving left on sand": COAST},
    "text_to_video": {"a red circle moving right on grass": COAST},
    "train_motion_loras": {},
    "train_motion_module": {},
    "tune_on_video": {},
    "video_to_video": {},
}


def twin(prompt: dict, name: str) -> dict:
    """The demo's API prompt `name` for the public files; raises ValueError for words it no longer has."""
    words, own = {**FILES, **WORDS[name]}, OWN.get(name, {})
    absent = [text for text in WORDS[name] if json.dumps(text) not in json.dumps(prompt)]
    if absent:
        raise ValueError(f"The workflow {name} has no text '{absent[0]}' to be replaced in its public twin")
    made = {}
    for node, entry in prompt.items():
        kind, keys = entry["class_type"], entry["inputs"]
        inputs = {key: own.get((kind, key), _value(entry, key, words)) for key in keys}
        made[node] = {**entry, "inputs": inputs}
    return {**made, **MORE.get(name, {})}


def _value(entry: dict, key: str, words: dict[str, str]):
    value = entry["inputs"][key]
    if isinstance(value, str):
        if key == "filename_prefix":
            return value.replace("/", "/public_")
        if entry["_meta"]["title"] == "Negative prompt" and not value:
            return NEGATIVE
        return words.get(value, value)
    if key in SIDES and isinstance(value, int) and (entry["class_type"], key) not in FRAMES:
        return value * LARGER
    return value if isinstance(value, list) else NUMBERS.get((key, value), value)


def needed(prompt: dict) -> str:
    """A sentence about the files that the twin of a demo prompt needs."""
    values = [v for entry in prompt.values() for v in entry["inputs"].values() if isinstance(v, str)]
    others = [where for file, where in FOLDERS.items() if file in values]
    return (
        "\n\nThe twin of a demo workflow for public files: "
        + ", ".join([f"`{FILES['choreographer_demo.safetensors']}` (models/checkpoints)", *others])
        + ". Any checkpoint of the Stable Diffusion 1.5 family will do."
    )
