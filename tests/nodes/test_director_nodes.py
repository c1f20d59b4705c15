"""The director's node and mixed noise: kept answers, settings, keys, the user's interrupt."""

import json

import pytest
import torch
from choreographer.tests.nodes.tiny import pack
from choreographer.tests.prompts.stub_server import message, stub_server

pytestmark = pytest.mark.usefixtures("comfy_host")
TEXT = "a dog runs, then it jumps"
OPEN = (-0.222971, 0.553066, -0.801137)  # mixed noise of seed 3, ratio 0.1 and nothing connected


@pytest.fixture
def stub():
    with stub_server() as stub:
        yield stub


@pytest.fixture(autouse=True)
def user(tmp_path, monkeypatch):
    """An empty user folder."""
    import folder_paths

    (tmp_path / "default").mkdir()
    monkeypatch.setattr(folder_paths, "get_user_directory", lambda: str(tmp_path))
    return tmp_path / "default"


def run(task="decompose", keys=2, seed=0, **more):
    return pack("nodes.director").PromptDirector.execute(TEXT, task, keys, seed, **more).result


def test_without_a_server_rules_divide_the_text_and_say_so():
    schedule, report = run()
    assert schedule.splitlines()[1:] == ["0%: a dog runs", "100%: it jumps"]
    assert report == "no server is set, so rules divided your own text into 2" and report in schedule
    assert run("refine")[0].splitlines()[1:] == [f"0%: {TEXT}"]


def test_an_answer_is_kept_and_may_be_edited(stub):
    stub.prompts("a dog runs", "a dog jumps")
    schedule, report = run(address=stub.address, model="m")
    assert schedule.splitlines()[1:] == ["0%: a dog runs", "100%: a dog jumps"] and stub.address in report
    edited = schedule.replace("jumps", "sleeps")
    assert run(address=stub.address, model="m", answer=edited)[0] == edited and len(stub.asked) == 1
    stub.prompts("x", "y")
    assert "0%: x" in run(address=stub.address, model="m", seed=1, answer=edited)[0] and len(stub.asked) == 2
    bare = edited.partition("\n")[2]
    assert run(address=stub.address, model="m", seed=2, answer=bare)[0] == bare and len(stub.asked) == 2
    with pytest.raises(ValueError, match="line 1: expected 'frame: text'"):
        run(answer="no schedule")


@pytest.mark.parametrize("address", ["no address", "https://example.org/v1"])
def test_a_kept_answer_needs_neither_server_nor_key(address):
    task = pack("core.prompts.director").Task(TEXT, "decompose", 2, "")
    kept = f"{task.mark((address, ''), 0)}\n0%: a dog"
    for answer in (kept, "0%: my own"):
        assert run(address=address, key_variable="CHOREO_NONE", answer=answer)[0] == answer


def test_a_key_goes_only_to_this_machine_or_the_settings_address(user, monkeypatch):
    names, hosted = pack("nodes.host.director"), "https://example.org/v1"
    monkeypatch.setenv("CHOREO_KEY", "secret")
    for foreign in (hosted, "https://localhost.example.org/v1", "https://[::1/v1"):
        with pytest.raises(ValueError, match="The key in CHOREO_KEY is not sent to 'https://"):
            run(address=foreign, key_variable="CHOREO_KEY")
    assert names.read_key("CHOREO_KEY", "http://[::1]:1/v1") == "secret"
    (user / "comfy.settings.json").write_text(json.dumps({names.ADDRESS: hosted}))
    assert names.read_key("CHOREO_KEY", hosted) == "secret"


def test_the_page_is_told_which_answer_the_run_was_given():
    schedule = run()[0]
    for given in ("", schedule):
        made = pack("nodes.director").PromptDirector.execute(TEXT, "decompose", 2, 0, answer=given)
        assert made.ui == {"text": (schedule,), "given": (given,)}


def test_address_and_model_come_from_the_settings(stub, user):
    names = pack("nodes.host.director")
    settings = {names.ADDRESS: stub.address, names.MODEL: "chosen", "Other": 3}
    (user / "comfy.settings.json").write_text(json.dumps(settings))
    stub.prompts("a", "b")
    run()
    assert stub.asked[0]["model"] == "chosen"
    (user / "comfy.settings.json").write_text("{broken")
    assert "rules" in run()[1]


def test_keys_come_from_variables_of_this_pack_alone(stub, monkeypatch):
    monkeypatch.setenv("CHOREO_KEY", "secret")
    monkeypatch.setenv("OTHER_KEY", "private")
    stub.prompts("a", "b")
    schedule, report = run(address=stub.address, key_variable="CHOREO_KEY")
    assert stub.keys == ["Bearer secret"] and "secret" not in schedule + report
    with pytest.raises(
        ValueError, match="key_variable is 'OTHER_KEY': expected a variable whose name begins"
    ):
        run(address=stub.address, key_variable="OTHER_KEY")
    monkeypatch.setenv("CHOREO_KEY", " secret\n")
    stub.prompts("a", "b")
    run(address=stub.address, key_variable="CHOREO_KEY")
    assert stub.keys[1:] == ["Bearer secret"]
    for broken, said in (("sec\nret", "the key has a line break"), (" \n", "CHOREO_KEY is not set")):
        monkeypatch.setenv("CHOREO_KEY", broken)
        with pytest.raises(ValueError, match=said) as refused:
            run(address=stub.address, key_variable="CHOREO_KEY")
        assert "ret" not in str(refused.value)
    with pytest.raises(ValueError, match="variable CHOREO_NONE is not set"):
        run(address=stub.address, key_variable="CHOREO_NONE")


def test_the_users_interrupt_goes_through(stub):
    from comfy import model_management

    stub.raw(message("[]"), delay=30)
    model_management.interrupt_current_processing(True)
    try:
        with pytest.raises(model_management.InterruptProcessingException):
            run(address=stub.address, model="m")
    finally:
        model_management.interrupt_current_processing(False)


def test_mixed_noise():
    node, noises = pack("nodes.mixed_noise").MixedNoise, pack("nodes.noise")
    latent = {"samples": torch.zeros(4, 4, 32, 32)}
    noise = node.execute(3, 0.1).result[0].generate_noise(latent)
    assert noise.shape == latent["samples"].shape and 0.85 < noise.std() < 1.15
    assert torch.equal(noise, node.execute(3, 0.1).result[0].generate_noise(latent))
    between = (noise[0] * noise[1]).mean() / noise.var()
    assert between > 0.9
    base = noises.GaussianNoisePrior.execute(5, 1.0).result[0]
    assert torch.equal(
        node.execute(3, 0.0, base).result[0].generate_noise(latent), base.generate_noise(latent)
    )
    assert noise[0, 0, 0, :3].tolist() == pytest.approx(OPEN, abs=1e-6)
    with pytest.raises(ValueError, match="ratio is 2"):
        node.execute(3, 2.0)


@pytest.mark.parametrize("socket", ["base", "residual"])
@pytest.mark.parametrize("layout", ["shared", "per-frame seeds", "stock"])
def test_mixed_noise_is_as_strong_in_every_frame_with_equal_seeds(socket, layout):
    """The stock noise and this pack's layouts begin alike at one seed; the default beside them does not."""
    from comfy_extras.nodes_custom_sampler import Noise_RandomNoise

    stock = layout == "stock"
    given = (
        Noise_RandomNoise(3)
        if stock
        else pack("nodes.noise").NoiseLayoutNode.execute(3, layout, 0.5, 4, 2).result[0]
    )
    latent = {"samples": torch.zeros(4, 4, 64, 64)}
    for seed in (2, 3):
        mixed = pack("nodes.mixed_noise").MixedNoise.execute(seed, 0.5, **{socket: given}).result[0]
        deviations = mixed.generate_noise(latent).std(dim=(1, 2, 3))
        assert torch.allclose(deviations, torch.ones(4), atol=0.05)
