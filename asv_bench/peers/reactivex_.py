"""The workloads in reactivex: a subject, operators, a subscriber, each a call from the one before."""

from collections.abc import Callable

import reactivex
from reactivex import operators
from reactivex.subject import Subject

from asv_bench.peers.flows import Total, each_anew_without_loop, pings_through, sparse_through
from asv_bench.shape import (
    CHAIN_HOPS,
    FAN,
    FAN_HOPS,
    MIDDLE,
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


def pushed(nodes: int, total: Total) -> Callable[[int], None]:
    head: Subject[int] = Subject()
    head.pipe(*[operators.map(same) for _ in range(nodes)]).subscribe(total)
    return head.on_next


FORMS = {
    "": {
        "W1": each_anew_without_loop(chain),
        "W2": each_anew_without_loop(fan),
        "W3": pings_through("reactivex", pushed),
        "W4": sparse_through("reactivex", pushed),
        "work": each_anew_without_loop(lambda n: chain(n, work)),
    }
}
