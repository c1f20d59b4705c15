"""The report's machinery on experiments that cost nothing: verdicts, cache, shares, page, pictures."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from choreographer.devtools.pack import ROOT
from choreographer.devtools.report import __main__ as command
from choreographer.devtools.report import record
from choreographer.devtools.report.cache import Shelf, draw_sheet, frames_of
from choreographer.devtools.report.context import Context
from choreographer.devtools.report.experiments import EXPERIMENTS, PAPERS, ROWS, ccdm, vcd
from choreographer.devtools.report.page import collect, number, write
from choreographer.devtools.report.rows import Experiment, Made, Row
from choreographer.devtools.report.run import Task, missing_seeds, shares, work
from choreographer.devtools.report.verdict import FEWEST, judge

ROW = Row("r", "VCD", "a < b", "by hand", "1", "fake", "x", "a", "b", -1, "px")


def fake(name="fake", seeds=(8, 16), needs=None, shift=1.0, **more):
    """An experiment whose side b is larger by `shift`, and that counts how often it is asked."""
    asked = []

    def measure(ready, seed):
        assert ready == "ready"
        asked.append(seed)
        rng = np.random.default_rng(seed)
        value, frames = float(rng.normal()), rng.random((6, 16, 16, 3))
        rows = {"a": {"x": value, "y": float("nan")}, "b": {"x": value + shift + 0.1 * float(rng.normal())}}
        return Made(rows, {"a": frames_of(frames), "b with a long name": frames_of(frames)})

    made = Experiment(name, "1", needs or {}, seeds, 10, lambda context: "ready", measure, **more)
    return made, asked


@pytest.fixture
def context(tmp_path):
    (tmp_path / "demo").mkdir()
    return Context(tmp_path / "demo", tmp_path / "extra", tmp_path / "out", quick=True)


def figures(pairs):
    return [{"a": {"x": a}, "b": {"x": b}} for a, b in pairs]


def test_a_claim_holds_only_when_its_interval_excludes_no_effect():
    clear = figures([(0, 1), (0, 1.2), (1, 1.9), (0, 1), (0, 1.1), (0, 0.9)])
    assert judge(ROW, clear).verdict == "holds" and judge(ROW, clear).high < 0
    assert judge(replace(ROW, expect=1), clear).verdict == "the opposite holds"
    assert judge(replace(ROW, expect=0), clear).verdict == "told beside"
    vague = figures([(0, 1), (0, -1), (0, 2), (0, -1.5), (0, 1), (0, 0.5)])
    found = judge(ROW, vague)
    assert found.verdict == "does not hold" and found.low < 0 < found.high
    assert found.mean == pytest.approx(-2 / 6) and found.means == (0, pytest.approx(2 / 6))
    same = judge(ROW, figures([(1, 1)] * 8))
    assert same.verdict == "does not hold" and same.spread == 0


def test_five_seeds_that_agree_are_too_few():
    assert FEWEST == 6
    assert judge(ROW, figures([(0, 1), (0, 1.1)] * 2 + [(0, 0.9)])).verdict == "too few seeds"
    assert judge(ROW, figures([(0, 1)])).verdict == "too few seeds"


def test_what_gave_no_figure_is_left_out_and_what_gave_none_is_not_measured():
    some = figures([(0, 1), (float("nan"), 1), *[(0, 1.1)] * 6])
    assert judge(ROW, some).seeds == 7
    none = judge(replace(ROW, column="z"), some)
    assert none.verdict == "not measured" and "no seed gave a figure of 'z'" in none.reason
    assert judge(ROW, some, "the demo has no flow net").reason == "the demo has no flow net"


def test_a_stopped_run_goes_on_and_a_finished_one_measures_nothing(context):
    experiment, asked = fake()
    done = []
    work(context, [Task(replace(experiment, seeds=(3, 3)))], done.append)
    assert asked == [0, 1, 2] and done == ["fake"] * 3
    work(context, [Task(experiment)], done.append)
    assert asked == list(range(8)), "what is kept is not measured again"
    context.quick = False
    assert missing_seeds(context, experiment) == list(range(8, 16)), "a full run uses a quick one's seeds"
    kept = context.shelf(experiment).read(0)
    assert np.isnan(kept["a"]["y"]) and kept["a"]["x"] == np.random.default_rng(0).normal()
    assert context.shelf(experiment).sheet.stat().st_size > 500


def test_what_decides_the_figures_decides_where_they_are_kept(context):
    file = context.demo_folder / "net.safetensors"
    file.write_bytes(b"one")
    experiment, _ = fake(needs={"net": "net.safetensors"})
    folder = context.shelf(experiment).folder
    assert folder == context.shelf(experiment).folder
    assert context.shelf(replace(experiment, version="2")).folder != folder
    assert context.shelf(replace(experiment, settings=lambda quick: {"trained": 40})).folder != folder
    file.write_bytes(b"two")
    other = Context(context.demo_folder, context.extra, context.out, True)
    assert other.shelf(experiment).folder != folder, "new weights are measured anew"


def test_rows_without_their_weights_say_so_in_one_sentence(context):
    experiment, asked = fake(needs={"flow net": "controlnet/flow.safetensors", "image net": "image.pt"})
    wanted = "the demo has no flow net (controlnet/flow.safetensors) and the demo has no image net (image.pt)"
    assert context.missing(experiment) == wanted and Task(experiment).expected(context) == 0
    work(context, [Task(experiment)], asked.append)
    (found,) = collect(context, [ROW], {"fake": experiment}).results
    assert not asked and found.verdict == "not measured" and found.reason == wanted
    context.extra.mkdir()
    (context.extra / "image.pt").write_bytes(b"x")
    assert "image net" not in context.missing(experiment), "weights for the report alone count too"


def test_a_clip_has_all_figures_and_consistency_only_with_a_feature_net(context):
    clip = np.random.default_rng(0).random((5, 24, 24, 3)).astype(np.float32)
    context.__dict__.update(has_features=False)
    figures = context.figures(clip)
    assert np.isnan(figures.pop("consistency")) and all(np.isfinite(v) and v > 0 for v in figures.values())
    context.__dict__["net"] = lambda images: images.mean((1, 2))
    assert 0.9 < context.figures(clip)["consistency"] <= 1


def test_the_work_is_shared_so_that_all_end_together(context):
    experiments = [fake(str(n), seeds=(n, n))[0] for n in (1, 2, 3, 4)]
    parts = shares(context, experiments, 2)
    assert sorted(str(task) for part in parts for task in part) == ["1:0/1", "2:0/1", "3:0/1", "4:0/1"]
    assert [sum(int(task.experiment.name) for task in part) for part in parts] == [5, 5]
    assert shares(context, [], 2) == []


def test_an_experiment_longer_than_its_share_is_split_by_seeds(context):
    """One row on many cores takes all of them; a seed kept already is nobody's."""
    experiment, asked = fake(seeds=(7, 7), before=5)
    work(context, [Task(replace(experiment, seeds=(1, 1)))], lambda name: None)
    parts = shares(context, [experiment], 3)
    told = [Task.parse(str(task), {"fake": experiment}) for part in parts for task in part]
    assert sorted(map(str, told)) == ["fake:0/3", "fake:1/3", "fake:2/3"] and len(parts) == 3
    assert sorted(seed for task in told for seed in task.seeds(context)) == [1, 2, 3, 4, 5, 6]
    assert [task.expected(context) for task in told] == [25, 25, 25]
    work(context, told, lambda name: None)
    assert sorted(asked) == list(range(7)) and missing_seeds(context, experiment) == []
    short, _ = fake("short", seeds=(2, 2))
    long, _ = fake("long", seeds=(8, 8))
    assert [[str(task) for task in part] for part in shares(context, [short, long], 2)] == [
        ["long:0/2", "short:0/1"],
        ["long:1/2"],
    ]
    assert len(shares(context, [short], 8)) == 2, "never more parts than seeds"


def test_the_page_has_every_row_and_is_the_same_again(context, tmp_path):
    experiment, _ = fake(curve=(("a", "b"), ("x",)))
    absent, _ = fake("absent", needs={"flow net": "flow.safetensors"})
    rows = (ROW, replace(ROW, name="s", claim="b > a", first="b", second="a", expect=1),
            replace(ROW, name="t", experiment="absent", claim="what cannot be seen"))  # fmt: skip
    experiments = {"fake": experiment, "absent": absent}
    work(context, [Task(experiment)], lambda name: None)

    def page(folder):
        found = collect(context, rows, experiments)
        return write(folder, context, found, {"VCD": "Magic-Me", "CCDM": "-"}, experiments)

    text = page(tmp_path / "docs").read_text()
    assert text == page(tmp_path / "again").read_text()
    assert text.count("**holds**") == 2 and "Of 3 rows (quick run): 2 holds, 1 not measured" in text
    assert "## VCD" in text and "## CCDM" not in text
    assert "Not measured: the demo has no flow net (flow.safetensors):\n\n- what cannot be seen" in text
    shown = re.findall(r"\]\((images/report/[^)]+)\)", text)
    assert len(shown) == 3 and all((tmp_path / "docs" / name).is_file() for name in shown)
    cells = next(line for line in text.splitlines() if line.startswith("| `r` | a < b")).split(" | ")
    assert len(cells) == 9 and cells[7] == "8" and cells[6].startswith("-1.0") and "to -" in cells[6]


def test_rows_that_a_run_was_not_asked_for_stand_as_long_as_nothing_that_decides_them_changed(tmp_path):
    """Another machine, with an empty cache, measures one row anew; the other's weights are not shipped."""
    rows = (ROW, replace(ROW, name="s", experiment="other"))
    unshipped = tmp_path / "one" / "weights" / "net.pt"
    unshipped.parent.mkdir(parents=True)
    unshipped.write_bytes(b"net")

    def page(machine, asked, seeds=(8, 8), version="1", shift=1.0):
        """Measure the experiments `asked` on a machine and write the page; its text and its pictures."""
        docs, out = tmp_path / "docs", tmp_path / machine
        made = {n: fake(n, seeds=seeds, shift=shift, needs={"net": "net.pt"} if n == "other" else {},
                        curve=(("a", "b"), ("x",)))[0] for n in ("fake", "other")}  # fmt: skip
        made["fake"] = replace(made["fake"], version=version)
        kept = record.read(docs / "report.json")
        context = Context(tmp_path, out / "weights", out, False, kept.files)
        work(context, [Task(made[name]) for name in asked], lambda name: None)
        found = collect(context, rows, made, kept, asked)
        text = write(docs, context, found, {"VCD": "Magic-Me"}, made).read_text()
        return text, sorted(file.name for file in (docs / "images" / "report").iterdir())

    first, pictures = page("one", ["fake", "other"])
    assert pictures == ["fake.webp", "fake_curve.webp", "other.webp", "other_curve.webp", "results.webp"]
    assert page("two", ["fake"]) == (first, pictures), "the same figures, and the other row as it stood"
    anew, pictures = page("three", ["fake"], shift=-1.0)
    line = {text.split("`")[1]: text for text in (*first.splitlines(), *anew.splitlines()) if "| `" in text}
    assert "the opposite holds" in line["r"] and line["s"] in first and len(pictures) == 5
    assert page("three", [], (2, 2)) == (anew, pictures), "fewer seeds in the cache than on the page"
    changed, pictures = page("four", [], version="2")
    assert "it has not been run yet:\n\n- a < b" in changed and line["s"] in changed
    assert pictures == ["other.webp", "other_curve.webp", "results.webp"]


def test_numbers_have_three_digits_and_no_exponent():
    assert [number(v) for v in (0, 1234.5, 12.345, 0.012345, -0.5)] == [
        "0",
        "1234",
        "12.3",
        "0.0123",
        "-0.500",
    ]
    assert number(3.14159, True) == "+3.14" and number(float("inf")) == "-" and number(1e-9) == "0.000000"


def test_every_row_names_an_experiment_and_a_paper_that_are_there():
    assert len({row.name for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert row.experiment in EXPERIMENTS and row.paper in PAPERS and row.expect in (-1, 0, 1)
        assert row.first != row.second and "|" not in row.claim + row.how + row.figure
    assert {row.experiment for row in ROWS} == set(EXPERIMENTS), "no experiment without a row"
    assert {row.paper for row in ROWS} == set(PAPERS)
    wanted = ("Table 1", "Table 2", "Table 3", "Fig. 4", "Fig. 6", "Fig. 7")
    assert all(any(words in row.claim for row in ROWS) for words in wanted)


def test_a_quick_run_is_meant_to_stay_under_forty_minutes_on_two_cores():
    """By the estimates of all experiments, those whose weights are missing included; a tenth is to spare."""
    seconds = sum(one.count(True) * one.seconds + one.before for one in EXPERIMENTS.values())
    assert all(one.count(True) >= FEWEST for one in EXPERIMENTS.values())
    assert seconds / 2 < 0.9 * 40 * 60


def test_every_experiment_can_be_keyed(context):
    for experiment in EXPERIMENTS.values():
        for name in experiment.needs.values():
            file = context.extra / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(name.encode())
        assert isinstance(context.shelf(experiment), Shelf)


def test_a_sheet_holds_sides_of_any_length(tmp_path):
    frames = list(np.random.default_rng(0).random((5, 20, 30, 3)))
    draw_sheet({"a": frames, "b": frames[:3]}, tmp_path / "s.webp")
    assert (tmp_path / "s.webp").stat().st_size < 40_000


def test_the_command_reads_its_options(capsys):
    options = command.read_arguments(["--quick", "--only", "vcd_id", "ccdm_feedback", "Image Conductor"])
    assert [one.name for one in command.chosen(options.only)] == [
        "ccdm_feedback",
        "vcd_identity",
        "conductor",
    ]
    assert options.quick and options.extra == options.out / "weights"
    assert {one.name for one in command.chosen([])} == set(EXPERIMENTS)
    with pytest.raises(SystemExit):
        command.read_arguments(["--only", "vcd_idd"])
    assert "no row 'vcd_idd'" in capsys.readouterr().err


def test_a_run_without_any_weights_is_a_page_of_what_is_missing(tmp_path):
    """Through the command line, with its processes; the first missing file is named in each row."""
    empty = tmp_path / "demo"
    empty.mkdir()
    paths = ["--demo", empty, "--out", tmp_path / "out", "--docs", tmp_path / "docs", "--workers", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "devtools.run_module", "devtools.report", "--quick", *map(str, paths)],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "docs" / "REPORT.md").read_text()
    assert f"Of {len(ROWS)} rows (quick run): {len(ROWS)} not measured" in text
    assert "the demo has no checkpoint (checkpoints/choreographer_demo.safetensors)" in text
    assert not (tmp_path / "out" / "cache").exists()


def test_a_failing_experiment_is_told_with_the_end_of_its_log(comfy_path, tmp_path):
    """Damaged weights: the process ends, and what it said is shown."""
    for name in EXPERIMENTS["ccdm_schedules"].needs.values():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(json.dumps({}).encode())
    command_line = [sys.executable, "-m", "devtools.run_module", "devtools.report"]
    command_line += [
        "--only",
        "ccdm_schedules",
        "--quick",
        "--demo",
        tmp_path,
        "--out",
        tmp_path / "out",
        "--docs",
        tmp_path / "docs",
    ]
    done = subprocess.run(list(map(str, command_line)), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "finished seeds are kept" in done.stderr
    assert not (tmp_path / "docs").exists()


def test_two_experiments_on_the_demo_model(comfy_host, tmp_path, monkeypatch):
    """One in the host, one that trains outside it; short, and the same again."""
    context = Context(ROOT / "demo", tmp_path, tmp_path, True)
    for name, value in {"STEPS": 1, "GAMMAS": (0.0, 0.9)}.items():
        monkeypatch.setattr(vcd, name, value)
    once, again = (vcd.measure_gamma(context, 1) for _ in range(2))
    assert once.figures == again.figures and list(once.figures) == ["gamma 0", "gamma 0.9"] == list(
        once.strips
    )
    assert once.figures["gamma 0.9"]["flow_mean"] < once.figures["gamma 0"]["flow_mean"]
    for name, value in {"TRAINED": {True: 1}, "CLIPS": {True: 1}, "FRAMES": 2}.items():
        monkeypatch.setattr(ccdm, name, value)
    figures = ccdm.measure_objective(ccdm.prepare_training(context), 0).figures
    assert list(figures) == ["noise loss", "Eq. 13"]
    assert (
        all(0 < figures[side]["psnr"] < 60 for side in figures) and figures["noise loss"] != figures["Eq. 13"]
    )
