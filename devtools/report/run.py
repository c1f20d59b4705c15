"""Running experiments: which are to be run, shared out among processes of one thread each, with progress.

One thread a process gives the same digits however many cores there are, and two processes do more than one
with two threads.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ..progress import ProgressBar
from .context import Context
from .rows import Experiment

OPEN_LINES = 15  # of a failed process's log that are shown


def work(context: Context, experiments: Sequence[Experiment], report: Callable[..., None]) -> None:
    """Measure what is not kept yet, in this process; report(name) after each seed."""
    import torch

    if context.device == "cpu":
        torch.set_num_threads(1)
    for experiment in experiments:
        seeds = missing_seeds(context, experiment)
        ready = experiment.prepare(context) if seeds else None
        for seed in seeds:
            context.shelf(experiment).write(seed, experiment.measure(ready, seed))
            report(experiment.name)


def missing_seeds(context: Context, experiment: Experiment) -> list[int]:
    """Seeds that are to be measured; none where the demo lacks something."""
    if context.missing(experiment):
        return []
    shelf = context.shelf(experiment)
    return [seed for seed in range(experiment.count(context.quick)) if not shelf.has(seed)]


def expected(context: Context, experiment: Experiment) -> float:
    """Seconds on one core that are left of an experiment, roughly."""
    seeds = len(missing_seeds(context, experiment))
    return seeds * experiment.seconds + (experiment.before if seeds else 0.0)


def shares(context: Context, experiments: Sequence[Experiment], workers: int) -> list[list[Experiment]]:
    """The experiments that have work, the longest first, each to whoever has least so far."""
    todo = {one.name: (expected(context, one), one) for one in experiments}
    ordered = sorted((pair for pair in todo.values() if pair[0] > 0), key=lambda pair: -pair[0])
    parts, load = [[] for _ in range(workers)], [0.0] * workers
    for seconds, experiment in ordered:
        least = load.index(min(load))
        parts[least].append(experiment)
        load[least] += seconds
    return [part for part in parts if part]


def run(context: Context, experiments: Sequence[Experiment], workers: int, arguments: Sequence[str]) -> None:
    """Start a process for each share and show how far they are; `arguments` are those of the report.

    Raises RuntimeError with the end of its log when one fails; what was measured is kept.
    """
    total = sum(len(missing_seeds(context, one)) for one in experiments)
    bar, processes = ProgressBar(), []
    context.out.mkdir(parents=True, exist_ok=True)
    try:
        for number, share in enumerate(shares(context, experiments, workers)):
            log = context.out / f"worker_{number}.log"
            processes.append((_start(share, arguments, log), log))
        while any(process.poll() is None for process, _ in processes):
            done = total - sum(len(missing_seeds(context, one)) for one in experiments)
            bar("seeds measured", done, total)
            _stop_at_failure(processes)
            time.sleep(1)
        _stop_at_failure(processes)
    finally:
        for process, _ in processes:
            if process.poll() is None:
                process.terminate()
                process.wait()
        bar.finish()


def _start(share: Sequence[Experiment], arguments: Sequence[str], log: Path) -> subprocess.Popen:
    names = [one.name for one in share]
    command = [sys.executable, "-m", "devtools.run_module", "devtools.report", *arguments, "--work", *names]
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    root = Path(__file__).resolve().parents[2]
    with open(log, "wb") as stream:
        return subprocess.Popen(command, cwd=root, env=variables, stdout=stream, stderr=subprocess.STDOUT)


def _stop_at_failure(processes) -> None:
    for process, log in processes:
        if process.poll():
            tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-OPEN_LINES:]
            raise RuntimeError("an experiment failed; finished seeds are kept\n  " + "\n  ".join(tail))
