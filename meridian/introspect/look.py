"""Looking at runs.

A look reads what the run counts anyway, and lets each edge time what comes next, for a while (see `meridian.engine.hops`). It
waits for no lock, and works from any thread, also while the loop is stuck. So it may catch the engine's thread in the middle of a slice: numbers of one snapshot may
lie a slice apart. On each edge they still add up, as ``accepted`` is no count of its own but the sum of what was
delivered, lost, merged and is still there.

Rates and recent shares come from two looks. A `Watch` keeps the one before, for itself: readers don't disturb each other.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from meridian import __version__
from meridian.core.function import FnNode, SourceNode
from meridian.core.runtime_plan import PriorityBand
from meridian.engine.kernel import NO_LIMIT
from meridian.engine.step import BUSY, PAUSED
from meridian.introspect.errors import NothingRunsError
from meridian.introspect.loop import look_at_loop
from meridian.introspect.model import (
    SCHEMA_VERSION,
    BandSnapshot,
    CpuSnapshot,
    EdgeSnapshot,
    EngineSnapshot,
    EventsSnapshot,
    LoopSnapshot,
    NodeSnapshot,
    Percentiles,
    SchedulerSnapshot,
    Shares,
    Snapshot,
)
from meridian.observability.events import get_events
from meridian.redaction import class_name
from meridian.runtime.facts import running

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meridian.core.node import Node
    from meridian.core.scheduler import Scheduler
    from meridian.engine.kernel import NodeState
    from meridian.engine.ring import LimitedRing, Ring
    from meridian.runtime.facts import Facts
    from meridian.runtime.plan import PlannedEdge
    from meridian.runtime.report import EdgeReport, NodeReport
    from meridian.runtime.run import Run

_BANDS = [band.name for band in sorted(PriorityBand, reverse=True)]
"""Names of the bands as the engine numbers them."""


class Watch:
    """Looks at a run again and again, and says what changed in between.

    Args:
        scheduler: Whose run; without one, that of the only scheduler that runs in this process.

    Any thread may look; two threads that share a watch share the look before, too.
    """

    def __init__(self, scheduler: Scheduler | None = None) -> None:
        self._scheduler = scheduler
        self._before: Snapshot | None = None

    def look(self) -> Snapshot:
        """Take a snapshot of the run that is under way, or else of the one that ended last.

        Raises:
            NothingRunsError: there is none, or without a scheduler given, not exactly one.

        Cost: O(nodes + edges). Never waits for the run, nor lets it wait.
        """
        facts = _only_run().facts() if self._scheduler is None else self._scheduler.facts()
        if facts is None:
            raise NothingRunsError("this scheduler has not run yet")
        before = self._before
        if before is not None and before.run != facts.id:
            before = None
        made = self._before = look(facts, before)
        return made


def snapshot(scheduler: Scheduler | None = None) -> Snapshot:
    """Take one snapshot of a run; for rates and recent shares, keep a `Watch`.

    Args, raises: as `Watch` and `Watch.look`.
    """
    return Watch(scheduler).look()


def _only_run() -> Run:
    runs = list(running.values())
    if len(runs) != 1:
        raise NothingRunsError(
            f"{len(runs) or 'no'} schedulers run in this process: say which one, snapshot(scheduler)"
        )
    return runs[0]


def look_at_all(before: Mapping[str, Snapshot | None], scheduler: Scheduler | None = None) -> list[Snapshot]:
    """Take a snapshot of each run of this process that is under way, oldest first.

    Args:
        before: Snapshots by run, since which rates are taken.
        scheduler: Look only at its run, or at its last one after it has ended.
    """
    if scheduler is None:
        seen = [run.facts() for run in list(running.values())]
    else:
        facts = scheduler.facts()
        seen = [] if facts is None else [facts]
    return [look(facts, before.get(facts.id)) for facts in seen]


def look(facts: Facts, before: Snapshot | None) -> Snapshot:
    """Take a snapshot, with rates since ``before``, a snapshot of the same run."""
    run, report = facts.live, facts.report
    loop = LoopSnapshot(None, 0.0, False) if run is None else look_at_loop(run, facts.at_ns)
    elapsed_s = report.elapsed_s
    window_s = None if before is None else max(elapsed_s - before.elapsed_s, 0.0)
    edges = _edges(facts, before, window_s)
    nodes = _nodes(facts, edges, loop, before, window_s)
    lines = [0, 0, 0] if run is None else [len(line) for line in run.engine.queue.lines]
    cpu, events = facts.cpu, get_events()
    if run is not None and run.over:  # it ended meanwhile, and what was read may be of after that
        return look(run.facts(), before)
    return Snapshot(
        schema_version=SCHEMA_VERSION,
        meridian=__version__,
        pid=os.getpid(),
        run=facts.id,
        at_s=facts.at_ns / 1e9,
        wall_s=facts.at_s,
        status=report.status,
        reason=report.reason,
        elapsed_s=elapsed_s,
        window_s=window_s,
        engine=EngineSnapshot(report.engine, report.engine_reason),
        cpu=None
        if cpu is None
        else CpuSnapshot(
            cpu.logical, cpu.visible, cpu.visible_source, cpu.affinity_count, cpu.quota, cpu.quota_source
        ),
        scheduler=SchedulerSnapshot(
            bands=tuple(map(BandSnapshot, _BANDS, facts.weights, lines)),
            ready=sum(lines),
            slices=facts.slices,
            in_flight=0 if run is None else run.in_flight,
            open_sources=0 if run is None else run.open_sources,
            stopping=False if run is None else run.stopping,
        ),
        loop=loop,
        nodes=tuple(nodes),
        edges=tuple(edges),
        errors=tuple(report.errors),
        errors_total=report.errors_total,
        events=EventsSnapshot(events.last, events.held_back),
    )


# ---- edges -----------------------------------------------------------------------------------------------------------


def _edges(facts: Facts, before: Snapshot | None, window_s: float | None) -> list[EdgeSnapshot]:
    plan, run = facts.plan, facts.live
    made = []
    for i, report in enumerate(facts.report.edges):
        planned = plan.edges[i]
        ring = None if run is None else run.assembly.known_ring(i)
        made.append(
            _edge(facts, planned, report, ring, None if before is None else before.edges[i], window_s)
        )
    return made


def _edge(
    facts: Facts,
    planned: PlannedEdge,
    report: EdgeReport,
    ring: Ring | None,
    before: EdgeSnapshot | None,
    window_s: float | None,
) -> EdgeSnapshot:
    nodes, edge = facts.plan.nodes, planned.edge
    band = facts.bands.get(planned.id, 2)
    waits = waiting = 0
    n_bytes: int | None = None
    wait_age_s = head_age_s = None
    hop_s = None if before is None else before.hop_s  # of a run that has ended since
    if ring is not None and facts.live is not None:
        turn = ring.turn
        if turn is not None:
            band = turn.band
        waits = ring.waits
        since = [turn.since for turn in list(ring.waiters or ())]
        if since:
            waiting, wait_age_s = len(since), max(facts.at_ns - min(since), 0) / 1e9
        since_ns = ring.time_hops(facts.live.engine.clock)
        if since_ns is not None:
            head_age_s = max(facts.at_ns - since_ns, 0) / 1e9
        hop_s = _hop_s(ring)
        if ring.limited:
            limited: LimitedRing = ring  # type: ignore[assignment]  # as it says
            n_bytes = limited.bytes
            head_age_s = _head_age_s(limited)
    lost = sum(report.lost.values())
    return EdgeSnapshot(
        report.id,
        report.policy,
        report.capacity,
        report.accepted,
        report.delivered,
        report.depth,
        report.merged,
        report.lost,
        report.blocked_s,
        source=nodes[planned.source].name,
        source_port=planned.port,
        target=nodes[planned.target].name,
        target_port=planned.target_port,
        band=_BANDS[band],
        max_bytes=edge.max_bytes,
        max_age_s=edge.max_age_s,
        bytes=n_bytes,
        waits=waits,
        waiting=waiting,
        wait_age_s=wait_age_s,
        head_age_s=head_age_s,
        stalled_s=_stalled_s(report, before, window_s),
        accepted_per_s=_rate(report.accepted, None if before is None else before.accepted, window_s),
        delivered_per_s=_rate(report.delivered, None if before is None else before.delivered, window_s),
        lost_per_s=_rate(lost, None if before is None else sum(before.lost.values()), window_s),
        hop_s=hop_s,
    )


def _hop_s(ring: Ring) -> Percentiles | None:
    times = None if ring.hops is None else ring.hops.times
    if times is None or not times.n:
        return None
    n, most = times.n, times.most
    p50, p90, p99 = times.percentiles(0.5, 0.9, 0.99)
    return Percentiles(p50 / 1e9, p90 / 1e9, p99 / 1e9, most / 1e9, n)


def _head_age_s(ring: LimitedRing) -> float | None:
    try:
        return ring.head_age_ns() / 1e9 if ring.items else None
    except IndexError:  # taken between two steps of the look
        return None


def _stalled_s(report: EdgeReport, before: EdgeSnapshot | None, window_s: float | None) -> float | None:
    if before is None or window_s is None:
        return None
    if not (report.depth and before.depth) or report.delivered != before.delivered:
        return 0.0
    return (before.stalled_s or 0.0) + window_s


def _rate(now: int, before: int | None, window_s: float | None) -> float | None:
    if before is None or not window_s:
        return None
    # Counts of two looks may each lie a slice apart.
    return (now - before) / window_s if now > before else 0.0


# ---- nodes -----------------------------------------------------------------------------------------------------------


def _nodes(
    facts: Facts,
    edges: list[EdgeSnapshot],
    loop: LoopSnapshot,
    before: Snapshot | None,
    window_s: float | None,
) -> list[NodeSnapshot]:
    plan, run, elapsed_s = facts.plan, facts.live, facts.report.elapsed_s
    blocked_s = [0.0] * len(plan.nodes)
    due = [False] * len(plan.nodes)
    ages: dict[int, float] = {}
    for planned, edge in zip(plan.edges, edges, strict=True):
        blocked_s[planned.source] += edge.blocked_s
        if edge.depth:
            due[planned.target] = True
        if edge.wait_age_s is not None:
            ages[planned.source] = max(edge.wait_age_s, ages.get(planned.source, 0.0))
    made = []
    for i, report in enumerate(facts.report.nodes):
        node = plan.nodes[i].node
        state = None if run is None else run.assembly.known_state(i)
        in_flight = _in_flight(node, state)
        busy_s = report.busy_s
        runs = loop.node == report.name
        if runs:
            busy_s += loop.silent_s  # a turn is counted when it ends; this one is still open
        past = None if before is None else before.nodes[i]
        recent = None
        if past is not None and window_s:
            recent = shares(busy_s - past.busy_s, blocked_s[i] - past.blocked_s, window_s)
        made.append(
            NodeSnapshot(
                report.name,
                report.state,
                report.handled,
                report.produced,
                report.errors,
                report.parked,
                report.unrouted,
                busy_s,
                report.waits_for,
                report.slices,
                type=type_of(node),
                doing=_doing(report, state, runs, in_flight, due[i]),
                in_flight=in_flight,
                blocked_s=blocked_s[i],
                wait_age_s=ages.get(i),
                shares=shares(busy_s, blocked_s[i], elapsed_s) if elapsed_s else None,
                recent=recent,
                handled_per_s=_rate(report.handled, None if past is None else past.handled, window_s),
                produced_per_s=_rate(report.produced, None if past is None else past.produced, window_s),
                last_error=facts.last_errors.get(report.name),
            )
        )
    return made


_IDLE = Shares(0.0, 0.0, 1.0)


def shares(busy_s: float, blocked_s: float, of_s: float) -> Shares:
    """Return shares of ``of_s``; several waits of one node may overlap, and a slice may reach into the next window."""
    if not busy_s and not blocked_s:
        return _IDLE  # most nodes of a large graph
    busy = min(max(busy_s / of_s, 0.0), 1.0)
    blocked = min(max(blocked_s / of_s, 0.0), 1.0 - busy)
    return Shares(busy, blocked, 1.0 - busy - blocked)


def _in_flight(node: Node, state: NodeState | None) -> int:
    if state is None:
        return 0
    if state.free != NO_LIMIT and isinstance(node, FnNode):
        return max(node.function.concurrency - state.free, 0)
    return 1 if state.held & BUSY else 0


def _doing(report: NodeReport, state: NodeState | None, runs: bool, in_flight: int, due: bool) -> str:
    if report.state != "started":
        return report.state
    if runs:
        return "running"
    if report.waits_for is not None or report.parked:
        return "blocked"
    if in_flight:
        return "working"
    if state is not None and (state.held & PAUSED or state.paused):
        return "paused"
    if state is not None:
        due = due or any(turn is not None and turn.queued for turn in (state.tick_turn, state.source_turn))
    return "ready" if due else "idle"


def type_of(node: Any) -> str:
    """Return what a node is: ``function``, ``source``, or the qualified name of its class."""
    if isinstance(node, FnNode):
        return "function"
    return "source" if type(node) is SourceNode else class_name(type(node))
