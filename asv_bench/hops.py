"""What it costs to note the times of hops: a batch put on a ring or taken from it, after a look, over one while nobody looks.

MERIDIAN_ENGINE=rust python -m asv_bench.hops
"""

from __future__ import annotations

import time

from asv_bench.workloads import BATCH, CAPACITY
from meridian.core.message import Scope
from meridian.core.policies import Block
from meridian.engine.hops import TO_COME
from meridian.engine.select import engine_factory

LOOKS = 500
ROUNDS = 20


def batch(noted: bool) -> float:
    """Return nanoseconds of the thread's processor time for each batch."""
    kinds, _ = engine_factory()
    engine = kinds(Scope(), time.monotonic_ns)
    ring = kinds.ring_type("a->b", CAPACITY, Block())
    engine.add_node(1, "end", "map", print, {})
    engine.attach(ring, 1, "in", 2)
    items = [0] * BATCH
    spent = 0
    for _ in range(LOOKS):
        if noted:
            ring.time_hops(time.monotonic_ns)
        began = time.thread_time_ns()
        for _ in range(TO_COME // 2):
            ring.offer(items)
            ring.take(BATCH)
        spent += time.thread_time_ns() - began
    return spent / LOOKS / TO_COME


def main() -> int:
    """Measure and print; return the exit code."""
    engine = engine_factory()[1].name
    for how, noted in (("nobody looks", False), ("noted", True)):
        best = min(batch(noted) for _ in range(ROUNDS))
        print(f"{engine}: a batch of {BATCH} put or taken, {how}: {best / 1e3:.2f} µs")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
