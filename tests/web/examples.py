"""Files under the names that templates load, so that pages list them as for a user who has them."""

import io
import json
from pathlib import Path

import av
import numpy as np
from choreographer.core.data.render import render_images
from choreographer.core.data.scene import sample_scene
from PIL import Image

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows" / "api"
FOLDERS = {
    "CLIPVisionLoader": "clip_vision",
    "CheckpointLoaderSimple": "checkpoints",
    "ChoreoApplyDomainAdapter": "loras",
    "ChoreoLoadIdTokens": "embeddings",
    "ChoreoLoadImagePromptModel": "image_prompt_models",
    "ChoreoLoadMotionLora": "animatediff_motion_lora",
    "ChoreoLoadMotionModule": "animatediff_models",
    "ChoreoLoadUniControlNet": "controlnet",
    "ChoreoLoadVideoControlNet": "controlnet",
    "ChoreoLoadVideoTuning": "loras",
    "UNETLoader": "diffusion_models",
    "UpscaleModelLoader": "upscale_models",
}
WEIGHTS = (".safetensors", ".ckpt", ".pt")


SIZE = (384, 256)
LOADERS = ("LoadImage", "LoadVideo")


def entries():
    """Every node of every API prompt."""
    for file in WORKFLOWS.glob("**/*.json"):
        yield from json.loads(file.read_text(encoding="utf-8")).values()


def frame_of_the_world(seed, at=0):
    """A picture of the sprite world as PNG bytes."""
    scene = sample_scene(np.random.default_rng(seed), 16, sprites=2)
    picture = np.asarray(render_images(scene, SIZE[1], SIZE[0], [at])[0])
    picture = picture if picture.dtype == np.uint8 else (picture * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def clip_of_the_world(seed):
    """A clip of the sprite world as MP4 bytes."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as video:
        stream = video.add_stream("libx264", rate=8, width=SIZE[0], height=SIZE[1])
        for at in range(8):
            picture = Image.open(io.BytesIO(frame_of_the_world(seed, at)))
            video.mux(stream.encode(av.VideoFrame.from_image(picture)))
        video.mux(stream.encode())
    return file.getvalue()


def add_inputs(folder: Path) -> None:
    """Write the images and videos that templates begin with into the host's input folder."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes = [entry["inputs"] for entry in entries() if entry["class_type"] in LOADERS]
    for seed, name in enumerate(sorted({node.get("image") or node["file"] for node in nodes}), 3):
        make = clip_of_the_world if name.endswith(".mp4") else frame_of_the_world
        (folder / name).write_bytes(make(seed))


def add_placeholders(folder: Path, paths: Path, present: set[str]) -> None:
    """Make empty weights that are not `present` below `folder`, and add it to the host's model paths."""
    kinds = set()
    for entry in entries():
        kind = FOLDERS.get(entry["class_type"])
        names = [v for v in entry["inputs"].values() if kind and isinstance(v, str) and v.endswith(WEIGHTS)]
        for name in set(names) - present:
            (folder / kind).mkdir(parents=True, exist_ok=True)
            (folder / kind / name).touch()
            kinds.add(kind)
    lines = [
        "placeholders:",
        f"  base_path: {json.dumps(str(folder))}",
        *(f"  {k}: {k}" for k in sorted(kinds)),
    ]
    with open(paths, "a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
