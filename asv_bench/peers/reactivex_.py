"""The workloads in reactivex: a subject, operators, a subscriber, each a call from the one before."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import reactivex
from reactivex import operators
from reactivex.subject import Subject

from asv_bench.peers.flows import SPARSE_NODES, Total, each_anew_without_loop
from asv_bench.shape import (
    CHAIN_HOPS,
    DEPTH,
    FAN,
    FAN_HOPS,
    MIDDLE,
    SPARSE_HOPS,
    Stopwatch,
    same,
    triangle,
    verify,
    work,
)


def chain(n: int, fn: Callable[[int], int] = same) -> float:
    total = Total()
    watch = Stopwatch()
    watch.start()
    reactivex.from_iterable(range(n)).pipe(*[operators.map(fn) for _ in range(MIDDLE)]).subscribe(total)
    watch.stop()
    verify("reactivex chain", total.sum, triangle(n))
    return watch.ns / (n * CHAIN_HOPS)


def fan(n: int) -> float:
    total = Total()
    source: Subject[int] = Subject()
    reactivex.merge(*[source.pipe(operators.map(same)) for _ in range(FAN)]).subscribe(total)
    watch = Stopwatch()
    watch.start()
    for i in range(n):
        source.on_next(i)
    watch.stop()
    verify("reactivex fan", total.sum, FAN * triangle(n))
    return watch.ns / (n * FAN_HOPS)


def headed(nodes: int, total: Total) -> Subject[int]:
    head: Subject[int] = Subject()
    head.pipe(*[operators.map(same) for _ in range(nodes)]).subscribe(total)
    return head


@contextmanager
def pings() -> Iterator[Callable[[int], list[int]]]:
    total = Total()
    head = headed(MIDDLE, total)
    clock = time.perf_counter_ns

    def block(count: int) -> list[int]:
        samples = []
        before = total.sum
        for i in range(count):
            began = clock()
            head.on_next(i)
            samples.append(clock() - began)
        verify("reactivex ping", total.sum - before, triangle(count))
        return samples

    yield block


@contextmanager
def sparse() -> Iterator[Callable[[int], float]]:
    total = Total()
    heads = [headed(DEPTH, total) for _ in range(SPARSE_NODES // DEPTH)]
    random = Random(1)
    for head in heads:
        head.on_next(0)

    def block(count: int) -> float:
        picks = [random.choice(heads) for _ in range(count)]
        before = total.sum
        watch = Stopwatch()
        watch.start()
        for i, head in enumerate(picks):
            head.on_next(i)
        watch.stop()
        verify("reactivex sparse", total.sum - before, triangle(count))
        return watch.ns / (count * SPARSE_HOPS)

    yield block


FORMS = {
    "": {
        "W1": each_anew_without_loop(chain),
        "W2": each_anew_without_loop(fan),
        "W3": pings,
        "W4": sparse,
        "work": each_anew_without_loop(lambda n: chain(n, work)),
    }
}
