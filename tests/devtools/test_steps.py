"""Steps repair what is half-finished, and failures say what to do."""

import sys
from pathlib import Path

import pytest
from choreographer.devtools import steps


class Work:
    """A step whose work is one file; `fail_at` ends the making of it half-way, as a kill would."""

    def __init__(self, folder: Path, inputs: dict):
        self.file, self.made, self.fail_at = folder / "file", 0, None
        self.step = steps.Step("work", folder / "stamps" / "work.json", inputs, self.check, self.make)

    def check(self):
        if not self.file.exists():
            return "file is missing"
        return None if self.file.read_text() == "whole" else "file is not whole"

    def make(self):
        self.made += 1
        self.file.write_text("half")
        if self.fail_at == "half":
            raise KeyboardInterrupt
        self.file.write_text("whole")


def test_a_step_runs_once_and_again_when_its_inputs_change(tmp_path):
    work = Work(tmp_path, {"version": 1})
    assert steps.complete(work.step) and not steps.complete(work.step)
    assert work.made == 1
    newer = Work(tmp_path, {"version": 2})
    assert steps.complete(newer.step) and newer.made == 1


def test_a_step_that_was_interrupted_leaves_no_stamp_and_is_completed(tmp_path):
    work = Work(tmp_path, {})
    work.fail_at = "half"
    with pytest.raises(KeyboardInterrupt):
        steps.complete(work.step)
    assert not work.step.stamp.exists()
    work.fail_at = None
    assert steps.complete(work.step)
    assert work.file.read_text() == "whole" and work.step.stamp.exists()


@pytest.mark.parametrize("damage", ["half", None])
def test_a_stamp_is_not_trusted_when_the_check_finds_damage(tmp_path, damage):
    work = Work(tmp_path, {})
    steps.complete(work.step)
    work.file.write_text(damage) if damage else work.file.unlink()
    assert steps.complete(work.step) and work.check() is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"other": 1}'])
def test_a_broken_stamp_counts_as_none(tmp_path, content):
    work = Work(tmp_path, {"version": 1})
    work.step.stamp.parent.mkdir()
    work.step.stamp.write_text(content)
    assert not steps.stamp_holds(work.step)


def test_a_step_whose_work_does_not_help_names_itself_and_the_remedy(tmp_path):
    work = Work(tmp_path, {})
    step = steps.Step("work", tmp_path / "stamp", {}, lambda: "still wrong", work.make, "do this")
    with pytest.raises(steps.StepError, match="(?s)'work' failed.*still wrong.*do this"):
        steps.complete(step)
    assert not step.stamp.exists()


def test_a_failed_command_is_shown_with_its_output():
    code = "print('first'); print('the reason'); raise SystemExit(3)"
    with pytest.raises(steps.StepError) as failure:
        steps.run_command("demo step", [sys.executable, "-c", code], "the remedy")
    text = failure.value.block()
    for wanted in (
        "'demo step' failed",
        "exit code 3",
        f"command: {sys.executable} -c",
        "the reason",
        "the remedy",
    ):
        assert wanted in text
    with pytest.raises(steps.StepError, match="cannot be started"):
        steps.run_command("demo step", ["no-such-program-here"], "the remedy")


def test_only_one_set_up_runs_at_a_time(tmp_path):
    lock = tmp_path / "lock"
    with steps.only_one(lock), open(lock, "a+b") as other:
        assert not steps.try_lock(other)
    with open(lock, "a+b") as other:
        assert steps.try_lock(other)
