"""Who takes part, and what each of them has and lacks: speed alone compares things that do different work."""

from __future__ import annotations

from dataclasses import dataclass, field

WORKLOADS = {
    "W1": "chain: numbers through three nodes into a sum",
    "W2": "fan: each number to eight branches, all into a sum",
    "W3": "ping: one message in flight through three nodes",
    "W4": "sparse: 1,000 nodes in chains of ten, one message at a time",
    "work": "the chain, with about 10 µs of work in each node",
}
"""By id: what it is. W3 is wall time per ping, the others are CPU time per hop (one node and the edge before it)."""

UNITS = {name: "µs a ping, p50" if name == "W3" else "ns a hop" for name in WORKLOADS}

OURS, PEERS, V1 = "ours", "peers", "v1"
"""Environments: the one of this interpreter, the one with the peers, the one with meridian-runtime 1.2.0."""

NO_PUSH = "items are pulled, so that none can be sent from outside while it runs"


@dataclass(frozen=True)
class Contender:
    """One way to move messages.

    Attributes:
        name: As it stands in the table.
        module: Of this package; has the workloads.
        environment: What it runs in.
        package: Its distribution; its version is asked for in its own process. ``python`` for the standard library.
        full: What happens to somebody who is faster than the next one.
        has: What it has that the others of its kind lack, or lacks that Meridian has.
        form: Where a module has several ways to use a package.
        engine: Of Meridian.
        cannot: By workload, why it is not measured.
    """

    name: str
    module: str
    environment: str
    package: str
    full: str
    has: str
    form: str = ""
    engine: str = ""
    cannot: dict[str, str] = field(default_factory=dict)


BASE = "asyncio.Queue"

CONTENDERS = (
    Contender(
        "Meridian, Rust engine", "meridian_", OURS, "meridian-runtime", engine="rust",
        full="bounded; the sender waits, or the edge's policy drops, replaces or merges",
        has="policies, priorities, errors by policy, counters, drained shutdown, reports: all of it is on",
    ),
    Contender(
        "Meridian, Python engine", "meridian_", OURS, "meridian-runtime", engine="python",
        full="bounded; the sender waits, or the edge's policy drops, replaces or merges",
        has="the same",
    ),
    Contender(
        BASE, "by_hand", PEERS, "python",
        full="bounded; the sender waits",
        has="tasks and queues written by hand: no policies, errors, counters or shutdown",
    ),
    Contender(
        "asyncio.Queue of lists", "by_hand", PEERS, "python", form="lists",
        full="bounded; the sender waits",
        has="the same, and each task passes lists of 64 along: latency and memory are paid for with code of one's own",
        cannot=dict.fromkeys(("W3", "W4"), "one message at a time fills no list: it is the pipeline by hand"),
    ),
    Contender(
        "anyio streams", "anyio_streams", PEERS, "anyio",
        full="bounded; the sender waits",
        has="structured concurrency, and the same code on trio; each send and receive is a checkpoint, which is fairer and dearer",
    ),
    Contender(
        "meridian-runtime 1.2.0", "v1", V1, "meridian-runtime",
        full="bounded; a full edge refuses, and the node tries again",
        has="policies, priorities and metrics; the driver of W3 and W4 is a node, as it has no inlet",
    ),
    Contender(
        "reactivex", "reactivex_", PEERS, "reactivex",
        full="no queue in between: a send is a nested call down to the sum",
        has="more than a hundred operators; no waiting, and nothing runs beside the sender",
    ),
    Contender(
        "streamz", "streamz_", PEERS, "streamz",
        full="no queue in between: a send is a nested call down to the sum",
        has="windows and data frames; errors go up to the sender",
    ),
    Contender(
        "streamz with buffers", "streamz_", PEERS, "streamz", form="buffers",
        full="bounded; the sender waits",
        has="a buffer before each node, so that these run on their own",
    ),
    Contender(
        "aiostream", "aiostream_", PEERS, "aiostream",
        full="no queue in between: the sum pulls one item at a time",
        has="the operators of itertools for async iterators; one consumer",
        cannot={"W2": "a stream has one consumer", "W3": NO_PUSH, "W4": NO_PUSH},
    ),
    Contender(
        "bytewax, batches of 64", "bytewax_", PEERS, "bytewax",
        full="queues are not bounded; a source waits at each end of an epoch until the one before is through",
        has="its engine is in Rust, with workers, keyed state and recovery; made for sources, not for single messages",
        cannot={"W3": NO_PUSH, "W4": NO_PUSH},
    ),
)  # fmt: skip


def named(name: str) -> Contender:
    """Return the contender of a name.

    Raises:
        KeyError: there is none.
    """
    return {each.name: each for each in CONTENDERS}[name]
