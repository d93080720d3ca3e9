"""What it costs to look at a run: a look by itself, one that goes through the socket, and W1 while somebody watches it.

    python -m asv_bench.looks [--rounds N] [--engine ENGINE] [--watched] [--by WATCHER] [--save]

W1 runs in windows (`windows`). Another process is attached all the time, and is told at the beginning of each window whether to look
in it; if not, it works once more through the answers that it heard last, or, if it is no client of ours, computes for as long as those made it
compute. The ratio is of processor time of the whole process that is watched, the threads that answer included: windows with a look,
over those without. So what a neighbour costs by computing, in caches and on a processor that two share, is no part of it.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from select import select
from typing import Any
from urllib.request import urlopen

from asv_bench.engines import PYTHON, RUST
from asv_bench.record import Table, asked, hear_interruptions, offer_to_save, record, save
from asv_bench.shape import Stopwatch, verify
from asv_bench.verdict import GREEN, RED, YELLOW
from asv_bench.windows import A_SECOND, MESSAGES, ROUND, ratios
from asv_bench.workloads import Waiting
from meridian.introspect import Watch, attach, serve
from meridian.observability import configure
from meridian.observability.adapters.prometheus import serve_metrics
from meridian_conformance.paired import Measured, interval

COMMAND = "python -m asv_bench.looks"
DEPTH = 10
SIZES = (10, 1_000, 10_000)
KINDS = {
    "inside": "a `Watch`, from inside",
    "json": "the same, and its line of JSON",
    "socket": "through the socket",
    "scrape": "a scrape of the endpoint",
}
TOLD = """
import os, sys, time
address = sys.argv[1]
def each(again):
    os.write(1, b".")
    while told := os.read(0, 1):
        if told == b"O":
            yield
        else:
            again()
        os.write(1, b".")
"""
CLIENT = """
from meridian.introspect import attach
with attach(address, timeout_s=60) as client:
    since = client.events().next  # of the runs before: what happened before somebody came is told once
    heard, hear, say = [], client._line, client._send
    def look():
        heard.clear()
        client._line, client._send = lambda: heard.append(hear()) or heard[-1], say
        return client.look(since)[1].next
    def again():
        client._line, client._send = iter(heard[:]).__next__, lambda requests: None
        client.look(since)
    since = look()
    for _ in each(again):
        since = look()
"""
"""Asks for what `meridian top` asks for."""

SCRAPER = """
import urllib.request
wanted = urllib.request.Request(address, headers={"Accept": "application/openmetrics-text; version=1.0.0"})
took_s = 0.0
def again():
    began_s = time.process_time()
    while time.process_time() < began_s + took_s:
        sum(map(len, map(str, range(100))))
for _ in each(again):
    began_s = time.process_time()
    urllib.request.urlopen(wanted, timeout=60).read()
    took_s = time.process_time() - began_s
"""


@dataclass(frozen=True, slots=True)
class Watcher:
    """Somebody who watches W1 from outside.

    Attributes:
        what: Who, and how often.
        program: What that process does.
        times_a_second: How often.
        windows_a_second: How many are about a second: each just has room for a look with all that comes of it. The shorter they are,
            the less does what else the machine does change from one to the next, and the larger is what a look does in its own.
        budget: What the ratio may be at most.
    """

    what: str
    program: str
    times_a_second: int
    windows_a_second: int
    budget: float

    def charge(self, share: float) -> float:
        """Return the ratio for looks as often as they are, from that of a look in each window."""
        return 1 + (share - 1) * self.times_a_second / self.windows_a_second


WATCHERS = {
    "socket": Watcher("`meridian top`, four times a second", CLIENT, 4, 20, 1.01),
    "prometheus": Watcher("Prometheus, once a second", SCRAPER, 1, 4, 1.03),
}


def judge(measured: Measured) -> str:
    """Return green or red where the whole interval is; nothing is green where two things alike differ by too much."""
    if measured.ratio.low > measured.budget:
        return RED
    return GREEN if measured.decided else YELLOW


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
def watching(watcher: str) -> Iterator[subprocess.Popen[bytes]]:
    """Have another process attached that looks at this one when it is told to."""
    with open_to(watcher) as address:
        program = [sys.executable, "-c", TOLD + WATCHERS[watcher].program, address]
        client = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        try:
            assert client.stdout is not None
            client.stdout.read(1)
            yield client
        finally:
            client.kill()
            client.communicate()


def watched(watcher: str, engine: str, rounds: int, size: int | None = None) -> Measured:
    """Run W1 on an engine and have it watched.

    Args:
        watcher: By whom.
        engine: Which one.
        rounds: How often, see `ratios`.
        size: Messages of a window.
    """
    with watching(watcher) as client:
        to, back = client.stdin, client.stdout
        assert to is not None
        assert back is not None

        def begin(kind: str) -> None:
            to.write(kind.encode())

        def end(kind: str) -> bool:
            in_time = bool(select([back], [], [], 0)[0])
            back.read(1)
            return in_time

        who = WATCHERS[watcher]
        each = size or MESSAGES[engine] * A_SECOND // who.windows_a_second
        found = ratios(engine, rounds, begin, end, size=each)
    if 2 * len(found) < rounds:
        raise SystemExit(
            f"{watcher}, {engine}: in {rounds - len(found)} of {rounds} rounds a look took longer than its window"
        )
    looks, controls = (
        interval([who.charge(share) for share in shares]) for shares in zip(*found, strict=True)
    )
    return Measured(looks, controls, len(found), who.budget)


def kept(
    command: str, single: dict[str, dict[int, float]], found: list[tuple[str, str, Measured]]
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
    for watcher, engine, of_w1 in found:
        each = WATCHERS[watcher]
        values.setdefault(watcher, {})[engine] = round(of_w1.ratio.median, 4)
        spans = [f"{it.low:.3f} to {it.high:.3f}" for it in (of_w1.ratio, of_w1.control)]
        rows.append(
            [each.what, engine, f"{of_w1.ratio.median:.3f}", *spans, f"{of_w1.budget:.2f}", judge(of_w1)]
        )
    columns = [
        "W1 watched by",
        "engine",
        "share of the cost:",
        "95 % of medians",
        "control",
        "budget:",
        "verdict",
    ]
    sizes = ["ms of a look", *(f"{n:,} nodes:" for n in SIZES)]
    return record(command, values, {"looks": Table(sizes, looked), "watched": Table(columns, rows)})


def main(argv: list[str]) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m asv_bench.looks", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=60, help="of two seconds of W1 (60)")
    parser.add_argument("--engine", choices=(PYTHON, RUST), help="W1 on this engine only")
    parser.add_argument("--watched", action="store_true", help="W1 only, and no single looks")
    parser.add_argument("--by", choices=WATCHERS, help="W1 watched by this one only")
    offer_to_save(parser)
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
            it = watched(watcher, engine, options.rounds * 2 * each.windows_a_second // len(ROUND))
            found.append((watcher, engine, it))
            print(
                f"W1 watched by {each.what}, {engine} engine: {it.ratio}, budget {it.budget}: "
                f"{judge(it)}; two alike {it.control}, {it.quads} rounds",
                flush=True,
            )
    if options.save:
        save("looks", kept(asked(COMMAND, argv), single, found))
    return 0


if __name__ == "__main__":
    hear_interruptions()
    raise SystemExit(main(sys.argv[1:]))
