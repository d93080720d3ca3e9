"""Graphs in virtual time: fast, replayable, and honest about what happened."""

import asyncio
import time
from typing import Any

import pytest

from meridian import (
    Message,
    MessageType,
    Node,
    Port,
    PortDirection,
    Scheduler,
    SchedulerConfig,
    To,
    graph,
    node,
    sink,
    source,
    via,
)
from meridian.core.errors import GraphError, NodeError
from meridian.core.function import Inlet
from meridian.core.policies import ErrorPolicy
from meridian.core.subgraph import Subgraph
from meridian.testing import DeadlockError, Simulation, VirtualLoop, simulate, simulate_async
from meridian.testing.clock import EPOCH_S

pytestmark = pytest.mark.req("V15")


class Ticker(Node):
    """Emits the number of each tick."""

    def __init__(self, name="ticker"):
        super().__init__(name, outputs=[Port("out", PortDirection.OUTPUT)])
        self.ticks = 0

    def _handle_tick(self):
        self.ticks += 1
        self.emit("out", Message(MessageType.DATA, self.ticks))


class Collector(Node):
    def __init__(self, name="collector"):
        super().__init__(name, inputs=[Port("in", PortDirection.INPUT)])
        self.got = []

    def _handle_message(self, port, msg):
        self.got.append(msg.payload)


def ticking():
    ticker, collector = Ticker(), Collector()
    made = Subgraph.from_nodes("ticking", [ticker, collector])
    made.connect(("ticker", "out"), ("collector", "in"))
    return made


def merging(out, n=30):
    """Two sources, one asynchronous node between them and the sink."""

    @node
    def double(x: int) -> int:
        return 2 * x

    @node
    async def look(x: int) -> int:
        await asyncio.sleep(0.25)
        return x

    return graph(
        "merging",
        [source(range(n), name="a"), source(range(100, 100 + n), name="b")] >> via(capacity=3) >> double,
        double >> via(capacity=2) >> look >> sink(out.append, name="out"),
    )


def test_an_hour_of_ticks_takes_no_hour():
    made = ticking()
    began = time.monotonic()
    done = simulate(made, config=SchedulerConfig(tick_interval_ms=1000), until_s=3600.5)
    assert time.monotonic() - began < 60
    assert made.nodes["ticker"].ticks == 3600
    assert made.nodes["collector"].got == list(range(1, 3601))
    assert done.report.reason == "shutdown"
    assert done.elapsed_s == 3600.5


def test_tickers_without_a_declared_end_stop_as_they_would_without_simulation():
    done = simulate(ticking)
    assert (done.report.reason, done.elapsed_s) == ("quiet", 2.0)


def test_equal_seeds_give_equal_runs_in_every_detail():
    first_out: list[int] = []
    second_out: list[int] = []
    first = simulate(merging(first_out), seed=11)
    second = simulate(merging(second_out), seed=11)
    assert first.trace == second.trace
    assert first.trace_digest == second.trace_digest
    assert first.elapsed_s == second.elapsed_s == 15.0
    assert first.report == second.report
    assert first_out == second_out


def test_different_seeds_give_different_orders_of_the_same_results():
    orders: list[list[int]] = []
    digests = set()
    for seed in range(6):
        out: list[Any] = []
        digests.add(simulate(merging(out), seed=seed).trace_digest)
        orders.append(out)
    assert len(digests) == 6
    assert len({tuple(out) for out in orders}) > 1
    for out in orders:
        assert sorted(out) == sorted([*range(0, 60, 2), *range(200, 260, 2)])
        assert [x for x in out if x < 200] == list(range(0, 60, 2))  # each source keeps its own order


def test_where_nothing_can_be_reordered_the_seed_changes_nothing():
    def chain():
        @source
        async def paced():
            for x in range(20):
                await asyncio.sleep(1)
                yield x

        return graph("chain", paced >> node(lambda x: x + 1) >> sink(hash, name="out"))

    assert len({simulate(chain, seed=seed).trace_digest for seed in range(4)}) == 1


def test_without_shuffling_turns_are_first_in_first_out_whatever_the_seed():
    digests = {simulate(lambda: merging([]), seed=seed, shuffle=False).trace_digest for seed in range(4)}
    assert len(digests) == 1


def test_the_trace_accounts_for_everything_that_was_handled():
    done = simulate(lambda: merging([]), seed=3)
    for edge in done.report.edges:
        if (
            edge.id != "double:output->look:input"
        ):  # an asynchronous node also takes messages between its turns
            assert (
                sum(step.handled for step in done.trace if step.what == edge.id)
                == edge.delivered
                == edge.accepted
            )
    assert sum(step.handled for step in done.trace if (step.node, step.what) == ("a", "source")) == 30
    assert sum(step.handled for step in done.trace if (step.node, step.what) == ("look", "done")) == 60
    assert [step.at_ns for step in done.trace] == sorted(step.at_ns for step in done.trace)


def test_the_trace_shows_no_payload():
    done = simulate(graph("g", source(["canary-7f3a"]) >> sink(hash, name="out")))
    assert "canary" not in done.timeline() + repr(done) + done.trace_digest
    assert done.timeline(last=1).endswith("source:output->out:input 1")


def test_trace_ids_come_from_the_seed():
    def ids(seed):
        seen: list[Any] = []

        @node
        def read(message: Message) -> None:
            seen.append(message.get_trace_id())

        simulate(graph("g", source(range(3)) >> read), seed=seed)
        return seen

    assert ids(1) == ids(1)
    assert len({*ids(1), *ids(2)}) == 6


def test_reading_trace_ids_does_not_change_the_schedule():
    def build(read):
        @node
        def look(message: Message) -> Message:
            if read:
                message.get_trace_id()
            return message

        return graph(
            "g", [source(range(9), name="a"), source(range(9), name="b")] >> look >> sink(hash, name="out")
        )

    assert simulate(build(True), seed=4).trace_digest == simulate(build(False), seed=4).trace_digest


def test_sleeps_and_timeouts_of_handlers_take_virtual_time():
    @node
    async def patient(x: int) -> str:
        try:
            async with asyncio.timeout(5):
                await asyncio.sleep(x)
        except TimeoutError:
            return "late"
        return "in time"

    out: list[Any] = []
    done = simulate(graph("g", source([1, 4, 60, 3600]) >> patient >> sink(out.append, name="out")))
    assert out == ["in time", "in time", "late", "late"]
    assert done.elapsed_s == 1 + 4 + 5 + 5


def test_concurrent_handlers_overlap_in_virtual_time():
    @node(concurrency=4, ordered=False)
    async def look(x: int) -> int:
        await asyncio.sleep(8 - x)
        return x

    out: list[Any] = []
    done = simulate(graph("g", source(range(8)) >> look >> sink(out.append, name="out")))
    assert sorted(out) == list(range(8))
    assert out.index(3) < out.index(0)
    assert done.elapsed_s < 36 / 2


def test_a_message_that_is_made_while_others_are_worked_on_has_the_virtual_time():
    @node(concurrency=2)
    async def stamp(x: int) -> int:
        early = Message(MessageType.DATA, x).get_timestamp()
        await asyncio.sleep(5)
        stamps.append((early - EPOCH_S, Message(MessageType.DATA, x).get_timestamp() - EPOCH_S))
        return x

    stamps: list[Any] = []
    simulate(graph("g", source([1]) >> stamp >> sink(hash)))
    assert stamps == [(0, 5)]


def test_the_age_of_messages_is_virtual_too():
    @node
    async def slow(x: int) -> int:
        await asyncio.sleep(1)
        return x

    out: list[Any] = []
    done = simulate(
        graph("g", source(range(10)) >> via(max_age_s=3.5) >> slow >> sink(out.append, name="out")),
        shuffle=False,
    )
    edge = done.report.edges[0]
    assert out == list(range(len(out)))
    assert 0 < edge.lost["expired"] == edge.accepted - edge.delivered


def test_asynchronous_sources_and_streams_run_in_virtual_time():
    @source
    async def readings():
        for x in range(5):
            await asyncio.sleep(60)
            yield x

    @node
    async def twice(x: int):
        yield x
        await asyncio.sleep(1)
        yield x

    out: list[Any] = []
    done = simulate(graph("g", readings >> twice >> sink(out.append, name="out")))
    assert out == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert done.elapsed_s == 301


def test_plain_streams_and_named_outputs_are_simulated_like_everything():
    @node(outputs=["even", "odd"])
    def split(x: int):
        yield To("odd" if x % 2 else "even", x)

    even: list[int] = []
    odd: list[int] = []
    made = graph("g", source(range(6)) >> split)
    made.add_flow(split["even"] >> sink(even.append, name="e"), split["odd"] >> sink(odd.append, name="o"))
    simulate(made, seed=2)
    assert (even, odd) == ([0, 2, 4], [1, 3, 5])


def test_a_scheduler_is_borrowed_and_given_back_as_it_was():
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=500))
    scheduler.register(ticking())
    before = dict(vars(scheduler))
    done = simulate(scheduler, until_s=2.2)
    assert done.report == scheduler.report()
    assert done.report.nodes[1].handled == 4
    for name in ("_clock", "_random", "_run_type", "_shuffle"):
        assert vars(scheduler)[name] is before[name]


def test_a_scheduler_brings_its_own_configuration():
    with pytest.raises(TypeError, match="its own configuration"):
        simulate(Scheduler(), config=SchedulerConfig())


def test_something_that_cannot_run_is_refused():
    with pytest.raises(TypeError, match="takes a graph, a scheduler, or a function that makes one, got int"):
        simulate(lambda: 5)  # type: ignore[arg-type,return-value]  # that is the point


def test_a_single_node_is_a_graph():
    assert simulate(Ticker(), until_s=1.02).report.nodes[0].name == "ticker"


def test_a_run_that_ends_by_itself_does_not_wait_for_until():
    done = simulate(graph("g", source(range(3)) >> sink(hash, name="out")), until_s=1000)
    assert (done.report.reason, done.elapsed_s) == ("finished", 0)


def test_errors_carry_the_seed_that_shows_them():
    @node(on_error=ErrorPolicy.RAISE_EXCEPTION)
    def bad(x: int) -> int:
        raise KeyError(x)

    with pytest.raises(NodeError) as caught:
        simulate(graph("g", source(range(3)) >> bad >> sink(hash, name="out")), seed=42)
    assert any("seed=42" in text for text in caught.value.__notes__)


def test_an_invalid_graph_is_refused_as_anywhere():
    made = graph("g", source(range(3)) >> sink(hash, name="out"))
    made.edges[0].capacity = 0
    with pytest.raises(GraphError, match="BAD_CAP"):
        simulate(made)


def test_a_handler_that_waits_for_nothing_is_a_deadlock_and_is_named():
    stopped: list[Any] = []

    @node
    async def stuck(x: int) -> int:
        await asyncio.sleep(1)
        await asyncio.get_running_loop().create_future()
        return x

    class Last(Collector):
        def on_stop(self):
            stopped.append(self.name)

    made = graph("g", source(range(9)) >> via(capacity=4) >> stuck >> Last("last"))
    with pytest.raises(DeadlockError) as caught:
        simulate(made)
    error = caught.value
    assert error.at_s == 1
    assert any(
        "node 'stuck' waits in test_simulation.py:" in line and "stuck" in line for line in error.waiting
    )
    assert any(
        line.startswith("edge source:output->stuck:input is full, holds 4 of 4 for node 'stuck'")
        for line in error.waiting
    )
    assert stopped == ["last"]  # stopped in good order all the same


def test_an_asynchronous_source_that_never_produces_is_a_deadlock():
    @source
    async def silent():
        await asyncio.Event().wait()
        yield 1

    with pytest.raises(DeadlockError, match=r"node 'silent' waits in test_simulation\.py"):
        simulate(graph("g", silent >> sink(hash, name="out")))


def test_an_inlet_that_nobody_feeds_is_a_deadlock():
    with pytest.raises(DeadlockError, match="inlet 'requests' is open"):
        simulate(graph("g", Inlet("requests") >> sink(hash, name="out")))


def test_a_graph_is_fed_from_beside_in_virtual_time():
    out: list[Any] = []
    inlet = Inlet("requests")

    async def main():
        async def feed():
            for x in range(5):
                await asyncio.sleep(10)
                await inlet.put(x)
            inlet.close()

        feeding = asyncio.create_task(feed())
        done = await simulate_async(graph("g", inlet >> sink(out.append, name="out")), seed=1)
        await feeding
        return done

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        done = runner.run(main())
    assert out == [0, 1, 2, 3, 4]
    assert (done.report.reason, done.elapsed_s) == ("finished", 50)


def test_simulate_async_refuses_a_loop_in_real_time():
    async def main():
        await simulate_async(graph("g", source(range(3)) >> sink(hash, name="out")))

    with pytest.raises(RuntimeError, match="loop_factory=VirtualLoop"):
        asyncio.run(main())


def test_simulate_within_a_running_loop_uses_a_thread_of_its_own():
    async def main():
        return simulate(ticking, until_s=1), simulate(ticking, seed=1, until_s=1)

    first, second = asyncio.run(main())
    assert isinstance(first, Simulation)
    assert first.trace_digest == second.trace_digest


def test_simulate_within_a_running_loop_raises_in_the_caller():
    async def main():
        simulate(5)  # type: ignore[arg-type]  # that is the point

    with pytest.raises(TypeError, match="takes a graph"):
        asyncio.run(main())


def test_a_graph_runs_in_reality_after_it_was_simulated():
    out: list[Any] = []
    scheduler = Scheduler()
    scheduler.register(merging(out, n=2))
    simulate(scheduler)
    assert len(out) == 4
    scheduler.run()
    assert len(out) == 8
    assert scheduler.report().reason == "finished"
    assert scheduler.report().elapsed_s < 60
