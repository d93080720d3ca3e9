"""Collecting a bundle: each part is gathered for itself, and one that fails is listed as missing.

Nothing is passed through. Each member is made of declared fields, filled one by one, and every text goes through `Scrub`.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from meridian import __version__
from meridian.core.errors import MeridianError
from meridian.diagnostics.archive import as_json, pack
from meridian.diagnostics.configuration import gather_configuration
from meridian.diagnostics.environment import gather_environment
from meridian.diagnostics.errors import DiagnosticsError
from meridian.diagnostics.manifest import (
    CATALOGUE,
    MANIFEST,
    SCHEMA_VERSION,
    VARIES_IN_MANIFEST,
    Manifest,
    Member,
    Missing,
)
from meridian.diagnostics.read import MAX_MEMBER
from meridian.diagnostics.runtime import Runtime, facts_of, folder_of, variables_of
from meridian.diagnostics.scrub import Scrub
from meridian.diagnostics.target import Loaded, file_of, load_target
from meridian.diagnostics.texts import log_tail, metrics_text
from meridian.diagnostics.topology import Topology, graph_of
from meridian.introspect import (
    Client,
    IntrospectionError,
    NoSocketError,
    Snapshot,
    attach,
    find,
    find_unreachable,
)
from meridian.introspect.wire import socket_path
from meridian.observability.logging import RECENT_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from meridian.introspect import Finding
    from meridian.observability.events import Event
    from meridian.runtime.report import ErrorReport

_Answer = TypeVar("_Answer")

TIMEOUT_S = 10.0
WINDOW_S = 1.0

HIDDEN = "[redacted]"

NOT_ASKED = "no process was named"
NO_TARGET = "no TARGET was named"
NO_RUN = "no run is under way"
NO_LOG = "no log file was named"


@dataclass(frozen=True, slots=True)
class Request:
    """What a bundle is to be about.

    Attributes:
        process: A process by its number, or by the path of its socket; ``None`` for none.
        target: ``module:attribute`` or ``path/to/file.py:attribute``, or ``None``.
        args: What TARGET's own code finds in ``sys.argv[1:]``.
        log: A log file whose end is taken along.
        timeout_s: Most seconds to wait for an answer of the process, and for TARGET to be loaded.
        window_s: Seconds between the two looks.
    """

    process: int | Path | None = None
    target: str | None = None
    args: Sequence[str] = ()
    log: Path | None = None
    timeout_s: float = TIMEOUT_S
    window_s: float = WINDOW_S


@dataclass(frozen=True, slots=True)
class Collected:
    """A bundle that was made.

    Attributes:
        manifest: What is in it.
        content: It, as a zip file.
    """

    manifest: Manifest
    content: bytes


def collect(
    request: Request,
    *,
    tell: Callable[[str, str | None], None] = lambda name, reason: None,
    wall_s: Callable[[], float] = time.time,
    wait: Callable[[float], None] = time.sleep,
) -> Collected:
    """Gather all there is, and pack it.

    Never fails over a part: what can't be had is listed as missing, with the reason.

    Args:
        request: What about.
        tell: Called for each member with its name, and with the reason if it is missing.
        wall_s: Seconds since 1970.
        wait: Lets a number of seconds pass between two looks.
    """
    return _Collection(request, tell, wait).pack(wall_s())


class _NothingThereError(DiagnosticsError):
    """There is nothing to gather, which is no failure."""


class _Collection:
    def __init__(
        self, request: Request, tell: Callable[[str, str | None], None], wait: Callable[[float], None]
    ) -> None:
        self._request = request
        self._tell = tell
        self._wait = wait
        self._members: dict[str, bytes] = {}
        self._missing: dict[str, Missing] = {}
        self._pid = request.process if isinstance(request.process, int) else None
        self._client: Client | None = None
        self._unreached: IntrospectionError | None = None
        self._shots: list[tuple[Snapshot | None, Snapshot]] = []
        self._loaded: Loaded | None = None
        self._connect()
        try:
            folder = self._folder()
            self._scrub = Scrub({"<cwd>": str(folder)})
            self._gather(folder)
        finally:
            self._hang_up()

    def _folder(self) -> Path:
        """Return the folder that the project is looked for in: that of the process, or one's own."""
        try:
            own = Path.cwd()
        except OSError:  # it was removed
            own = Path("/")
        return (folder_of(self._pid) if self._pid is not None else None) or own

    # ---- parts -------------------------------------------------------------------------------------------------

    def _gather(self, folder: Path) -> None:
        request = self._request
        target = None if request.target is None else file_of(request.target)
        variables = None if self._pid is None else variables_of(self._pid)
        parts: dict[str, Callable[[], bytes]] = {
            "configuration.json": lambda: self._json(gather_configuration(folder, target)),
            "environment.json": lambda: self._json(gather_environment(variables)),
            "snapshots.json": self._snapshots,
            "events.json": self._events,
            "logs.json": self._logs,
            "metrics.prom": self._metrics,
            "findings.json": self._findings,
            "runtime.json": self._runtime,
            "issues.json": self._issues,
            "topology.json": self._topology,
            "log.txt": self._log,
        }
        for name, gather in parts.items():
            self._part(name, gather)

    def _connect(self) -> None:
        request = self._request
        if request.process is None:
            return
        try:
            self._client = attach(request.process, timeout_s=request.timeout_s)
        except IntrospectionError as error:
            self._unreached = error
        except OSError as error:  # not even a folder for temporary files, where sockets are looked for
            self._unreached = NoSocketError(f"no socket can be looked for: {error.strerror or error}")
        else:
            self._pid = self._client.pid

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()

    def _ask(self, question: Callable[[Client], _Answer]) -> _Answer:
        """Ask the process something; once it hasn't answered, it isn't asked again.

        Raises:
            _NothingThereError: no process was named.
            IntrospectionError: it can't be reached, or not any more.
        """
        if self._client is None or self._unreached is not None:
            raise self._unreached or _NothingThereError(NOT_ASKED)
        try:
            return question(self._client)
        except IntrospectionError as error:
            self._unreached = error
            raise

    def _snapshots(self) -> bytes:
        first = {shot.run: shot for shot in self._ask(Client.snapshots)}
        self._wait(self._request.window_s)
        try:
            second = {shot.run: shot for shot in self._ask(Client.snapshots)}
        except IntrospectionError:  # the socket is closed when the last run ends
            if not first:
                raise
            second = {}
        # A run that ended meanwhile was seen once, and so was one that began.
        self._shots = [
            (first.get(run) if run in second else None, second.get(run) or first[run])
            for run in {**first, **second}
        ]
        return self._json(
            {"runs": [{"before": _shown(before), "now": _shown(now)} for before, now in self._shots]}
        )

    def _events(self) -> bytes:
        batch = self._ask(Client.events)
        return self._json(
            {
                "events": [_event(each) for each in batch.events],
                "missed": batch.missed,
                "held_back": batch.held_back,
            }
        )

    def _logs(self) -> bytes:
        return self._json({"records": [_record(each) for each in self._ask(Client.logs)]})

    def _metrics(self) -> bytes:
        shots = [now for _, now in self._shots]
        if not shots:
            raise self._without_runs()
        return metrics_text(shots, self._scrub).encode()

    def _without_runs(self) -> Exception:
        """Return why there are no snapshots to go by."""
        if self._has_looked:
            return _NothingThereError(NO_RUN)
        return self._unreached or _NothingThereError(NOT_ASKED)

    @property
    def _has_looked(self) -> bool:
        """The process said how its runs do, also if there are none."""
        return "snapshots.json" in self._members

    def _findings(self) -> bytes:
        if self._unreached is not None and not self._has_looked:
            found = find_unreachable(self._pid, self._unreached)
            return self._json({"findings": [_finding(None, None, found)]})
        if self._client is None:
            raise _NothingThereError(NOT_ASKED)
        made: list[dict[str, Any]] = []
        for before, now in self._shots:
            # What is the matter now, and then what was in the course of the run.
            lately = () if before is None else find(now, before)
            known = {(each.rule, each.node, each.edge) for each in lately}
            made += [_finding(now.run, "window", each) for each in lately]
            made += [
                _finding(now.run, "run", each)
                for each in find(now)
                if (each.rule, each.node, each.edge) not in known
            ]
        return self._json({"findings": made})

    def _runtime(self) -> bytes:
        if self._request.process is None:
            raise _NothingThereError(NOT_ASKED)
        facts: dict[str, Any] = {} if self._pid is None else facts_of(self._pid)
        client = self._client
        if client is None:
            return self._json(Runtime(pid=self._pid, answered=False, **facts))
        usual = client.path == socket_path(client.pid)
        return self._json(
            Runtime(
                pid=client.pid,
                answered=self._has_looked,
                meridian=client.meridian,
                runs=client.runs,
                socket="default" if usual else "named",
                **facts,
            )
        )

    def _issues(self) -> bytes:
        request = self._request
        if request.target is None:
            raise _NothingThereError(NO_TARGET)
        self._loaded = load_target(request.target, request.args, request.timeout_s)
        return self._json(self._loaded.issues)

    def _topology(self) -> bytes:
        graphs = [graph_of(now) for _, now in self._shots]
        if self._loaded is not None and self._loaded.graph is not None:
            graphs.append(self._loaded.graph)
        if graphs:
            return self._json(Topology(tuple(graphs)))
        if self._loaded is not None:
            raise DiagnosticsError("the graph of TARGET isn't valid: see issues.json")
        without = [self._missing[name] for name in ("snapshots.json", "issues.json") if name in self._missing]
        if failed := [each.reason for each in without if each.failed]:
            raise DiagnosticsError("; ".join(failed))
        raise _NothingThereError(NO_RUN if self._client is not None else f"{NOT_ASKED}, and {NO_TARGET}")

    def _log(self) -> bytes:
        if self._request.log is None:
            raise _NothingThereError(NO_LOG)
        return log_tail(self._request.log, self._scrub).encode("utf-8", "replace")

    # ---- what holds them together ------------------------------------------------------------------------------

    def _part(self, name: str, gather: Callable[[], bytes]) -> None:
        """Gather one member; whatever fails makes it missing, and nothing else."""
        try:
            content = gather()
            if len(content) > MAX_MEMBER:
                raise DiagnosticsError(f"it would have {len(content):,} bytes")
        except Exception as error:  # noqa: BLE001 - a part that fails is told, and the others are gathered
            reason = self._scrub.text(_reason(error))
            self._missing[name] = Missing(name, reason, not isinstance(error, _NothingThereError))
            self._tell(name, reason)
        else:
            self._members[name] = content
            self._tell(name, None)

    def _json(self, value: Any) -> bytes:
        return as_json(self._scrub.plain(value))

    def pack(self, now_s: float) -> Collected:
        """Return what was gathered."""
        policy = self._scrub.policy
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            made_by=f"meridian {__version__}",
            made_at=datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            members=tuple(
                Member(kind.name, kind.means, len(content), hashlib.sha256(content).hexdigest())
                for kind in CATALOGUE
                if (content := self._members.get(kind.name)) is not None
            ),
            missing=tuple(self._missing[name] for name in sorted(self._missing)),
            policy=self._scrub.text(policy.name),
            exposes=tuple(each.what for each in policy.expose),
            scrubbed=self._scrub.counts(),
            varies=(
                *VARIES_IN_MANIFEST,
                *(path for kind in CATALOGUE if kind.name in self._members for path in kind.varies),
            ),
        )
        members = {MANIFEST: as_json(asdict(manifest)), **self._members}
        return Collected(manifest, pack(members))


def _reason(error: Exception) -> str:
    """Say why a part failed, without what a stranger's code may have written into it."""
    if isinstance(error, MeridianError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


# ---- what is said about errors ----------------------------------------------------------------------------------------


def _finding(run: str | None, over: str | None, finding: Finding) -> dict[str, Any]:
    """Return a finding with the run it is about, and whether that is so between the looks or over the whole run."""
    return {"run": run, "over": over, **_fields(finding)}


def _fields(value: Any) -> dict[str, Any]:
    """Return the declared fields of one of our dataclasses; what is in them stays as it is."""
    return {each.name: getattr(value, each.name) for each in fields(value)}


def _shown(shot: Snapshot | None) -> dict[str, Any] | None:
    """Return the fields of a snapshot; texts of errors that aren't Meridian's own are hidden, whatever the process shows."""
    if shot is None:
        return None
    made = _fields(shot)
    made["errors"] = [_error(each) for each in shot.errors]
    made["nodes"] = [
        {**_fields(node), "last_error": None if node.last_error is None else _error(node.last_error)}
        for node in shot.nodes
    ]
    return made


def _error(error: ErrorReport) -> dict[str, Any]:
    made = _fields(error)
    made["message"] = _message(error.type, error.message)
    return made


def _event(event: Event) -> dict[str, Any]:
    made = {field.name: value for field in fields(event) if (value := getattr(event, field.name)) is not None}
    if "message" in made:
        made["message"] = _message(str(event.error), str(event.message))
    return made


def _message(kind: str, text: str) -> str:
    """Return the text of an error of Meridian's own, which has no payload; a process may have been told to show others, too."""
    return text if kind.startswith("meridian.core.errors.") else HIDDEN


def _record(record: Mapping[str, object]) -> dict[str, object]:
    """Return the known keys of a log record, where they hold plain values."""
    return {
        key: record[key]
        for key in RECENT_KEYS
        if key in record and isinstance(record[key], (str, int, float, bool))
    }
