"""The prompt director in the host: where the server is, the user's interrupt, the answer kept in the node."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import folder_paths

from ...core.prompts.client import Server
from ...core.prompts.director import Task, direct, kept, schedule_text, split_by_rules
from ...core.prompts.schedule import parse_prompts
from .progress import check_interrupt

ADDRESS, MODEL = "Choreographer.Director.Address", "Choreographer.Director.Model"  # names of settings
MANY_FRAMES = 100_000  # enough that two keys of a schedule never fall on one frame while it is checked
_VARIABLE = re.compile(r"CHOREO_[A-Z0-9_]+")


def directed(task: Task, seed: int, where: tuple[str, str, str, float], answer: str) -> tuple[str, str]:
    """The schedule text, and who wrote it. `where`: address, model, environment variable of the key, seconds.

    Raises ValueError in one sentence when a server is named and does not serve; the host's interrupt passes.
    """
    server = find_server(*where)
    mark = task.mark(server, seed)
    there = kept(answer, mark)
    if there is not None:
        parse_prompts(there, MANY_FRAMES)
        return there, "the text in 'answer', as it is"
    if server is None:
        prompts = split_by_rules(task.text) if task.count > 1 else [" ".join(task.text.split())]
        said = f"no server is set, so rules divided your own text into {len(prompts)}"
    else:
        prompts = direct(task, server, seed, check_interrupt)
        said = f"{server.model or 'the first model'} at {server.address}"
    return f"{mark}: {said}; take this line away to keep the text\n{schedule_text(prompts)}", said


def find_server(address: str, model: str, variable: str, timeout: float) -> Server | None:
    """The server that the node names, else the settings; None when neither does. Raises ValueError."""
    settings = read_settings()
    address = address.strip() or settings.get(ADDRESS, "")
    model = model.strip() or settings.get(MODEL, "")
    return Server(address, model, read_key(variable), timeout) if address else None


def read_settings() -> dict[str, str]:
    """Texts among the default user's settings; empty where there are none."""
    path = Path(folder_paths.get_user_directory()) / "default" / "comfy.settings.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return {key: value.strip() for key, value in found.items() if isinstance(value, str)}


def read_key(variable: str) -> str:
    """The key in an environment variable. Raises ValueError for one that does not exist, or another name.

    A workflow comes from anywhere and names both address and variable: so it may only name variables that
    were made for this node.
    """
    name = variable.strip()
    if not name:
        return ""
    if not _VARIABLE.fullmatch(name):
        raise ValueError(f"key_variable is '{name}': expected a variable whose name begins with CHOREO_")
    key = os.environ.get(name, "").strip()
    if not key:
        raise ValueError(f"The environment variable {name} is not set where ComfyUI runs")
    return key
