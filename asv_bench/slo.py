# req: X3
"""The service levels: how long it takes to enqueue, to dequeue, to execute a node, and how much goes through.

    python -m asv_bench.slo [--json] [--check] [--rounds N] [--save]      (or `make bench-slo`)

Both engines take turns, each time in a fresh process; every round measures everything. Latencies are wall time: of each call or
step one sample, less what reading the clock takes; a round gives their 50th and 99th percentile, and the result is the median
of the rounds. Throughput is messages per second of CPU time, checksums verified.

The objectives are what a machine like that of the last record in docs/figures/slo.json has to keep, other work on it included.

Exit code: 0; 1 with ``--check`` when an objective is missed; 2 for a wrong command line, or when a measurement broke; 130 when
interrupted, with what there is marked as partial.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from statistics import median
from typing import Any

from asv_bench import engines, workloads
from asv_bench.engines import PYTHON, RUST
from asv_bench.record import ROOT, Table, hear_interruptions, offer_to_save, progress, record, save, source
from asv_bench.shape import (
    CAPACITY,
    CHAIN_HOPS,
    DEPTH,
    FAN_HOPS,
    MIDDLE,
    percentile,
    triangle,
    verify,
)
from asv_bench.verdict import LEAST_ROUNDS
from meridian import Edge, Port, PortDirection, Scheduler, graph, node, sink, via
from meridian import source as begin

ROUNDS = 7
ENGINES = (PYTHON, RUST)
clock = time.perf_counter_ns


@dataclass(frozen=True)
class Level:
    """One latency that is promised.

    Attributes:
        id: Its name in the record.
        what: What is timed.
        workload: In which workload.
        p50_ns: The objective for the median.
        p99_ns: The objective for the 99th percentile.
    """

    id: str
    what: str
    workload: str
    p50_ns: float
    p99_ns: float


LEVELS = (
    Level("enqueue", "enqueue: `Edge.try_put`, with room", "by hand", 4_000, 12_000),
    Level("dequeue", "dequeue: `Edge.try_get`, not empty", "by hand", 3_000, 10_000),
    Level("emit", "enqueue in a run: `emit` of a function node", "W1", 1_000, 4_000),
    Level("node", "node execution: from one message to the next, a node at work", "W1", 1_000, 150_000),
    Level("hop", "node execution: from one node to the next, one message alone", "W3", 3_000, 15_000),
    Level("wake", "from `Inlet.try_put` to the first node, one pass of the loop", "W3", 25_000, 100_000),
    Level("ping", "through three nodes and back to the caller", "W3", 50_000, 150_000),
    Level("sparse", "through ten nodes of 1,000 and back to the caller", "W4", 100_000, 300_000),
)

FLOWS: dict[str, tuple[str, int, Callable[[], Awaitable[float]]]] = {
    "flow_chain": ("chain, plain functions", CHAIN_HOPS, lambda: workloads.chain(30_000)),
    "flow_emit": ("chain, functions that emit", CHAIN_HOPS, lambda: workloads.chain(20_000, "emit")),
    "flow_async": ("chain, async functions", CHAIN_HOPS, lambda: workloads.chain(15_000, "async")),
    "flow_class": ("chain, v1 classes that emit", CHAIN_HOPS, lambda: workloads.chain(10_000, "class")),
    "flow_fan": ("fan to eight and back into one", FAN_HOPS, lambda: workloads.fan(6_000)),
    "flow_native": (
        "ready-made nodes, native in Rust",
        workloads.NATIVE_HOPS,
        lambda: workloads.native(30_000),
    ),
}
"""By id: what it is, its hops, and how it is run; a run gives CPU time in nanoseconds per hop."""


# ---- in the process that measures ------------------------------------------------------------------------------------


def clock_ns() -> float:
    """Return what reading the clock adds to a sample."""
    samples = []
    for _ in range(2_000):
        began = clock()
        samples.append(clock() - began)
    return median(samples)


def by_hand(n: int) -> dict[str, list[int]]:
    """Put on an edge and take off it; return a sample of each call."""
    edge: Edge[int] = Edge(
        "a", Port("output", PortDirection.OUTPUT), "b", Port("input", PortDirection.INPUT), CAPACITY
    )
    put, get = edge.try_put, edge.try_get
    puts, gets = [0] * n, [0] * n
    put(0)  # so that it is neither empty nor full
    total: Any = 0
    for i in range(n):
        began = clock()
        put(i)
        between = clock()
        got = get()
        gets[i] = clock() - between
        puts[i] = between - began
        total += got
    verify("enqueue and dequeue", total + (n - 1), triangle(n))
    return {"enqueue": puts, "dequeue": gets}


async def at_work(n: int) -> dict[str, list[int]]:
    """The chain: how long an emit takes, and how long from one message to the next in the middle node."""
    emits: list[int] = []
    entries: list[int] = []
    total = workloads.Total()

    def emitting(x: int, emit: workloads.Emit[int]) -> None:
        began = clock()
        emit(x)
        emits.append(clock() - began)

    def entered(x: int) -> int:
        entries.append(clock())
        return x

    for fn in (emitting, entered):
        scheduler = Scheduler()
        flow: Any = begin(lambda: range(n))
        passing = node(workloads.same)
        for each in (
            passing.named("before"),
            node(fn).named("timed"),
            passing.named("after"),
            sink(total.add),
        ):
            flow = flow >> via(capacity=CAPACITY) >> each
        scheduler.register(graph("chain", flow))
        await scheduler.run_async()
    verify("nodes at work", total.sum, 2 * triangle(n))
    return {"emit": emits, "node": [after - before for before, after in pairwise(entries)]}


async def alone(n: int) -> dict[str, list[int]]:
    """One message in flight through three nodes that say when it comes."""
    stamps: list[int] = []

    def entered(x: int) -> int:
        stamps.append(clock())
        return x

    waiting = workloads.Waiting(MIDDLE, MIDDLE, entered)
    waiting.start()
    head = waiting.heads[0]
    await waiting.send(head, 0)
    wakes: list[int] = []
    hops: list[int] = []
    total = 0
    create_future = asyncio.get_running_loop().create_future
    for i in range(n):
        stamps.clear()
        answer = waiting.answer = create_future()
        began = clock()
        head.try_put(i)
        total += await answer
        wakes.append(stamps[0] - began)
        hops += [after - before for before, after in pairwise(stamps)]
    await waiting.stop()
    verify("nodes alone", total, triangle(n))
    return {"wake": wakes, "hop": hops}


async def there_and_back(n: int) -> dict[str, list[int]]:
    """The ping, and a message through one of many chains."""
    async with workloads.pings() as block:
        pings = await block(n)
    waiting = workloads.Waiting(1_000, DEPTH)
    waiting.start()
    for head in waiting.heads:  # a step is compiled on first use
        await waiting.send(head, 0)
    random = Random(1)
    create_future = asyncio.get_running_loop().create_future
    samples: list[int] = []
    total = 0
    for i in range(n):
        head = random.choice(waiting.heads)
        began = clock()
        answer = waiting.answer = create_future()
        head.try_put(i)
        total += await answer
        samples.append(clock() - began)
    await waiting.stop()
    verify("one of many chains", total, triangle(n))
    return {"ping": pings, "sparse": samples}


async def measured(scale: int) -> dict[str, dict[str, float]]:
    """Measure everything once on the engine of this process.

    Args:
        scale: Hundreds of pings, and ten times as many single calls.
    """
    spent_ns = clock_ns()
    samples = by_hand(scale * 1_000)
    for found in (await at_work(scale * 1_000), await alone(scale * 100), await there_and_back(scale * 100)):
        samples |= found
    levels = {
        level.id: {
            "p50": max(0.0, percentile(samples[level.id], 0.5) - spent_ns),
            "p99": max(0.0, percentile(samples[level.id], 0.99) - spent_ns),
        }
        for level in LEVELS
    }
    flows = {}
    for id, (_, hops, run) in FLOWS.items():
        flows[id] = {"ns": await run(), "hops": hops}
    return levels | flows


async def work(scale: int) -> None:
    """Print one JSON object."""
    from meridian.engine.select import engine_factory
    from meridian.observability import configure

    configure("ERROR")
    found = await measured(scale)
    print(json.dumps({"engine": engine_factory()[1].name, **found}))


# ---- in the process that asks ----------------------------------------------------------------------------------------


class MeasurementError(Exception):
    """A process that measures broke, or ran on another engine."""


def ask(engine: str) -> dict[str, dict[str, float]]:
    """Measure everything once on an engine, in a fresh process.

    Raises:
        MeasurementError: it broke; what it said is on stderr.
    """
    environment = {**os.environ, "MERIDIAN_ENGINE": engine, "PYTHONHASHSEED": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "asv_bench.slo", "--worker"],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise MeasurementError(f"on the {engine} engine: exit code {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    if (ran := found.pop("engine")) != engine:
        raise MeasurementError(f"asked for the {engine} engine, got {ran}")
    return found


Rounds = dict[str, list[dict[str, dict[str, float]]]]
"""By engine: what each round gave."""


def middle(rounds: list[dict[str, dict[str, float]]], id: str, key: str) -> float:
    return median(each[id][key] for each in rounds)


def messages_per_s(rounds: list[dict[str, dict[str, float]]], id: str) -> float:
    return 1e9 / (middle(rounds, id, "ns") * FLOWS[id][1])


def values(rounds: Rounds) -> dict[str, Any]:
    """Return the figures by name and engine: ``enqueue.rust.p99`` in ns, ``flow_chain.python.messages_per_s``."""
    found: dict[str, Any] = {}
    for engine, mine in rounds.items():
        for level in LEVELS if mine else ():
            found.setdefault(level.id, {})[engine] = {
                key: round(middle(mine, level.id, key)) for key in ("p50", "p99")
            }
        for id in FLOWS if mine else ():
            found.setdefault(id, {})[engine] = {
                "ns_per_hop": float(f"{middle(mine, id, 'ns'):.3g}"),
                "messages_per_s": float(f"{messages_per_s(mine, id):.3g}"),
            }
    return found


def missed(rounds: Rounds) -> list[str]:
    """Return the objectives that an engine misses."""
    return [
        f"{level.id}, {engine} engine, {key}"
        for level in LEVELS
        for engine, mine in rounds.items()
        for key, limit in (("p50", level.p50_ns), ("p99", level.p99_ns))
        if mine and middle(mine, level.id, key) > limit
    ]


def us(ns: float) -> str:
    """Lay nanoseconds out as microseconds."""
    return f"{ns / 1_000:.2f}" if ns < 10_000 else f"{ns / 1_000:,.0f}"


def rounded(figure: float) -> str:
    """Lay a figure out with three digits that count."""
    return f"{float(f'{figure:.3g}'):,.0f}"


def tables(rounds: Rounds) -> dict[str, Table]:
    """Lay latencies and throughput out."""
    having = [engine for engine, mine in rounds.items() if mine]
    columns = ["µs", "workload", "objective p50:", "p99:"]
    columns += [f"{engine.capitalize()} {key}:" for engine in having for key in ("p50", "p99")]
    latency = [
        [level.what, level.workload, us(level.p50_ns), us(level.p99_ns)]
        + [us(middle(rounds[engine], level.id, key)) for engine in having for key in ("p50", "p99")]
        for level in LEVELS
    ]
    flows = [
        [what, *(rounded(messages_per_s(rounds[engine], id)) for engine in having)]
        + [rounded(middle(rounds[engine], id, "ns")) for engine in having]
        for id, (what, _, _) in FLOWS.items()
    ]
    heads = ["messages per second of CPU time", *(f"{engine.capitalize()}:" for engine in having)]
    heads += [f"{engine.capitalize()}, ns a hop:" for engine in having]
    return {"latency": Table(columns, latency), "throughput": Table(heads, flows)} if having else {}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m asv_bench.slo", description="Measure the service levels."
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the tables")
    parser.add_argument("--check", action="store_true", help="exit with 1 when an objective is missed")
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help=f"default {ROUNDS}, at least {LEAST_ROUNDS}"
    )
    offer_to_save(parser)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        asyncio.run(work(20))
        return 0
    if options.rounds < LEAST_ROUNDS:
        parser.error(f"--rounds {options.rounds}: at least {LEAST_ROUNDS}")
    without = engines.missing()
    if without:
        progress(f"slo: {without}; only Python is measured\n")
    rounds: Rounds = {engine: [] for engine in ENGINES if engine != RUST or not without}
    partial = False
    try:
        for i in range(options.rounds):
            progress(f"round {i + 1} of {options.rounds} ")
            for engine in list(rounds)[:: 1 if i % 2 == 0 else -1]:
                rounds[engine].append(ask(engine))
                progress(".")
            progress("\n")
    except KeyboardInterrupt:
        partial = True
        progress(" interrupted\n")
    except MeasurementError as error:
        progress(f" {error}\n")
        return 2
    made = record("make bench-slo", values(rounds), tables(rounds))
    if options.save and not partial:
        save("slo", made)
    if options.json:
        print(json.dumps({**made, "missed": missed(rounds), "partial": partial}, ensure_ascii=False))
    else:
        for each in tables(rounds).values():
            print(each.markdown(), end="\n\n")
        print("\n".join([*(f"missed: {each}" for each in missed(rounds)), source(made)]))
        if partial:
            print("Partial: interrupted.")
    if partial:
        return 130
    return int(options.check and bool(missed(rounds)))


if __name__ == "__main__":
    hear_interruptions()
    sys.exit(main())
