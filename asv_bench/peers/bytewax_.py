"""The chain and the fan in bytewax, one worker, in batches as large as our slices."""

from collections.abc import Callable
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import TestingSource, run_main

from asv_bench.peers.flows import Total, each_anew_without_loop
from asv_bench.shape import BATCH, CHAIN_HOPS, FAN, FAN_HOPS, MIDDLE, Stopwatch, same, triangle, verify, work


class Part(StatelessSinkPartition[int]):
    def __init__(self, total: Total) -> None:
        self.total = total

    def write_batch(self, items: list[int]) -> None:
        for x in items:
            self.total(x)


class Sink(DynamicSink[int]):
    def __init__(self, total: Total) -> None:
        self.total = total

    def build(self, step_id: str, worker_index: int, worker_count: int) -> Part:
        return Part(self.total)


def run(name: str, n: int, wire: Callable[[Any], Any]) -> tuple[int, int]:
    """Run a flow of one source and one sink; return CPU time in ns, and the sum."""
    total = Total()
    flow = Dataflow(name)
    end = wire(op.input("numbers", flow, TestingSource(range(n), batch_size=BATCH)))
    op.output("sum", end, Sink(total))
    watch = Stopwatch()
    watch.start()
    run_main(flow)
    watch.stop()
    return watch.ns, total.sum


def chain(n: int, fn: Callable[[int], int] = same) -> float:
    def wire(end: Any) -> Any:
        for i in range(MIDDLE):
            end = op.map(f"node-{i}", end, fn)
        return end

    ns, total = run("chain", n, wire)
    verify("bytewax chain", total, triangle(n))
    return ns / (n * CHAIN_HOPS)


def fan(n: int) -> float:
    def wire(source: Any) -> Any:
        return op.merge("join", *[op.map(f"branch-{i}", source, same) for i in range(FAN)])

    ns, total = run("fan", n, wire)
    verify("bytewax fan", total, FAN * triangle(n))
    return ns / (n * FAN_HOPS)


FORMS = {
    "": {
        "W1": each_anew_without_loop(chain),
        "W2": each_anew_without_loop(fan),
        "work": each_anew_without_loop(lambda n: chain(n, work)),
    }
}
