"""One workload through one contender, in a process of its own.

    python -m asv_bench.peers.program MODULE FORM WORKLOAD PACKAGE SECONDS

prints one JSON object: the median of as many samples as fit into SECONDS, and the version of the package. A sample is made as
large as `HOP_NS` asks for, so that fast and slow ones are measured equally well; each verifies its checksum.

A module of this package has ``FORMS``: by form and workload, a context manager of a function that takes a size and gives CPU
time in nanoseconds per hop, or for W3 the wall time of each ping. It is async throughout, or not at all for packages that
have a loop of their own.
"""

from __future__ import annotations

import asyncio
import json
import platform
import sys
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from importlib import import_module, metadata
from statistics import median
from typing import Any

from asv_bench.shape import percentile, yardstick

Figure = float | list[int]
Sample = Callable[[int], Figure]
AsyncSample = Callable[[int], Awaitable[Figure]]
Opened = Callable[[], AbstractContextManager[Sample] | AbstractAsyncContextManager[AsyncSample]]

FIRST = 16
HOP_NS = 8e6
"""A sample is made so large that each of its hops costs this in all; the chain has four."""
LEAST_SAMPLES = 3


def spent(n: int, figure: Figure) -> float:
    """Return what all messages of a sample cost in one hop, or as pings, in ns; without what it took to set up."""
    return float(sum(figure)) if isinstance(figure, list) else n * figure


@dataclass(frozen=True)
class Taken:
    """A sample, and what a plain call cost right before and after it."""

    figure: Figure
    call_ns: float


def sizes(seconds: float, found: list[Taken]) -> Generator[int, Figure, None]:
    """Give the size of the next sample, and take what it came to; the ones that only find the size don't count."""
    n = FIRST
    while (cost := spent(n, (yield n))) < HOP_NS / 2:
        n = min(n * 32, max(2 * n, round(n * HOP_NS / max(cost, 1.0))))
    ends = time.monotonic() + seconds
    while len(found) < LEAST_SAMPLES or time.monotonic() < ends:
        before = yardstick()
        figure = yield n
        found.append(Taken(figure, (before + yardstick()) / 2))


def measure(opened: Opened, seconds: float) -> list[Taken]:
    """Take samples for about ``seconds``, but some in any case."""
    found: list[Taken] = []
    asked = sizes(seconds, found)
    context = opened()
    if isinstance(context, AbstractContextManager):
        with context as sample:
            n = next(asked)
            try:
                while True:
                    n = asked.send(sample(n))
            except StopIteration:
                return found

    async def take() -> list[Taken]:
        async with context as sample:
            n = next(asked)
            try:
                while True:
                    n = asked.send(await sample(n))
            except StopIteration:
                return found

    return asyncio.run(take())


def summary(found: list[Taken]) -> dict[str, Any]:
    """Return one figure for all samples, in plain calls, and what such a call cost; of pings the 50th percentile and the 99th."""

    def calls(share: float) -> float:
        return median(
            (percentile(each.figure, share) if isinstance(each.figure, list) else each.figure) / each.call_ns
            for each in found
        )

    made: dict[str, Any] = {
        "calls": calls(0.5),
        "call_ns": median(each.call_ns for each in found),
        "samples": len(found),
    }
    if isinstance(found[0].figure, list):
        made["p99_calls"] = calls(0.99)
    return made


def version(package: str) -> str:
    return platform.python_version() if package == "python" else metadata.version(package)


def main(module: str, form: str, workload: str, package: str, seconds: str) -> None:
    opened: Opened = import_module(f"asv_bench.peers.{module}").FORMS[form][workload]
    print(json.dumps({**summary(measure(opened, float(seconds))), "version": version(package)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
