"""The part of RFC 6455 that a client needs to listen: handshake, masked frames out, whole messages in."""

import base64
import hashlib
import os
import select
import socket
import struct
from types import TracebackType

MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class WebSocket:
    """A connection to `ws://127.0.0.1:port/path`. `receive` gives messages until the server closes."""

    def __init__(self, port: int, path: str, timeout: float = 30.0):
        """Connect and shake hands.

        Raises:
            ConnectionError: the server refuses, or answers with something else than a web socket.
        """
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.rest = b""
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            (
                f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
            ).encode()
        )
        answer = self._until(b"\r\n\r\n").decode("latin-1")
        expected = base64.b64encode(hashlib.sha1((key + MAGIC).encode()).digest()).decode()
        if " 101 " not in answer.splitlines()[0] or expected not in answer:
            self.socket.close()
            raise ConnectionError(f"no web socket at port {port}: {answer.splitlines()[0]}")

    def __enter__(self) -> "WebSocket":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.socket.close()

    def receive(self, seconds: float) -> str | bytes | None:
        """The next message, text or bytes; None when none begins within that time.

        Raises:
            ConnectionError: the server closed the connection.
        """
        if not self.rest and not select.select([self.socket], [], [], seconds)[0]:
            return None
        kind, parts = None, []
        while True:
            final, code, data = self._frame()
            if code == PING:
                self._send(PONG, data)
                if kind is None:
                    return None
            elif code == CLOSE:
                raise ConnectionError("the server closed the web socket")
            elif code in (CONTINUATION, TEXT, BINARY):
                kind = code or kind
                parts.append(data)
                if final:
                    message = b"".join(parts)
                    return message.decode("utf-8") if kind == TEXT else message
            elif kind is None:
                return None  # a PONG nobody asked for

    def _frame(self) -> tuple[bool, int, bytes]:
        """One frame (RFC 6455 section 5.2): whether it ends its message, its opcode, its data."""
        first, second = self._exactly(2)
        size = second & 127
        if size > 125:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big")
        mask = self._exactly(4) if second & 128 else b""
        return bool(first & 128), first & 15, masked(self._exactly(size), mask)

    def _send(self, code: int, data: bytes) -> None:
        """Send one frame, masked as a client's always are. data: at most 125 bytes, as in control frames."""
        mask = os.urandom(4)
        self.socket.sendall(struct.pack("!BB", 128 | code, 128 | len(data)) + mask + masked(data, mask))

    def _exactly(self, count: int) -> bytes:
        """The next `count` bytes."""
        while len(self.rest) < count:
            self._more()
        data, self.rest = self.rest[:count], self.rest[count:]
        return data

    def _until(self, end: bytes) -> bytes:
        """The bytes up to and with `end`."""
        while end not in self.rest:
            self._more()
        return self._exactly(self.rest.index(end) + len(end))

    def _more(self) -> None:
        """Read what has arrived; ConnectionError at the end of the stream."""
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError("the server closed the connection")
        self.rest += data


def masked(data: bytes, mask: bytes) -> bytes:
    """The data with the mask laid over it repeatedly (RFC 6455 section 5.3); an empty mask does nothing."""
    if not mask:
        return data
    long = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(long, "big")).to_bytes(len(data), "big")
