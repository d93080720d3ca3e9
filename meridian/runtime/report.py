"""What a run did: counts, never payloads."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast

from meridian.core.policies import policy_name
from meridian.redaction import redactor

if TYPE_CHECKING:
    from meridian.engine.select import EngineChoice
    from meridian.runtime.assembly import Assembly


@dataclass(frozen=True, slots=True)
class EdgeReport:
    """One edge in numbers; ``accepted == delivered + depth + merged + sum(lost.values())`` always holds.

    Attributes:
        id: ``source:port->target:port``.
        policy: What it does when it is full.
        capacity: Most items it holds.
        accepted: Items it took responsibility for.
        delivered: Items handed to its consumer.
        depth: Items still on it.
        merged: Items merged into others by its coalesce function.
        lost: Items lost, by cause: dropped, replaced, expired, coalesce_error, invalid.
        blocked_s: Seconds that producers waited for room, waits that are still open included.
    """

    id: str
    policy: str
    capacity: int
    accepted: int
    delivered: int
    depth: int
    merged: int
    lost: dict[str, int]
    blocked_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """One recorded failure, without payload.

    Attributes:
        node: Whose code failed.
        phase: Which hook.
        type: Class of the exception.
        where: File, line and function that raised.
        message: Its text, or ``[redacted]``.
    """

    node: str
    phase: str
    type: str
    where: str
    message: str


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node in numbers.

    Attributes:
        name: Its name in the plan.
        state: ``started``, ``stopped``, or ``failed`` (its ``on_start`` raised).
        handled: Messages handed to it.
        produced: Items a source made.
        errors: Failures of its code.
        parked: Emissions that still wait for room.
        unrouted: Emissions on ports that lead nowhere.
        busy_s: Seconds its slices took.
        waits_for: Id of an edge whose room it waits for now, or ``None``.
        slices: How many turns it had.
    """

    name: str
    state: str
    handled: int
    produced: int
    errors: int
    parked: int
    unrouted: int
    busy_s: float
    waits_for: str | None = None
    slices: int = 0


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run did, or has done so far.

    Attributes:
        status: ``new``, ``running`` or ``stopped``.
        reason: Why it ended: ``finished`` (sources exhausted, edges drained), ``shutdown``, ``idle`` (longer than
            ``idle_timeout_s``), ``quiet`` (tickers without a declared end, as in v1), ``stuck`` (nothing could happen any
            more although messages were left), ``cancelled``, ``failed``; ``None`` while it runs.
        elapsed_s: Seconds from start to end, or to now.
        engine: Which engine ran it, ``python`` or ``rust``.
        engine_reason: Why that one.
        nodes: In start order.
        edges: In connect order.
        errors: The most recent failures, oldest first.
        errors_total: All failures.
        left: Ids of edges that still hold messages, and how many.
    """

    status: str
    reason: str | None
    elapsed_s: float
    engine: str
    engine_reason: str
    nodes: list[NodeReport]
    edges: list[EdgeReport]
    errors: list[ErrorReport]
    errors_total: int
    left: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain dicts and lists, ready for JSON; names and texts go through the redaction policy."""
        return cast("dict[str, Any]", redactor().data(asdict(self), max_items=None))


def count(
    assembly: Assembly,
    *,
    engine: EngineChoice,
    failed: set[int],
    over: bool,
    reason: str | None,
    elapsed_s: float,
    errors: list[ErrorReport],
    errors_total: int,
) -> RunReport:
    """Count what a run did so far.

    Args:
        assembly: Its rings and node states.
        engine: Which engine runs it, and why.
        failed: Nodes that could not be started.
        over: The run has ended.
        reason: Why it ended.
        elapsed_s: Seconds since it began, or that it took.
        errors: The most recent failures.
        errors_total: All failures.
    """
    plan, now = assembly.plan, assembly.engine.clock()
    busy = [0] * len(plan.nodes)
    slices = [0] * len(plan.nodes)
    handled = [0] * len(plan.nodes)
    waits: dict[int, str] = {}
    edges = []
    for planned, ring in assembly.known_rings():
        if ring is None:
            edge = planned.edge
            policy = policy_name(edge.default_policy)
            edges.append(EdgeReport(planned.id, policy, max(edge.capacity, 0), 0, 0, 0, 0, {}))
            continue
        for turn in (ring.turn, ring.control_turn):
            if turn is not None:
                busy[planned.target] += turn.busy_ns
                slices[planned.target] += turn.slices
        if ring.waiters:  # whatever waits for room here, a turn or a coroutine, does so for the node in front
            waits.setdefault(planned.source, planned.id)
        lost = dict(ring.lost or {})
        depth, taken, merged = ring.depth(), ring.taken, ring.merged
        handled[planned.target] += taken
        accepted = taken + depth + merged + sum(lost.values())
        policy, blocked_s = policy_name(ring.policy), ring.blocked_s(now)
        edges.append(
            EdgeReport(planned.id, policy, ring.capacity, accepted, taken, depth, merged, lost, blocked_s)
        )
    nodes = []
    for i, (name, _) in enumerate(plan.nodes):
        how = "failed" if i in failed else "stopped" if over else "started"
        state = assembly.known_state(i)
        if state is None:
            nodes.append(
                NodeReport(name, how, handled[i], 0, 0, 0, 0, busy[i] / 1e9, waits.get(i), slices[i])
            )
            continue
        for turn in (state.tick_turn, state.source_turn, state.flush_turn):
            if turn is not None:
                busy[i] += turn.busy_ns
                slices[i] += turn.slices
        nodes.append(
            NodeReport(
                name,
                how,
                handled[i],
                state.produced,
                state.errors,
                len(state.parked or ()),
                state.unrouted,
                busy[i] / 1e9,
                waits.get(i),
                slices[i],
            )
        )
    left = {edge.id: edge.depth for edge in edges if edge.depth}
    status = "stopped" if over else "running"
    return RunReport(
        status, reason, elapsed_s, engine.name, engine.reason, nodes, edges, errors, errors_total, left
    )
