#!/usr/bin/env python3
"""The developer's front door: one command for each thing one does with this pack. Standard library only.

    python dev.py demo [--workflow NAME] [--prompt TEXT] [--seed N]  make a clip in a real ComfyUI
    python dev.py serve [--port N]              ComfyUI with its editor, the demo models and the templates
    python dev.py test [pytest's arguments]     everything the tests need, then the tests
    python dev.py bench [--quick]               what motion costs, as ratios
    python dev.py golden DIR                    check every golden file in a folder
    python dev.py train RECIPE [its arguments]  train one of the demo models
    python dev.py measure [its arguments]       measure the demo models
    python dev.py report [--quick]              the claims of the five papers, measured: docs/REPORT.md
    python dev.py curate DIR VIDEO...           make training clips with tracks from real videos
    python dev.py dataset DIR VIDEO...          find the subjects that the captions of real videos name

The first run makes `.venv` and `.host` beside this file; later runs reuse them, and complete them if need be.
Set COMFYUI_PATH to work with a ComfyUI of your own.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from devtools.browser import prepare_browser  # noqa: E402
from devtools.demo import demo, serve  # noqa: E402
from devtools.setup import Environment, prepare  # noqa: E402
from devtools.steps import StepError  # noqa: E402

# command -> (module to run inside the environment, whether it needs the test packages)
MODULES = {
    "test": ("pytest", True),
    "bench": ("devtools.bench", True),
    "golden": ("devtools.golden", False),
    "train": ("core.training", True),
    "measure": ("devtools.measure", True),
    "report": ("devtools.report", True),
    "curate": ("core.data", True),
    "dataset": ("devtools.subject_dataset", True),
}


RUNNING: set[subprocess.Popen] = set()  # what `run_module` has started and not yet seen the end of
IN_HOST = ("tests/host", "tests/web")  # mostly wait for a ComfyUI in a process of its own


def run_tests(environment: Environment, arguments: list[str]) -> int:
    """The tests that `arguments` name, or all: those on a running host beside the others, which halves it."""
    if arguments:
        return run_module(environment, "pytest", arguments)
    rest = [f"--ignore={folder}" for folder in IN_HOST]
    with tempfile.TemporaryFile() as said, ThreadPoolExecutor(1) as pool:
        in_host = pool.submit(run_module, environment, "pytest", list(IN_HOST), said)
        try:
            code = run_module(environment, "pytest", ["tests", *rest])
            code = in_host.result() or code
        except BaseException:  # nobody waits for the others' last test
            for process in tuple(RUNNING):
                end(process)
            raise
        said.seek(0)
        sys.stdout.flush()
        sys.stdout.buffer.write(said.read())
    return code


def run_module(environment: Environment, module: str, arguments: list[str], output=None) -> int:
    """Run a module inside the environment, in the repository's folder; its exit code.

    Its words go to the file `output`, or where ours go.

    Threads: one team as large as the machine, whose idle members sleep. By default they spin, which slows two
    busy processes on two cores tenfold (the tests run next to a ComfyUI).
    """
    variables = {**os.environ, "COMFYUI_PATH": str(environment.comfy)}
    variables.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    variables.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    process = subprocess.Popen(
        [str(environment.python), "-m", "devtools.run_module", module, *arguments],
        cwd=ROOT,
        env=variables,
        stdout=output,
        stderr=output and subprocess.STDOUT,
    )
    RUNNING.add(process)
    try:
        return process.wait()
    finally:
        end(process)
        RUNNING.discard(process)


def end(process: subprocess.Popen) -> None:
    """Wait for a process that Ctrl-C or `terminated` has reached to end in its own way, but not for long."""
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()


def terminated(*_) -> None:
    """On SIGTERM: end what runs, then leave so that `finally` and `with` end what was started."""
    for process in tuple(RUNNING):
        process.terminate()
    sys.exit(143)


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command and its options; what follows a command of MODULES is its module's to read."""
    parser = argparse.ArgumentParser(
        prog="dev.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    clip = commands.add_parser("demo", help="make a clip in a real ComfyUI")
    clip.add_argument(
        "--workflow", default="text_to_video", help="name of a file in workflows/api (text_to_video)"
    )
    clip.add_argument("--prompt", help="the text that replaces the workflow's own")
    clip.add_argument("--seed", type=int, help="the seed that replaces the workflow's own")
    editor = commands.add_parser("serve", help="ComfyUI with its editor")
    editor.add_argument("--port", type=int, help="port to listen on (a free one)")
    for name, (module, _) in MODULES.items():
        commands.add_parser(name, help=f"runs {module} inside the environment", add_help=False)
    known, rest = parser.parse_known_args(arguments)
    if rest and known.command not in MODULES:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    known.rest = arguments[arguments.index(known.command) + 1 :]
    return known


def main(arguments: list[str]) -> int:
    """Run one command; the exit code."""
    options = read_arguments(arguments)
    signal.signal(signal.SIGTERM, terminated)
    try:
        if options.command == "demo":
            return demo(options.workflow, options.prompt, options.seed)
        if options.command == "serve":
            return serve(options.port)
        module, tests = MODULES[options.command]
        environment = prepare(tests)
        if options.command == "test":
            prepare_browser(environment.python)
            return run_tests(environment, options.rest)
        return run_module(environment, module, options.rest)
    except StepError as error:
        sys.stdout.flush()
        print("\n" + error.block(), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
