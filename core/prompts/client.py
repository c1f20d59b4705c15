"""A client for chat servers that speak OpenAI's protocol: Ollama, llama.cpp, LM Studio, hosted ones.

One request at a time, with an end: it never takes longer than its timeout, reads no more than LIMIT bytes,
and stops when the caller's `stop` raises. Every failure is one sentence.
"""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LIMIT = 1 << 20  # bytes of an answer
POLL = 0.05  # seconds between looks at `stop`
THREAD = "choreographer-director"
LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Server:
    """Where to ask: base address such as http://127.0.0.1:11434/v1, model ("" = the first), key, seconds.

    Raises ValueError for an address that is none, and for a key that no header can hold or that would travel
    unencrypted. The key is in no message.
    """

    address: str
    model: str = ""
    key: str = field(default="", repr=False)
    timeout: float = 60.0

    def __post_init__(self):
        """Check address and key."""
        try:
            parts = urlsplit(self.address)
            known = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
        except ValueError:  # a port above 65535, half an IPv6 address
            known = False
        if not known:
            raise ValueError(
                f"Director: address is '{self.address}', expected one such as http://127.0.0.1:11434/v1"
            )
        if not (self.key.isascii() and self.key.isprintable()):
            raise ValueError("Director: the key has a line break or a letter beyond ASCII; copy it again")
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
    answer = _ask(server, "POST", "/chat/completions", body, deadline, stop)
    try:
        content = answer["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        content = None
    if not isinstance(content, str):
        raise ValueError(
            f"Director: the server at {server.address} gave no message: {_short(json.dumps(answer), server)}"
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
        said = _short(text, server)
        raise ValueError(f"Director: the server at {server.address} answered {status}: {said}")
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        raise ValueError(
            f"Director: the server at {server.address} did not answer in JSON: {_short(text, server)}"
        ) from None


def _exchange(server: Server, method: str, path: str, body, deadline: float, stop) -> tuple[int, bytes]:
    """Status and bytes of one request. The waiting is done in a thread, so that it can be given up."""
    connection = _connection(server, max(deadline - time.monotonic(), POLL))
    found, sockets, ended = [], [], threading.Event()

    def work() -> None:
        try:
            connection.connect()
            sockets.append(connection.sock)  # the connection lets go of it while the answer is read
            if ended.is_set():
                return connection.close()
            target = urlsplit(server.address).path.rstrip("/") + path
            payload = None if body is None else json.dumps(body).encode()
            connection.request(method, target, payload, _headers(server))
            response = connection.getresponse()
            found.append((response.status, response.read(LIMIT + 1)))
        except (OSError, http.client.HTTPException, ValueError) as error:
            found.append(error)

    thread = threading.Thread(target=work, name=THREAD, daemon=True)
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
        ended.set()
        for own in sockets:  # wakes a thread that still waits for the answer
            with suppress(OSError):
                socket.socket.shutdown(own, socket.SHUT_RDWR)
        connection.close()
    if isinstance(found[0], TimeoutError):
        raise ValueError(
            f"Director: the server at {server.address} did not answer within {server.timeout:g} s"
        )
    if isinstance(found[0], ValueError):  # its text may hold the key
        raise ValueError(f"Director: no request can be made of the address '{server.address}'")
    if isinstance(found[0], Exception):
        raise ValueError(
            f"Director: no server answers at {server.address} ({_short(str(found[0]), server)}); start one, "
            "or leave the address empty to divide the text by rules"
        )
    return found[0]


def _connection(server: Server, seconds: float) -> http.client.HTTPConnection:
    parts = urlsplit(server.address)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, parts.port, timeout=seconds)


def _headers(server: Server) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Connection": "close"}
    return {**headers, "Authorization": f"Bearer {server.key}"} if server.key else headers


def _short(text: str, server: Server, most: int = 160) -> str:
    """One line of a text, for a message; without the key, which some servers repeat."""
    line = " ".join((text.replace(server.key, "...") if server.key else text).split())
    return line if len(line) <= most else line[:most] + "..."
