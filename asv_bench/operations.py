"""Single operations in a loop: what an edge, the ready queue, a slice, a validator and a redaction cost by themselves.

As with `workloads`, each call builds what it needs, then times nothing but the loop, and returns nanoseconds per operation.
Which engine they run on was decided when Meridian was imported.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from asv_bench.shape import CAPACITY, Stopwatch, verify
from asv_bench.workloads import same
from meridian import (
    Edge,
    Port,
    PortDirection,
    PortSpec,
    Subgraph,
    block,
    coalesce,
    drop,
    latest,
    node,
)
from meridian.core.message import Scope
from meridian.core.policies import PutResult
from meridian.engine.ready import HIGH_BAND, NORMAL_BAND
from meridian.engine.select import engine_type
from meridian.observability import LogConfig, Logger
from meridian.redaction import describe_error
from meridian.runtime.validate import validate

# ---- edges -----------------------------------------------------------------------------------------------------------


def newer(old: Any, new: Any) -> Any:
    return new


POLICIES: dict[str, Callable[[], Any]] = {
    "block": block,
    "drop": drop,
    "latest": latest,
    "coalesce": lambda: coalesce(newer),
}
FULL = {
    "block": PutResult.BLOCKED,
    "drop": PutResult.DROPPED,
    "latest": PutResult.REPLACED,
    "coalesce": PutResult.COALESCED,
}
"""What a full edge answers, by policy."""

# Far away, so that they are looked at for each item and never reached.
LIMITS: dict[str, dict[str, Any]] = {
    "count": {},
    "bytes": {"max_bytes": 1 << 40},
    "age": {"max_age_s": 1e6},
}


def edge(
    policy: str = "latest", limit: str = "count", *, capacity: int = CAPACITY, schema: Any = None
) -> Edge[Any]:
    """Make an edge between two ports, outside of any graph."""
    return Edge(
        "a",
        Port("output", PortDirection.OUTPUT),
        "b",
        Port("input", PortDirection.INPUT),
        capacity,
        None if schema is None else PortSpec("input", schema),
        POLICIES[policy](),
        **LIMITS[limit],
    )


def put_when_full(n: int, policy: str, limit: str = "count") -> float:
    """Put on an edge that is full; return nanoseconds per `Edge.try_put`."""
    full = edge(policy, limit, capacity=64)
    full.put_many(range(64))
    put = full.try_put
    last: Any = None
    watch = Stopwatch()
    watch.start()
    for i in range(n):
        last = put(i)
    watch.stop()
    verify(f"put when full, {policy}, {limit}", (last, full.depth()), (FULL[policy], 64))
    return watch.ns / n


def put_many_and_take_many(n: int, policy: str = "latest", limit: str = "count", *, batch: int = 64) -> float:
    """Put batches on an edge and take them off it; return nanoseconds per item."""
    made = edge(policy, limit)
    put_many, take_many = made.put_many, made.take_many
    items = list(range(batch))
    rounds = n // batch
    total = 0
    watch = Stopwatch()
    watch.start()
    for _ in range(rounds):
        put_many(items)
        total += len(take_many(batch))
    watch.stop()
    verify(f"put many and take many, {policy}, {limit}", total, rounds * batch)
    return watch.ns / total


# ---- the scheduler ---------------------------------------------------------------------------------------------------


def pick_and_push(n: int, ready: int) -> float:
    """Take the turn that is due and queue it again, with so many ready in two bands; return nanoseconds per turn."""
    kinds = engine_type()
    queue = kinds.queue_type()
    for i in range(ready):
        turn = kinds.turn_type(i, HIGH_BAND if i % 2 else NORMAL_BAND)
        turn.line = queue.lines[turn.band]
        turn.line.append(turn)
    pick = queue.pick
    watch = Stopwatch()
    watch.start()
    for _ in range(n):
        turn = pick()
        turn.line.append(turn)
    watch.stop()
    verify("ready turns", len(queue), ready)
    return watch.ns / n


def slices_of_one(n: int) -> float:
    """Put one item where a node waits and run the slice that handles it; return nanoseconds per slice."""
    kinds = engine_type()
    engine = kinds(Scope(now=0.0), lambda: 0)
    ring = kinds.ring_type("edge", CAPACITY, block(), None)
    seen: list[int] = []
    engine.add_node(0, "sink", "map", seen.append, {})
    engine.attach(ring, 0, "input", NORMAL_BAND)
    put, run = ring.put, engine.run
    watch = Stopwatch()
    watch.start()
    for i in range(n):
        put(i)
        run(1, 1)
    watch.stop()
    verify("slices", len(seen), n)
    return watch.ns / n


# ---- validators ------------------------------------------------------------------------------------------------------


def validated(nodes: int) -> float:
    """Validate a graph of so many nodes, without running it; return nanoseconds per node."""
    made = Subgraph("validated")
    passing = node(same)
    for i in range(nodes):
        made.add_node(passing, f"{i}")
        if i:
            made.connect((f"{i - 1}", "output"), (f"{i}", "input"), CAPACITY)
    watch = Stopwatch()
    watch.start()
    issues = validate(made)
    watch.stop()
    verify("a valid graph", issues, [])
    return watch.ns / nodes


@dataclass(frozen=True, slots=True)
class Reading:
    sensor: str
    value: float


def _pydantic() -> tuple[Any, Any]:
    import pydantic

    model = pydantic.create_model("Reading", sensor=(str, ...), value=(float, ...))
    return model, model(sensor="a", value=1.0)


def _msgspec() -> tuple[Any, Any]:
    import msgspec

    struct = msgspec.defstruct("Reading", [("sensor", str), ("value", float)])
    return struct, struct("a", 1.0)


SCHEMAS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "anything": lambda: (None, 1),
    "isinstance": lambda: (int, 1),
    "union": lambda: (int | str, 1),
    "list of 10": lambda: (list[int], list(range(10))),
    "dataclass": lambda: (Reading, Reading("a", 1.0)),
    "pydantic": _pydantic,
    "msgspec": _msgspec,
}
"""A schema, and a payload that fits it."""


def checked(n: int, schema: str) -> float:
    """Put an item on an edge with a schema and take it off; return nanoseconds per pair.

    Raises:
        ImportError: the schema's library isn't installed.
    """
    wanted, payload = SCHEMAS[schema]()
    made = edge(schema=wanted)
    put, get = made.try_put, made.try_get
    got: Any = None
    watch = Stopwatch()
    watch.start()
    for _ in range(n):
        put(payload)
        got = get()
    watch.stop()
    verify(f"checked, {schema}", got is payload, True)
    return watch.ns / n


# ---- redaction -------------------------------------------------------------------------------------------------------


def _broken(depth: int) -> BaseException:
    """An error with a payload in its text, raised that many calls deep."""
    try:
        if depth:
            raise _broken(depth - 1)
        raise KeyError("payload")
    except KeyError as error:
        return error


def errors_redacted(n: int) -> float:
    """Describe an error without its payload; return nanoseconds per error."""
    error = _broken(5)
    said: Any = None
    watch = Stopwatch()
    watch.start()
    for _ in range(n):
        said = describe_error(error)
    watch.stop()
    verify("a redacted error", "payload" in str(said), False)
    return watch.ns / n


def records_logged(n: int) -> float:
    """Log a record whose fields are names, figures and a value that must not show; return nanoseconds per record."""
    stream = io.StringIO()
    logger = Logger(LogConfig(stream=stream))
    secret = Reading("secret", 1.0)
    watch = Stopwatch()
    watch.start()
    for i in range(n):
        logger.info("bench.event", "something happened", edge_id="a:output->b:input", n=i, payload=secret)
    watch.stop()
    lines = stream.getvalue()
    verify("redacted records", (lines.count("\n"), "secret" in lines), (n, False))
    return watch.ns / n


SENTENCE = "the edge a:output->b:input took 64 items and lost none of them"
TEXTS: dict[str, Callable[[int], str]] = {
    "seen": lambda i: SENTENCE,
    "unseen": lambda i: f"{SENTENCE}, {i} times",
    "personal": lambda i: (
        f"jane{i}@example.com asked from 192.0.2.7 with Authorization: Bearer mF9b5f4JqM3hVt8Kc2Zx"
    ),
    "long": lambda i: f"{i} times {SENTENCE}\n" * 40,
}
"""The texts of one kind, by number; only one kind has anything to redact."""


def texts_redacted(n: int, kind: str) -> float:
    """Redact texts; return nanoseconds per text."""
    from meridian.redaction import redactor

    texts = [TEXTS[kind](i) for i in range(n)]
    redact = redactor().text
    watch = Stopwatch()
    watch.start()
    said = [redact(text) for text in texts]
    watch.stop()
    verify(f"redacted texts, {kind}", (said == texts, "jane" in "".join(said)), (kind != "personal", False))
    return watch.ns / n


def data_redacted(n: int) -> float:
    """Redact a mapping of ten values, one of which has a secret's name; return nanoseconds per mapping."""
    from meridian.redaction import redactor

    data: dict[str, Any] = {f"field_{i}": i for i in range(8)}
    data |= {"api_key": "not to be seen", "items": ["a", "b"]}
    redact = redactor().data
    said: Any = None
    watch = Stopwatch()
    watch.start()
    for _ in range(n):
        said = redact(data)
    watch.stop()
    verify("redacted data", (said["field_7"], "not to be seen" in str(said)), (7, False))
    return watch.ns / n


# ---- start-up --------------------------------------------------------------------------------------------------------

FIRST_MESSAGE = """
from meridian import Scheduler, graph, node, sink, source
from meridian.observability import configure

configure("ERROR")
got = []
scheduler = Scheduler()
scheduler.register(graph("first", source([1]) >> node(lambda x: x + 1) >> sink(got.append)))
scheduler.run()
assert got == [2]
"""
"""A whole program, for a fresh process."""
