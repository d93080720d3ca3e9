"""What tests of nodes that talk need: servers on the loopback, and an environment that sends nobody elsewhere."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from meridian.observability import logging

REDIS = shutil.which("redis-server")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    kept = logging.get_logger().config
    stream = io.StringIO()
    logging.replace_config(logging.LogConfig(stream=stream))
    logging.get_logger()._limits.clear()
    yield stream
    logging.replace_config(kept)


@pytest.fixture
def records(log: io.StringIO) -> Callable[[], list[dict[str, Any]]]:
    """Returns what was logged so far."""
    return lambda: [json.loads(line) for line in log.getvalue().splitlines()]


class Script:
    """A server that answers one connection after the other as it was told, whatever is asked.

    Attributes:
        requests: What was asked: head and body as they came.
    """

    def __init__(self, replies: tuple[bytes | Callable[[socket.socket], None], ...]) -> None:
        self._replies = replies
        self.requests: list[tuple[str, bytes]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        for reply in self._replies:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed: the test is over
                return
            with connection:
                self.requests.append(_request(connection))
                try:
                    if callable(reply):
                        reply(connection)
                    else:
                        connection.sendall(reply)
                except OSError:
                    pass  # the client went away

    def close(self) -> None:
        try:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        except OSError:
            pass
        self._listener.close()
        self._thread.join(10)
        assert not self._thread.is_alive()


def _request(connection: socket.socket) -> tuple[str, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return "", b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    text = head.decode("latin-1")
    length = next(
        (int(line.split(":")[1]) for line in text.splitlines() if line.lower().startswith("content-length")),
        0,
    )
    while len(body) < length:
        body += connection.recv(65536)
    return text, body


def response(body: bytes = b"", status: str = "200 OK", *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


@pytest.fixture
def script() -> Iterator[Callable[..., Script]]:
    """Starts servers that follow a script."""
    made: list[Script] = []

    def start(*replies: bytes | Callable[[socket.socket], None]) -> Script:
        made.append(Script(replies))
        return made[-1]

    start.response = response
    yield start
    for each in made:
        each.close()


class Redis:
    """A Redis of its own on a socket file, which writes everything down before it answers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = f"unix://{folder}/redis.sock"
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                REDIS, "--port", "0", "--unixsocket", f"{self._folder}/redis.sock", "--dir", str(self._folder),
                "--save", "", "--appendonly", "yes", "--appendfsync", "always",
            ],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        for line in self._process.stdout:
            if "ready to accept connections" in line.lower():
                return
        raise AssertionError("redis-server did not start")

    def kill(self) -> None:
        self._process.kill()
        self.wait()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self.wait()

    def wait(self) -> None:
        self._process.communicate(timeout=30)


@pytest.fixture
def redis_server() -> Iterator[Redis]:
    if REDIS is None:
        if os.environ.get("CI"):
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="redis") as folder:  # short: a socket's path has 108 bytes
        server = Redis(Path(folder))
        yield server
        server.stop()
