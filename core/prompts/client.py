"""A client for chat servers that speak OpenAI's protocol: Ollama, llama.cpp, LM Studio, hosted ones.

One request at a time, with an end: it never takes longer than its timeout, reads no more than LIMIT bytes,
and stops when the caller's `stop` raises. Every failure is one sentence.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

LIMIT = 1 << 20  # bytes of an answer
POLL = 0.05  # seconds between looks at `stop`
MOST_TOKENS = 2048
LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Server:
    """Where to ask: base address such as http://127.0.0.1:11434/v1, model ("" = the first), key, seconds.

    Raises ValueError for an address that is none, and for a key that would travel unencrypted.
    """

    address: str
    model: str = ""
    key: str = ""
    timeout: float = 60.0

    def __post_init__(self):
        """Check the address."""
        parts = urlsplit(self.address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"Director: address is '{self.address}', expected one such as http://127.0.0.1:11434/v1"
            )
        if self.key and parts.scheme == "http" and parts.hostname not in LOCAL:
            raise ValueError(
                f"Director: the key is not sent to '{self.address}' unencrypted; use an https address"
            )


def complete(
    server: Server, messages: Sequence[dict], seed: int, stop: Callable[[], None] = lambda: None
) -> str:
    """The model's answer to chat messages {"role", "content"}; `stop` may raise to cancel.

    Raises ValueError when no server answers in time, or not in the protocol.
    """
    deadline = time.monotonic() + server.timeout
    model = server.model or _first_model(server, deadline, stop)
    body = {"model": model, "messages": list(messages), "seed": seed & 0x7FFFFFFF, "stream": False}
    answer = _ask(server, "POST", "/chat/completions", {**body, "max_tokens": MOST_TOKENS}, deadline, stop)
    try:
        content = answer["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        content = None
    if not isinstance(content, str):
        raise ValueError(
            f"Director: the server at {server.address} gave no message: {_short(json.dumps(answer))}"
        )
    return content


def _first_model(server: Server, deadline: float, stop: Callable[[], None]) -> str:
    answer = _ask(server, "GET", "/models", None, deadline, stop)
    models = answer.get("data") if isinstance(answer, dict) else None
    names = [model.get("id") for model in models or [] if isinstance(model, dict)]
    if not names or not isinstance(names[0], str):
        raise ValueError(f"Director: the server at {server.address} has no model; load one, or name it")
    return names[0]


def _ask(server: Server, method: str, path: str, body, deadline: float, stop: Callable[[], None]):
    """The JSON value that the server answers with."""
    status, data = _exchange(server, method, path, body, deadline, stop)
    text = data.decode("utf-8", "replace")
    if len(data) > LIMIT:
        raise ValueError(f"Director: the answer of {server.address} is longer than {LIMIT >> 20} MiB")
    if status != http.client.OK:
        raise ValueError(f"Director: the server at {server.address} answered {status}: {_short(text)}")
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise ValueError(
            f"Director: the server at {server.address} did not answer in JSON: {_short(text)}"
        ) from None


def _exchange(server: Server, method: str, path: str, body, deadline: float, stop) -> tuple[int, bytes]:
    """Status and bytes of one request. The waiting is done in a thread, so that it can be given up."""
    connection = _connection(server, max(deadline - time.monotonic(), POLL))
    found: list = []

    def work() -> None:
        try:
            target = urlsplit(server.address).path.rstrip("/") + path
            payload = None if body is None else json.dumps(body).encode()
            connection.request(method, target, payload, _headers(server))
            response = connection.getresponse()
            found.append((response.status, response.read(LIMIT + 1)))
        except (OSError, http.client.HTTPException, ValueError) as error:
            found.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            stop()
            if time.monotonic() > deadline:
                raise ValueError(
                    f"Director: the server at {server.address} did not answer within {server.timeout:g} s"
                )
            thread.join(POLL)
    finally:
        connection.close()
    if isinstance(found[0], TimeoutError):
        raise ValueError(
            f"Director: the server at {server.address} did not answer within {server.timeout:g} s"
        )
    if isinstance(found[0], Exception):
        raise ValueError(
            f"Director: no server answers at {server.address} ({_short(str(found[0]))}); start one, or leave "
            "the address empty to divide the text by rules"
        )
    return found[0]


def _connection(server: Server, seconds: float) -> http.client.HTTPConnection:
    parts = urlsplit(server.address)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, parts.port, timeout=seconds)


def _headers(server: Server) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Connection": "close"}
    return {**headers, "Authorization": f"Bearer {server.key}"} if server.key else headers


def _short(text: str, most: int = 160) -> str:
    """One line of a text, for a message."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[:most] + "..."
