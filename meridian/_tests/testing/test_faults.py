"""Each fault bites where it says, and loses nothing."""

import asyncio
from typing import Any

import pytest
from hypothesis import given

from meridian import (
    Message,
    MessageType,
    Node,
    Port,
    PortDirection,
    SchedulerConfig,
    drop,
    graph,
    latest,
    node,
    sink,
    source,
    via,
)
from meridian.core.errors import ConfigError, NodeError
from meridian.core.policies import ErrorPolicy
from meridian.core.subgraph import Subgraph
from meridian.testing import CancelWait, Fail, Full, Pause, Slow, simulate
from meridian.testing.strategies import ALL, HARMLESS, Schedule, schedules

pytestmark = pytest.mark.req("V15")

N = 20


class Pipeline:
    """source -> double (plain) -> look (asynchronous, 1 s each) -> out."""

    def __init__(self):
        self.out: list[int] = []

        @node
        def double(x: int) -> int:
            return 2 * x

        @node
        async def look(x: int) -> int:
            await asyncio.sleep(1)
            return x

        self.graph = graph(
            "pipeline",
            source(range(N), name="numbers") >> via(capacity=4) >> double,
            double >> via(capacity=2) >> look >> via(capacity=2) >> sink(self.out.append, name="out"),
        )

    def run(self, *faults, **options):
        self.done = simulate(self.graph, faults=faults, **options)
        for edge in self.done.report.edges:
            assert edge.accepted == edge.delivered + edge.depth + edge.merged + sum(edge.lost.values())
            assert edge.lost == {}
        return self.done


ALL_DOUBLED = list(range(0, 2 * N, 2))


def test_without_faults_it_takes_a_second_each():
    pipeline = Pipeline()
    assert pipeline.run().elapsed_s == N
    assert pipeline.out == ALL_DOUBLED
    assert pipeline.done.hits == {}


def test_a_slow_plain_handler_holds_up_everything():
    pipeline = Pipeline()
    fault = Slow("double", 10, every=5)
    done = pipeline.run(fault)
    assert done.elapsed_s >= 4 * 10
    assert done.hits == {fault: 4}
    assert pipeline.out == ALL_DOUBLED


def test_a_slow_asynchronous_handler_waits_and_others_go_on():
    pipeline = Pipeline()
    fault = Slow("look", 10, every=10)
    assert pipeline.run(fault).elapsed_s == N + 2 * 10
    assert pipeline.done.hits == {fault: 2}
    assert pipeline.out == ALL_DOUBLED


def test_a_slow_source_is_waited_for():
    pipeline = Pipeline()
    assert pipeline.run(Slow("numbers", 60)).elapsed_s >= 60 * N
    assert pipeline.out == ALL_DOUBLED


def test_several_faults_of_one_node_add_up():
    pipeline = Pipeline()
    assert pipeline.run(Slow("look", 10, every=10), Slow("look", 100, every=20)).elapsed_s == N + 20 + 100


def test_a_failing_handler_fails_at_these_calls_and_no_other():
    pipeline = Pipeline()
    fault = Fail("double", at=(3, 7))
    done = pipeline.run(fault)
    assert done.hits == {fault: 2}
    assert pipeline.out == [x for x in ALL_DOUBLED if x not in (4, 12)]
    assert [(error.node, error.type) for error in done.report.errors] == [("double", "RuntimeError")] * 2
    assert (done.report.edges[0].delivered, done.report.edges[1].accepted) == (N, N - 2)


def test_a_failing_asynchronous_handler_fails_with_the_given_error():
    pipeline = Pipeline()
    done = pipeline.run(Fail("look", every=4, error=TimeoutError))
    assert len(pipeline.out) == N - 5
    assert {error.type for error in done.report.errors} == {"TimeoutError"}


def test_a_failure_follows_the_error_policy_of_the_node():
    @node(on_error=ErrorPolicy.RAISE_EXCEPTION)
    def strict(x: int) -> int:
        return x

    made = graph("g", source(range(9)) >> strict >> sink(hash, name="out"))
    boom = ValueError("boom")
    with pytest.raises(NodeError) as caught:
        simulate(made, faults=[Fail("strict", at=(2,), error=boom)])
    assert caught.value.__cause__ is boom


def test_a_failing_source_has_ended():
    pipeline = Pipeline()
    done = pipeline.run(Fail("numbers", at=(6,)))
    assert pipeline.out == ALL_DOUBLED[:5]
    assert done.report.errors_total == 1
    assert done.report.reason == "finished"


def test_fail_alone_means_the_first_call():
    assert Fail("x").at == (1,)
    assert Fail("x", every=3).at == ()


def test_a_full_edge_makes_its_producer_wait_and_nothing_is_lost():
    pipeline = Pipeline()
    fault = Full("numbers:output->double:input", from_s=0, for_s=30)
    done = pipeline.run(fault)
    assert done.hits == {fault: 1}
    assert done.elapsed_s == 30 + N
    assert pipeline.out == ALL_DOUBLED
    edge = done.report.edges[0]
    assert (edge.capacity, edge.blocked_s >= 30) == (4, True)


def test_an_edge_that_is_full_in_the_middle_still_gives_what_it_holds():
    pipeline = Pipeline()
    done = pipeline.run(Full("look:output->out:input", from_s=5.5, for_s=100))
    assert pipeline.out == ALL_DOUBLED
    assert done.elapsed_s > 100
    assert max(edge.depth for edge in done.report.edges) == 0


def test_two_full_times_of_one_edge_may_overlap():
    pipeline = Pipeline()
    edge = "double:output->look:input"
    assert pipeline.run(Full(edge, 0, 10), Full(edge, 5, 10)).elapsed_s == 15 + N
    assert pipeline.graph.edges[1].capacity == 2


def test_a_full_edge_that_drops_counts_what_it_drops():
    out: list[Any] = []
    made = graph("g", source(range(N)) >> via(capacity=N, policy=drop()) >> sink(out.append, name="out"))
    done = simulate(made, faults=[Full("source:output->out:input", 0, 5)])
    edge = done.report.edges[0]
    assert edge.accepted == N == edge.delivered + edge.lost["dropped"]
    assert len(out) == edge.delivered < N


def test_a_full_edge_that_keeps_the_latest_keeps_the_latest():
    out: list[Any] = []
    made = graph("g", source(range(N)) >> via(capacity=N, policy=latest()) >> sink(out.append, name="out"))
    done = simulate(made, faults=[Full("source:output->out:input", 0, 5)])
    edge = done.report.edges[0]
    assert out[-1] == N - 1
    assert edge.accepted == N == edge.delivered + edge.lost.get("replaced", 0)


def test_a_run_does_not_wait_for_a_full_edge_that_nobody_needs():
    pipeline = Pipeline()
    assert pipeline.run(Full("double:output->look:input", from_s=N - 0.5, for_s=1000)).elapsed_s == N
    assert pipeline.graph.edges[1].capacity == 2


def test_a_fault_that_comes_after_the_end_does_not_hit():
    pipeline = Pipeline()
    fault = Full("double:output->look:input", from_s=1000)
    assert pipeline.run(fault).hits == {fault: 0}


def test_a_cancelled_wait_fails_one_message_and_the_next_follows():
    pipeline = Pipeline()
    fault = CancelWait("look", at=(2, 5))
    done = pipeline.run(fault)
    assert done.hits == {fault: 2}
    assert pipeline.out == [x for x in ALL_DOUBLED if x not in (2, 8)]
    assert [error.type for error in done.report.errors] == ["asyncio.exceptions.CancelledError"] * 2
    assert done.elapsed_s == N - 2


def test_a_handler_may_catch_the_cancellation_of_what_it_waits_for():
    out: list[Any] = []

    @node
    async def careful(x: int) -> str:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            await asyncio.sleep(5)
            return "second try"
        return "first try"

    done = simulate(
        graph("g", source(range(3)) >> careful >> sink(out.append, name="out")),
        faults=[CancelWait("careful", at=(2,))],
    )
    assert out == ["first try", "second try", "first try"]
    assert done.elapsed_s == 7
    assert done.report.errors_total == 0


def test_a_wait_that_is_a_bare_pass_of_the_loop_can_be_cancelled_too():
    @node
    async def yielding(x: int) -> int:
        await asyncio.sleep(0)
        return x

    done = simulate(
        graph("g", source(range(3)) >> yielding >> sink(hash, name="out")), faults=[CancelWait("yielding")]
    )
    assert done.report.errors_total == 1


def test_a_call_that_never_waits_is_not_hit():
    @node
    async def quick(x: int) -> int:
        return x

    fault = CancelWait("quick")
    assert simulate(graph("g", source(range(3)) >> quick >> sink(hash, name="out")), faults=[fault]).hits == {
        fault: 0
    }


class Sender(Node):
    """Sends two messages for each one, waiting for room."""

    def __init__(self):
        super().__init__("sender", [Port("in", PortDirection.INPUT)], [Port("out", PortDirection.OUTPUT)])

    async def _handle_message(self, port, msg):
        await self.send("out", Message(MessageType.DATA, 2 * msg.payload))
        await self.send("out", Message(MessageType.DATA, 2 * msg.payload + 1))


def test_a_cancelled_send_was_not_sent_and_leaves_no_trace():
    out: list[Any] = []

    @node
    async def slow(x: int) -> None:
        await asyncio.sleep(1)
        out.append(x)

    made = Subgraph("g").add_flow(source(range(9)) >> Sender() >> via(capacity=1) >> slow)
    done = simulate(made, faults=[CancelWait("sender", at=(3,))])
    assert done.report.errors_total == 1
    assert out == [x for x in range(18) if x != 5]
    assert done.report.edges[1].accepted == 17


def test_asynchronous_sources_and_streams_can_be_slowed_and_cancelled():
    out: list[Any] = []

    @source
    async def readings():
        for x in range(6):
            await asyncio.sleep(1)
            yield x

    @node
    async def twice(x: int):
        yield x
        await asyncio.sleep(1)
        yield x

    def run(*faults):
        out.clear()
        return simulate(graph("g", readings >> twice >> sink(out.append, name="out")), faults=faults)

    assert run(Slow("readings", 10)).elapsed_s == 6 * 11 + 1
    assert sorted(out) == sorted([*range(6), *range(6)])
    assert run(Slow("twice", 10)).elapsed_s >= 6 * 11
    done = run(CancelWait("readings", at=(4,)))
    assert (out, done.report.errors_total, done.report.reason) == ([0, 0, 1, 1, 2, 2], 1, "finished")
    done = run(Fail("twice", at=(2,)))
    assert (out, done.report.errors_total) == ([0, 0, 2, 2, 3, 3, 4, 4, 5, 5], 1)


def test_plain_streams_can_fail_and_be_slow():
    out: list[Any] = []

    @node
    def twice(x: int):
        yield x
        yield x

    done = simulate(
        graph("g", source(range(3)) >> twice >> sink(out.append, name="out")),
        faults=[Fail("twice", at=(2,)), Slow("twice", 3)],
    )
    assert (out, done.report.errors_total) == ([0, 0, 2, 2], 1)
    assert done.elapsed_s == 6  # a call that fails takes no time


def test_a_paused_node_is_not_run_and_nothing_is_lost():
    pipeline = Pipeline()
    fault = Pause("look", from_s=3.5, for_s=100)
    done = pipeline.run(fault)
    assert done.hits == {fault: 1}
    assert done.elapsed_s == 103.5 + N - 4  # the call in work at 3.5 s was finished meanwhile
    assert pipeline.out == ALL_DOUBLED


@pytest.mark.parametrize("name", ["numbers", "double", "out"])
def test_any_node_can_be_paused(name):
    pipeline = Pipeline()
    assert pipeline.run(Pause(name, from_s=0, for_s=50)).elapsed_s >= 50
    assert pipeline.out == ALL_DOUBLED


def test_pauses_of_one_node_may_overlap():
    pipeline = Pipeline()
    assert pipeline.run(Pause("double", 0, 10), Pause("double", 5, 10)).elapsed_s == 15 + N


def test_an_asynchronous_source_can_be_paused():
    @source
    async def readings():
        for x in range(3):
            yield x

    done = simulate(graph("g", readings >> sink(hash, name="out")), faults=[Pause("readings", 0, 7)])
    assert (done.elapsed_s, done.report.edges[0].delivered) == (7, 3)


class Ticker(Node):
    def __init__(self):
        super().__init__("ticker", outputs=[Port("out", PortDirection.OUTPUT)])
        self.ticks = 0

    async def _handle_tick(self):
        self.ticks += 1
        await asyncio.sleep(0.01)
        self.emit("out", Message(MessageType.DATA, self.ticks))


def test_the_calls_of_a_node_without_inputs_are_its_ticks():
    ticker = Ticker()
    out: list[Any] = []
    done = simulate(
        graph("g", ticker >> sink(out.append, name="out")),
        config=SchedulerConfig(tick_interval_ms=1000),
        faults=[Fail("ticker", at=(2,)), CancelWait("ticker", at=(4,))],
        until_s=6.5,
    )
    assert ticker.ticks == 5  # the second was not reached
    assert out == [1, 2, 4, 5]
    assert [error.phase for error in done.report.errors] == ["on_tick", "on_tick"]


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (Slow("dubble", 1), "there is no node 'dubble'; the nodes: 'numbers', 'double', 'look', 'out'"),
        (Pause("x"), "there is no node 'x'"),
        (
            Full("a->b"),
            "there is no edge 'a->b'; the edges: 'numbers:output->double:input', 'double:output->look:input', ",
        ),
        (CancelWait("double"), "node 'double' isn't asynchronous, so there is no wait to cancel"),
    ],
)
def test_a_fault_that_names_what_is_not_there_is_refused_with_what_is(fault, text):
    with pytest.raises(ConfigError) as caught:
        Pipeline().run(fault)
    assert text in str(caught.value)
    assert repr(fault) in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Slow("x", -1),
        lambda: Slow("x", float("nan")),
        lambda: Slow("x", 1, every=0),
        lambda: Fail("x", at=(0,)),
        lambda: Fail("x", at=[1]),  # type: ignore[arg-type]  # that is the point
        lambda: Fail("x", every=0),
        lambda: CancelWait("x", at=("1",)),  # type: ignore[arg-type]  # that is the point
        lambda: Full("x", from_s=-1),
        lambda: Pause("x", for_s=float("inf")),
    ],
)
def test_a_fault_with_a_value_that_means_nothing_is_refused(make):
    with pytest.raises(ValueError, match=r"Slow|Fail|CancelWait|Full|Pause"):
        make()


def test_fail_takes_exceptions_only():
    with pytest.raises(TypeError, match="an exception, or a class of them"):
        Fail("x", error="boom")  # type: ignore[arg-type]  # that is the point


def test_faults_are_replayed_like_everything():
    faults = [
        Slow("double", 0.3, every=2),
        Pause("out", 2, 3),
        Full("look:output->out:input", 1, 4),
        Fail("look"),
    ]
    assert Pipeline().run(*faults, seed=5).trace_digest == Pipeline().run(*faults, seed=5).trace_digest


@given(schedule=schedules(lambda: Pipeline().graph))
def test_whatever_is_delayed_nothing_is_lost(schedule: Schedule):
    pipeline = Pipeline()
    done = pipeline.run(*schedule.faults, seed=schedule.seed)
    assert pipeline.out == ALL_DOUBLED
    assert done.report.reason == "finished"


@given(schedule=schedules(lambda: Pipeline().graph, kinds=ALL, max_faults=5))
def test_whatever_fails_is_counted(schedule: Schedule):
    pipeline = Pipeline()
    done = pipeline.run(*schedule.faults, seed=schedule.seed)
    ended = {
        fault for fault, n in done.hits.items() if isinstance(fault, Fail) and fault.node == "numbers" and n
    }
    failures = done.report.errors_total - len(ended)
    assert len(pipeline.out) + failures == done.report.nodes[0].produced
    assert pipeline.out == sorted(pipeline.out)


def test_strategies_refuse_what_is_no_fault():
    with pytest.raises(ValueError, match="is no fault"):
        schedules(Pipeline().graph, kinds=[int])
    assert set(HARMLESS) < set(ALL)
