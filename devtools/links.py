"""The pack and its demo models made visible to a ComfyUI, without copying either."""

import json
import os
from pathlib import Path

from .steps import StepError

LINK = "ComfyUI-Choreographer"


def link_pack(pack: Path, custom_nodes: Path) -> Path:
    """Make the pack's folder appear in `custom_nodes`; the entry there (found, or made as a link).

    Raises:
        StepError: another folder has the name, or no link can be made there.
    """
    custom_nodes.mkdir(parents=True, exist_ok=True)
    for entry in custom_nodes.iterdir():
        if entry.exists() and entry.samefile(pack):
            return entry
    link = custom_nodes / LINK
    if link.is_symlink() and not link.exists():
        link.unlink()  # it points to where the pack was before it moved
    if link.exists():
        raise StepError(
            "link the pack",
            f"{link} is another folder than this one",
            f"Move it out of the way, or run {link / 'dev.py'} instead.",
        )
    try:
        make_link(pack, link)
    except OSError as error:
        raise StepError(
            "link the pack",
            f"no link can be made at {link}: {error}",
            "Make that folder writable, or clone the pack into custom_nodes and run dev.py there.",
        ) from error
    return link


def make_link(target: Path, link: Path) -> None:
    """A symbolic link; on Windows a junction, which needs no special right."""
    if os.name == "nt":
        import _winapi

        _winapi.CreateJunction(str(target), str(link))
    else:
        link.symlink_to(target, target_is_directory=True)


def write_model_paths(demo: Path, file: Path, fetched: Path | None = None) -> Path:
    """Write ComfyUI's model path file: every folder that holds weights, under its own name.

    demo: the folder of the demo models. fetched: that of what set-up fetched, if there is one.
    """
    lines = []
    for name, root in {"demo": demo, **({"fetched": fetched} if fetched else {})}.items():
        kinds = sorted({path.parent.name for path in root.glob("*/*.safetensors")})
        lines += [f"choreographer_{name}:", f"  base_path: {json.dumps(str(root))}"]
        lines += [f"  {kind}: {kind}" for kind in kinds]
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".partial")
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(partial, file)
    return file
