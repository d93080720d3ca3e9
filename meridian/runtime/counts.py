"""What a run counted: bare numbers, read off its rings and nodes, of which reports and snapshots are made.

Counting is all that happens to a run when somebody looks at it. What the numbers say, in names, rates and shares, is worked out
from them by whoever wants to know, in another process if need be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from meridian.core.function import FnNode
from meridian.core.policies import policy_name
from meridian.engine.node import NO_LIMIT
from meridian.engine.step import BUSY, PAUSED

if TYPE_CHECKING:
    from collections.abc import Callable

    from meridian.core.node import Node
    from meridian.engine.node import NodeState
    from meridian.engine.ring import LimitedRing, Ring
    from meridian.runtime.assembly import Assembly
    from meridian.runtime.lifecycle import LifeCycle


class EdgeCounts(NamedTuple):
    """Of one edge.

    Attributes:
        policy: What it does when it is full.
        capacity: Most items it holds.
        delivered: Items handed to its consumer.
        depth: Items still on it.
        merged: Items merged into others.
        lost: Items lost, by cause.
        blocked_s: Seconds that producers waited for room, waits that are still open included.
        band: Who is served first: 0 CONTROL, 1 HIGH, 2 NORMAL.
        waits: How often somebody began to wait for room.
        waiting: Waits that are open.
        wait_age_ns: Age of the oldest of them.
        head_age_ns: How long, at least, the oldest data has waited, where that is known.
        bytes: Of the data that waits, where anybody counts them.
        hop_ns: The median of the times on the edge, the 90th and 99th percentile, and the longest; empty before any was taken.
        hops: How many were taken.
    """

    policy: str
    capacity: int
    delivered: int
    depth: int
    merged: int
    lost: dict[str, int]
    blocked_s: float
    band: int
    waits: int = 0
    waiting: int = 0
    wait_age_ns: int | None = None
    head_age_ns: int | None = None
    bytes: int | None = None
    hop_ns: tuple[int, ...] = ()
    hops: int = 0

    @property
    def accepted(self) -> int:
        """Items it took responsibility for."""
        return self.delivered + self.depth + self.merged + sum(self.lost.values())


class NodeCounts(NamedTuple):
    """Of one node.

    Attributes:
        state: ``unstarted``, ``started``, ``stopped`` or ``failed``.
        handled: Messages handed to it.
        produced: Items a source made.
        errors: Failures of its code.
        parked: Emissions that still wait for room.
        unrouted: Emissions on ports that lead nowhere.
        busy_ns: How long its code was on the thread: its turns, and what its asynchronous code did after it had waited.
        slices: How many turns it had, each time its asynchronous code went on included.
        waits_for: Index of an edge whose room it waits for, or whose fullness it will find at its next turn, if there is one.
        in_flight: Calls of an asynchronous handler that are under way.
        paused: It takes no data for now.
        due: A tick, or its source, is to be run.
        hook: ``on_start``, ``on_drain`` or ``on_stop``, while that goes on.
        hook_ns: How long it has.
    """

    state: str
    handled: int
    produced: int
    errors: int
    parked: int
    unrouted: int
    busy_ns: int
    slices: int
    waits_for: int | None = None
    in_flight: int = 0
    paused: bool = False
    due: bool = False
    hook: str | None = None
    hook_ns: int | None = None


class Counts(NamedTuple):
    """Of a run, in the order of its plan."""

    nodes: tuple[NodeCounts, ...]
    edges: tuple[EdgeCounts, ...]


def count(assembly: Assembly, life: LifeCycle, *, over: bool, timing: bool) -> Counts:
    """Count what a run did so far; from any thread, and never waits.

    Args:
        assembly: Its rings and node states.
        life: Which of its nodes were started and stopped.
        over: The run has ended.
        timing: Let each edge time what comes next, for a while; see `meridian.engine.hops`.

    Cost: O(nodes + edges).
    """
    clock = assembly.engine.clock
    now = clock()
    of_nodes = len(assembly.plan.nodes)
    busy, slices, handled = [0] * of_nodes, [0] * of_nodes, [0] * of_nodes
    waits: dict[int, int] = {}
    full: dict[int, int] = {}
    fed: set[int] = set()
    edges = []
    for i, (planned, ring) in enumerate(assembly.known_rings()):
        if ring is None:
            edge = planned.edge
            policy = policy_name(edge.default_policy)
            edges.append(
                EdgeCounts(policy, max(edge.capacity, 0), 0, 0, 0, {}, 0, assembly.bands.get(planned.id, 2))
            )
            continue
        counted = _edge(ring, now, clock if timing else None)
        edges.append(counted)
        handled[planned.target] += counted.delivered
        if counted.waiting:
            # Whatever waits for room here, a turn or a coroutine, does so for the node in front.
            waits.setdefault(planned.source, i)
        if counted.depth:
            fed.add(planned.target)
            if planned.source != planned.target and _is_full(ring, counted):
                full.setdefault(planned.source, i)
        for turn in (ring.turn, ring.control_turn):
            if turn is not None:
                busy[planned.target] += turn.busy_ns
                slices[planned.target] += turn.slices
    nodes = []
    for i, (_, node) in enumerate(assembly.plan.nodes):
        how = life.state(i, over=over)
        state = assembly.known_state(i)
        if state is None:
            nodes.append(NodeCounts(how, handled[i], 0, 0, 0, 0, busy[i], slices[i], waits.get(i)))
            continue
        due = False
        for turn in (state.tick_turn, state.source_turn, state.flush_turn):
            if turn is not None:
                busy[i] += turn.busy_ns
                slices[i] += turn.slices
                due = due or turn.queued
        busy[i] += state.resumed_ns
        slices[i] += state.resumptions
        nodes.append(
            NodeCounts(
                how,
                handled[i],
                state.produced,
                state.errors,
                len(state.parked or ()),
                state.unrouted,
                busy[i],
                slices[i],
                waits.get(i),
                _in_flight(node, state),
                bool(state.held & PAUSED or state.paused),
                due,
            )
        )
    runs = assembly.engine.scope.node if assembly.engine.running else None
    for i, of in full.items():
        if (i in fed or nodes[i].due) and _is_free(nodes[i]) and assembly.plan.nodes[i].name != runs:
            nodes[i] = nodes[i]._replace(waits_for=of)
    if (hook := life.hook) is not None:
        nodes[hook.node] = nodes[hook.node]._replace(hook=hook.phase, hook_ns=max(now - hook.since_ns, 0))
    return Counts(tuple(nodes), tuple(edges))


def _edge(ring: Ring, now: int, clock: Callable[[], int] | None) -> EdgeCounts:
    since = [turn.since for turn in list(ring.waiters or ())]  # a copy: the run goes on
    head_age = None
    if clock is not None and (seen := ring.time_hops(clock)) is not None:
        head_age = max(now - seen, 0)
    n_bytes = None
    if ring.limited:
        limited: LimitedRing = ring  # type: ignore[assignment]  # as it says
        n_bytes = limited.bytes
        head_age = _head_age_ns(limited)
    times = None if ring.hops is None else ring.hops.times
    hops = 0 if times is None else times.n
    turn = ring.turn
    return EdgeCounts(
        policy_name(ring.policy),
        ring.capacity,
        ring.taken,
        ring.depth(),
        ring.merged,
        dict(ring.lost or {}),
        ring.blocked_s(now),
        2 if turn is None else turn.band,
        ring.waits,
        len(since),
        max(now - min(since), 0) if since else None,
        head_age,
        n_bytes,
        (*times.percentiles(0.5, 0.9, 0.99), times.most) if times is not None and hops else (),
        hops,
    )


def _is_free(node: NodeCounts) -> bool:
    """Say whether nothing but a full output can keep a node from its work."""
    return node.state == "started" and node.waits_for is None and not (node.in_flight or node.paused)


def _is_full(ring: Ring, counted: EdgeCounts) -> bool:
    """Say whether an edge holds its producer: it is full, but for what its consumer took at its last turn.

    Behind a slow consumer a producer finds room for no more than that, each time; and in a chain of them the free places wander with
    the turns. A batch may be as large as a small edge, so an eighth of the edge is what counts at the most.
    """
    if counted.policy != "block":
        return False
    batch = 0 if ring.turn is None else 2 * ring.turn.batch  # one that took long was halved for the next turn
    in_hand = min(batch, counted.capacity // 8)
    return counted.depth + in_hand >= counted.capacity or (ring.limited and not ring.room())


def _head_age_ns(ring: LimitedRing) -> int | None:
    try:
        return ring.head_age_ns() if ring.items else None
    except IndexError:  # taken between two steps of the look
        return None


def _in_flight(node: Node, state: NodeState) -> int:
    if state.free != NO_LIMIT and isinstance(node, FnNode):
        return max(node.function.concurrency - state.free, 0)
    return 1 if state.held & BUSY else 0
