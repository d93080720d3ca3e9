"""Snapshots as a test wants them, and the ones that pictures of the inspector show."""

from dataclasses import replace
from itertools import pairwise

from meridian.introspect import (
    EdgeSnapshot,
    EngineSnapshot,
    EventsSnapshot,
    Finding,
    Frame,
    LoopSnapshot,
    NodeSnapshot,
    Percentiles,
    SchedulerSnapshot,
    Shares,
    Snapshot,
)
from meridian.observability.events import Event
from meridian.runtime.report import ErrorReport

WALL_S = 1_800_000_000.0  # 2027-01-15 08:00:00 UTC


def node(name: str, doing: str = "idle", **said) -> NodeSnapshot:
    fields = {
        "state": "started", "handled": 0, "produced": 0, "errors": 0, "parked": 0, "unrouted": 0, "busy_s": 0.0,
        "type": "function", "in_flight": 0, "blocked_s": 0.0,
    }  # fmt: skip
    return NodeSnapshot(name=name, doing=doing, **{**fields, **said})


def edge(source: str, target: str, depth: int = 0, capacity: int = 1024, **said) -> EdgeSnapshot:
    fields = {
        "policy": "block", "accepted": depth, "delivered": 0, "merged": 0, "lost": {}, "source_port": "output",
        "target_port": "input", "band": "NORMAL",
    }  # fmt: skip
    id = f"{source}:output->{target}:input"
    return EdgeSnapshot(
        id=id, source=source, target=target, depth=depth, capacity=capacity, **{**fields, **said}
    )


def shot(nodes, edges, *, at_s: float = 12.0, **said) -> Snapshot:
    fields = {
        "schema_version": "1.0", "meridian": "2.0.0", "pid": 4321, "run": "4321-1", "at_s": at_s,
        "wall_s": WALL_S + at_s, "status": "running", "reason": None, "elapsed_s": at_s, "window_s": 1.0,
        "engine": EngineSnapshot("python", "asked for"), "cpu": None,
        "scheduler": SchedulerSnapshot((), 0, 0, 0, 1, False), "loop": LoopSnapshot(0.0002, 0.0, False),
        "errors": (), "errors_total": 0, "events": EventsSnapshot(0, 0),
    }  # fmt: skip
    return Snapshot(nodes=tuple(nodes), edges=tuple(edges), **{**fields, **said})


def shop(step: int = 0) -> Snapshot:
    """A shop whose writer is too slow: what the screens show. Each step is a second later."""
    error = ErrorReport("parse", "on_message", "ValueError", "shop.py:12 parse", "[redacted]")
    lost = 3 + 2 * step
    return shot(
        [
            node("orders", "blocked", produced=9_000 + 200 * step, produced_per_s=200.0, handled_per_s=0.0,
                 waits_for="orders:output->parse:input", wait_age_s=0.8, recent=Shares(0.1, 0.8, 0.1)),
            node("parse", "running", handled=8_000 + 200 * step, handled_per_s=200.0, errors=2, last_error=error,
                 recent=Shares(0.6 + 0.05 * (step % 4), 0.2, 0.2 - 0.05 * (step % 4)), busy_s=4.2, slices=190),
            node("stock/check", "idle", handled=4_000, handled_per_s=90.0, recent=Shares(0.2, 0.0, 0.8)),
            node("stock/book", "working", handled=3_900, handled_per_s=90.0, in_flight=2, recent=Shares(0.1, 0.0, 0.9)),
            node("write", "working", handled=700, handled_per_s=4.0, in_flight=1, recent=Shares(0.05, 0.0, 0.95)),
            node("screen", "idle", handled=7_000, handled_per_s=180.0, recent=Shares(0.3, 0.0, 0.7)),
        ],
        [
            edge("orders", "parse", 1024, waiting=1, waits=7, wait_age_s=0.8, accepted_per_s=200.0, delivered_per_s=200.0,
                 lost_per_s=0.0, stalled_s=0.1, delivered=8_000, accepted=9_024),
            edge("parse", "stock/check", 40 + 37 * (step % 9), accepted_per_s=95.0, delivered_per_s=90.0, lost_per_s=0.0),
            edge("stock/check", "stock/book", 2, accepted_per_s=90.0, delivered_per_s=90.0, lost_per_s=0.0),
            edge("stock/book", "write", min(5 + step, 8), 8, accepted_per_s=4.0, delivered_per_s=4.0, lost_per_s=0.0, wait_age_s=2.5,
                 hop_s=Percentiles(0.2, 0.9, 1.9, 2.5, 700)),
            edge("parse", "screen", 1, 1, policy="latest", lost={"replaced": lost}, accepted_per_s=182.0,
                 delivered_per_s=180.0, lost_per_s=2.0, delivered=7_000, accepted=7_001 + lost),
            edge("write", "orders", 0, accepted_per_s=0.0, delivered_per_s=0.0, lost_per_s=0.0),
        ],
        at_s=12.0 + step, errors=(error,), errors_total=2,
    )  # fmt: skip


def stuck_shop() -> Snapshot:
    frames = tuple(Frame(f"f{i}", "shop.py", 10 * i) for i in range(6))
    return replace(shop(), loop=LoopSnapshot(0.0002, 7.5, True, "parse", frames))


def crowd(n: int = 1_000, group: int = 0) -> Snapshot:
    """A chain of so many nodes, ``group`` of them to a subgraph, or flat."""
    names = [f"part{i // group}/step{i}" if group else f"step{i}" for i in range(n)]
    return shot(
        [node(name, "idle", recent=Shares(i / n, 0.0, 1 - i / n), handled_per_s=1.0) for i, name in enumerate(names)],
        [edge(a, b, i % 1024) for i, (a, b) in enumerate(pairwise(names))],
    )  # fmt: skip


def event(seq: int, kind: str, level: str = "info", **said) -> Event:
    return Event(seq=seq, kind=kind, level=level, at_s=float(seq), wall_s=WALL_S + seq, **said)


EVENTS = (
    event(1, "run.started", run="4321-1", total=6),
    event(2, "node.error", "error", run="4321-1", node="parse", phase="on_message", error="ValueError",
          where="shop.py:12 parse", message="[redacted]", total=1),
    event(3, "edge.loss", "warn", run="4321-1", edge="parse:output->screen:input", cause="replaced", n=1, total=1),
)  # fmt: skip

SLOW = Finding(
    "dead-consumer", "error", "write", "stock/book:output->write:input", "write has taken nothing for 2.5 s",
    "its handler awaits something that doesn't come", "look at what it awaits",
)  # fmt: skip
