"""A chat server on 127.0.0.1 that answers as a test wants: well, late, badly, too much."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def message(content):
    """The body of an ordinary answer."""
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode()


class Stub:
    """What the server answers next, and what it was asked."""

    def __init__(self, port):
        self.address = f"http://127.0.0.1:{port}/v1"
        self.answers, self.asked, self.keys = [], [], []
        self.released = threading.Event()

    def prompts(self, *texts):
        """Answer with a list of prompts."""
        self.answers.append((200, message(json.dumps({"prompts": list(texts)})), 0))

    def raw(self, body, status=200, delay=0.0):
        """Answer with these bytes."""
        self.answers.append((status, body if isinstance(body, bytes) else body.encode(), delay))


@contextmanager
def stub_server():
    """Run the server in a thread for the length of a test."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.stub = Stub(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.stub
    finally:
        server.stub.released.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self._send(200, json.dumps({"data": [{"id": "small-model"}]}).encode())

    def do_POST(self):
        stub = self.server.stub
        body = self.rfile.read(int(self.headers["Content-Length"]))
        stub.asked.append(json.loads(body))
        stub.keys.append(self.headers.get("Authorization"))
        status, answer, delay = stub.answers.pop(0) if stub.answers else (200, message("nothing"), 0)
        end = time.monotonic() + delay
        while time.monotonic() < end and not stub.released.wait(0.02):
            pass
        self._send(status, answer)

    def _send(self, status, body):
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # the client has gone
            self.close_connection = True

    def log_message(self, *args):
        """Keep quiet."""
