"""What it costs to look at a run: a look by itself, one that goes through the socket, and W1 while somebody looks four times a second.

    python -m asv_bench.looks [--quads N]

The ratio is of processor time of the whole process, the thread that answers included, measured A B B A: W1 with a client of
another process attached, over W1 with nobody looking.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from asv_bench.shape import Stopwatch, verify
from asv_bench.workloads import Waiting, chain
from meridian.introspect import Watch, attach, serve
from meridian.observability import configure
from meridian_conformance.paired import interval

DEPTH = 10
SIZES = (10, 1_000, 10_000)
MESSAGES = 1_500_000
HZ = 4

CLIENT = """
import sys, time
from meridian.introspect import attach
with attach(sys.argv[1], timeout_s=60) as client:
    print("attached", flush=True)
    while True:
        client.snapshots()
        time.sleep(1 / float(sys.argv[2]))
"""


@asynccontextmanager
async def looks(nodes: int, how: str) -> AsyncIterator[Callable[[int], Awaitable[float]]]:
    """Give a function that takes so many looks at an idle graph, and returns nanoseconds for each.

    Args:
        nodes: How many pass-through nodes the graph has.
        how: ``inside``, a `Watch`; ``json``, and its line; ``socket``, through the socket, by a thread of this process.
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

    try:
        if how == "socket":
            with serve() as server:
                yield lambda count: asyncio.to_thread(through_socket, count, str(server.path))
        else:
            yield block
    finally:
        await waiting.stop()


def chain_looked_at(attached: bool, n: int = MESSAGES) -> int:
    """Run W1 and return nanoseconds of processor time that this process took for it."""
    with serve() as server:
        client = None
        if attached:
            client = subprocess.Popen(
                [sys.executable, "-c", CLIENT, str(server.path), str(HZ)], stdout=subprocess.PIPE
            )
            assert client.stdout is not None
            client.stdout.readline()
        try:
            began = time.process_time_ns()
            asyncio.run(chain(n))
            return time.process_time_ns() - began
        finally:
            if client is not None:
                client.kill()
                client.communicate()


def main(argv: list[str]) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m asv_bench.looks", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--quads", type=int, default=8, help="of samples of W1 (8)")
    quads = parser.parse_args(argv).quads
    configure("ERROR")

    async def one(nodes: int, how: str) -> float:
        async with looks(nodes, how) as block:
            await block(1)
            return min([await block(max(1, 2_000 // nodes)) for _ in range(5)])

    for how in ("inside", "json", "socket"):
        for nodes in SIZES:
            print(f"look, {how}, {nodes:>6} nodes: {asyncio.run(one(nodes, how)) / 1e6:9.3f} ms", flush=True)
    ratios = []
    for i in range(quads):
        order = (False, True, True, False) if i % 2 == 0 else (True, False, False, True)
        took = {False: 0, True: 0}
        for attached in order:
            took[attached] += chain_looked_at(attached)
        ratios.append(took[True] / took[False])
        print(f"quad {i + 1} of {quads}: {ratios[-1]:.4f}", file=sys.stderr, flush=True)
    print(f"W1 with a client at {HZ} Hz over W1 without: {interval(ratios)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
