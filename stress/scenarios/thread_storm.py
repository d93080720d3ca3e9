"""Thread storm: many threads feed one graph, some through inlets, some by hand, while others ask how it is."""

# req: V3 V4 V7

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from meridian import Inlet, Node, Subgraph, block, node, sink
from meridian.core.policies import PutResult
from stress.scenario import (
    CAPACITY,
    CHECKSUM,
    CONSERVATION,
    ERRORS,
    NO_LOSS,
    ORDER,
    REASON,
    WAITS,
    Round,
    Scenario,
)
from stress.traffic import PER_PRODUCER, Producer, Tally, edge_between

ANSWER_S: Final = 60.0
"""So long a thread waits for the answer to what it put; under any load that is a wake-up lost."""


async def play(round: Round) -> None:
    """Threads that put as fast as they can, threads that wait for an answer to each item, and a thread that asks for reports."""
    random = round.random
    interval = sys.getswitchinterval()
    sys.setswitchinterval(random.choice([1e-6, 1e-5, 1e-4, 5e-3]))
    try:
        await _storm(round)
    finally:
        sys.setswitchinterval(interval)


async def _storm(round: Round) -> None:
    random = round.random
    n = random.randint(2, 10)
    producers = [Producer(round, id, random.randint(50, 600)) for id in range(n)]
    middle, end = Tally(round), Tally(round)
    answered = {producer.id: threading.Event() for producer in producers}

    def last(item: int) -> None:
        end.end(item)
        answered[item // PER_PRODUCER].set()

    made = Subgraph("storm")
    made.add_node(node(name="middle")(middle.see))
    made.add_node(sink(last, name="end"))
    made.connect(("middle", "output"), ("end", "input"), capacity=random.randint(1, 64))
    keeper = Inlet("keeper")  # keeps the run alive until the last thread is done
    made.add_node(keeper)
    made.connect(("keeper", "output"), ("middle", "input"))
    puts: list[Callable[[int], bool]] = []
    closes: list[Callable[[], None]] = []
    for producer in producers:
        name = f"thread{producer.id}"
        capacity = random.randint(1, 32)
        if random.random() < 0.5:
            inlet = Inlet(name)
            made.add_node(inlet)
            made.connect((name, "output"), ("middle", "input"), capacity=capacity)
            puts.append(inlet.try_put)
            closes.append(inlet.close)
        else:
            made.add_node(Node.with_ports(name, [], ["out"]))
            made.connect((name, "out"), ("middle", "input"), capacity=capacity, policy=block())
            puts.append(partial(_by_hand, edge_between(made, name, "middle")))
            closes.append(_nothing)
    scheduler = round.scheduler(made)
    left = len(producers)
    counting = threading.Lock()
    patterns = [(random.random() < 0.4, random.randint(1, 30)) for _ in producers]

    def feed(
        producer: Producer, put: Callable[[int], bool], close: Callable[[], None], waits: bool, burst: int
    ) -> None:
        nonlocal left
        event = answered[producer.id]
        for number in range(producer.n):
            event.clear()
            while not put(producer.id * PER_PRODUCER + number):
                time.sleep(0)
            producer.sent += 1
            if waits and not event.wait(ANSWER_S):
                round.check(WAITS, False, f"no answer to number {number} of thread {producer.id}")
                break
            if number % burst == 0:
                time.sleep(0)
        close()
        with counting:
            left -= 1
            if left == 0:
                keeper.close()

    def ask() -> None:
        while left:
            report = scheduler.report()
            for edge in report.edges if report is not None else ():
                round.check(
                    CAPACITY,
                    edge.depth <= edge.capacity,
                    f"edge {edge.id} holds {edge.depth} of {edge.capacity}",
                )
            scheduler.get_stats()
            time.sleep(0.001)

    threads = [
        threading.Thread(
            target=feed, args=(producer, put, close, *pattern), name=f"feeds {producer.id}", daemon=True
        )
        for producer, put, close, pattern in zip(producers, puts, closes, patterns, strict=True)
    ]
    threads.append(threading.Thread(target=ask, name="asks", daemon=True))
    for thread in threads:
        thread.start()
    report = await scheduler.run_async()
    for thread in threads:
        thread.join()
    for producer in producers:
        edge = edge_between(made, f"thread{producer.id}", "middle")
        round.account(edge, producer.count, partial(middle.count, producer.id), exact=False)
    round.account(edge_between(made, "middle", "end"), middle.count, end.count)
    round.ended(report)
    end.over(*producers)


def _by_hand(edge: Any, item: int) -> bool:
    return bool(edge.try_put(item, block()) is PutResult.OK)


def _nothing() -> None:
    """There is nothing to close."""


SCENARIO = Scenario(
    "thread-storm",
    "Many threads feed one graph, through inlets and by hand, some waiting for an answer each time, while one asks for reports.",
    play,
    (CONSERVATION, CAPACITY, NO_LOSS, ORDER, CHECKSUM, WAITS, REASON, ERRORS),
    virtual=False,
)
