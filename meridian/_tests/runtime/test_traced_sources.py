"""Tracing changes what is seen, not what arrives."""

from collections.abc import Iterator

import pytest

from meridian import Scheduler, graph, node, sink, source
from meridian.observability import TracingConfig, configure_tracing


@node
def half(n: int) -> int:
    return n // 2


def numbers() -> Iterator[int]:
    yield from range(6)


async def later():
    for n in range(6):
        yield n


@pytest.mark.req("V16", "X1")
@pytest.mark.parametrize(
    "items", [range(6), list(range(6)), numbers, later], ids=["range", "list", "annotated", "async"]
)
def test_functions_get_payloads_from_every_kind_of_source_while_tracing_is_on(items):
    configure_tracing(TracingConfig(enabled=True, provider="inmemory"))
    try:
        seen = []
        scheduler = Scheduler()
        scheduler.register(graph("g", source(items, name="s") >> half >> sink(seen.append, name="seen")))
        scheduler.run()
    finally:
        configure_tracing(TracingConfig())
    assert seen == [0, 0, 1, 1, 2, 2]
    assert scheduler.report().errors_total == 0
