"""What a look takes: once what is fixed of a run, and its numbers each time.

Taking is all that is done where the run is. What they say is worked out where somebody wants to know it (`meridian.introspect.look`),
which is another process if they went through the socket. There each edge and each node is a list, in the order of its fields.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

from meridian import __version__
from meridian.core.function import FnNode, SourceNode
from meridian.introspect.awaits import waiting_in
from meridian.introspect.loop import look_at_loop
from meridian.introspect.model import (
    CpuSnapshot,
    EngineSnapshot,
    EventsSnapshot,
    Frame,
    LoopSnapshot,
    as_plain,
    shown_texts,
)
from meridian.observability.events import get_events
from meridian.redaction import class_name
from meridian.runtime.counts import EdgeCounts, NodeCounts  # noqa: TC001 - read when they come through the socket
from meridian.runtime.report import ErrorReport  # noqa: TC001 - the same

if TYPE_CHECKING:
    from collections.abc import Collection

    from meridian.runtime.facts import Facts


class FixedNode(NamedTuple):
    """Name of a node, and what it is."""

    name: str
    type: str


class FixedEdge(NamedTuple):
    """Where an edge leads, and its limits; ``source`` and ``target`` are positions among the nodes."""

    id: str
    source: int
    source_port: str
    target: int
    target_port: str
    max_bytes: int | None
    max_age_s: float | None


@dataclass(frozen=True, slots=True)
class Fixed:
    """What of a run doesn't change.

    Attributes:
        meridian: Version of the runtime.
        pid: The process.
        run: Id of the run.
        engine: Which engine runs it, and why.
        cpu: Which processors the process may use, or ``None`` if nobody looked.
        weights: Shares of the bands, the most urgent first.
        nodes: In start order.
        edges: In connect order.
    """

    meridian: str
    pid: int
    run: str
    engine: EngineSnapshot
    cpu: CpuSnapshot | None
    weights: tuple[int, ...]
    nodes: tuple[FixedNode, ...]
    edges: tuple[FixedEdge, ...]


class LastError(NamedTuple):
    """The last failure of a node, which is told by its position."""

    node: int
    error: ErrorReport


class WaitingIn(NamedTuple):
    """Where a node waits, which is told by its position."""

    node: int
    frame: Frame


@dataclass(frozen=True, slots=True)
class Numbers:
    """What of a run does change.

    Attributes:
        at_s: When they were taken, on the run's clock.
        wall_s: When, in seconds since 1970.
        status: ``running`` or ``stopped``.
        reason: Why it ended.
        elapsed_s: Seconds from its start to now, or to its end.
        ready: Turns that wait in each band.
        slices: Callbacks of the loop that the run took.
        in_flight: Asynchronous calls that are under way.
        open_sources: Sources that may still produce something.
        stopping: A stop was asked for.
        loop: How the event loop does.
        running: Position of the node whose code is on the thread, where that is known.
        nodes: Counts of the nodes.
        edges: And of the edges.
        errors: The most recent failures, oldest first.
        errors_total: All failures.
        last_errors: The last one of each node that had any.
        events: Where the events of the process have got to.
        waits_in: Where nodes stand that wait for something of their own.
    """

    at_s: float
    wall_s: float
    status: str
    reason: str | None
    elapsed_s: float
    ready: tuple[int, ...]
    slices: int
    in_flight: int
    open_sources: int
    stopping: bool
    loop: LoopSnapshot
    running: int | None
    nodes: tuple[NodeCounts, ...]
    edges: tuple[EdgeCounts, ...]
    errors: tuple[ErrorReport, ...]
    errors_total: int
    last_errors: tuple[LastError, ...]
    events: EventsSnapshot
    waits_in: tuple[WaitingIn, ...] = ()


def fixed_of(facts: Facts) -> Fixed:
    """Return what is fixed of a run; it is put together by the first look.

    Cost: O(nodes + edges), once.
    """
    run = facts.live
    if run is None:
        return _fixed(facts)
    if run.fixed is None:
        run.fixed = _fixed(facts)
    return run.fixed


def _fixed(facts: Facts) -> Fixed:
    cpu, plan = facts.cpu, facts.plan
    return Fixed(
        __version__,
        os.getpid(),
        facts.id,
        EngineSnapshot(facts.engine.name, facts.engine.reason),
        None
        if cpu is None
        else CpuSnapshot(
            cpu.logical, cpu.visible, cpu.visible_source, cpu.affinity_count, cpu.quota, cpu.quota_source
        ),
        facts.weights,
        tuple(FixedNode(name, type_of(node)) for name, node in plan.nodes),
        tuple(
            FixedEdge(id, source, port, target, target_port, edge.max_bytes, edge.max_age_s)
            for id, edge, source, port, target, target_port, _ in plan.edges
        ),
    )


def type_of(node: Any) -> str:
    """Return what a node is: ``function``, ``source``, or the qualified name of its class."""
    if isinstance(node, FnNode):
        return "function"
    return "source" if type(node) is SourceNode else class_name(type(node))


def take(facts: Facts) -> Numbers:
    """Take the numbers of a run that was counted just now.

    Cost: O(nodes + edges). Never waits for the run, nor lets it wait.
    """
    run = facts.live
    loop = LoopSnapshot(None, 0.0, False)
    ready: tuple[int, ...] = (0, 0, 0)
    in_flight, open_sources, stopping = 0, 0, False
    waits_in: tuple[WaitingIn, ...] = ()
    if run is not None:
        loop = look_at_loop(run, facts.at_ns)
        ready = tuple(map(len, run.engine.queue.lines))
        in_flight, open_sources, stopping = run.in_flight, run.open_sources, run.stopping
        waits_in = tuple(WaitingIn(*each) for each in waiting_in(run, facts.counts.nodes))
        if run.over:  # it ended meanwhile, and what was read may be of after that
            return take(run.facts())
    events = get_events()
    return Numbers(
        at_s=facts.at_ns / 1e9,
        wall_s=facts.at_s,
        status=facts.status,
        reason=facts.reason,
        elapsed_s=facts.elapsed_s,
        ready=ready,
        slices=facts.slices,
        in_flight=in_flight,
        open_sources=open_sources,
        stopping=stopping,
        loop=loop,
        running=next(iter(_positions(facts, {loop.node})), None) if loop.node else None,
        nodes=facts.counts.nodes,
        edges=facts.counts.edges,
        errors=tuple(facts.errors),
        errors_total=facts.errors_total,
        last_errors=_last_errors(facts),
        events=EventsSnapshot(events.last, events.held_back),
        waits_in=waits_in,
    )


def _last_errors(facts: Facts) -> tuple[LastError, ...]:
    last = dict(facts.last_errors)  # made at once: the run goes on
    nodes = facts.plan.nodes
    return tuple(LastError(i, last[nodes[i].name]) for i in _positions(facts, last)) if last else ()


def _positions(facts: Facts, names: Collection[str]) -> list[int]:
    """Return where nodes are among the nodes."""
    return [i for i, (name, _) in enumerate(facts.plan.nodes) if name in names]


# ---- through the socket ----------------------------------------------------------------------------------------------


def told(of: Numbers) -> dict[str, Any]:
    """Return numbers as they go through the socket; texts as the policy shows them."""
    shown = shown_texts()
    return {
        **{name: getattr(of, name) for name in _NUMBERS},
        "loop": as_plain(of.loop),
        # Of all that is counted this is the only text that can be of the user's own making: the name of a class.
        "edges": [
            each if shown[each.policy] == each.policy else each._replace(policy=shown[each.policy])
            for each in of.edges
        ],
        "errors": [as_plain(each) for each in of.errors],
        "last_errors": [(each.node, as_plain(each.error)) for each in of.last_errors],
        "events": as_plain(of.events),
        "waits_in": [(each.node, as_plain(each.frame)) for each in of.waits_in],
    }


_NUMBERS = tuple(field.name for field in fields(Numbers))
