"""docs/report.json: the figures of the page's rows, so that a run over some rows leaves the others standing.

A row stands as long as what decides its figures is the same: weights, settings and version of its experiment.
Weights that are not here (not all are shipped) count as the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..pack import register_pack
from .context import Context
from .rows import Experiment, Row
from .verdict import MISSING, Result, verdict

DIGITS = 8  # significant, of what is kept


@dataclass(frozen=True)
class Record:
    """rows: name -> figures, with the experiment's key as "from"; files: weight file -> digest."""

    rows: Mapping[str, Mapping] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def result(self, row: Row, key: str) -> Result | None:
        """A row's result, or None where it was not measured with what this key stands for."""
        kept = self.rows.get(row.name)
        if kept is None or kept["from"] != key:
            return None
        told = {name: kept[name] for name in ("seeds", "mean", "low", "high", "spread")}
        judged = verdict(row, kept["low"], kept["high"], kept["seeds"])
        return Result(row, judged, means=tuple(kept["means"]), **told)


def read(file: Path) -> Record:
    """The record beside a page; an empty one where there is none."""
    return Record(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else Record()


def write(
    file: Path, context: Context, results: Sequence[Result], experiments: Mapping[str, Experiment]
) -> None:
    """Keep the measured rows."""
    register_pack()
    from choreographer.core.files import write_text

    measured = [one for one in results if one.verdict != MISSING and one.seeds > 1]
    used = [experiments[name] for name in dict.fromkeys(one.row.experiment for one in measured)]
    rows = {one.row.name: _kept(one, context.key(experiments[one.row.experiment])) for one in measured}
    told = {"files": context.digests(used), "rows": rows}
    lines = json.dumps(told, separators=(",", ":"), allow_nan=False).replace('},"', '},\n"')
    write_text(lines + "\n", file)


def _kept(one: Result, key: str) -> dict:
    figures = {name: _short(getattr(one, name)) for name in ("mean", "low", "high", "spread")}
    return {"from": key, "seeds": one.seeds, "means": [_short(value) for value in one.means], **figures}


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
