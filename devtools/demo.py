"""`dev.py demo` and `dev.py serve`: a real host with the pack, for one clip or until Ctrl-C."""

import sys
import time
from pathlib import Path

from . import prompts
from .host import Host
from .progress import ProgressBar
from .setup import HOME, ROOT, prepare
from .steps import run_command, say

SHEET = Path(__file__).with_name("contact_sheet.py")
VIDEOS = {".mp4", ".webm", ".mkv", ".mov"}


def demo(workflow: str, text: str | None, seed: int | None) -> int:
    """Make one clip: set up, start the host, run the workflow, draw the contact sheet, print both paths."""
    prompt = prompts.load(workflow)
    prompt = prompt if text is None else prompts.with_text(prompt, text)
    prompt = prompt if seed is None else prompts.with_seed(prompt, seed)
    environment = prepare()
    say("starting ComfyUI ...")
    with Host(environment, HOME / "demo", output=ROOT / "output") as host:
        host.require_pack()
        say(f"running '{workflow}'" + (f": {text}" if text else ""))
        bar = ProgressBar()
        outputs = prompts.run(host, prompt, bar)
        seconds = bar.finish()
    files = prompts.output_files(outputs, ROOT / "output")
    say(f"done in {seconds:.1f} s")
    for file in files:
        print(file)
        if file.suffix in VIDEOS:
            sheet = file.with_suffix(".png")
            run_command(
                "contact sheet",
                [environment.python, SHEET, file, sheet, text or workflow],
                "The video itself is written; report the output above.",
            )
            print(sheet)
    return 0


def serve(port: int | None) -> int:
    """Run the host with its editor until Ctrl-C, showing its log."""
    environment = prepare()
    say("starting ComfyUI ...")
    with Host(environment, HOME / "serve", output=ROOT / "output", port=port) as host:
        host.require_pack()
        say(f"the editor is at {host.url} - the pack's workflows are under Templates; Ctrl-C stops it")
        with open(host.log, encoding="utf-8", errors="replace") as log:
            while host.alive():
                sys.stdout.write(log.read())
                sys.stdout.flush()
                time.sleep(0.5)
        raise host.failure("ComfyUI ended by itself", [])
