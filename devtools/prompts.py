"""API prompts: read a bundled workflow, put another text or seed in, and follow it through a host."""

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from .host import Host
from .steps import StepError
from .websocket import WebSocket

FOLDER = Path(__file__).resolve().parent.parent / "workflows" / "api"
TEXT_TITLE = "Prompt"
TEXT_INPUTS = ("text", "prompt", "value", "string")
SEED_INPUTS = ("seed", "noise_seed")


def names(folder: Path = FOLDER) -> list[str]:
    """The bundled API prompts, without their suffix."""
    return sorted(path.stem for path in folder.glob("*.json"))


def load(name: str, folder: Path = FOLDER) -> dict:
    """The prompt of that name: node id -> {"class_type", "inputs", "_meta"}.

    Raises:
        StepError: there is none of that name; the sentence lists those there are.
    """
    path = folder / f"{name}.json"
    if name not in names(folder):
        raise StepError(
            "read the workflow",
            f"there is no workflow '{name}' in {folder}",
            "Give one of: " + (", ".join(names(folder)) or "(none are bundled yet)"),
        )
    return json.loads(path.read_text(encoding="utf-8"))


def with_text(prompt: dict, text: str) -> dict:
    """A copy of the prompt in which the node titled "Prompt" has this text.

    Raises:
        StepError: no node has that title and a text.
    """
    changed = json.loads(json.dumps(prompt))
    for node in changed.values():
        if node.get("_meta", {}).get("title") == TEXT_TITLE:
            for name in TEXT_INPUTS:
                if isinstance(node["inputs"].get(name), str):
                    node["inputs"][name] = text
                    return changed
    raise StepError(
        "set the prompt",
        f"no node of this workflow is titled '{TEXT_TITLE}' and has a text",
        "Leave --prompt away, or choose another --workflow.",
    )


def with_seed(prompt: dict, seed: int) -> dict:
    """A copy of the prompt with this value in every number input called `seed` or `noise_seed`."""
    changed = json.loads(json.dumps(prompt))
    for node in changed.values():
        for name in SEED_INPUTS:
            if isinstance(node["inputs"].get(name), int):
                node["inputs"][name] = seed
    return changed


def title(prompt: dict, node: str) -> str:
    """What the user calls a node: its title, or its class."""
    entry = prompt.get(node.split(".")[0].split(":")[0], {})
    return entry.get("_meta", {}).get("title") or entry.get("class_type", node)


def run(host: Host, prompt: dict, progress=None) -> dict:
    """Submit the prompt, follow it to its end, and return its outputs: node id -> {kind: list of values}.

    progress: called with (title of the node, value, maximum) as the host reports them.

    Raises:
        StepError: the host refuses the prompt, a node fails, the run is interrupted, or the host ends.
    """
    client = uuid.uuid4().hex
    try:
        with WebSocket(host.port, f"/ws?clientId={client}") as socket:
            status, answer = host.post("/prompt", {"prompt": prompt, "client_id": client})
            if status != 200:
                raise StepError(
                    "submit the workflow",
                    refusal(prompt, answer),
                    "Mend the workflow; the host gave the reason above.",
                )
            for node, value, maximum in events(host, socket, prompt, answer["prompt_id"]):
                if progress:
                    progress(node, value, maximum)
    except OSError as error:
        problem = "ComfyUI ended" if host.ended(seconds=5) else "the connection to ComfyUI broke"
        raise host.failure(f"{problem} while the workflow ran: {error}", []) from error
    return history(host, answer["prompt_id"])["outputs"]


def events(host: Host, socket: WebSocket, prompt: dict, run_id: str) -> Iterator[tuple[str, int, int]]:
    """The progress of one run, (title, value, maximum), until it has ended well.

    Raises:
        StepError: a node failed, the run was interrupted, or the host ended.
    """
    while True:
        message = socket.receive(seconds=1.0)
        event = json.loads(message) if isinstance(message, str) else {}
        kind, data = event.get("type"), event.get("data") or {}
        if data.get("prompt_id") != run_id:
            continue
        if kind == "executing" and data.get("node"):
            yield title(prompt, data["node"]), 0, 0
        elif kind == "progress":
            yield title(prompt, data["node"]), int(data["value"]), int(data["max"])
        elif kind in ("execution_error", "execution_interrupted"):
            raise run_error(prompt, kind, data)
        elif kind == "execution_success" or (kind == "executing" and data.get("node") is None):
            return


def run_error(prompt: dict, kind: str, data: dict) -> StepError:
    """What a failed node said, as a StepError."""
    node = title(prompt, str(data.get("node_id", "")))
    if kind == "execution_interrupted":
        return StepError("run the workflow", f"it was interrupted in '{node}'", "Run it again.")
    text = str(data.get("exception_message", "")).strip()
    return StepError(
        "run the workflow",
        f"the node '{node}' failed: {text}",
        "Change what the sentence names, and run it again.",
        (),
        "".join(data.get("traceback", []))[-1500:],
    )


def refusal(prompt: dict, answer: dict) -> str:
    """Why the host refused a prompt: its sentence, and those of the nodes."""
    sentences = [str(answer.get("error", {}).get("message", answer))]
    for node, entry in (answer.get("node_errors") or {}).items():
        for error in entry.get("errors", []):
            sentences.append(f"'{title(prompt, node)}': {error.get('message')} ({error.get('details')})")
    return "; ".join(sentences)


def history(host: Host, run_id: str, seconds: float = 10.0) -> dict:
    """The host's record of a finished run; it is written a moment after the run is reported as ended."""
    deadline = time.monotonic() + seconds
    while True:
        record = host.get(f"/history/{run_id}").get(run_id)
        if record:
            return record
        if time.monotonic() > deadline:
            raise host.failure("ComfyUI keeps no record of the run", [])
        time.sleep(0.1)


def output_files(outputs: dict, folder: Path) -> list[Path]:
    """The files that a run saved into the output folder, in the order of its nodes."""
    found = []
    for node in outputs.values():
        for values in node.values():
            for value in values if isinstance(values, list) else ():
                if isinstance(value, dict) and value.get("type") == "output" and "filename" in value:
                    found.append(folder / value.get("subfolder", "") / value["filename"])
    return found
