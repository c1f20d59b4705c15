"""Setting up the browser tests: only what is missing, and the one line where it is not ours to install."""

from choreographer.devtools import browser


def fake(monkeypatch, tmp_path, found, user=0):
    """A machine with some programs; the commands that are run."""
    commands = []

    def run(step, command, remedy):
        commands.append(list(map(str, command)))
        if "pip" in command:
            (browser.newer_frontend()).mkdir(parents=True)
            (browser.newer_frontend() / "index.html").write_text("")

    monkeypatch.setattr(browser, "FRONTENDS", tmp_path / "frontend")
    monkeypatch.setattr(browser, "HOME", tmp_path)
    monkeypatch.setattr(browser.shutil, "which", lambda name: name if name in found else None)
    monkeypatch.setattr(browser.os, "geteuid", lambda: user, raising=False)
    monkeypatch.setattr(browser, "run_command", run)
    return commands


def test_what_is_missing_is_installed_once(monkeypatch, tmp_path):
    commands = fake(monkeypatch, tmp_path, {"apt-get"})
    browser.prepare_browser(tmp_path / "python")
    assert [command[0] for command in commands[:2]] == ["apt-get", "env"] and "chromium" in commands[1]
    assert f"comfyui-frontend-package=={browser.NEWER}" in commands[2] and "--no-deps" in commands[2]
    commands = fake(monkeypatch, tmp_path, {"apt-get", "chromium"})
    browser.prepare_browser(tmp_path / "python")
    assert commands == []


def test_others_machines_are_left_alone(monkeypatch, tmp_path, capsys):
    commands = fake(monkeypatch, tmp_path, {"apt-get"}, user=1000)
    browser.prepare_browser(tmp_path / "python")
    assert [command[0] for command in commands] == [str(tmp_path / "python")]
    assert "sudo apt-get install -y --no-install-recommends chromium" in capsys.readouterr().out
