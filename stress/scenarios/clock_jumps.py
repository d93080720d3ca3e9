"""Clock jumps: the run's clock leaps forward by hours, and the time of day back and forth, in the middle of everything."""

# req: V8 V14

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final

from meridian import (
    Node,
    Port,
    PortDirection,
    Scheduler,
    SchedulerConfig,
    drop,
    graph,
    latest,
    node,
    sink,
    source,
    via,
)
from meridian.testing import VirtualClock, VirtualLoop
from stress.scenario import (
    CAPACITY,
    CHECKSUM,
    CONSERVATION,
    ERRORS,
    NO_LOSS,
    ORDER,
    REASON,
    TIME,
    WAITS,
    Round,
    Scenario,
)
from stress.traffic import Producer, Tally, edge_between

if TYPE_CHECKING:
    from random import Random

LONGEST_S: Final = 1e6
"""Of a jump: eleven days."""


class JumpingClock:
    """A clock over the virtual one that may be set: the monotonic time forward, the time of day anywhere.

    Args:
        clock: What it stands on.
        random: Draws how far.
    """

    def __init__(self, clock: VirtualClock, random: Random) -> None:
        self.clock = clock
        self.random = random
        self.ahead_ns = 0
        self.off_s = 0.0

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go back."""
        return self.clock.monotonic_ns() + self.ahead_ns

    def time(self) -> float:
        """Wall-clock seconds, which may go back."""
        return self.clock.time() + self.off_s

    def jump(self) -> None:
        """Set it."""
        self.ahead_ns += round(math.exp(self.random.uniform(0, math.log(LONGEST_S * 1e9))))
        self.off_s = self.random.uniform(-LONGEST_S, LONGEST_S)


class Ticks(Node):
    """Ticks so many times, then has nothing to do any more."""

    def __init__(self, n: int) -> None:
        super().__init__("ticks", [Port("in", PortDirection.INPUT)], [])
        self.left = n

    def _handle_tick(self) -> None:
        self.left -= 1

    def has_pending(self) -> bool:
        return self.left > 0


async def play(round: Round) -> None:
    """Edges with an age limit and without, slow and quick consumers, a node that ticks, and jumps between and within slices."""
    random = round.random
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)  # the scenario is virtual
    clock = JumpingClock(loop.clock, random)
    producer = Producer(round, 0, random.randint(300, 2_000))
    middle, kept, aged, replaced = (Tally(round) for _ in range(4))
    ticks = Ticks(random.randint(1, 50))
    max_age_s = random.choice([1e-6, 1.0, 3_600.0])

    def jumping(item: int) -> int:
        if random.random() < 0.01:
            clock.jump()
        return middle.see(item)

    async def slow(item: int) -> None:
        kept.end(item)
        if random.random() < 0.05:
            await asyncio.sleep(random.random())

    passing = node(name="middle")(jumping)
    made = graph(
        "jumps",
        source(producer.items, name="source") >> via(capacity=random.randint(1, 64)) >> passing,
        passing >> via(capacity=random.randint(1, 64)) >> sink(slow, name="kept"),
        passing >> via(capacity=random.randint(1, 64), max_age_s=max_age_s) >> sink(aged.end, name="aged"),
        passing
        >> via(capacity=random.randint(1, 64), max_age_s=max_age_s, policy=random.choice([drop, latest])())
        >> sink(replaced.end, name="replaced"),
        ticks,
    )
    round.account(edge_between(made, "source", "middle"), producer.count, middle.count)
    round.account(edge_between(made, "middle", "kept"), middle.count, kept.count, exact=False)
    round.account(edge_between(made, "middle", "aged"), middle.count, aged.count, blocks=False)
    round.account(edge_between(made, "middle", "replaced"), middle.count, replaced.count, blocks=False)

    async def jump_now_and_then() -> None:
        while True:
            await asyncio.sleep(random.random() * 2)
            clock.jump()
            round.look()

    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=random.choice([20, 50, 5_000])), clock=clock)
    scheduler.register(made)
    jumping_task = asyncio.create_task(jump_now_and_then())
    try:
        report = round.ended(await round.watched(scheduler).run_async())
    finally:
        jumping_task.cancel()
    lost = {edge.id: sum(edge.lost.values()) for edge in report.edges}
    kept.over(producer)
    aged.over(producer, lost=lost[edge_between(made, "middle", "aged").id])
    replaced.over(producer, lost=lost[edge_between(made, "middle", "replaced").id])
    durations = [
        report.elapsed_s,
        *(found.busy_s for found in report.nodes),
        *(edge.blocked_s for edge in report.edges),
    ]
    round.check(
        TIME,
        all(0 <= each <= report.elapsed_s for each in durations),
        f"a run of {report.elapsed_s:g} s reports durations from {min(durations):g} to {max(durations):g} s",
    )
    round.check(TIME, ticks.left <= 0, f"{ticks.left} ticks never came")


SCENARIO = Scenario(
    "clock-jumps",
    "The run's clock leaps forward, by up to eleven days, and the time of day back and forth, in the middle of everything.",
    play,
    (CONSERVATION, CAPACITY, NO_LOSS, ORDER, CHECKSUM, WAITS, REASON, ERRORS, TIME),
)
