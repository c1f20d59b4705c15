"""The web socket client, against a server written from RFC 6455."""

import base64
import hashlib
import socket
import struct
import threading

import pytest
from choreographer.devtools.websocket import MAGIC, WebSocket, masked


def frame(code: int, data: bytes, final: bool = True) -> bytes:
    """A server's frame: not masked."""
    size = len(data)
    head = struct.pack("!BB", code | final << 7, size if size < 126 else 126 if size < 1 << 16 else 127)
    return head + (b"" if size < 126 else struct.pack("!H" if size < 1 << 16 else "!Q", size)) + data


@pytest.fixture
def serve():
    """Start a server that answers one handshake, sends the given bytes and keeps what it is sent."""
    listener = socket.create_server(("127.0.0.1", 0))
    got = []

    def start(sent: bytes, accept: bool = True) -> tuple[int, list]:
        def run():
            client, _ = listener.accept()
            with client:
                head = client.recv(65536).decode()
                key = next(
                    line.split(": ")[1] for line in head.splitlines() if line.startswith("Sec-WebSocket-Key")
                )
                digest = base64.b64encode(hashlib.sha1((key + MAGIC).encode()).digest()).decode()
                status = "101 Switching Protocols" if accept else "404 Not Found"
                client.sendall(f"HTTP/1.1 {status}\r\nSec-WebSocket-Accept: {digest}\r\n\r\n".encode() + sent)
                client.settimeout(10)
                got.append(head)
                got.append(client.recv(65536))
                client.recv(65536)  # until the client goes

        threading.Thread(target=run, daemon=True).start()
        return listener.getsockname()[1], got

    yield start
    listener.close()


def test_messages_of_every_size_arrive_whole(serve):
    texts = ["{}", "x" * 125, "y" * 126, "z" * 70_000]
    sent = b"".join(frame(1, text.encode()) for text in texts) + frame(2, b"\0\1")
    sent += frame(1, b"two ", final=False) + frame(9, b"ping") + frame(0, b"parts")
    port, _ = serve(sent)
    with WebSocket(port, "/ws?clientId=me") as client:
        assert [client.receive(5) for _ in range(6)] == [*texts, b"\0\1", "two parts"]
        assert client.receive(0.05) is None


def test_a_ping_is_answered_with_a_masked_pong(serve):
    port, got = serve(frame(9, b"hello"))
    with WebSocket(port, "/ws") as client:
        assert client.receive(5) is None
    while len(got) < 2:
        continue
    first, second = got[1][:2]
    assert first == 0x8A and second == 0x80 | 5
    assert masked(got[1][6:], got[1][2:6]) == b"hello"


def test_a_closed_or_refused_connection_is_an_error(serve):
    port, _ = serve(frame(8, b""))
    with WebSocket(port, "/ws") as client, pytest.raises(ConnectionError, match="closed"):
        client.receive(5)
    port, _ = serve(b"", accept=False)
    with pytest.raises(ConnectionError, match="404"):
        WebSocket(port, "/ws")
