"""Set-up steps that are verified, not trusted: a step counts as done only when its stamp and its check agree.

A stamp is written last, in one move, and holds what the step was made from. So a set-up that was killed in
the middle, or made for other versions, is found and completed by the next run.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


class StepError(Exception):
    """An expected failure of one step: what happened, the command that failed, and what the user can do."""

    def __init__(
        self, step: str, problem: str, remedy: str, command: Sequence[object] = (), output: str = ""
    ):
        super().__init__(problem)
        self.step, self.problem, self.remedy = step, problem, remedy
        self.command, self.output = command, output

    def __str__(self) -> str:
        return self.block()

    def block(self) -> str:
        """The failure as the one block of text that is shown to the user."""
        lines = [f"dev.py: the step '{self.step}' failed", f"  problem: {self.problem}"]
        if self.command:
            lines.append("  command: " + " ".join(str(part) for part in self.command))
        if self.output:
            lines.append("  output:")
            lines += ["    " + line for line in self.output.strip().splitlines()]
        return "\n".join([*lines, f"  remedy:  {self.remedy}"])


@dataclass(frozen=True)
class Step:
    """One step: `check` gives the first thing that is wrong (None: all is well), `make` does or mends it."""

    name: str
    stamp: Path
    inputs: dict
    check: Callable[[], str | None]
    make: Callable[[], None]
    remedy: str = "Run the same command again; finished steps are kept."


def say(text: str) -> None:
    """Print one line of progress at once."""
    print(f"[dev] {text}", flush=True)


def stamp_holds(step: Step) -> bool:
    """Whether the step's stamp is there, whole, and made from the same inputs."""
    try:
        return json.loads(step.stamp.read_text(encoding="utf-8")) == step.inputs
    except (OSError, ValueError):
        return False


def write_stamp(step: Step) -> None:
    """Write the stamp under a temporary name and move it into place, so a half-written one cannot exist."""
    step.stamp.parent.mkdir(parents=True, exist_ok=True)
    partial = step.stamp.with_name(step.stamp.name + ".partial")
    partial.write_text(json.dumps(step.inputs, indent=1), encoding="utf-8")
    os.replace(partial, step.stamp)


def complete(step: Step) -> bool:
    """Bring one step to its finished state; True when there was work to do.

    Raises:
        StepError: the step ran and its check still finds something wrong.
    """
    stamped = stamp_holds(step)
    problem = step.check() if stamped else "not done yet"
    if stamped and problem is None:
        return False
    say(f"{step.name}: {problem}; working on it" if stamped else f"{step.name} ...")
    step.stamp.unlink(missing_ok=True)
    started = time.monotonic()
    step.make()
    problem = step.check()
    if problem is not None:
        raise StepError(step.name, problem, step.remedy)
    write_stamp(step)
    say(f"{step.name}: done in {time.monotonic() - started:.0f} s")
    return True


def run_command(step: str, command: Sequence[object], remedy: str, cwd: Path | None = None) -> str:
    """Run a command, show its latest line while it works, and return all it printed.

    Raises:
        StepError: it could not be started or did not exit with 0; carries the last lines of its output.
    """
    command = [str(part) for part in command]
    tail: deque[str] = deque(maxlen=400)
    try:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            errors="replace",
            cwd=cwd,
        )
    except OSError as error:
        raise StepError(step, f"the command cannot be started: {error}", remedy, command) from error
    try:
        for line in process.stdout:
            tail.append(line.rstrip())
            show_status(line.strip())
        code = process.wait()
    finally:
        show_status("")
        if process.poll() is None:
            process.terminate()
            process.wait()
    if code != 0:
        output = "\n".join(list(tail)[-15:])
        raise StepError(step, f"the command ended with exit code {code}", remedy, command, output)
    return "\n".join(tail)


def show_status(line: str) -> None:
    """Show a line that the next one overwrites; nothing where the output is no terminal."""
    if sys.stdout.isatty():
        sys.stdout.write("\r\033[K" + line[:100])
        sys.stdout.flush()


@contextlib.contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Hold a lock file, so that two commands started together do not set up the same folders at once."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with open(lock, "a+b") as handle:
        if not try_lock(handle):
            say("another dev.py is setting up; waiting for it")
            while not try_lock(handle):
                time.sleep(0.5)
        yield  # closing the file, or the end of the process, gives the lock back


def try_lock(handle) -> bool:
    """Take an exclusive lock on an open file without waiting; False when another process holds it."""
    try:
        if os.name == "nt":
            import msvcrt

            handle.seek(0)
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
