"""Which metrics there are of runs, and what they say; every adapter exports these.

Nothing is counted for them: a reader takes one look at the runs of the process and derives all numbers from it. So they belong together:
on each edge ``accepted = delivered + depth + merged + lost`` holds within one reading.

Names are dotted, as OpenTelemetry wants them. Prometheus derives its own from them; see `exposition_name`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from meridian.introspect.look import look_at_all
from meridian.observability.events import get_events
from meridian.redaction import redactor

if TYPE_CHECKING:
    from meridian.core.scheduler import Scheduler
    from meridian.introspect.model import EdgeSnapshot, NodeSnapshot, Snapshot
    from meridian.redaction import Redactor

__all__ = ["CATALOGUE", "Metric", "Point", "Reader", "exposition_name"]


class Point(NamedTuple):
    """One number of a metric.

    Attributes:
        labels: Which one it is of; values went through the redaction policy.
        value: The number.
    """

    labels: dict[str, str]
    value: float


Reading = tuple[tuple[str, ...], float]
"""Values of the labels that a metric has beyond those of the thing it is of, and a number."""


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """One metric.

    Attributes:
        name: Dotted and stable, without a unit.
        kind: ``counter`` (only grows during a run), ``gauge``, ``info`` (a gauge that is always 1: its labels are what it says) or
            ``quantiles`` (a gauge for each value of its label ``quantile``).
        unit: ``s``, ``By``, or empty for a number of things.
        what: What it says, in a sentence.
        of: ``process``, ``run``, ``node``, ``edge`` or ``band``: there is at most one of it for each, and for each value of `more`.
        more: Labels beyond the one that names the thing.
        read: Gives its numbers for one thing; a thing that nobody measured has none.
    """

    name: str
    kind: str
    unit: str
    what: str
    of: str
    more: tuple[str, ...]
    read: Callable[[Any], Iterable[Reading]]

    @property
    def labels(self) -> tuple[str, ...]:
        """All of its labels."""
        return (*LABELS_OF[self.of], *self.more)


LABELS_OF: Mapping[str, tuple[str, ...]] = {
    "process": (),
    "run": (),
    "band": ("band",),
    "node": ("node",),
    "edge": ("edge_id",),
}
"""The label that names a thing."""

SERIES = "series"
"""Label that keeps apart what would else be one series: a further run of the process, or names that look the same once they are redacted."""

_UNIT_NAMES = {"s": "seconds", "By": "bytes"}


def exposition_name(metric: Metric) -> str:
    """Return the name in the Prometheus format: with underscores, the unit, and ``_total`` or ``_info`` where its rules want that."""
    name = metric.name.replace(".", "_")
    if metric.unit:
        name = f"{name}_{_UNIT_NAMES[metric.unit]}"
    if metric.kind in ("counter", "info"):
        name += "_total" if metric.kind == "counter" else "_info"
    return name


# ---- what there is ---------------------------------------------------------------------------------------------------


class _NodeSeen(NamedTuple):
    node: NodeSnapshot
    spent: _Spent


class _Process(NamedTuple):
    runs: int
    cpu: Any
    events: int
    held_back: int


def _one(of: Callable[[Any], float | None]) -> Callable[[Any], Iterable[Reading]]:
    """Return what reads a single number, or none where it is ``None``."""

    def read(thing: Any) -> Iterable[Reading]:
        value = of(thing)
        return () if value is None else (((), value),)

    return read


def _metrics(
    of: str, *rows: tuple[str, str, str, str, tuple[str, ...], Callable[[Any], Any]]
) -> Iterator[Metric]:
    for name, kind, unit, what, more, read in rows:
        yield Metric(f"meridian.{name}", kind, unit, what, of, more, read if more else _one(read))


_STATES = ("unstarted", "started", "stopped", "failed")
_DOINGS = (
    "running", "blocked", "starting", "stopping", "working", "paused", "ready", "idle", "unstarted", "failed", "stopped",
)  # fmt: skip
_CAUSE_OF_POLICY = {"drop": "dropped", "latest": "replaced", "coalesce": "coalesce_error"}


def _build(process: _Process) -> Iterable[Reading]:
    from meridian import __version__

    yield (__version__, platform.python_version(), platform.python_implementation().lower()), 1


def _affinity(process: _Process) -> float | None:
    cpu = process.cpu
    if cpu is None:
        return None
    visible: int = cpu.visible
    return visible if cpu.affinity is None else cpu.affinity


def _doings(run: Snapshot) -> Iterable[Reading]:
    numbers: dict[str, int] = dict.fromkeys(_DOINGS, 0)
    for node in run.nodes:
        numbers[node.doing] += 1
    return [((doing,), n) for doing, n in numbers.items()]


def _lost(edge: EdgeSnapshot) -> Iterable[Reading]:
    # Causes that are to be expected stand at 0 before the first loss: else nobody would see it as an increase.
    lost: dict[str, int] = {}
    if edge.policy in _CAUSE_OF_POLICY:
        lost[_CAUSE_OF_POLICY[edge.policy]] = 0
    if edge.max_age_s is not None:
        lost["expired"] = 0
    lost.update(edge.lost)
    return [((cause,), n) for cause, n in lost.items()]


def _hops(edge: EdgeSnapshot) -> Iterable[Reading]:
    hop = edge.hop_s
    if hop is None:
        return ()
    return (("0.5",), hop.p50), (("0.9",), hop.p90), (("0.99",), hop.p99), (("1",), hop.most)


CATALOGUE: tuple[Metric, ...] = (
    *_metrics(
        "process",
        ("build", "info", "", "Version of Meridian, and what it runs on.", ("version", "python", "implementation"), _build),
        ("runs", "gauge", "", "Runs that are under way.", (), lambda p: p.runs),
        ("runtime.cpu.visible", "gauge", "", "CPUs that are online and in the cpuset of the process.", (),
         lambda p: None if p.cpu is None else p.cpu.visible),
        ("runtime.cpu.affinity_count", "gauge", "", "CPUs that the affinity mask allows; all visible ones where there is no mask.", (),
         _affinity),
        ("runtime.cpu.quota", "gauge", "", "CPU time that the cgroup grants, in CPUs; missing where it sets no limit.", (),
         lambda p: None if p.cpu is None else p.cpu.quota),
        ("events", "counter", "", "Events of the process so far; see the events of introspection.", (), lambda p: p.events),
        ("events.held_back", "gauge", "", "Events that are only counted for now, because they came too fast.", (),
         lambda p: p.held_back),
    ),
    *_metrics(
        "run",
        ("engine", "info", "", "Which engine runs the graph.", ("engine",), lambda run: [((run.engine.name,), 1)]),
        ("run.elapsed", "gauge", "s", "Seconds since the run began, or that it took.", (), lambda run: run.elapsed_s),
        ("run.errors", "counter", "", "Failures of the code of all nodes of the run.", (), lambda run: run.errors_total),
        ("nodes", "gauge", "", "Nodes by what they are doing.", ("doing",), _doings),
        ("scheduler.slices", "counter", "", "Callbacks of the event loop that the run took.", (), lambda run: run.scheduler.slices),
        ("scheduler.in_flight", "gauge", "", "Asynchronous calls that are under way.", (), lambda run: run.scheduler.in_flight),
        ("scheduler.open_sources", "gauge", "", "Sources that may still produce something.", (),
         lambda run: run.scheduler.open_sources),
        ("scheduler.stopping", "gauge", "", "1 after a stop was asked for, else 0.", (), lambda run: int(run.scheduler.stopping)),
        ("loop.lag", "gauge", "s", "How long the event loop took to get to the last callback that a look left with it.", (),
         lambda run: run.loop.lag_s),
        ("loop.silent", "gauge", "s", "For how long the event loop hasn't got round to anything; 0 if it answers.", (),
         lambda run: run.loop.silent_s),
        ("loop.stuck", "gauge", "", "1 if the event loop has been silent for half a second or longer, else 0.", (),
         lambda run: int(run.loop.stuck)),
    ),
    *_metrics(
        "band",
        ("scheduler.ready", "gauge", "", "Turns that wait to be served in the band.", (), lambda band: band.ready),
    ),
    *_metrics(
        "node",
        ("node.state", "gauge", "", "1 for the state that the node is in, else 0.", ("state",),
         lambda seen: [((state,), int(seen.node.state == state)) for state in _STATES]),
        ("node.time", "counter", "s", "How the node spent its time: busy, blocked, idle, which add up to the time of the run.", ("activity",),
         lambda seen: [((activity,), value) for activity, value in seen.spent._asdict().items()]),
        ("node.handled", "counter", "", "Messages handed to the node.", (), lambda seen: seen.node.handled),
        ("node.produced", "counter", "", "Items that the node made as a source.", (), lambda seen: seen.node.produced),
        ("node.errors", "counter", "", "Failures of the node's code.", (), lambda seen: seen.node.errors),
        ("node.slices", "counter", "", "Turns that the node had.", (), lambda seen: seen.node.slices),
        ("node.unrouted", "counter", "", "Emissions of the node on ports that lead nowhere.", (), lambda seen: seen.node.unrouted),
        ("node.parked", "gauge", "", "Emissions of the node that wait for room.", (), lambda seen: seen.node.parked),
        ("node.in_flight", "gauge", "", "Calls of the node's asynchronous handler that are under way.", (), lambda seen: seen.node.in_flight),
    ),
    *_metrics(
        "edge",
        ("edge", "info", "", "Where the edge leads, what it does when it is full, and its band.",
         ("source_node", "target_node", "policy", "band"),
         lambda edge: [((edge.source, edge.target, edge.policy, edge.band), 1)]),
        ("edge.depth", "gauge", "", "Messages that wait on the edge.", (), lambda edge: edge.depth),
        ("edge.capacity", "gauge", "", "Most messages that the edge holds.", (), lambda edge: edge.capacity),
        ("edge.accepted", "counter", "", "Messages that the edge took responsibility for.", (), lambda edge: edge.accepted),
        ("edge.delivered", "counter", "", "Messages that the edge handed to its consumer.", (), lambda edge: edge.delivered),
        ("edge.merged", "counter", "", "Messages merged into others on the edge.", (), lambda edge: edge.merged),
        ("edge.lost", "counter", "", "Messages lost on the edge, by cause.", ("cause",), _lost),
        ("edge.waits", "counter", "", "How often somebody began to wait for room on the edge.", (), lambda edge: edge.waits),
        ("edge.blocked", "counter", "s", "Time that was waited for room on the edge, open waits included, added up over waits.", (),
         lambda edge: edge.blocked_s),
        ("edge.waiting", "gauge", "", "Waits for room on the edge that are open.", (), lambda edge: edge.waiting),
        ("edge.wait_age", "gauge", "s", "Age of the oldest open wait for room on the edge; 0 if there is none.", (),
         lambda edge: edge.wait_age_s or 0.0),
        ("edge.head_age", "gauge", "s", "How long the oldest message on the edge has waited; missing if there is none or nobody notes it.", (),
         lambda edge: edge.head_age_s),
        ("edge.hop", "quantiles", "s", "How long messages spent on the edge; missing where nobody times them.", ("quantile",), _hops),
        ("edge.hop.timed", "counter", "", "Messages whose time on the edge was measured; missing where nobody times them.", (),
         lambda edge: None if edge.hop_s is None else edge.hop_s.n),
        ("edge.size", "gauge", "By", "Size of what waits on the edge; missing where nobody counts it.", (),
         lambda edge: edge.bytes),
        ("edge.size_limit", "gauge", "By", "Most bytes that may wait on the edge together; missing where there is no limit.", (),
         lambda edge: edge.max_bytes),
    ),
)  # fmt: skip
"""All of them, in the order in which they are shown."""

_OF: Mapping[str, tuple[Metric, ...]] = {
    of: tuple(metric for metric in CATALOGUE if metric.of == of) for of in LABELS_OF
}


# ---- reading ---------------------------------------------------------------------------------------------------------


_NODE_COUNTS = ("handled", "produced", "errors", "unrouted", "slices")
_EDGE_COUNTS = ("accepted", "delivered", "merged", "waits", "blocked_s")
_Seen = TypeVar("_Seen", "NodeSnapshot", "EdgeSnapshot")


class _Spent(NamedTuple):
    """Seconds of a node so far; they add up to the time of the run."""

    busy: float = 0.0
    blocked: float = 0.0
    idle: float = 0.0


def _no_less(now: _Seen, shown: _Seen, counts: tuple[str, ...] = _NODE_COUNTS) -> _Seen:
    """Return ``now`` with no count less than was shown before."""
    less = {name: old for name in counts if getattr(now, name) < (old := getattr(shown, name))}
    return replace(now, **less) if less else now


def _in_order(now: EdgeSnapshot, shown: EdgeSnapshot) -> EdgeSnapshot:
    """Return an edge as after the look that was shown before.

    A look may find a batch that was taken and of which a part comes back, so that the next one finds less delivered; or one that
    is on its way. A backend takes a counter that shrinks for one that began anew, and sees everything once more. So no count
    shrinks, and the depth is what makes them add up.
    """
    now = _no_less(now, shown, _EDGE_COUNTS)
    if any(now.lost.get(cause, 0) < n for cause, n in shown.lost.items()):
        now = replace(
            now, lost={**now.lost, **{c: max(n, now.lost.get(c, 0)) for c, n in shown.lost.items()}}
        )
    gone = now.delivered + now.merged + sum(now.lost.values())
    if now.accepted != gone + now.depth:
        accepted = max(now.accepted, gone)
        now = replace(now, accepted=accepted, depth=accepted - gone)
    return now


class _Run:
    """What a reader remembers of a run.

    Attributes:
        number: Which of the runs that are under way it is; 1 for the first.
        before: The last look at it.
        spent: Of each node. Added up from look to look: derived from totals, time of waits that overlap could shrink, and a counter
            must not.
        nodes, edges: As they were shown last; see `_in_order`.
        labels: Of each node and edge, by kind of thing.
        policy: With which these were redacted.
    """

    __slots__ = ("before", "edges", "labels", "nodes", "number", "policy", "spent")

    def __init__(self, number: int, first: Snapshot) -> None:
        self.number = number
        self.before: Snapshot | None = None
        self.spent = [_Spent()] * len(first.nodes)
        self.nodes: list[NodeSnapshot] = []
        self.edges: list[EdgeSnapshot] = []
        self.labels: dict[str, list[dict[str, str]]] = {}
        self.policy: Redactor | None = None

    def take(self, now: Snapshot) -> None:
        """Take in another look: add up what nodes did since the one before, and label what is new."""
        before, self.before = self.before, now
        over_s = now.elapsed_s - (0.0 if before is None else before.elapsed_s)
        for i, node in enumerate(now.nodes):
            shares = node.shares if before is None else node.recent
            if shares is not None:
                busy, blocked, idle = self.spent[i]
                self.spent[i] = _Spent(
                    busy + shares.busy * over_s,
                    blocked + shares.blocked * over_s,
                    idle + shares.idle * over_s,
                )
        self.nodes = list(map(_no_less, now.nodes, self.nodes or now.nodes))
        self.edges = list(map(_in_order, now.edges, self.edges or now.edges))
        if self.policy is not (policy := redactor()):
            self.policy = policy
            self.labels = {
                "node": self._named("node", [node.name for node in now.nodes]),
                "edge": self._named("edge", [edge.id for edge in now.edges]),
                "band": self._named("band", [band.name for band in now.scheduler.bands]),
                "run": [{} if self.number == 1 else {SERIES: str(self.number)}],
            }

    def _named(self, of: str, names: list[str]) -> list[dict[str, str]]:
        (label,) = LABELS_OF[of]
        seen: dict[str, int] = {}
        made = []
        for name in map(redactor().text, names):
            again = seen[name] = seen.get(name, 0) + 1
            labels = {label: name}
            if again > 1:
                labels[SERIES] = f"{self.number}.{again}"
            elif self.number > 1:
                labels[SERIES] = str(self.number)
            made.append(labels)
        return made


class Reader:
    """Reads all metrics of the runs of this process at once, from any thread, also while a loop is stuck.

    Args:
        scheduler: Whose run, or the last one after it has ended; without one, all runs that are under way.

    Readers don't disturb each other. Within a run no counter of a reader ever shrinks.
    """

    def __init__(self, scheduler: Scheduler | None = None) -> None:
        self._scheduler = scheduler
        self._runs: dict[str, _Run] = {}
        self._lock = Lock()

    def read(self) -> list[tuple[Metric, list[Point]]]:
        """Take a look, and return what each metric of `CATALOGUE` says; no point where there is nothing to say.

        Cost: O(nodes + edges) of the runs. Never waits for a run, nor lets it wait.
        """
        with self._lock:
            shots = self._look()
            made = {metric: list[Point]() for metric in CATALOGUE}
            _add(made, "process", [_process(shots)], [{}])
            for shot in shots:
                run = self._runs[shot.run]
                run.take(shot)
                things: dict[str, Iterable[Any]] = {
                    "run": (shot,),
                    "band": shot.scheduler.bands,
                    "node": map(_NodeSeen, run.nodes, run.spent),
                    "edge": run.edges,
                }
                for of, each in things.items():
                    _add(made, of, each, run.labels[of])
        return list(made.items())

    def runs(self) -> dict[str, str]:
        """Return the ids of the runs that were read last, by number; the label `SERIES` begins with it, where it isn't 1."""
        return {str(run.number): id for id, run in self._runs.items()}

    def _look(self) -> list[Snapshot]:
        before = {id: run.before for id, run in self._runs.items()}
        shots = look_at_all(before, self._scheduler)
        self._runs = {shot.run: self._runs[shot.run] for shot in shots if shot.run in self._runs}
        for shot in shots:
            if shot.run not in self._runs:
                taken = {run.number for run in self._runs.values()}
                self._runs[shot.run] = _Run(next(n for n in count(1) if n not in taken), shot)
        return shots


def _process(shots: list[Snapshot]) -> _Process:
    events = get_events()
    cpu = next((shot.cpu for shot in shots if shot.cpu is not None), None)
    runs = sum(shot.status == "running" for shot in shots)
    return _Process(runs, cpu, events.last, events.held_back)


def _add(
    made: dict[Metric, list[Point]], of: str, things: Iterable[Any], labels: Iterable[dict[str, str]]
) -> None:
    """Add the points of things of one kind."""
    text = redactor().text
    for thing, own in zip(things, labels, strict=True):
        for metric in _OF[of]:
            points = made[metric]
            for values, number in metric.read(thing):
                more = (
                    own if not values else {**own, **dict(zip(metric.more, map(text, values), strict=True))}
                )
                points.append(Point(more, number))
