"""The published crop and tile geometry, through the checker that `dev.py golden` uses."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GEOMETRY = ROOT / "tests" / "data" / "vcd" / "geometry.json"


@pytest.fixture
def check(monkeypatch):
    """The checker; `devtools.golden` runs with the repository's root on the path."""
    monkeypatch.syspath_prepend(str(ROOT))
    before = set(sys.modules)
    from devtools.golden_formats.crop_geometry import check_geometry

    yield check_geometry
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("core", "devtools"):
            del sys.modules[name]


def test_the_published_geometry_holds_and_a_changed_pixel_does_not(check, tmp_path):
    findings = list(check(GEOMETRY))
    assert len(findings) > 40 and all(finding.holds for finding in findings)
    content = json.loads(GEOMETRY.read_text(encoding="utf-8"))
    content["usdu"][1]["tiles"][4]["crop"][0] += 1
    content["face_crops"][0]["crop_region"][3] += 1
    (tmp_path / "geometry_b.json").write_text(json.dumps(content), encoding="utf-8")
    broken = [finding.name for finding in check(tmp_path / "geometry_b.json") if not finding.holds]
    assert broken == ["face crop 0", "padded tiles 1 sample"]
