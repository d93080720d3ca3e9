"""Churn: run after run in one process, ended by themselves, by shutdown, by cancellation, and begun again where they stopped."""

# req: V2 V8

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from meridian import graph, node, sink, source, via
from stress.scenario import (
    CAPACITY,
    CHECKSUM,
    CONSERVATION,
    MEMORY,
    NO_LOSS,
    ORDER,
    REASON,
    WAITS,
    Round,
    Scenario,
)
from stress.traffic import Producer, Tally

if TYPE_CHECKING:
    from meridian.runtime.report import RunReport

BYTES_LEFT: Final = 2.0
"""Bytes that a message may leave behind. A run has 200 messages or so: a scheduler that stays behind is far beyond."""

GRAPHS: Final = 3
"""Of each round; each is run up to five times, several at once."""


async def play(round: Round) -> None:
    """Graphs of one source, some nodes and a sink, in groups that run side by side."""
    lives = [Life(round, id) for id in range(GRAPHS)]
    while lives:
        group = [lives.pop() for _ in range(min(len(lives), round.random.randint(1, 4)))]
        await asyncio.gather(*(life.live() for life in group))


class Life:
    """A graph that is run again until its source is exhausted; whatever ended a run, nothing may be lost or come twice."""

    def __init__(self, round: Round, id: int) -> None:
        self.round = round
        random = round.random
        self.producer = Producer(round, id, random.randint(50, 1_000), looks=False)
        self.middle, self.end = Tally(round), Tally(round)
        self.runs_left = random.randint(0, 4)
        self.ends_at = 0
        self.scheduler = round.scheduler(
            graph(
                f"life{id}",
                source(self.items(), name="source")
                >> via(capacity=random.randint(1, 64))
                >> node(name="middle")(self.middle.see)
                >> via(capacity=random.randint(1, 64))
                >> sink(self.end.end, name="end"),
            )
        )

    def items(self) -> Iterator[int]:
        """Make the items, and end the run at one of them."""
        for item in self.producer.items():
            yield item
            if self.producer.sent == self.ends_at:
                self.stop()

    async def live(self) -> None:
        """Run it to its end."""
        while True:
            expected = "finished"
            if self.runs_left:
                self.runs_left -= 1
                expected = self.round.random.choice(["shutdown", "cancelled"])
                self.ends_at = self.round.random.randint(self.producer.sent, self.producer.n) + 1
            self.expected = expected
            self.run = asyncio.create_task(self.scheduler.run_async())
            try:
                await self.run
            except asyncio.CancelledError:
                pass
            report = self.scheduler.report()
            assert report is not None  # it has just ended
            # The source may have been exhausted before the end that was planned.
            fits = report.reason in (expected, "finished")
            self.round.check(REASON, fits, f"{report.reason!r} instead of {expected!r}")
            self._compare(report)
            if report.reason == "finished" or expected == "finished":
                break
        self.round.check(WAITS, not report.left, f"{sum(report.left.values())} messages are left")
        self.end.over(self.producer)

    def stop(self) -> None:
        """End the run as planned."""
        if self.expected == "shutdown":
            self.scheduler.shutdown()
        else:
            asyncio.get_running_loop().call_soon(self.run.cancel)

    def _compare(self, report: RunReport) -> None:
        """Hold what both edges have to hold, over all runs so far, against what they do."""
        self.round.meter.beats += 1
        parked = {found.name: found.parked for found in report.nodes}
        ends = (
            ("source", self.producer.sent, self.middle.calls),
            ("middle", self.middle.calls, self.end.calls),
        )
        for found, (name, sent, seen) in zip(report.edges, ends, strict=True):
            self.round.check(
                CONSERVATION,
                sent - parked[name] == seen + found.depth,
                f"edge {found.id}: {sent} sent ({parked[name]} parked), {seen} seen, depth {found.depth}",
            )
            self.round.check(CAPACITY, found.depth <= found.capacity, f"edge {found.id} holds {found.depth}")
            self.round.check(NO_LOSS, not found.lost, f"edge {found.id} lost {sum(found.lost.values())}")


SCENARIO = Scenario(
    "churn",
    "Graphs are run hundreds of times, ended by themselves, by shutdown or by cancellation, and begun again where they stopped.",
    play,
    (CONSERVATION, CAPACITY, NO_LOSS, ORDER, CHECKSUM, WAITS, REASON, MEMORY),
    leaves=BYTES_LEFT,
    least=26,
)
