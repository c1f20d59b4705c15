"""One ComfyUI server process: started headless on a free port with folders of its own, and never left behind.

The launcher (`launch_host.py`) holds a pipe to this process, and ends itself when this one dies in any way.
"""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from .steps import StepError

LAUNCHER = Path(__file__).with_name("launch_host.py")
START_SECONDS = 300
REMEDY = "Read the log named above; `python dev.py test` checks the whole set-up."
# a proxy set for the outside world must not be asked for this machine
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_port(wanted: int | None = None) -> int:
    """A port nobody listens on: the wanted one, or any.

    Raises:
        StepError: the wanted port is taken.
    """
    with socket.socket() as probe:
        if os.name != "nt":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted or 0))
        except OSError as error:
            raise StepError(
                "start the host", f"port {wanted} is in use: {error}", "Give another --port."
            ) from error
        return probe.getsockname()[1]


class Host:
    """A running ComfyUI, as a context manager: leaving the block stops the process and all it started."""

    def __init__(self, environment, run: Path, output: Path | None = None, port: int | None = None):
        """Keep what a start needs. run: folder for user, input, temp and log; output: else `run/output`."""
        self.environment, self.run = environment, run
        self.output = output or run / "output"
        self.port = free_port(port)
        self.log = run / "host.log"
        self.process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "Host":
        try:
            self.start()
        except BaseException:  # Ctrl-C too must not leave a process behind
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def command(self) -> list[str]:
        """The command line of the server."""
        folders = {
            "user": self.run / "user",
            "input": self.run / "input",
            "temp": self.run,
            "output": self.output,
        }
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        options = [part for name, folder in folders.items() for part in (f"--{name}-directory", str(folder))]
        database = "sqlite:///" + (self.run / "user" / "comfyui.db").as_posix()
        return [
            str(self.environment.python),
            str(LAUNCHER),
            str(self.environment.comfy / "main.py"),
            *options,
            "--database-url",
            database,
            "--port",
            str(self.port),
            "--disable-auto-launch",
            "--disable-api-nodes",
            "--extra-model-paths-config",
            str(self.environment.model_paths),
        ]

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            StepError: it ended, or did not answer in time; with the end of its log.
        """
        command = self.command()
        write_settings(self.run / "user")
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.environment.comfy,
                env=environment,
                start_new_session=os.name != "nt",
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if not self.alive():
                raise self.failure(f"ComfyUI ended with exit code {self.process.returncode}", command)
            if time.monotonic() > deadline:
                raise self.failure(f"ComfyUI did not answer within {START_SECONDS} s", command)
            time.sleep(0.25)

    def stop(self) -> None:
        """End the server and everything it started; does nothing when it has ended already."""
        process, self.process = self.process, None
        if process is None:
            return
        process.stdin.close()  # the launcher ends itself on this
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
        if os.name != "nt":
            end_group(process.pid)
        process.wait()

    def alive(self) -> bool:
        """Whether the server process is running."""
        return self.process is not None and self.process.poll() is None

    def answers(self) -> bool:
        """Whether the server answers requests."""
        try:
            self.get("/system_stats")
        except OSError:  # not listening yet
            return False
        return True

    def get(self, path: str) -> object:
        """The JSON answer to a GET request."""
        with OPENER.open(self.url + path, timeout=60) as reply:
            return json.load(reply)

    def post(self, path: str, body: object) -> tuple[int, object]:
        """Status and JSON answer of a POST request with a JSON body."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with OPENER.open(request, timeout=60) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or b"{}")

    def node_ids(self, prefix: str = "Choreo") -> list[str]:
        """The ids of the nodes that the server offers, of this pack by default."""
        return sorted(name for name in self.get("/object_info") if name.startswith(prefix))

    def require_pack(self) -> None:
        """Raise StepError, with the log's account of it, when the server could not load the pack."""
        if not self.node_ids():
            refusal = f"Cannot import {self.environment.pack}"
            raise self.failure("ComfyUI runs, but could not load this pack", [], upto=refusal)

    def ended(self, seconds: float) -> bool:
        """Whether the process has ended, or does so within that time."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def failure(self, problem: str, command: list[str], upto: str = "") -> StepError:
        """A StepError with the end of the host's log, or with the lines up to the first that holds `upto`."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        text = text.partition(upto)[0] if upto else text
        return StepError(
            "ComfyUI host",
            f"{problem} (log: {self.log})",
            REMEDY,
            command,
            "\n".join(text.splitlines()[-25:]),
        )


def end_group(group: int) -> None:
    """Kill what is left of a process group."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def write_settings(user: Path) -> None:
    """Keep the editor's first-visit dialog closed; settings that are there stay."""
    file = user / "default" / "comfy.settings.json"
    settings = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    settings.setdefault("Comfy.TutorialCompleted", True)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(settings), encoding="utf-8")
