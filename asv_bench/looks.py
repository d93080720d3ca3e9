"""What it costs to look at a run: a look by itself, one that goes through the socket, and W1 while somebody watches it.

    python -m asv_bench.looks [--quads N] [--engine ENGINE] [--watched] [--by WATCHER] [--save]

W1 is watched by another process, through the socket four times or as Prometheus once, for each second that it has the processor: so
others on the machine don't make it be watched more often. The ratio is of processor time of the whole process, the threads that answer included,
measured A B B A: W1 watched, over W1 with nobody watching.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from urllib.request import urlopen

from asv_bench.engines import PYTHON, RUST
from asv_bench.record import Table, hear_interruptions, progress, record, save
from asv_bench.shape import Stopwatch, verify
from asv_bench.verdict import GREEN, RED, YELLOW
from asv_bench.workloads import Waiting, chain
from meridian.introspect import Watch, attach, serve
from meridian.observability import configure
from meridian.observability.adapters.prometheus import serve_metrics
from meridian_conformance.paired import Interval, interval

COMMAND = "python -m asv_bench.looks"
DEPTH = 10
SIZES = (10, 1_000, 10_000)
KINDS = {
    "inside": "a `Watch`, from inside",
    "json": "the same, and its line of JSON",
    "socket": "through the socket",
    "scrape": "a scrape of the endpoint",
}
MESSAGES = {PYTHON: 1_500_000, RUST: 3_500_000}
"""About a second of W1: short enough that what drifts hits both sides alike, and long enough to be scraped."""

PACED = """
import os, sys, time
_, address, pid, times_a_second = sys.argv
tick = os.sysconf("SC_CLK_TCK")
def used_s():
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / tick
def each():
    print("ready", flush=True)
    due_s = used_s()
    while True:
        while used_s() < due_s:
            time.sleep(0.01)
        yield
        due_s += 1 / float(times_a_second)
"""
CLIENT = """
from meridian.introspect import attach
with attach(address, timeout_s=60) as client:
    since = client.events().next  # of the runs before: what happened before somebody came is told once
    for _ in each():
        client.snapshots()
        since = client.events(since).next
"""
"""Asks for what `meridian top` asks for."""

SCRAPER = """
import urllib.request
wanted = urllib.request.Request(address, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
for _ in each():
    urllib.request.urlopen(wanted, timeout=60).read()
"""


@dataclass(frozen=True, slots=True)
class Watcher:
    """Somebody who watches W1 from outside.

    Attributes:
        what: Who, and how often.
        program: What that process does.
        times_a_second: How often, of processor time of the one watched.
        budget: What the ratio may be at most.
    """

    what: str
    program: str
    times_a_second: int
    budget: float


WATCHERS = {
    "socket": Watcher("`meridian top`, four times a second", CLIENT, 4, 1.01),
    "prometheus": Watcher("Prometheus, once a second", SCRAPER, 1, 1.03),
}


@asynccontextmanager
async def looks(nodes: int, how: str) -> AsyncIterator[Callable[[int], Awaitable[float]]]:
    """Give a function that takes so many looks at an idle graph, and returns nanoseconds for each.

    Args:
        nodes: How many pass-through nodes the graph has.
        how: One of `KINDS`; who asks through the socket or the endpoint is a thread of this process.
    """
    waiting = Waiting(nodes, DEPTH)
    waiting.start()
    await waiting.send(waiting.heads[0], 0)
    watch = Watch(waiting.scheduler)

    async def block(count: int) -> float:
        clock = Stopwatch()
        clock.start()
        for _ in range(count):
            shot = watch.look()
            if how == "json":
                shot.as_json()
        clock.stop()
        verify(f"looks, {how}", len(shot.nodes), len(watch.look().nodes))
        return clock.ns / count

    def through_socket(count: int, path: str) -> float:
        with attach(path, timeout_s=60) as client:
            client.snapshots()
            clock = Stopwatch()
            clock.start()
            for _ in range(count):
                client.snapshots()
            clock.stop()
        return clock.ns / count

    def scraped(count: int, url: str) -> float:
        clock = Stopwatch()
        clock.start()
        for _ in range(count):
            with urlopen(url, timeout=600) as answer:
                answer.read()
        clock.stop()
        return clock.ns / count

    try:
        if how == "socket":
            with serve() as server:
                yield lambda count: asyncio.to_thread(through_socket, count, str(server.path))
        elif how == "scrape":
            with serve_metrics(0) as metrics:
                yield lambda count: asyncio.to_thread(scraped, count, metrics.url)
        else:
            yield block
    finally:
        await waiting.stop()


@contextmanager
def open_to(watcher: str) -> Iterator[str]:
    """Let this process be watched, and say where."""
    if watcher == "prometheus":
        with serve_metrics(0) as metrics:
            yield metrics.url
    else:
        with serve() as server:
            yield str(server.path)


@contextmanager
def watching(watcher: str) -> Iterator[None]:
    """Have another process watch this one."""
    each = WATCHERS[watcher]
    with open_to(watcher) as address:
        program = [sys.executable, "-c", PACED + each.program]
        asked = [address, str(os.getpid()), str(each.times_a_second)]
        client = subprocess.Popen([*program, *asked], stdout=subprocess.PIPE)
        try:
            assert client.stdout is not None
            client.stdout.readline()
            yield
        finally:
            client.kill()
            client.communicate()


def chain_watched(watcher: str | None, n: int) -> int:
    """Run W1 and return nanoseconds of processor time that this process took for it."""
    watched: AbstractContextManager[None] = nullcontext() if watcher is None else watching(watcher)
    with watched:
        began = time.process_time_ns()
        asyncio.run(chain(n))
        return time.process_time_ns() - began


def watched(watcher: str, engine: str, quads: int) -> Interval:
    """Return what W1 costs on an engine when it is watched, over when it isn't."""
    os.environ["MERIDIAN_ENGINE"] = engine
    ratios = []
    for i in range(quads):
        order = (None, watcher, watcher, None) if i % 2 == 0 else (watcher, None, None, watcher)
        took: dict[str | None, int] = {None: 0, watcher: 0}
        for each in order:
            took[each] += chain_watched(each, MESSAGES[engine])
        ratios.append(took[watcher] / took[None])
        progress(f"{watcher}, {engine}: quad {i + 1} of {quads}: {ratios[-1]:.4f}\n")
    return interval(ratios)


def judged(ratio: Interval, budget: float) -> str:
    """Return the verdict on a ratio: green or red where its whole interval is."""
    return GREEN if ratio.high <= budget else RED if ratio.low > budget else YELLOW


def kept(
    command: str, single: dict[str, dict[int, float]], found: list[tuple[str, str, Interval]]
) -> dict[str, Any]:
    """Return the record that the documentation quotes.

    Args:
        command: Gives the figures anew.
        single: Milliseconds of a look, by kind and by number of nodes.
        found: What W1 costs when it is watched: by whom, on which engine.
    """
    values: dict[str, Any] = {
        "look": {how: {str(n): round(ms, 3) for n, ms in of.items()} for how, of in single.items()}
    }
    looked = [[KINDS[how], *(f"{ms:.2f}" for ms in of.values())] for how, of in single.items()]
    rows = []
    for watcher, engine, ratio in found:
        each = WATCHERS[watcher]
        values.setdefault(watcher, {})[engine] = round(ratio.median, 4)
        span = f"{ratio.low:.3f} to {ratio.high:.3f}"
        verdict = judged(ratio, each.budget)
        rows.append([each.what, engine, f"{ratio.median:.3f}", span, f"{each.budget:.2f}", verdict])
    columns = ["W1 watched by", "engine", "share of the cost:", "95 % of medians", "budget:", "verdict"]
    sizes = ["ms of a look", *(f"{n:,} nodes:" for n in SIZES)]
    return record(command, values, {"looks": Table(sizes, looked), "watched": Table(columns, rows)})


def main(argv: list[str]) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m asv_bench.looks", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--quads", type=int, default=16, help="of samples of W1 (16)")
    parser.add_argument("--engine", choices=(PYTHON, RUST), help="W1 on this engine only")
    parser.add_argument("--watched", action="store_true", help="W1 only, and no single looks")
    parser.add_argument("--by", choices=WATCHERS, help="W1 watched by this one only")
    parser.add_argument(
        "--save", action="store_true", help="keep the figures for the documentation, in docs/figures"
    )
    options = parser.parse_args(argv)
    configure("ERROR")

    async def one(nodes: int, how: str) -> float:
        async with looks(nodes, how) as block:
            await block(1)
            return min([await block(max(1, 2_000 // nodes)) for _ in range(5)])

    single: dict[str, dict[int, float]] = {how: {} for how in KINDS if not options.watched}
    for how, of in single.items():
        for nodes in SIZES:
            of[nodes] = asyncio.run(one(nodes, how)) / 1e6
            print(f"look, {how}, {nodes:>6} nodes: {of[nodes]:9.3f} ms", flush=True)
    found = []
    for watcher in [options.by] if options.by else WATCHERS:
        each = WATCHERS[watcher]
        for engine in [options.engine] if options.engine else [PYTHON, RUST]:
            ratio = watched(watcher, engine, options.quads)
            found.append((watcher, engine, ratio))
            print(f"W1 watched by {each.what}, {engine} engine: {ratio}, budget {each.budget}", flush=True)
    if options.save:
        save("looks", kept(" ".join([COMMAND, *(each for each in argv if each != "--save")]), single, found))
    return 0


if __name__ == "__main__":
    hear_interruptions()
    raise SystemExit(main(sys.argv[1:]))
