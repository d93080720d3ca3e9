"""A profile: what a run did over a stretch of time, from many looks at it.

A `Recorder` takes snapshots one after the other and keeps what a profile needs: the first and the last, and of those in between
only extremes and a bounded number of points. So it may go on for days.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from meridian.core.runtime_plan import PriorityBand
from meridian.introspect.errors import BadAnswerError, NothingRunsError
from meridian.introspect.findings import Finding, find, find_unreachable
from meridian.introspect.look import shares
from meridian.introspect.model import (
    EngineSnapshot,
    Frame,
    Percentiles,
    Shares,
    as_plain,
)
from meridian.runtime.report import ErrorReport

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from meridian.introspect.errors import IntrospectionError
    from meridian.introspect.model import EdgeSnapshot, NodeSnapshot, Snapshot

PROFILE_VERSION = "1.0"
"""``MAJOR.MINOR`` of the keys of a profile. Within a major version keys are only added."""

MOST_DEPTH = 2**63 - 1
"""An edge with more items on it can't be."""

MOST_POINTS = 240
"""So many points of a curve are kept; when there are more, every second one is let go, and only every second look adds one."""

SHORTEST_S = 1e-9
"""In less than this no time has passed, as far as rates are concerned."""

MOST_POINTS_TOGETHER = 2_000_000
"""And so many on all edges together, at least 16 on each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeProfile:
    """One node over the window.

    Attributes:
        name: Its name in the plan.
        type: What it is, as in a snapshot.
        shares: How it spent the window, or ``None`` if no time has passed.
        busy_s: Seconds in its own code.
        blocked_s: Seconds that it waited for room, added up over its waits.
        handled: Messages handed to it.
        produced: Items a source made.
        errors: Failures of its code.
        handled_per_s: Messages per second, or ``None`` if no time has passed.
        produced_per_s: Items per second, or ``None`` if no time has passed.
        per_message_s: Seconds in its own code for each message handled, or for each item that a source made.
        doing: What it was doing, and at how many looks.
        wait_age_s: The oldest open wait for room that a look saw, or ``None``.
        last_error: Its last failure, if there was one in the window.
    """

    name: str
    type: str
    shares: Shares | None
    busy_s: float
    blocked_s: float
    handled: int
    produced: int
    errors: int
    handled_per_s: float | None
    produced_per_s: float | None
    per_message_s: float | None
    doing: dict[str, int]
    wait_age_s: float | None
    last_error: ErrorReport | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeProfile:
    """One edge over the window.

    Attributes:
        id: ``source:port->target:port``.
        source: Name of the node it leaves.
        target: Name of the node it enters.
        policy: What it does when it is full.
        band: Who is served first.
        capacity: Most items it holds.
        accepted: Items taken responsibility for.
        delivered: Items handed to the consumer.
        merged: Items merged into others.
        lost: Items lost, by cause; causes without a loss are left out.
        accepted_per_s: Per second, or ``None`` if no time has passed.
        delivered_per_s: Per second, or ``None`` if no time has passed.
        depth_least: Fewest items that a look found on it.
        depth_median: Half of the points are at or below.
        depth_most: Most items that a look found on it.
        depths: Items on it at the points in time of the profile.
        fill: Mean of depth by capacity over all looks.
        full: Share of the looks at which it was full.
        blocked_s: Seconds that producers waited for room, added up over their waits.
        waits: How often somebody began to wait for room.
        wait_age_s: The oldest open wait that a look saw, or ``None``.
        head_age_s: The longest that a look saw the oldest data wait, or ``None`` where nobody notes that.
        stalled_s: The longest stretch in which nothing was taken although something waited.
        hop_s: How long items spent on the edge, as the last look told it: of those that were timed since somebody first looked at
            the run. ``None`` where none was.
    """

    id: str
    source: str
    target: str
    policy: str
    band: str
    capacity: int
    accepted: int
    delivered: int
    merged: int
    lost: dict[str, int]
    accepted_per_s: float | None
    delivered_per_s: float | None
    depth_least: int
    depth_median: int
    depth_most: int
    depths: tuple[int, ...]
    fill: float
    full: float
    blocked_s: float
    waits: int
    wait_age_s: float | None
    head_age_s: float | None
    stalled_s: float
    hop_s: Percentiles | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainProfile:
    """Nodes that wait for each other: who waits, for whom, up to the one that holds them all up.

    Attributes:
        nodes: The one that waits first, the culprit last.
        edges: The full edges between them.
        culprit: The last one, which doesn't wait for room itself; in a circle, the one where it closes.
        doing: What the culprit was doing, at the last look that saw the chain.
        circle: They wait for each other in a circle.
        looks: How many looks saw it.
        wait_age_s: The oldest wait of the first node that a look saw, or ``None``.
    """

    nodes: tuple[str, ...]
    edges: tuple[str, ...]
    culprit: str
    doing: str
    circle: bool
    looks: int
    wait_age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopProfile:
    """The event loop over the window.

    Attributes:
        lag_s: How long it took to get to the callbacks that looks left with it, or ``None`` if it got to none.
        silent_s: The longest that a look found it silent.
        stuck: At how many looks it was stuck.
        node: Whose code was on the thread, when it was last found stuck.
        stack: The calls on its thread then, outermost first.
    """

    lag_s: Percentiles | None
    silent_s: float
    stuck: int
    node: str | None
    stack: tuple[Frame, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookProfile:
    """What the looks cost.

    Attributes:
        n: How many there were.
        hz: How many a second were wanted. There are fewer if one takes more than a twentieth of the time between two.
        total_s: Seconds that all of them took in the process that was looked at.
        share: Their share of the time, or ``None`` if no time has passed.
        measured: ``cpu`` if that is processor time; ``answer`` if it is how long the answers took, which is an upper bound of it.
    """

    n: int
    hz: float
    total_s: float
    share: float | None
    measured: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One run over a stretch of time.

    Attributes:
        kind: ``profile``.
        schema_version: Of these keys; see `PROFILE_VERSION`.
        meridian: Version of the runtime that ran.
        pid: The process.
        run: Id of the run.
        engine: Which engine ran it, and why.
        wall_s: When the last look was, in seconds since 1970.
        elapsed_s: Age of the run at the last look.
        window_s: Seconds that the profile is about.
        wanted_s: Seconds that it was to be about.
        end: Why it ended: ``complete``, ``run ended``, ``interrupted``, ``process ended`` (or it let go of
            the connection), ``no answer``.
        partial: It is about less than was wanted, though the run went on.
        status: ``running`` or ``stopped``.
        reason: Why the run ended, or ``None``.
        errors: Failures in the window.
        looks: What the looks cost.
        loop: The event loop.
        points_s: When the points were, in seconds since the window began.
        nodes: In start order.
        edges: In connect order.
        chains: Who waited for whom, what was seen most often first.
        findings: What is wrong, and what to do about it, the most severe first.
    """

    kind: str
    schema_version: str
    meridian: str
    pid: int
    run: str
    engine: EngineSnapshot
    wall_s: float
    elapsed_s: float
    window_s: float
    wanted_s: float
    end: str
    partial: bool
    status: str
    reason: str | None
    errors: int
    looks: LookProfile
    loop: LoopProfile
    points_s: tuple[float, ...]
    nodes: tuple[NodeProfile, ...]
    edges: tuple[EdgeProfile, ...]
    chains: tuple[ChainProfile, ...]
    findings: tuple[Finding, ...]

    SHAPES: ClassVar[tuple[type, ...]] = (
        NodeProfile,
        EdgeProfile,
        ChainProfile,
        LoopProfile,
        LookProfile,
        Shares,
        Percentiles,
        Frame,
        EngineSnapshot,
        ErrorReport,
        Finding,
    )
    """What it is made of, for the schema."""

    def node(self, name: str) -> NodeProfile:
        """Return the node of that name.

        Raises:
            KeyError: there is none.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def edge(self, id: str) -> EdgeProfile:
        """Return the edge with that id.

        Raises:
            KeyError: there is none.
        """
        for edge in self.edges:
            if edge.id == id:
                return edge
        raise KeyError(id)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain dicts, lists, texts and numbers, ready for JSON; texts go through the redaction policy."""
        return as_plain(self)


class Recorder:
    """Makes a profile of one run from looks at it.

    Args:
        whole: The profile is about the run from its start, and not from the first look on.
        most_points: Most points of a curve, at least 2.

    It is used by one thread at a time.
    """

    def __init__(self, *, whole: bool = False, most_points: int = MOST_POINTS) -> None:
        self._whole = whole
        self._most_points = most_points
        self._first: Snapshot | None = None
        self._n = 0
        self._cost_s = 0.0
        self._stride = 1
        self._points_s = array("d")
        self._edges: list[_EdgeLooks] = []
        self._nodes: list[_NodeLooks] = []
        self._chains: dict[tuple[str, ...], _ChainLooks] = {}
        self._loop = _LoopLooks()
        self.last: Snapshot | None = None
        self.before: Snapshot | None = None

    @property
    def n(self) -> int:
        """How many looks there were."""
        return self._n

    def add(self, shot: Snapshot, cost_s: float) -> None:
        """Add one look.

        Args:
            shot: What it saw, of the same run as before.
            cost_s: Seconds that it took.

        Raises:
            BadAnswerError: it doesn't fit together in itself, or isn't of the graph that was seen before; it is not added.

        Cost: O(nodes + edges).
        """
        _check(shot, self._first)
        if self._first is None:
            self._first = shot
            self._edges = [_EdgeLooks() for _ in shot.edges]
            self._nodes = [_NodeLooks() for _ in shot.nodes]
            together = MOST_POINTS_TOGETHER // max(len(shot.edges), 1)
            self._most_points = min(self._most_points, max(together, 16))
        is_point = self._n % self._stride == 0
        self._n += 1
        self._cost_s += cost_s
        self.before, self.last = self.last, shot
        if is_point:
            self._points_s.append(shot.elapsed_s)
        for edge_looks, edge in zip(self._edges, shot.edges, strict=True):
            edge_looks.add(edge, is_point)
        for node_looks, node in zip(self._nodes, shot.nodes, strict=True):
            node_looks.add(node)
        self._loop.add(shot, self._most_points)
        for chain in chains(shot):
            self._chains.setdefault(chain.nodes, _ChainLooks()).add(chain)
        if len(self._points_s) > self._most_points:
            self._stride *= 2
            del self._points_s[1::2]
            for edge_looks in self._edges:
                del edge_looks.points[1::2]

    def profile(
        self,
        *,
        wanted_s: float,
        hz: float,
        end: str,
        measured: str,
        failed: IntrospectionError | None = None,
    ) -> Profile:
        """Return what was seen so far.

        Args:
            wanted_s: As the field of that name; so are hz, end and measured.
            hz: Looks a second.
            end: Why it ended.
            measured: How the looks were measured.
            failed: Why the next look failed, if it did because nobody answers: that is a finding, too.

        Raises:
            NothingRunsError: nothing was seen.
        """
        first, last = self._first, self.last
        if first is None or last is None:
            raise NothingRunsError("there was no look at the run")
        begin_s = 0.0 if self._whole else first.elapsed_s
        window_s = last.elapsed_s - begin_s
        if window_s < SHORTEST_S:
            window_s = 0.0
        past_nodes: Iterable[NodeSnapshot | None] = first.nodes
        past_edges: Iterable[EdgeSnapshot | None] = first.edges
        if self._whole:
            past_nodes, past_edges = [None] * len(last.nodes), [None] * len(last.edges)
        return Profile(
            kind="profile",
            schema_version=PROFILE_VERSION,
            meridian=last.meridian,
            pid=last.pid,
            run=last.run,
            engine=last.engine,
            wall_s=last.wall_s,
            elapsed_s=last.elapsed_s,
            window_s=window_s,
            wanted_s=wanted_s,
            end=end,
            partial=end not in ("complete", "run ended"),
            status=last.status,
            reason=last.reason,
            errors=last.errors_total - (0 if self._whole else first.errors_total),
            looks=LookProfile(
                n=self._n,
                hz=hz,
                total_s=self._cost_s,
                share=self._cost_s / window_s if window_s else None,
                measured=measured,
            ),
            loop=self._loop.profile(),
            points_s=tuple(at_s - begin_s for at_s in self._points_s),
            nodes=tuple(
                looks.profile(past, now, window_s)
                for looks, past, now in zip(self._nodes, past_nodes, last.nodes, strict=True)
            ),
            edges=tuple(
                looks.profile(past, now, window_s, self._n)
                for looks, past, now in zip(self._edges, past_edges, last.edges, strict=True)
            ),
            chains=tuple(
                sorted(
                    (chain for seen in self._chains.values() for chain in seen.profile()),
                    key=lambda chain: -chain.looks,
                )
            ),
            findings=(
                *(() if failed is None else (find_unreachable(last.pid, failed),)),
                *find(last, None if self._whole else first),
            ),
        )


def _check(shot: Snapshot, first: Snapshot | None) -> None:
    """Refuse what can't be a look at a graph, as it may come from a process that is broken or means harm.

    Raises:
        BadAnswerError: see `Recorder.add`.
    """
    names, ids = [node.name for node in shot.nodes], [edge.id for edge in shot.edges]
    if first is not None and (
        shot.run != first.run
        or names != [node.name for node in first.nodes]
        or ids != [edge.id for edge in first.edges]
    ):
        raise BadAnswerError(f"process {shot.pid} tells of another graph than before")
    nodes, edges = set(names), set(ids)
    if not (
        all(node.waits_for is None or node.waits_for in edges for node in shot.nodes)
        and all(
            edge.source in nodes
            and edge.target in nodes
            and edge.band in PriorityBand.__members__
            and abs(edge.depth) <= MOST_DEPTH
            for edge in shot.edges
        )
    ):
        raise BadAnswerError(f"process {shot.pid} tells of a graph that can't be")


class _NodeLooks:
    """What the looks saw of one node."""

    __slots__ = ("doing", "wait_age_s")

    def __init__(self) -> None:
        self.doing: Counter[str] = Counter()
        self.wait_age_s: float | None = None

    def add(self, node: NodeSnapshot) -> None:
        self.doing[node.doing] += 1
        self.wait_age_s = _longer(self.wait_age_s, node.wait_age_s)

    def profile(self, past: NodeSnapshot | None, now: NodeSnapshot, window_s: float) -> NodeProfile:
        handled, produced, errors = now.handled, now.produced, now.errors
        busy_s, blocked_s = now.busy_s, now.blocked_s
        if past is not None:
            handled, produced, errors = handled - past.handled, produced - past.produced, errors - past.errors
            busy_s, blocked_s = max(busy_s - past.busy_s, 0.0), max(blocked_s - past.blocked_s, 0.0)
        n = handled or produced
        return NodeProfile(
            name=now.name,
            type=now.type,
            shares=shares(busy_s, blocked_s, window_s) if window_s else None,
            busy_s=busy_s,
            blocked_s=blocked_s,
            handled=handled,
            produced=produced,
            errors=errors,
            handled_per_s=handled / window_s if window_s else None,
            produced_per_s=produced / window_s if window_s else None,
            per_message_s=busy_s / n if n > 0 else None,
            doing=dict(self.doing.most_common()),
            wait_age_s=self.wait_age_s,
            last_error=now.last_error if errors else None,
        )


class _EdgeLooks:
    """What the looks saw of one edge."""

    __slots__ = ("fill", "full", "head_age_s", "least", "most", "points", "stalled_s", "wait_age_s")

    def __init__(self) -> None:
        self.points = array("q")
        self.least, self.most = 1 << 62, 0
        self.fill = 0.0
        self.full = 0
        self.wait_age_s: float | None = None
        self.head_age_s: float | None = None
        self.stalled_s = 0.0

    def add(self, edge: EdgeSnapshot, is_point: bool) -> None:
        depth = edge.depth
        if is_point:
            self.points.append(depth)
        self.least, self.most = min(self.least, depth), max(self.most, depth)
        self.fill += depth / edge.capacity if edge.capacity else 0.0
        self.full += depth >= edge.capacity
        self.wait_age_s = _longer(self.wait_age_s, edge.wait_age_s)
        self.head_age_s = _longer(self.head_age_s, edge.head_age_s)
        self.stalled_s = max(self.stalled_s, edge.stalled_s or 0.0)

    def profile(self, past: EdgeSnapshot | None, now: EdgeSnapshot, window_s: float, n: int) -> EdgeProfile:
        accepted, delivered, merged = now.accepted, now.delivered, now.merged
        lost, blocked_s, waits = Counter(now.lost), now.blocked_s, now.waits
        if past is not None:
            accepted, delivered = accepted - past.accepted, delivered - past.delivered
            merged, waits = merged - past.merged, waits - past.waits
            lost, blocked_s = lost - Counter(past.lost), max(blocked_s - past.blocked_s, 0.0)
        return EdgeProfile(
            id=now.id,
            source=now.source,
            target=now.target,
            policy=now.policy,
            band=now.band,
            capacity=now.capacity,
            accepted=accepted,
            delivered=delivered,
            merged=merged,
            lost={cause: n_lost for cause, n_lost in lost.items() if n_lost},
            accepted_per_s=accepted / window_s if window_s else None,
            delivered_per_s=delivered / window_s if window_s else None,
            depth_least=self.least,
            depth_median=sorted(self.points)[(len(self.points) - 1) // 2],
            depth_most=self.most,
            depths=tuple(self.points),
            fill=self.fill / n,
            full=self.full / n,
            blocked_s=blocked_s,
            waits=waits,
            wait_age_s=self.wait_age_s,
            head_age_s=self.head_age_s,
            stalled_s=self.stalled_s,
            hop_s=now.hop_s,
        )


class _LoopLooks:
    """What the looks saw of the loop."""

    def __init__(self) -> None:
        self._lags = array("d")
        self._n = 0
        self._stride = 1
        self._most = 0.0
        self._silent_s = 0.0
        self._stuck = 0
        self._node: str | None = None
        self._stack: tuple[Frame, ...] = ()

    def add(self, shot: Snapshot, most_points: int) -> None:
        loop = shot.loop
        self._silent_s = max(self._silent_s, loop.silent_s)
        if loop.stuck:
            self._stuck += 1
            self._node, self._stack = loop.node, loop.stack
        if loop.lag_s is None:
            return
        if self._n % self._stride == 0:
            self._lags.append(loop.lag_s)
        self._n += 1
        self._most = max(self._most, loop.lag_s)
        if len(self._lags) > most_points:
            self._stride *= 2
            del self._lags[1::2]

    def profile(self) -> LoopProfile:
        return LoopProfile(
            lag_s=_percentiles(self._lags, self._most, self._n) if self._n else None,
            silent_s=self._silent_s,
            stuck=self._stuck,
            node=self._node,
            stack=self._stack,
        )


class _ChainLooks:
    """How often a chain was seen."""

    __slots__ = ("last", "looks", "wait_age_s")

    def __init__(self) -> None:
        self.looks = 0
        self.wait_age_s: float | None = None
        self.last: ChainProfile | None = None

    def add(self, chain: ChainProfile) -> None:
        self.looks += 1
        self.wait_age_s = _longer(self.wait_age_s, chain.wait_age_s)
        self.last = chain

    def profile(self) -> Iterator[ChainProfile]:
        if self.last is not None:
            yield replace(self.last, looks=self.looks, wait_age_s=self.wait_age_s)


def chains(shot: Snapshot) -> Iterator[ChainProfile]:
    """Yield who waits for whom at this moment, from each node that nobody else waits for; circles once each.

    Cost: O(nodes + edges).
    """
    nodes = {node.name: node for node in shot.nodes}
    waits = {node.name: node.waits_for for node in shot.nodes if node.waits_for is not None}
    targets = {edge.id: edge.target for edge in shot.edges} if waits else {}
    awaited = {targets[edge] for edge in waits.values()}
    seen: set[str] = set()
    # Those in a circle are all awaited; what hasn't been reached from a beginning is in one.
    for begin in (
        *(name for name in waits if name not in awaited),
        *(name for name in waits if name in awaited),
    ):
        if begin in seen:
            continue
        path, edges = [begin], []
        while (edge := waits.get(path[-1])) is not None:
            edges.append(edge)
            path.append(targets[edge])
            if path[-1] in path[:-1]:
                break
        seen.update(path)
        last = nodes[path[-1]]
        yield ChainProfile(
            nodes=tuple(path),
            edges=tuple(edges),
            culprit=last.name,
            doing=last.doing,
            circle=last.name in path[:-1],
            looks=1,
            wait_age_s=nodes[begin].wait_age_s,
        )


def _longer(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def _percentiles(values: Sequence[float], most: float, n: int) -> Percentiles:
    """Return percentiles of a sample of ``n`` values, of which the largest is known."""
    ordered = sorted(values)
    p50, p90, p99 = (ordered[min(len(ordered) * of // 100, len(ordered) - 1)] for of in (50, 90, 99))
    return Percentiles(p50, p90, p99, most, n)
