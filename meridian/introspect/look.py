"""What looks tell.

A look reads what the run counts anyway, and lets each edge time what comes next, for a while (see `meridian.engine.hops`). It
waits for no lock, and works from any thread, also while the loop is stuck. So it may catch the engine's thread in the middle of a slice: numbers of one snapshot may
lie a slice apart. On each edge they still add up, as ``accepted`` is no count of its own but the sum of what was
delivered, lost, merged and is still there.

What is taken from the run (`meridian.introspect.taken`) becomes a snapshot here. Rates and recent shares come from two looks. A `Watch` keeps
the one before, for itself: readers don't disturb each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meridian.core.runtime_plan import PriorityBand
from meridian.introspect.errors import NothingRunsError
from meridian.introspect.model import (
    SCHEMA_VERSION,
    BandSnapshot,
    EdgeSnapshot,
    NodeSnapshot,
    Percentiles,
    SchedulerSnapshot,
    Shares,
    Snapshot,
)
from meridian.introspect.taken import fixed_of, take
from meridian.runtime.facts import running

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meridian.core.scheduler import Scheduler
    from meridian.introspect.taken import Fixed, FixedEdge, Numbers
    from meridian.runtime.counts import EdgeCounts, NodeCounts
    from meridian.runtime.facts import Facts
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
        facts = (
            _only_run().facts(timing=True) if self._scheduler is None else self._scheduler.facts(timing=True)
        )
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
        seen = count_all()
    else:
        facts = scheduler.facts(timing=True)
        seen = [] if facts is None else [facts]
    return [look(facts, before.get(facts.id)) for facts in seen]


def count_all() -> list[Facts]:
    """Count what each run did that is under way, oldest first, and let it time what comes next."""
    return [run.facts(timing=True) for run in list(running.values())]


def look(facts: Facts, before: Snapshot | None) -> Snapshot:
    """Take a snapshot, with rates since ``before``, a snapshot of the same run."""
    return tell(fixed_of(facts), take(facts), before)


def tell(of: Fixed, numbers: Numbers, before: Snapshot | None) -> Snapshot:
    """Tell what was taken from a run.

    Args:
        of: What is fixed of it.
        numbers: What isn't.
        before: The snapshot since which rates are taken.

    Raises:
        ValueError, IndexError: they aren't of the same run.
    """
    window_s = None if before is None else max(numbers.elapsed_s - before.elapsed_s, 0.0)
    bands = zip(_BANDS, of.weights, numbers.ready, strict=True)
    return Snapshot(
        schema_version=SCHEMA_VERSION,
        meridian=of.meridian,
        pid=of.pid,
        run=of.run,
        at_s=numbers.at_s,
        wall_s=numbers.wall_s,
        status=numbers.status,
        reason=numbers.reason,
        elapsed_s=numbers.elapsed_s,
        window_s=window_s,
        engine=of.engine,
        cpu=of.cpu,
        scheduler=SchedulerSnapshot(
            bands=tuple(BandSnapshot(*band) for band in bands),
            ready=sum(numbers.ready),
            slices=numbers.slices,
            in_flight=numbers.in_flight,
            open_sources=numbers.open_sources,
            stopping=numbers.stopping,
        ),
        loop=numbers.loop,
        nodes=_nodes(of, numbers, before, window_s),
        edges=_edges(of, numbers, before, window_s),
        errors=numbers.errors,
        errors_total=numbers.errors_total,
        events=numbers.events,
    )


# ---- edges -----------------------------------------------------------------------------------------------------------


def _edges(
    of: Fixed, numbers: Numbers, before: Snapshot | None, window_s: float | None
) -> tuple[EdgeSnapshot, ...]:
    names = [node.name for node in of.nodes]
    pasts = [None] * len(of.edges) if before is None else before.edges
    edges = zip(of.edges, numbers.edges, pasts, strict=True)
    return tuple(_edge(names, fixed, counts, past, window_s) for fixed, counts, past in edges)


def _edge(
    names: list[str],
    of: FixedEdge,
    counts: EdgeCounts,
    past: EdgeSnapshot | None,
    window_s: float | None,
) -> EdgeSnapshot:
    accepted, lost = counts.accepted, sum(counts.lost.values())
    return EdgeSnapshot(
        of.id,
        counts.policy,
        counts.capacity,
        accepted,
        counts.delivered,
        counts.depth,
        counts.merged,
        counts.lost,
        counts.blocked_s,
        source=names[of.source],
        source_port=of.source_port,
        target=names[of.target],
        target_port=of.target_port,
        band=_BANDS[counts.band],
        max_bytes=of.max_bytes,
        max_age_s=of.max_age_s,
        bytes=counts.bytes,
        waits=counts.waits,
        waiting=counts.waiting,
        wait_age_s=_seconds(counts.wait_age_ns),
        head_age_s=_seconds(counts.head_age_ns),
        stalled_s=_stalled_s(counts, past, window_s),
        accepted_per_s=_rate(accepted, None if past is None else past.accepted, window_s),
        delivered_per_s=_rate(counts.delivered, None if past is None else past.delivered, window_s),
        lost_per_s=_rate(lost, None if past is None else sum(past.lost.values()), window_s),
        hop_s=_percentiles(counts),
    )


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e9


def _percentiles(counts: EdgeCounts) -> Percentiles | None:
    if not counts.hops:
        return None
    p50, p90, p99, most = counts.hop_ns
    return Percentiles(p50 / 1e9, p90 / 1e9, p99 / 1e9, most / 1e9, counts.hops)


def _stalled_s(counts: EdgeCounts, past: EdgeSnapshot | None, window_s: float | None) -> float | None:
    if past is None or window_s is None:
        return None
    if not (counts.depth and past.depth) or counts.delivered != past.delivered:
        return 0.0
    return (past.stalled_s or 0.0) + window_s


def _rate(now: int, before: int | None, window_s: float | None) -> float | None:
    if before is None or not window_s:
        return None
    # Counts of two looks may each lie a slice apart.
    return (now - before) / window_s if now > before else 0.0


# ---- nodes -----------------------------------------------------------------------------------------------------------


def _nodes(
    of: Fixed, numbers: Numbers, before: Snapshot | None, window_s: float | None
) -> tuple[NodeSnapshot, ...]:
    blocked_s = [0.0] * len(of.nodes)
    due = [False] * len(of.nodes)
    ages: dict[int, int] = {}
    for edge, counts in zip(of.edges, numbers.edges, strict=True):
        blocked_s[edge.source] += counts.blocked_s
        if counts.depth:
            due[edge.target] = True
        if counts.wait_age_ns is not None:
            ages[edge.source] = max(counts.wait_age_ns, ages.get(edge.source, 0))
    last_errors = {last.node: last.error for last in numbers.last_errors}
    waits_in = dict(numbers.waits_in)
    pasts = [None] * len(of.nodes) if before is None else before.nodes
    made = []
    for i, (fixed, node, past) in enumerate(zip(of.nodes, numbers.nodes, pasts, strict=True)):
        runs = i == numbers.running
        busy_s = node.busy_ns / 1e9
        if runs:
            busy_s += numbers.loop.silent_s  # a turn is counted when it ends; this one is still open
        recent = None
        if past is not None and window_s:
            recent = shares(busy_s - past.busy_s, blocked_s[i] - past.blocked_s, window_s)
        made.append(
            NodeSnapshot(
                fixed.name,
                node.state,
                node.handled,
                node.produced,
                node.errors,
                node.parked,
                node.unrouted,
                busy_s,
                None if node.waits_for is None else of.edges[node.waits_for].id,
                node.slices,
                type=fixed.type,
                doing=_doing(node, runs, due[i] or node.due),
                in_flight=node.in_flight,
                blocked_s=blocked_s[i],
                wait_age_s=_seconds(ages.get(i)),
                shares=shares(busy_s, blocked_s[i], numbers.elapsed_s) if numbers.elapsed_s else None,
                recent=recent,
                handled_per_s=_rate(node.handled, None if past is None else past.handled, window_s),
                produced_per_s=_rate(node.produced, None if past is None else past.produced, window_s),
                last_error=last_errors.get(i),
                hook=node.hook,
                hook_s=_seconds(node.hook_ns),
                waits_in=waits_in.get(i),
            )
        )
    return tuple(made)


_IDLE = Shares(0.0, 0.0, 1.0)


def shares(busy_s: float, blocked_s: float, of_s: float) -> Shares:
    """Return shares of ``of_s``; several waits of one node may overlap, and a slice may reach into the next window."""
    if not busy_s and not blocked_s:
        return _IDLE  # most nodes of a large graph
    busy = min(max(busy_s / of_s, 0.0), 1.0)
    blocked = min(max(blocked_s / of_s, 0.0), 1.0 - busy)
    return Shares(busy, blocked, 1.0 - busy - blocked)


def _doing(node: NodeCounts, runs: bool, due: bool) -> str:
    if node.state in ("failed", "stopped"):
        return node.state
    if runs:
        return "running"
    if node.waits_for is not None or node.parked:
        return "blocked"
    if node.hook is not None:
        return "starting" if node.hook == "on_start" else "stopping"
    if node.state == "unstarted":
        return node.state
    if node.in_flight:
        return "working"
    if node.paused:
        return "paused"
    return "ready" if due else "idle"
