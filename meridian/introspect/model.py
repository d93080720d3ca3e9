"""What a snapshot says: frozen classes, counts and names, never payloads.

Keys are stable. Within one major `SCHEMA_VERSION` keys are only added, never renamed, removed, or given another meaning.
``None`` means that nobody measured it, and is never a zero in disguise. Times are seconds; ``_s`` says so.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, get_args, get_origin, get_type_hints

from meridian.redaction import redactor
from meridian.runtime.report import EdgeReport, ErrorReport, NodeReport

if TYPE_CHECKING:
    from typing import Self

    from meridian.redaction import Redactor

SCHEMA_VERSION = "1.0"
"""``MAJOR.MINOR`` of the keys below."""


@dataclass(frozen=True, slots=True)
class Shares:
    """How a node spent a stretch of time; the three make 1.

    Attributes:
        busy: In its own code, on the thread of the loop.
        blocked: Waiting for room on an edge behind it, and not busy with something else meanwhile.
        idle: The rest: nothing to do, or waiting for something that it awaits itself.
    """

    busy: float
    blocked: float
    idle: float


@dataclass(frozen=True, slots=True)
class Percentiles:
    """How long something took, in seconds; `p50`, `p90` and `p99` are off by 1/32 at most.

    Attributes:
        p50: The median.
        p90: 9 of 10 took no longer.
        p99: 99 of 100 took no longer.
        most: The longest, exactly.
        n: How many were timed.
    """

    p50: float
    p90: float
    p99: float
    most: float
    n: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One call on the stack of a thread, or of a coroutine: names, no values.

    Attributes:
        function: Qualified name of the function.
        file: Name of its file, without the folder.
        line: The line it is at, or 0 if the interpreter doesn't know.
        own: It is the runtime's own code, and not of who uses it.
    """

    function: str
    file: str
    line: int
    own: bool = False

    def __str__(self) -> str:
        return f"{self.function}, {self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSnapshot(NodeReport):
    """One node: what its report says, and what it is doing.

    Attributes:
        type: What it is: ``function``, ``source``, or the qualified name of its class.
        doing: ``running`` (its code is on the thread now), ``blocked`` (waits for room, or has work and a full output),
            ``working`` (something it awaits goes on), ``paused`` (takes no data for now), ``ready`` (has a message or a tick to handle), ``idle``,
            ``unstarted`` (its turn to start hasn't come), ``starting`` (its ``on_start`` goes on), ``stopping`` (its
            ``on_drain`` or ``on_stop`` does), ``failed`` (could not be started), ``stopped``.
        in_flight: Calls of an asynchronous handler that are under way.
        blocked_s: Seconds that it waited for room on the edges behind it, open waits included, added up over its waits.
        wait_age_s: Age of its oldest wait for room that is still open, or ``None`` where it doesn't wait, or hasn't had the turn
            yet that would find no room.
        shares: How it spent its time since the start, or ``None`` before any time has passed.
        recent: And since the look before, or ``None`` if this is the first.
        handled_per_s: Messages handled per second since the look before.
        produced_per_s: Items a source made per second since the look before.
        last_error: Its last failure, or ``None``.
        hook: ``on_start``, ``on_drain`` or ``on_stop`` while that goes on, or ``None``.
        hook_s: How long it has been going on, or ``None`` if none does.
        waits_in: Where its asynchronous code waits for something of its own: the innermost call outside of asyncio, of the oldest
            call that is under way. ``None`` if nothing waits, if it took or made a message since the look before, or beyond the
            first 100 such nodes.
    """

    type: str
    doing: str
    in_flight: int
    blocked_s: float
    wait_age_s: float | None = None
    shares: Shares | None = None
    recent: Shares | None = None
    handled_per_s: float | None = None
    produced_per_s: float | None = None
    last_error: ErrorReport | None = None
    hook: str | None = None
    hook_s: float | None = None
    waits_in: Frame | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeSnapshot(EdgeReport):
    """One edge: what its report says, where it leads, and how it moves.

    Attributes:
        source: Name of the node it leaves.
        source_port: Its output.
        target: Name of the node it enters.
        target_port: Its input.
        band: ``CONTROL``, ``HIGH`` or ``NORMAL``: who is served first.
        max_bytes: Most bytes that queued data may have together, or ``None`` for no limit.
        max_age_s: Data that waited longer is lost, cause ``expired``; or ``None`` for no limit.
        bytes: Bytes of the data that waits; ``None`` on an edge without a limit in bytes or age, where nobody counts.
        waits: How often somebody began to wait for room.
        waiting: Waits for room that are open.
        wait_age_s: Age of the oldest wait that is open, or ``None`` if none is.
        head_age_s: How long, at least, the oldest data has waited: exact where its coming was timed, or the edge has a limit
            in bytes or age; else since a look first saw it. ``None`` if there is none, or nobody saw it before.
        stalled_s: For how long, as far as this reader saw, the consumer took nothing although something waited. The head may be
            younger: it may have been replaced meanwhile, or have expired. ``None`` if this is the first look.
        accepted_per_s: Items taken responsibility for, per second since the look before.
        delivered_per_s: Items handed to the consumer, per second since the look before.
        lost_per_s: Items lost by any cause, per second since the look before.
        hop_s: How long items spent on the edge, of those that were timed since the first look at the run; ``None`` before any
            was. They stay after the run has ended.
    """

    source: str
    source_port: str
    target: str
    target_port: str
    band: str
    max_bytes: int | None = None
    max_age_s: float | None = None
    bytes: int | None = None
    waits: int = 0
    waiting: int = 0
    wait_age_s: float | None = None
    head_age_s: float | None = None
    stalled_s: float | None = None
    accepted_per_s: float | None = None
    delivered_per_s: float | None = None
    lost_per_s: float | None = None
    hop_s: Percentiles | None = None


@dataclass(frozen=True, slots=True)
class BandSnapshot:
    """One band of the scheduler.

    Attributes:
        name: ``CONTROL``, ``HIGH`` or ``NORMAL``.
        weight: Its share of the slices while all bands have work.
        ready: Turns that wait in it.
    """

    name: str
    weight: int
    ready: int


@dataclass(frozen=True, slots=True)
class SchedulerSnapshot:
    """What the scheduler has to do.

    Attributes:
        bands: The most urgent first.
        ready: Turns that wait in all of them.
        slices: Callbacks of the loop that the run took so far.
        in_flight: Asynchronous calls that are under way.
        open_sources: Sources that may still produce something.
        stopping: A stop was asked for.
    """

    bands: tuple[BandSnapshot, ...]
    ready: int
    slices: int
    in_flight: int
    open_sources: int
    stopping: bool


@dataclass(frozen=True, slots=True)
class LoopSnapshot:
    """The event loop, as seen from outside of it.

    Attributes:
        lag_s: How long the loop took to get to the last callback that a look left with it, or ``None`` before the first was
            answered.
        silent_s: For how long the loop hasn't got round to anything: age of the callback that is still unanswered, or of the
            turn that is still running; of asynchronous code that goes on just now, since it does. 0 if it answers.
        stuck: It has been silent for `STUCK_S` or longer.
        node: The node whose code is on the thread, where that is known.
        stack: If it is stuck, the calls on its thread, outermost first; else empty.
    """

    lag_s: float | None
    silent_s: float
    stuck: bool
    node: str | None = None
    stack: tuple[Frame, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineSnapshot:
    """Which engine runs.

    Attributes:
        name: ``python`` or ``rust``.
        reason: Why that one.
    """

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class CpuSnapshot:
    """Which processors the process may use; see `meridian.runtime.cpu.CpuTopology`.

    Attributes:
        logical: Logical CPUs of the machine, or ``None`` if it doesn't say.
        visible: CPUs that are online and in the process's cpuset.
        visible_source: Where that was read: ``cpuset``, ``online``, ``cpu_count`` or ``default``.
        affinity: CPUs that the affinity mask allows, or ``None`` where there is no such thing.
        quota: CPU time that the cgroup grants, in CPUs, or ``None`` if it sets no limit.
        quota_source: ``cgroup2``, ``cgroup1`` or ``none``.
    """

    logical: int | None
    visible: int
    visible_source: str
    affinity: int | None
    quota: float | None
    quota_source: str


@dataclass(frozen=True, slots=True)
class EventsSnapshot:
    """The events of the process; see `meridian.observability.events`.

    Attributes:
        last: Number of the last one.
        held_back: How many are only counted for now, because they came too fast.
    """

    last: int
    held_back: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One run at one moment.

    Attributes:
        schema_version: Of these keys; see `SCHEMA_VERSION`.
        meridian: Version of the runtime.
        pid: The process.
        run: Id of the run, ``PID-NUMBER``.
        at_s: When, on the run's clock. Only differences mean something.
        wall_s: When, in seconds since 1970.
        status: ``running`` or ``stopped``.
        reason: Why it ended, as in `RunReport`; ``None`` while it runs.
        elapsed_s: Seconds from its start to now, or to its end.
        window_s: Seconds since the look before, over which rates and recent shares are taken; ``None`` if this is the first.
        engine: Which engine runs it, and why.
        cpu: Which processors the process may use, or ``None`` if nobody looked.
        scheduler: What is due.
        loop: How the event loop does.
        nodes: In start order.
        edges: In connect order.
        errors: The most recent failures, oldest first.
        errors_total: All failures.
        events: Where the events of the process have got to.
    """

    schema_version: str
    meridian: str
    pid: int
    run: str
    at_s: float
    wall_s: float
    status: str
    reason: str | None
    elapsed_s: float
    window_s: float | None
    engine: EngineSnapshot
    cpu: CpuSnapshot | None
    scheduler: SchedulerSnapshot
    loop: LoopSnapshot
    nodes: tuple[NodeSnapshot, ...]
    edges: tuple[EdgeSnapshot, ...]
    errors: tuple[ErrorReport, ...]
    errors_total: int
    events: EventsSnapshot

    SHAPES: ClassVar[tuple[type, ...]] = (
        NodeSnapshot,
        EdgeSnapshot,
        Shares,
        Percentiles,
        SchedulerSnapshot,
        BandSnapshot,
        LoopSnapshot,
        Frame,
        EngineSnapshot,
        CpuSnapshot,
        ErrorReport,
        EventsSnapshot,
    )
    """What it is made of, for the schema."""

    def node(self, name: str) -> NodeSnapshot:
        """Return the node of that name.

        Raises:
            KeyError: there is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def edge(self, id: str) -> EdgeSnapshot:
        """Return the edge with that id.

        Raises:
            KeyError: there is none.
        """
        for edge in self.edges:
            if edge.id == id:
                return edge
        raise KeyError(id)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain dicts, lists, texts and numbers, ready for JSON; texts go through the redaction policy.

        Cost: O(nodes + edges).
        """
        return as_plain(self)

    def as_json(self) -> str:
        """Return it as one line of JSON."""
        import json

        return json.dumps(self.as_dict(), separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the snapshot that `as_dict` was made from; keys of a newer minor version are left out.

        Raises:
            ValueError: its schema has another major version, or a number in it is none, or larger than `LARGEST`.
            KeyError, TypeError: it is no snapshot.
        """
        version = str(data["schema_version"])
        if version.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
            raise ValueError(
                f"a snapshot of schema {version} can't be read: this Meridian reads {SCHEMA_VERSION}"
            )
        made: Self = from_plain(cls, data)
        return made


@cache
def _fields(cls: Any) -> tuple[tuple[str, ...], attrgetter[Any]]:
    """Return the names of a class's fields, and what gets their values."""
    names = tuple(field.name for field in fields(cls))
    return names, attrgetter(*names)


class _Shown(dict[str, str]):
    """Texts and what may be shown of them; names come again with every look."""

    def __init__(self, policy: Redactor) -> None:
        self.policy = policy

    def __missing__(self, text: str) -> str:
        shown = self.policy.text(text)
        if len(self) < MOST_TEXTS:
            self[text] = shown
        return shown


MOST_TEXTS = 100_000
"""So many are remembered; an edge has three of its own, a node one."""

_shown = _Shown(redactor())


def shown_texts() -> _Shown:
    """Return what the policy in force shows of texts; an object of its own for each policy."""
    global _shown
    policy = redactor()
    if _shown.policy is not policy:
        _shown = _Shown(policy)
    return _shown


def as_plain(value: Any) -> dict[str, Any]:
    """Return an object made of these classes as plain dicts, lists, texts and numbers; texts as the policy shows them."""
    made: dict[str, Any] = _as_plain(value, shown_texts())
    return made


def _as_plain(value: Any, shown: _Shown) -> Any:
    """Return a value made of these classes as dicts, lists, texts and numbers."""
    cls = value.__class__
    if cls is str:
        return shown[value]
    if cls in _PLAIN:
        return value
    if isinstance(value, (tuple, list)):
        return [_as_plain(each, shown) for each in value]
    if cls is dict:
        return {shown[key]: _as_plain(each, shown) for key, each in value.items()}
    names, values = _fields(cls)
    return {
        # Most are numbers, and most of the others texts: a call for each of those would be half of what this costs.
        name: each
        if (kind := each.__class__) in _PLAIN
        else shown[each]
        if kind is str
        else _as_plain(each, shown)
        for name, each in zip(names, values(value), strict=True)
    }


_PLAIN = frozenset({int, float, bool, type(None)})


@cache
def _hints(cls: Any) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {name: hints[name] for name in _fields(cls)[0]}


@cache
def _row_hints(cls: Any) -> tuple[Any, ...]:
    return tuple(get_type_hints(cls).values())


LARGEST = 1e30
"""No count and no time is larger. Whoever tells of one is broken, or means harm: it would spoil what is calculated from it."""


def from_plain(kind: Any, value: Any) -> Any:
    """Return what `as_plain` was made from, of type ``kind``; what that doesn't know is left out.

    Raises:
        ValueError: a number in it is none, or larger than `LARGEST`.
        KeyError, TypeError: it isn't of that type.
    """
    origin = get_origin(kind)
    if origin is None:
        if hasattr(kind, "__dataclass_fields__"):
            return _object(kind, value)
        return _row(kind, value) if issubclass(kind, tuple) else _simple(kind, value)
    if origin is tuple:
        return tuple(from_plain(get_args(kind)[0], each) for each in _of(list, value))
    if origin is dict:
        key, each = get_args(kind)
        return {_simple(key, name): from_plain(each, of) for name, of in _of(dict, value).items()}
    if value is None:  # of what may be None, the only other origin
        return value
    return from_plain(next(each for each in get_args(kind) if each is not type(None)), value)


def _object(kind: Any, value: Any) -> Any:
    hints, told = _hints(kind), _of(dict, value)
    return kind(**{name: from_plain(hints[name], told[name]) for name in hints if name in told})


def _row(kind: Any, value: Any) -> Any:
    """Return a named tuple; what there is more of is of a newer version."""
    return kind(*map(from_plain, _row_hints(kind), _of(list, value)))


def _simple(kind: type, value: Any) -> Any:
    """Return a text, a number or a truth of that type; a whole number is a float, too."""
    if not (kind is float and value.__class__ is int):
        _of(kind, value)
    if kind in (int, float) and not -LARGEST <= value <= LARGEST:  # nor if it is none
        raise ValueError("a number is out of range")
    return value


def _of(kind: type, value: Any) -> Any:
    if value.__class__ is not kind:
        raise TypeError(f"there is no {kind.__name__} where one should be")
    return value


STUCK_S = 0.5
"""A loop that has been silent for so many seconds is called stuck."""
