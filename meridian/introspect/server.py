"""The socket that other processes look through.

One daemon thread serves all clients of a process. It never waits for the loop of a run, so a stuck one is still visible; it
never waits for a client either. It answers questions, and there is none that changes anything. See decision 0012.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import platform
import re
import selectors
import socket
import stat
import threading
import time
from collections.abc import Callable, Generator, Mapping
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meridian import __version__
from meridian.introspect.errors import ServeError
from meridian.introspect.look import count_all, look_at_all
from meridian.introspect.loop import probe_of
from meridian.introspect.model import SCHEMA_VERSION, STUCK_S, Snapshot, as_plain, shown_texts
from meridian.introspect.taken import fixed_of, take, told
from meridian.introspect.wire import MAX_REQUEST, PROTOCOL, line, socket_directory, socket_path, user_of_peer
from meridian.observability.events import CAPACITY, get_events
from meridian.observability.logging import get_logger
from meridian.runtime.facts import running
from meridian.runtime.threads import expect_more

if TYPE_CHECKING:
    from types import TracebackType

    from meridian.redaction import Redactor

VARIABLE = "MERIDIAN_INSPECT"
"""``1`` opens the socket of the process during each run, a path opens it there."""

MOST_CLIENTS = 16
"""So many are served at a time; more are turned away."""

PATIENCE_S = 10.0
"""A client that hasn't taken its answer after so many seconds is shed."""

SETTLE_S = STUCK_S + 0.1
"""So long the first answer about runs may wait to learn whether its loop is stuck."""

TOGETHER = 64 * 1024
"""Requests that came together are answered together, until the answers have so many bytes."""

_POLL_S = 0.01


class _Client:
    """One connection."""

    __slots__ = (
        "answers",
        "asked",
        "before",
        "connection",
        "due_s",
        "received",
        "settle_until_s",
        "to_send",
        "told",
    )

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.received = bytearray()
        self.answers = bytearray()
        self.to_send = memoryview(b"")
        self.due_s = 0.0
        self.settle_until_s: float | None = None
        self.asked = ""  # what it asked of the runs
        self.before: dict[str, Snapshot] = {}
        self.told: dict[str, Redactor] = {}  # of which runs it knows what is fixed, and under which policy


class Server:
    """A socket that is served; made by `serve`. Close it, or use it as a context manager.

    Attributes:
        path: Where it is.
        shed: How many clients were turned away, or let go because they were too slow.
    """

    def __init__(self, path: Path, listening: socket.socket, now_s: Callable[[], float]) -> None:
        self.path = path
        self.shed = 0
        self.users = 1
        self._pid = os.getpid()
        self._now_s = now_s
        self._listening = listening
        self._clients: dict[int, _Client] = {}
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(listening, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="meridian-inspect", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """Serve no more, once everybody who opened it has closed it."""
        with _opening:
            self.users -= 1
            if self.users or os.getpid() != self._pid:  # a forked child leaves it to its parent
                return
            _servers.pop(self.path, None)
            with contextlib.suppress(OSError):
                self.path.unlink()
            with contextlib.suppress(OSError):
                self._wake.send(b"x")
        self._thread.join()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- the thread ------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            while self._turn():
                pass
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Close what is open; a forked child does so with its copies, which leaves those of its parent alone."""
        self._selector.close()
        for client in list(self._clients.values()):
            client.connection.close()
        for each in (self._listening, self._wake, self._woken):
            each.close()

    def _turn(self) -> bool:
        """Wait for something to do, and do it; return whether to go on."""
        for key, ready in self._selector.select(self._timeout_s()):
            expect_more()
            if key.fileobj is self._woken:
                return False
            if key.fileobj is self._listening:
                self._accept()
                continue
            client = self._clients.get(key.fd)
            if client is not None:
                with self._guarded(client):
                    if ready & selectors.EVENT_READ:
                        self._receive(client)
                    else:
                        self._send(client)
                    self._go_on(client)
        now = self._now_s()
        for client in list(self._clients.values()):
            if not client.to_send and client.settle_until_s is None:
                continue
            with self._guarded(client):
                if client.to_send and now >= client.due_s:
                    self.shed += 1
                    self._drop(client)
                elif client.settle_until_s is not None and (now >= client.settle_until_s or _is_settled()):
                    client.settle_until_s = None
                    self._tell_runs(client)
                    self._go_on(client)
        return True

    @contextlib.contextmanager
    def _guarded(self, client: _Client) -> Generator[None, None, None]:
        """Whatever one client brings about, the others are served."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a reader must not end the service, and may be gone already
            if not isinstance(error, OSError):
                get_logger().warn("introspect.failed", "a client was let go", error_type=type(error).__name__)
            self._drop(client)

    def _timeout_s(self) -> float | None:
        if any(client.settle_until_s is not None for client in self._clients.values()):
            return _POLL_S
        due = [client.due_s for client in self._clients.values() if client.to_send]
        return max(min(due) - self._now_s(), 0.0) if due else None

    def _accept(self) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError:  # it is gone already, or there are no more file descriptors
            return
        client = _Client(connection)
        self._clients[connection.fileno()] = client
        self._selector.register(connection, selectors.EVENT_READ)
        with self._guarded(client):
            connection.setblocking(False)
            if user_of_peer(connection) not in (None, os.geteuid(), 0):
                self._drop(client)
            elif len(self._clients) > MOST_CLIENTS:
                self.shed += 1
                self._refuse(client, "busy", f"{MOST_CLIENTS} clients are served already: try again later")

    def _drop(self, client: _Client) -> None:
        if self._clients.pop(client.connection.fileno(), None) is not None:
            self._selector.unregister(client.connection)
            client.connection.close()
            client.received.clear()

    def _receive(self, client: _Client) -> None:
        try:
            received = client.connection.recv(MAX_REQUEST)
        except BlockingIOError:
            return
        client.received += received
        if not received:
            self._drop(client)
        elif len(client.received) > 2 * MAX_REQUEST:
            self._refuse(client, "too_long", "take the answer before you ask so much more")

    def _go_on(self, client: _Client) -> None:
        """Answer the requests that have come, if the answers before have gone."""
        while not client.to_send:
            while len(client.answers) < TOGETHER and self._ask_next(client):
                pass
            if not client.answers:
                return
            self._send_answers(client)

    def _ask_next(self, client: _Client) -> bool:
        """Answer the next request; return whether there may be one more."""
        if client.settle_until_s is not None:
            return False
        request, newline, rest = client.received.partition(b"\n")
        if len(request) > MAX_REQUEST:
            self._refuse(client, "too_long", f"a request has at most {MAX_REQUEST} bytes")
        elif newline:
            client.received = rest
            self._ask(client, bytes(request))
        return bool(newline)

    def _send_answers(self, client: _Client) -> None:
        client.to_send, client.answers = memoryview(client.answers), bytearray()
        client.due_s = self._now_s() + PATIENCE_S
        self._send(client)

    def _send(self, client: _Client) -> None:
        try:
            sent = client.connection.send(client.to_send)
        except BlockingIOError:
            sent = 0
        client.to_send = client.to_send[sent:]
        # Nothing is read from a client that hasn't taken its answer: so what waits for it is bounded.
        self._selector.modify(
            client.connection, selectors.EVENT_WRITE if client.to_send else selectors.EVENT_READ
        )

    def _refuse(self, client: _Client, error: str, message: str) -> None:
        """Say why, and hang up."""
        self._answer(client, _refusal(error, message))
        self._send_answers(client)
        self._drop(client)

    def _answer(self, client: _Client, answer: dict[str, Any]) -> None:
        client.answers += line(answer)

    # ---- requests --------------------------------------------------------------------------------------------

    def _ask(self, client: _Client, request: bytes) -> None:
        asked = _parsed(request)
        op = asked.get("op")
        if op == "hello":
            self._answer(client, self._hello())
        elif op == "events":
            self._answer(client, _events(asked))
        elif op == "logs":
            self._answer(client, {"ok": True, "records": _legal(get_logger().recent())})
        elif op in ("numbers", "snapshot"):
            client.asked = op
            if _is_settled():
                self._tell_runs(client)
            else:
                client.settle_until_s = self._now_s() + SETTLE_S
        else:
            self._answer(
                client,
                _refusal(
                    "bad_request", "ask for hello, numbers, snapshot, events or logs, in one JSON object"
                ),
            )

    def _hello(self) -> dict[str, Any]:
        return {
            "ok": True,
            "protocol": PROTOCOL,
            "meridian": __version__,
            "python": platform.python_version(),
            "schema_version": SCHEMA_VERSION,
            "pid": os.getpid(),
            "runs": list(running),
            "clients": len(self._clients),
            "shed": self.shed,
        }

    def _tell_runs(self, client: _Client) -> None:
        if client.asked == "numbers":
            self._answer(client, {"ok": True, "runs": _numbers(client)})
            return
        made = look_at_all(client.before)
        client.before = {each.run: each for each in made}
        self._answer(client, {"ok": True, "snapshots": [each.as_dict() for each in made]})


def _numbers(client: _Client) -> list[dict[str, Any]]:
    """Return the numbers of each run, and what is fixed of it if the client wasn't told before."""
    policy, before = shown_texts().policy, client.told
    client.told, made = {}, []
    for facts in count_all():
        of_run = {"run": facts.id, "numbers": told(take(facts))}
        if before.get(facts.id) is not policy:
            of_run["fixed"] = as_plain(fixed_of(facts))
        client.told[facts.id] = policy
        made.append(of_run)
    return made


def _is_settled() -> bool:
    """Say whether it is known of each run how its loop does; leave a callback with those of which it isn't."""
    settled = True
    for run in list(running.values()):
        probe = probe_of(run)
        if probe.lag_ns is None:
            probe.post()
            settled = settled and run.over
    return settled


@lru_cache(maxsize=8)  # who looks again and again asks for the same
def _parsed(request: bytes) -> Mapping[str, Any]:
    try:
        asked: Any = json.loads(request)
    except (ValueError, RecursionError):
        return {}
    return asked if isinstance(asked, dict) else {}


def _events(asked: Mapping[str, Any]) -> dict[str, Any]:
    since, limit = asked.get("since", 0), asked.get("limit", CAPACITY)
    if not all(type(n) is int and 0 <= n < 1 << 63 for n in (since, limit)):
        return _refusal("bad_request", "since and limit are whole numbers that aren't negative")
    batch = get_events().since(since, min(limit, CAPACITY))
    return {
        "ok": True,
        "events": [event.as_dict() for event in batch.events],
        "missed": batch.missed,
        "next": batch.next,
        "held_back": batch.held_back,
    }


def _legal(records: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return records without numbers that JSON has none of."""
    return [
        {key: value for key, value in each.items() if type(value) is not float or isfinite(value)}
        for each in records
    ]


def _refusal(error: str, message: str) -> dict[str, Any]:
    return {"ok": False, "error": error, "message": message}


# ---- opening ---------------------------------------------------------------------------------------------------------

_opening = threading.RLock()
_servers: dict[Path, Server] = {}


def serve(
    path: str | os.PathLike[str] | None = None, *, now_s: Callable[[], float] = time.monotonic
) -> Server:
    """Let other processes of this user look at the runs of this one.

    The socket has mode 0600. Without a path it is named after the process, in a folder of mode 0700 below
    ``XDG_RUNTIME_DIR`` or among the temporary files; sockets that dead processes left there are removed. Opened twice, it is
    served until it was closed twice.

    Args:
        path: Where it is to be, in a folder that exists.
        now_s: Where patience with slow clients takes its time from.

    Raises:
        ServeError: it can't be opened there; the text says why.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise ServeError(
            "this system has no unix sockets: look from inside, with meridian.introspect.snapshot()"
        )
    with _opening:
        place = Path(os.path.abspath(path)) if path is not None else socket_path(os.getpid())
        if (there := _servers.get(place)) is not None:
            there.users += 1
            return there
        try:
            if path is None:
                _prepare(socket_directory())
            _make_way(place)
            listening = _listen(place)
        except OSError as error:
            raise ServeError(f"no socket at {place}: {error.strerror or error}") from error
        server = _servers[place] = Server(place, listening, now_s)
        server.start()
    get_logger().info("introspect.serving", "other processes may look", path=str(place))
    return server


def _prepare(folder: Path) -> None:
    """Make the folder of the sockets private, and remove those of dead processes."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise ServeError(
            f"{folder} is not a folder that only you can enter: remove it, or name another place"
        )
    for entry in folder.iterdir():
        named = re.fullmatch(r"(\d+)\.sock", entry.name)
        if named and not is_alive(int(named[1])):
            with contextlib.suppress(OSError):
                entry.unlink()


def _make_way(place: Path) -> None:
    """Remove a socket that nobody serves any more.

    Raises:
        ServeError: something else is there.
    """
    try:
        found = place.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ServeError(f"{place} is there already, and is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(place))
        except ConnectionRefusedError:
            place.unlink()
            return
        except OSError:
            pass
    raise ServeError(f"another process serves {place}")


def _listen(place: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(str(place))
        os.chmod(place, 0o600)  # before anybody is let in: nobody is, until it listens
        listening.listen(MOST_CLIENTS)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def is_alive(pid: int) -> bool:
    """Say whether there is a process with that number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def serve_run(wanted: bool | str | os.PathLike[str] | None) -> contextlib.AbstractContextManager[object]:
    """Return what serves the socket during a run, if it is wanted.

    Args:
        wanted: Whether or where, or ``None`` to ask `VARIABLE`.

    Raises:
        ServeError: it was asked for by code and can't be opened. What the environment asks for and can't have is only logged.
    """
    asked: Any = os.environ.get(VARIABLE, "") if wanted is None else wanted
    if asked in (False, "", "0"):
        return contextlib.nullcontext()
    try:
        return serve(None if asked in (True, "1") else asked)
    except ServeError as error:
        if wanted is not None:
            raise
        get_logger().warn("introspect.unavailable", "no other process can look", reason=str(error))
        return contextlib.nullcontext()


def _forget_in_child() -> None:
    """A forked child has no thread that serves: it lets go of its copies, and its parent's path stays."""
    global _opening
    _opening = threading.RLock()
    for server in _servers.values():
        server.let_go()
    _servers.clear()


def _remove_paths() -> None:
    for place in list(_servers):
        with contextlib.suppress(OSError):
            place.unlink()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
atexit.register(_remove_paths)
