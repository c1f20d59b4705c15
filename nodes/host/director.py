"""The prompt director in the host: where the server is, the user's interrupt, the answer kept in the node."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import folder_paths

from ...core.prompts.client import LOCAL, Server
from ...core.prompts.director import Task, direct, kept, schedule_text, split_by_rules
from ...core.prompts.schedule import parse_prompts
from .progress import check_interrupt

ADDRESS, MODEL = "Choreographer.Director.Address", "Choreographer.Director.Model"  # names of settings
MANY_FRAMES = 100_000  # enough that two keys of a schedule never fall on one frame while it is checked
_VARIABLE = re.compile(r"CHOREO_[A-Z0-9_]+")


def directed(task: Task, seed: int, where: tuple[str, str, str, float], answer: str) -> tuple[str, str]:
    """The schedule text, and who wrote it. `where`: address, model, environment variable of the key, seconds.

    An answer that is kept needs neither server nor key. Raises ValueError in one sentence when a server is
    named and does not serve; the host's interrupt passes.
    """
    address, model, variable, timeout = where
    place = find_place(address, model)
    mark = task.mark(place, seed)
    there = kept(answer, mark)
    if there is not None:
        parse_prompts(there, MANY_FRAMES)
        return there, "the text in 'answer', as it is"
    if not place:
        prompts = split_by_rules(task.text) if task.count > 1 else [" ".join(task.text.split())]
        said = f"no server is set, so rules divided your own text into {len(prompts)}"
    else:
        server = Server(*place, read_key(variable, place[0]), timeout)
        prompts = direct(task, server, seed, check_interrupt)
        said = f"{server.model or 'the first model'} at {server.address}"
    return f"{mark}: {said}; take this line away to keep the text\n{schedule_text(prompts)}", said


def find_place(address: str, model: str) -> tuple[str, ...]:
    """Address and model that the node names, else the settings; () when neither names an address."""
    settings = read_settings()
    address = address.strip() or settings.get(ADDRESS, "")
    return (address, model.strip() or settings.get(MODEL, "")) if address else ()


def read_settings() -> dict[str, str]:
    """Texts among the default user's settings; empty where there are none."""
    path = Path(folder_paths.get_user_directory()) / "default" / "comfy.settings.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return {key: value.strip() for key, value in found.items() if isinstance(value, str)}


def read_key(variable: str, address: str) -> str:
    """The key in an environment variable, for a server's address. Raises ValueError for what is not allowed.

    A workflow comes from anywhere and names both address and variable: so it may only name variables that
    were made for this node, and have their keys sent to this machine or to the address in the settings.
    """
    name = variable.strip()
    if not name:
        return ""
    if not _VARIABLE.fullmatch(name):
        raise ValueError(f"key_variable is '{name}': expected a variable whose name begins with CHOREO_")
    if address != read_settings().get(ADDRESS) and not _is_local(address):
        raise ValueError(
            f"The key in {name} is not sent to '{address}', which the workflow names: write that address "
            "into the settings (Choreographer, Director), or leave key_variable empty"
        )
    key = os.environ.get(name, "").strip()
    if not key:
        raise ValueError(f"The environment variable {name} is not set where ComfyUI runs")
    return key


def _is_local(address: str) -> bool:
    try:
        return urlsplit(address).hostname in LOCAL
    except ValueError:  # half an IPv6 address
        return False
