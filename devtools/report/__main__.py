"""`python dev.py report [--quick] [--only ROW...]`: measure the claims of the five papers on the demo family.

Results are kept by content in OUT/cache: a run that was stopped goes on, and only what has changed is
measured again. The page is docs/REPORT.md, with its pictures in docs/images/report/.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from ..pack import ROOT
from ..steps import say
from . import record
from .context import Context
from .experiments import EXPERIMENTS, PAPERS, ROWS
from .page import RECORD, collect, write
from .rows import Experiment
from .run import Task, run, work
from .verdict import MISSING


def read_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """The options; raises SystemExit for a row that does not exist."""
    parser = argparse.ArgumentParser(prog="dev.py report", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer seeds and shorter trainings")
    parser.add_argument("--only", nargs="+", default=[], metavar="ROW", help="rows, experiments or papers")
    parser.add_argument("--demo", type=Path, default=ROOT / "demo", help="folder of the demo's weights")
    parser.add_argument("--out", type=Path, default=ROOT / "output" / "report", help="where results are kept")
    parser.add_argument("--extra", type=Path, help="weights for the report alone (OUT/weights)")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of the page")
    parser.add_argument("--workers", type=int, help="processes (one a core; one where there is a GPU)")
    parser.add_argument("--list", action="store_true", help="list rows and what they lack, and stop")
    parser.add_argument("--work", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.extra = options.extra or options.out / "weights"
    known = {row.name for row in ROWS} | set(EXPERIMENTS) | set(PAPERS)
    wrong = [name for name in options.only if name not in known]
    if wrong:
        parser.error(f"there is no row '{wrong[0]}'; --list shows all")
    return options


def chosen(names: list[str]) -> list[Experiment]:
    """Experiments of the rows, experiments or papers named; all without a name."""
    wanted = [r.experiment for r in ROWS if not names or {r.name, r.experiment, r.paper} & set(names)]
    return [EXPERIMENTS[name] for name in dict.fromkeys(wanted)]


def context_of(options: argparse.Namespace) -> Context:
    """The context that the options describe."""
    paths = (path.resolve() for path in (options.demo, options.extra, options.out))
    return Context(*paths, options.quick, record.read(options.docs / RECORD).files)


def passed_on(options: argparse.Namespace) -> list[str]:
    """The options that another process needs to find the same files."""
    paths = {"--demo": options.demo, "--out": options.out, "--extra": options.extra}
    told = [text for flag, path in paths.items() for text in (flag, str(path.resolve()))]
    return [*told, *(["--quick"] if options.quick else [])]


def tell(context: Context) -> None:
    """List all rows."""
    for row in ROWS:
        lacking = context.missing(EXPERIMENTS[row.experiment])
        print(f"{row.name} ({row.experiment}): {row.claim}" + (f" [{lacking}]" if lacking else ""))


def main(arguments: list[str] | None = None) -> int:
    """Measure, write, and say how it came out; the exit code."""
    options = read_arguments(arguments)
    context = context_of(options)
    if options.list:
        tell(context)
        return 0
    if options.work:
        tasks = [Task.parse(text, EXPERIMENTS) for text in options.work]
        work(context, tasks, lambda name: print(name, flush=True))
        return 0
    experiments = chosen(options.only)
    workers = options.workers or (1 if context.device == "cuda" else os.cpu_count() or 1)
    seconds = sum(Task(one).expected(context) for one in experiments)
    say(f"about {seconds / workers / 60:.0f} minutes on {workers} cores, if nothing else runs")
    try:
        run(context, experiments, workers, passed_on(options))
    except RuntimeError as error:
        print(f"dev.py report: {error}", file=sys.stderr)
        return 1
    kept = record.read(options.docs / RECORD)
    found = collect(context, ROWS, EXPERIMENTS, kept, [one.name for one in experiments])
    for one in found.results:
        if one.verdict != MISSING:
            print(f"{one.verdict}: {one.row.name}: {one.row.claim}")
    print(write(options.docs, context, found, PAPERS, EXPERIMENTS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
