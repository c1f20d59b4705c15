"""The director: a good result or one clear sentence, in time, whatever the server does."""

import socket
import threading
import time

import pytest
from choreographer.core.prompts.client import LIMIT, THREAD, Server
from choreographer.core.prompts.director import (
    DECOMPOSE,
    REFINE,
    Task,
    direct,
    kept,
    read_answer,
    schedule_text,
    split_by_rules,
)
from choreographer.core.prompts.schedule import parse_prompts
from choreographer.tests.prompts.stub_server import message, stub_server

TASK = Task("a dog runs on a beach, then it jumps", DECOMPOSE, 2)


@pytest.fixture
def stub():
    with stub_server() as stub:
        yield stub


def test_a_good_answer_becomes_a_schedule(stub):
    stub.prompts("a dog runs on a beach", " a dog\n jumps on a beach ")
    prompts = direct(TASK, Server(stub.address), seed=7)
    assert prompts == ["a dog runs on a beach", "a dog jumps on a beach"]
    assert schedule_text(prompts) == "0%: a dog runs on a beach\n100%: a dog jumps on a beach"
    asked = stub.asked[0]
    assert asked["model"] == "small-model" and asked["seed"] == 7 and not asked["stream"]
    assert TASK.text in asked["messages"][1]["content"] and '"...", "..."' in asked["messages"][1]["content"]
    assert stub.keys == [None]
    assert not any("max" in name for name in asked)  # 64 long prompts are an answer too


def test_refinement_asks_for_one(stub):
    stub.prompts("a golden dog runs along a beach at sunset")
    task = Task("a dog", REFINE, 9, "an example in some manner")
    assert direct(task, Server(stub.address, "named", "secret"), 0) == [
        "a golden dog runs along a beach at sunset"
    ]
    assert stub.asked[0]["model"] == "named" and stub.keys == ["Bearer secret"]
    assert "an example in some manner" in stub.asked[0]["messages"][1]["content"]
    assert "secret" not in str(stub.asked)


def test_thoughts_and_fences_are_passed_over():
    answer = '<think>{"prompts": ["x"]} or [1, 2]</think>```json\n{"prompts": ["a", "b"]}\n```'
    assert read_answer(answer, 2) == ["a", "b"]
    assert read_answer('["a", "b"]', 2) == ["a", "b"]


def test_another_list_of_the_answer_is_no_prompts():
    assert read_answer('{"prompts": ["a golden dog"], "tags": ["cinematic"]}', 1) == ["a golden dog"]
    assert read_answer('{"tags": ["cinematic"], "answer": {"prompts": ["a dog"]}}', 1) == ["a dog"]
    assert read_answer('{"prompts": ["draft"]} better: ["final"]', 1) == ["final"]


@pytest.mark.parametrize("flood", ["[", '["a", ', '{"a": '])
def test_a_flood_of_brackets_is_given_up_at_once(flood):
    started = time.monotonic()
    assert read_answer(flood * 20000, 2) is None
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        '{"prompts": ["one"]}',
        '{"prompts": ["a", ""]}',
        '{"prompts": ["a", 3]}',
        '["a", "' + "b" * 700 + '"]',
    ],
)
def test_an_answer_of_no_use_is_asked_for_once_more(stub, content):
    stub.raw(message(content))
    stub.prompts("a", "b")
    assert direct(TASK, Server(stub.address), 0) == ["a", "b"]
    stub.raw(message(content))
    stub.raw(message(content))
    with pytest.raises(ValueError, match="the model's answer has not 2 prompts in JSON"):
        direct(TASK, Server(stub.address), 0)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("{broken", 200, "did not answer in JSON: {broken"),
        ("[]", 200, "gave no message"),
        ('{"choices": []}', 200, "gave no message"),
        ('{"error": "out of memory"}', 500, "answered 500: .*out of memory"),
        ("not found", 404, "answered 404: not found"),
        (b"x" * (LIMIT + 10), 200, "longer than 1 MiB"),
        (b"\xff\xfe\x00", 200, "did not answer in JSON"),
        ("[" * 100_000, 200, "did not answer in JSON"),
    ],
)
def test_other_answers_are_one_sentence(stub, body, status, said):
    stub.raw(body, status)
    with pytest.raises(ValueError, match=said):
        direct(TASK, Server(stub.address), 0)


def test_a_slow_server_is_given_up_in_time(stub):
    stub.raw(message("[]"), delay=30)
    started = time.monotonic()
    with pytest.raises(ValueError, match="did not answer within 0.3 s"):
        direct(TASK, Server(stub.address, "m", timeout=0.3), 0)
    assert time.monotonic() - started < 5


def test_an_interrupt_goes_through_at_once(stub):
    class Interrupted(Exception):
        pass

    def stop():
        if stub.asked:
            raise Interrupted

    stub.raw(message("[]"), delay=30)
    with pytest.raises(Interrupted):
        direct(TASK, Server(stub.address, "m", timeout=20), 0, stop)
    waiting = [thread for thread in threading.enumerate() if thread.name == THREAD]
    for thread in waiting:
        thread.join(5)
    assert not any(thread.is_alive() for thread in waiting), "nothing goes on in the background"


@pytest.mark.parametrize("key", ["sk-SECRET\n", "sk-SECRET\r", "sk\tSECRET", "sk-SECRET\u2013"])
def test_a_key_that_no_header_holds_is_refused_without_it(key):
    with pytest.raises(ValueError, match="the key has a line break") as refused:
        Server("https://example.org/v1", key=key)
    assert "SECRET" not in str(refused.value)


def test_the_key_is_in_no_message(stub):
    server = Server(stub.address, "m", "sk-SECRET")
    assert "SECRET" not in repr(server)
    for body, status in (("wrong key sk-SECRET", 401), ("sk-SECRET", 200), ('["sk-SECRET"]', 200)):
        stub.raw(body, status)
        with pytest.raises(ValueError, match="the server at .*\\.\\.\\.") as failed:
            direct(TASK, server, 0)
        assert "SECRET" not in str(failed.value)
    object.__setattr__(server, "key", "sk-SECRET\n")  # past the check: the library's own error names it
    with pytest.raises(ValueError, match="no request can be made") as failed:
        direct(TASK, server, 0)
    assert "SECRET" not in str(failed.value) + str(failed.value.__cause__)


def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ValueError, match="no server answers at .*leave the address empty"):
        direct(TASK, Server(f"http://127.0.0.1:{port}/v1"), 0)


def test_addresses_and_keys_are_checked():
    ports = "http://127.0.0.1:99999/v1", "http://127.0.0.1:x/v1", "http://[::1/v1"
    for address in ("127.0.0.1:80", "file:///etc/hosts", "http://", "", *ports):
        with pytest.raises(ValueError, match="address is '.*', expected one such as http://"):
            Server(address)
    with pytest.raises(ValueError, match="the key is not sent to 'http://example.org/v1' unencrypted"):
        Server("http://example.org/v1", key="secret")
    assert Server("https://example.org/v1", key="secret").key and Server("http://localhost:1/v1", key="s").key
    with pytest.raises(ValueError, match="the prompt is empty"):
        Task("  ")
    with pytest.raises(ValueError, match="task is 'sing'"):
        Task("a", "sing")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a dog runs, then it jumps", ["a dog runs", "it jumps"]),
        ("a dog runs. Then it jumps; and then it sleeps.", ["a dog runs", "it jumps", "it sleeps"]),
        ("dawn -> noon -> night", ["dawn", "noon", "night"]),
        ("one\ntwo\n\nthree", ["one", "two", "three"]),
        ("a dog, after that a cat, finally a bird", ["a dog", "a cat", "a bird"]),
        ("authentic strengthening", ["authentic strengthening"]),
        ("a dog sits next to a cat, next it runs", ["a dog sits next to a cat", "it runs"]),
        ("A dog, Next  To\ta cat", ["A dog, Next  To\ta cat"]),
    ],
)
def test_rules_part_at_the_users_own_words(text, parts):
    assert split_by_rules(text) == parts


@pytest.mark.parametrize("text", ["then", "-> ;", "..."])
def test_rules_need_more_than_words_that_part(text):
    with pytest.raises(ValueError, match="the prompt is '.*'; write what happens in the clip"):
        split_by_rules(text)


def test_every_schedule_reads_back():
    prompts = [
        '"quoted" to begin',
        "ends with a comma,",
        "8: looks like a key",
        "# looks like a comment",
        "one, 8: looks like another key",
    ]
    keys = parse_prompts(schedule_text(prompts), 81)
    assert [key.value for key in keys] == prompts and [key.frame for key in keys] == [0, 20, 40, 60, 80]
    assert parse_prompts(schedule_text(["one"]), 16)[0].frame == 0


def test_an_answer_counts_for_its_task_until_the_mark_is_gone():
    place = ("http://127.0.0.1:1/v1", "m")
    mark = TASK.mark(place, 1)
    assert mark == "# director 8c1ecb34" and mark != TASK.mark(place, 2) != TASK.mark((), 2)
    text = f"{mark}: edit\n0%: a dog"
    assert kept(text, mark) == text and kept(text, TASK.mark(place, 2)) is None
    assert kept("0%: my own", mark) == "0%: my own" and kept(" \n", mark) is None
    assert [key.value for key in parse_prompts(text, 4)] == ["a dog"]
