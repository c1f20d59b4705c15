"""Running experiments: which are to be run, shared out among processes of one thread each, with progress.

One thread a process gives the same digits however many cores there are, and two processes do more than one
with two threads.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..progress import ProgressBar
from .context import Context
from .rows import Experiment

OPEN_LINES = 15  # of a failed process's log that are shown


@dataclass(frozen=True)
class Task:
    """What one process does of an experiment: every `parts`-th seed, from `part` on."""

    experiment: Experiment
    part: int = 0
    parts: int = 1

    def __str__(self) -> str:
        """As the command line has it: NAME:PART/PARTS."""
        return f"{self.experiment.name}:{self.part}/{self.parts}"

    @staticmethod
    def parse(text: str, experiments: Mapping[str, Experiment]) -> Task:
        """The task that `str` gave."""
        name, _, place = text.rpartition(":")
        return Task(experiments[name], *map(int, place.split("/")))

    def seeds(self, context: Context) -> list[int]:
        """Those that are to be measured."""
        return [seed for seed in missing_seeds(context, self.experiment) if seed % self.parts == self.part]

    def expected(self, context: Context) -> float:
        """Seconds on one core, roughly."""
        seeds = len(self.seeds(context))
        return seeds * self.experiment.seconds + (self.experiment.before if seeds else 0.0)


def work(context: Context, tasks: Sequence[Task], report: Callable[..., None]) -> None:
    """Measure what is not kept yet, in this process; report(name) after each seed."""
    import torch

    if context.device == "cpu":
        torch.set_num_threads(1)
    for task in tasks:
        experiment, seeds = task.experiment, task.seeds(context)
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


def shares(context: Context, experiments: Sequence[Experiment], workers: int) -> list[list[Task]]:
    """What there is to do, the longest first, each to whoever has least so far.

    What would keep one process longer than all together should take is split by its seeds.
    """
    whole = {one.name: Task(one).expected(context) for one in experiments}
    fair = sum(whole.values()) / workers
    turns = ((one, whole[one.name] / fair) for one in experiments if whole[one.name])
    tasks = [task for one, number in turns for task in _split(context, one, number)]
    todo = sorted(((task.expected(context), task) for task in tasks), key=lambda pair: -pair[0])
    parts, load = [[] for _ in range(workers)], [0.0] * workers
    for seconds, task in todo:
        least = load.index(min(load))
        parts[least].append(task)
        load[least] += seconds
    return [part for part in parts if part]


def _split(context: Context, experiment: Experiment, turns: float) -> list[Task]:
    """An experiment in as many tasks as fair shares that it takes, and not more than it has seeds."""
    parts = min(math.ceil(turns - 1e-9), len(missing_seeds(context, experiment)))
    tasks = [Task(experiment, part, parts) for part in range(parts)]
    return [task for task in tasks if task.seeds(context)]


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


def _start(share: Sequence[Task], arguments: Sequence[str], log: Path) -> subprocess.Popen:
    tasks = map(str, share)
    command = [sys.executable, "-m", "devtools.run_module", "devtools.report", *arguments, "--work", *tasks]
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    root = Path(__file__).resolve().parents[2]
    with open(log, "wb") as stream:
        return subprocess.Popen(command, cwd=root, env=variables, stdout=stream, stderr=subprocess.STDOUT)


def _stop_at_failure(processes) -> None:
    for process, log in processes:
        if process.poll():
            tail = log.read_text(encoding="utf-8", errors="replace").splitlines()[-OPEN_LINES:]
            raise RuntimeError("an experiment failed; finished seeds are kept\n  " + "\n  ".join(tail))
