"""Looking at a run of another process."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meridian.introspect.errors import (
    BadAnswerError,
    ConnectionLostError,
    IntrospectionError,
    NoAnswerError,
    NoSocketError,
    NoSuchProcessError,
    NothingRunsError,
    NotPermittedError,
    OtherVersionError,
)
from meridian.introspect.look import tell
from meridian.introspect.model import SCHEMA_VERSION, from_plain
from meridian.introspect.taken import Fixed, Numbers
from meridian.introspect.wire import MAX_ANSWER, PROTOCOL, line, socket_path, user_of_peer
from meridian.observability.events import CAPACITY, Batch, Event

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType

    from meridian.introspect.model import Snapshot

_HOW = "start the process with MERIDIAN_INSPECT=1, meridian run --inspect, or Scheduler(inspect=True)"


def attach(target: int | str | os.PathLike[str], *, timeout_s: float = 3.0) -> Client:
    """Look at the runs of another process.

    Args:
        target: Its number, or the path of its socket.
        timeout_s: Most seconds that it may take for an answer, this time and later.

    Raises:
        NoSuchProcessError, NoSocketError, NotPermittedError: there is nothing to connect to, or it isn't yours.
        NoAnswerError: the process is stopped, or something holds its interpreter.
        OtherVersionError, BadAnswerError: what answers isn't a Meridian that this one understands.
    """
    pid = target if isinstance(target, int) else None
    place = Path(target) if not isinstance(target, int) else socket_path(target)
    if pid is not None:
        _check_process(pid)
    connection = socket.socket(socket.AF_UNIX)
    try:
        _connect(connection, place, pid, timeout_s)
        return Client(connection, place, pid, timeout_s)
    except BaseException:
        connection.close()
        raise


def _connect(connection: socket.socket, place: Path, pid: int | None, timeout_s: float) -> None:
    who, it = (str(place), "it") if pid is None else (f"process {pid}", str(place))
    connection.settimeout(timeout_s)
    try:
        connection.connect(str(place))
        user = user_of_peer(connection)
    except FileNotFoundError:
        said = f"nobody serves {place}" if pid is None else f"{who} serves no socket at {place}"
        raise NoSocketError(f"{said}: {_HOW}") from None
    except PermissionError:
        raise NotPermittedError(f"you may not look at {who}: {it} belongs to somebody else") from None
    except ConnectionRefusedError:
        raise NoSocketError(f"nobody serves {place}: it is no socket, or its process has died") from None
    except (TimeoutError, BlockingIOError):
        raise NoAnswerError(_silence(pid, timeout_s)) from None
    except OSError as error:
        raise NoSocketError(f"no connection to {place}: {error.strerror or error}") from None
    if user is not None and user not in (os.geteuid(), 0):
        raise NotPermittedError(f"{place} is served by another user: it may tell anything")


class Client:
    """A connection to another process; made by `attach`. Close it, or use it as a context manager.

    It asks for bare numbers, and works out here what they say: so a look costs the other process little. Rates are those since this
    client's own last look. After an error of the connection it is closed.

    Attributes:
        path: The socket.
        pid: The process, as it says.
        meridian: Its version of the runtime.
        python: Its version of Python, or ``None`` where an older runtime doesn't say.
        runs: Ids of the runs that were under way when it was connected.
        shed: How many clients that process had turned away or let go by then.
    """

    def __init__(self, connection: socket.socket, path: Path, pid: int | None, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._received = bytearray()
        self._asked_for = pid
        self._fixed: dict[str, Fixed] = {}
        self._before: dict[str, Snapshot] = {}
        self.path = path
        (said,) = self._ask({"op": "hello", "protocol": PROTOCOL})
        try:
            self.pid, self.meridian, self.runs, self.shed = (
                int(said["pid"]),
                str(said["meridian"]),
                tuple(map(str, said["runs"])),
                int(said["shed"]),
            )
            python = said.get("python")
            self.python = None if python is None else str(python)
            protocol, schema = said["protocol"], str(said["schema_version"])
        except (KeyError, TypeError, ValueError, OverflowError):
            raise BadAnswerError(f"what answers at {path} is no Meridian") from None
        if protocol != PROTOCOL or schema.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
            raise OtherVersionError(
                f"process {self.pid} runs Meridian {self.meridian} (protocol {protocol}, snapshots {schema}): this one "
                f"understands protocol {PROTOCOL} and snapshots {SCHEMA_VERSION}"
            )

    def look(self, since: int = 0) -> tuple[tuple[Snapshot, ...], Batch]:
        """Take a snapshot of each run that is under way, and return the events after number ``since``.

        As `snapshots` and `events`, but asked for together: that costs the process less than asking twice.

        Raises:
            ValueError: ``since`` is negative.
            NoAnswerError, BadAnswerError: the connection is of no use any more.
        """
        shots, batch = self._ask(_NUMBERS, _events(since, CAPACITY))
        return self._shots(shots), self._batch(batch)

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Take a snapshot of each run that is under way.

        Raises:
            NoAnswerError, BadAnswerError: the connection is of no use any more.
        """
        (said,) = self._ask(_NUMBERS)
        return self._shots(said)

    def snapshot(self, run: str | None = None) -> Snapshot:
        """Take a snapshot of one run; without its id, of the only one.

        Raises:
            NothingRunsError: there is none, or none with that id, or several and it isn't said which.
            NoAnswerError, BadAnswerError: as `snapshots`.
        """
        shots = self.snapshots()
        found = [shot for shot in shots if run in (None, shot.run)]
        if len(found) == 1:
            return found[0]
        there = ", ".join(shot.run for shot in shots)
        if run is not None:
            raise NothingRunsError(f"process {self.pid} has no run {run}; under way: {there or 'none'}")
        if not there:
            raise NothingRunsError(f"no run is under way in process {self.pid}")
        raise NothingRunsError(f"{len(shots)} runs are under way in process {self.pid}, say which of {there}")

    def events(self, since: int = 0, limit: int = CAPACITY) -> Batch:
        """Return events after number ``since``; see `EventLog.since`.

        Raises:
            ValueError: ``since`` or ``limit`` is negative.
            NoAnswerError, BadAnswerError: as `snapshots`.
        """
        (said,) = self._ask(_events(since, limit))
        return self._batch(said)

    def logs(self) -> list[dict[str, object]]:
        """Return the records that process logged last, oldest first; see `Logger.recent`.

        Raises:
            NoAnswerError, BadAnswerError: as `snapshots`; a process of an older version refuses.
        """
        (said,) = self._ask({"op": "logs"})
        records = said.get("records")
        if not isinstance(records, list) or not all(isinstance(each, dict) for each in records):
            raise self._nonsense()
        return records

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, *requests: dict[str, Any]) -> list[dict[str, Any]]:
        """Send requests together, and return their answers."""
        try:
            self._send(b"".join(map(line, requests)))
            return [self._answer() for _ in requests]
        except IntrospectionError:
            self.close()
            raise

    def _send(self, requests: bytes) -> None:
        with self._explained():
            self._connection.settimeout(self._timeout_s)
            # It may have hung up before it was asked; why it did so is there to be read.
            with suppress(BrokenPipeError):
                self._connection.sendall(requests)

    def _answer(self) -> dict[str, Any]:
        try:
            answer: Any = json.loads(self._line())
        except (ValueError, RecursionError):
            raise self._nonsense() from None
        if not isinstance(answer, dict):
            raise self._nonsense()
        if answer.get("ok") is not True:
            raise NoAnswerError(f"{self.path} refused: {str(answer.get('message', 'no reason given'))[:300]}")
        return answer

    def _line(self) -> bytes:
        """Return the next line that comes."""
        connection, received = self._connection, self._received
        until_s = time.monotonic() + self._timeout_s
        with self._explained():
            while (end := received.find(b"\n")) < 0:
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError
                connection.settimeout(left_s)
                more = connection.recv(1 << 20)
                if not more:
                    raise ConnectionLostError(
                        f"the answer of {self.path} was cut short: its process ended, or let us go"
                    )
                received += more
                if len(received) > MAX_ANSWER:
                    raise BadAnswerError(f"the answer of {self.path} is longer than {MAX_ANSWER} bytes")
        answer = bytes(received[:end])
        del received[: end + 1]
        return answer

    @contextmanager
    def _explained(self) -> Generator[None, None, None]:
        """Say what an error of the connection means."""
        try:
            yield
        except TimeoutError:
            raise NoAnswerError(_silence(self._asked_for, self._timeout_s)) from None
        except OSError as error:
            text = f"the connection to {self.path} is broken: {error.strerror or error}"
            raise ConnectionLostError(text) from None

    def _shots(self, said: dict[str, Any]) -> tuple[Snapshot, ...]:
        fixed, shots = {}, []
        try:
            for each in said["runs"]:
                run = each["run"]
                of = from_plain(Fixed, each["fixed"]) if "fixed" in each else self._fixed[run]
                fixed[run] = of
                shots.append(tell(of, from_plain(Numbers, each["numbers"]), self._before.get(run)))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError):
            raise self._nonsense() from None
        self._fixed, self._before = fixed, {shot.run: shot for shot in shots}
        return tuple(shots)

    def _batch(self, said: dict[str, Any]) -> Batch:
        known = Event.__dataclass_fields__
        try:
            events = tuple(
                Event(**{key: value for key, value in each.items() if key in known})
                for each in said["events"]
            )
            return Batch(events, int(said["missed"]), int(said["next"]), int(said["held_back"]))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise self._nonsense() from None

    def _nonsense(self) -> BadAnswerError:
        self.close()
        return BadAnswerError(f"an answer of {self.path} makes no sense")


_NUMBERS = {"op": "numbers"}


def _events(since: int, limit: int) -> dict[str, Any]:
    if since < 0 or limit < 0:
        raise ValueError(f"since={since}, limit={limit}: neither may be negative")
    return {"op": "events", "since": since, "limit": limit}


def _check_process(pid: int) -> None:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        raise NoSuchProcessError(f"there is no process {pid}") from None
    except PermissionError:
        raise NotPermittedError(f"process {pid} belongs to another user") from None


def _silence(pid: int | None, timeout_s: float) -> str:
    who = "the process" if pid is None else f"process {pid}"
    text = f"{who} didn't answer within {timeout_s:g} s"
    if pid is not None and _is_stopped(pid):
        return f"{text}: it is stopped (kill -CONT {pid} lets it go on)"
    return f"{text}: it may be stopped, or something holds its interpreter"


def _is_stopped(pid: int) -> bool:
    try:
        said = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return said.rpartition(")")[2].split()[:1] in (["T"], ["t"])
