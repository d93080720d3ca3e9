"""What a run did: counts, never payloads."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast

from meridian.redaction import redactor

if TYPE_CHECKING:
    from meridian.runtime.facts import Facts


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
        state: ``unstarted`` (its turn to start hasn't come, or goes on), ``started``, ``stopped``, or ``failed`` (its ``on_start``
            raised).
        handled: Messages handed to it.
        produced: Items a source made.
        errors: Failures of its code.
        parked: Emissions that still wait for room.
        unrouted: Emissions on ports that lead nowhere.
        busy_s: Seconds its code was on the thread: its turns, and what its asynchronous code did after it had waited.
        waits_for: Id of an edge whose room it waits for now, or that is full before a node with work that had no turn since, or
            ``None``.
        slices: How many turns it had, each time its asynchronous code went on included.
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


def report_of(facts: Facts) -> RunReport:
    """Return what was counted of a run, in the names of its plan."""
    plan, counts = facts.plan, facts.counts
    edges = [
        EdgeReport(
            planned.id,
            of.policy,
            of.capacity,
            of.accepted,
            of.delivered,
            of.depth,
            of.merged,
            of.lost,
            of.blocked_s,
        )
        for planned, of in zip(plan.edges, counts.edges, strict=True)
    ]
    nodes = [
        NodeReport(
            planned.name,
            of.state,
            of.handled,
            of.produced,
            of.errors,
            of.parked,
            of.unrouted,
            of.busy_ns / 1e9,
            None if of.waits_for is None else plan.edges[of.waits_for].id,
            of.slices,
        )
        for planned, of in zip(plan.nodes, counts.nodes, strict=True)
    ]
    return RunReport(
        facts.status,
        facts.reason,
        facts.elapsed_s,
        facts.engine.name,
        facts.engine.reason,
        nodes,
        edges,
        facts.errors,
        facts.errors_total,
        facts.left(),
    )
