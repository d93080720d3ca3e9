"""What a report says about the end of a run is what happened."""

import asyncio

import pytest

from meridian import Node, Port, PortDirection, Scheduler, Subgraph, graph, node, sink, source
from meridian.core.errors import NodeError
from meridian.core.policies import ErrorPolicy


@pytest.mark.req("V8", "V9")
def test_a_run_that_a_failing_node_stops_says_failed_even_if_all_work_was_done_in_that_slice():
    @node(on_error=ErrorPolicy.RAISE_EXCEPTION)
    def invert(n: int) -> float:
        return 1 / n

    seen = []
    scheduler = Scheduler()
    scheduler.register(graph("g", source([1, 0, 2]) >> invert >> sink(seen.append, name="seen")))
    with pytest.raises(NodeError, match="invert"):
        scheduler.run()
    assert scheduler.report().reason == "failed"
    assert scheduler.report().left == {}


@pytest.mark.req("V8")
def test_a_run_that_leaves_messages_before_a_node_that_could_not_start_says_stuck():
    class Broken(Node):
        def on_start(self):
            raise RuntimeError

    made = Subgraph("g")
    made.add_node(source(range(3), name="numbers"))
    made.add_node(Broken("broken", [Port("in", PortDirection.INPUT)]))
    edge = made.connect(("numbers", "output"), ("broken", "in"))
    scheduler = Scheduler()
    scheduler.register(made)
    scheduler.run()
    assert scheduler.report().reason == "stuck"
    assert scheduler.report().left == {edge: 3}


@pytest.mark.req("V8", "V11")
def test_a_run_waits_for_an_asynchronous_source_that_is_silent_for_a_while():
    async def slow():
        yield 1
        for _ in range(50):
            await asyncio.sleep(0)
        yield 2

    seen = []
    scheduler = Scheduler()
    scheduler.register(graph("g", source(slow) >> sink(seen.append, name="seen")))
    scheduler.run()
    assert seen == [1, 2]
    assert scheduler.report().reason == "finished"
