"""Asynchronous nodes: they wait without stopping others, and whatever is cancelled leaves no trace."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from meridian.core.errors import ClosedError
from meridian.core.function import Inlet, node, sink, source
from meridian.core.message import DATA, Message
from meridian.core.node import Node
from meridian.core.scheduler import Scheduler, SchedulerConfig
from meridian.core.subgraph import Subgraph, graph
from meridian.core.wiring import via

pytestmark = pytest.mark.req("V2")


def loops() -> list[Any]:
    made = [pytest.param(asyncio.new_event_loop, id="asyncio")]
    try:
        import uvloop
    except ImportError:
        return made
    return [*made, pytest.param(uvloop.new_event_loop, id="uvloop")]


@pytest.fixture(params=loops())
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    return request.param


def run(made: Subgraph, loop_factory: Any = None, debug: bool = False, **config: Any) -> Any:
    scheduler = Scheduler(SchedulerConfig(**config))
    scheduler.register(made)

    async def bounded() -> Any:
        async with asyncio.timeout(20):  # a hang is a failure, never a slow success
            return await scheduler.run_async()

    with asyncio.Runner(debug=debug, loop_factory=loop_factory) as runner:
        return runner.run(bounded())


def errors(report: Any) -> list[tuple[str, str]]:
    return [(error.node, error.type.rpartition(".")[2]) for error in report.errors]


@pytest.mark.parametrize("seconds", [0, -1, 1e-9])
def test_a_timeout_in_a_handler_that_is_over_at_once_fails_that_message_only(loop_factory, seconds):
    got: list[int] = []

    @node
    async def impatient(x: int) -> int:
        if x % 2:
            async with asyncio.timeout(seconds):
                await asyncio.Event().wait()
        return x

    report = run(graph("g", source(range(10)) >> impatient >> sink(got.append)), loop_factory)
    assert got == [0, 2, 4, 6, 8]
    assert errors(report) == [("impatient", "TimeoutError")] * 5
    assert (report.reason, report.left) == ("finished", {})


def test_a_handler_catches_its_own_timeout_and_goes_on(loop_factory):
    got: list[int] = []

    @node
    async def patient(x: int) -> int:
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            await asyncio.sleep(0)
            return -x
        return x

    report = run(graph("g", source(range(5)) >> patient >> sink(got.append)), loop_factory)
    assert (got, report.errors) == ([0, -1, -2, -3, -4], [])


def test_a_task_group_in_a_handler_reports_its_failed_child(loop_factory):
    got: list[int] = []

    async def fails() -> None:
        raise ValueError

    @node
    async def groups(x: int) -> int:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
            if x == 1:
                group.create_task(fails())
                await asyncio.Event().wait()
        return x

    report = run(graph("g", source(range(4)) >> groups >> sink(got.append)), loop_factory)
    assert (got, errors(report)) == ([0, 2, 3], [("groups", "ExceptionGroup")])


@pytest.mark.parametrize("suspended", [False, True])
@pytest.mark.parametrize("options", [{}, {"concurrency": 3}, {"concurrency": 3, "ordered": False}])
def test_a_cancelled_wait_of_a_handler_is_a_failure_of_that_message(loop_factory, options, suspended):
    got: list[int] = []

    @node(**options)
    async def waits(x: int) -> int:
        if suspended:
            await asyncio.sleep(0)
        if x == 1:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        return x

    report = run(graph("g", source(range(6)) >> waits >> sink(got.append)), loop_factory)
    assert sorted(got) == [0, 2, 3, 4, 5]
    assert (errors(report), report.reason) == ([("waits", "CancelledError")], "finished")


def test_a_handler_that_cancels_itself_stops_nothing_but_itself(loop_factory):
    got: list[int] = []

    @node
    async def suicidal(x: int) -> int:
        await asyncio.sleep(0)
        if x == 1:
            asyncio.current_task().cancel()
            await asyncio.Event().wait()
        return x

    report = run(graph("g", source(range(4)) >> suicidal >> sink(got.append)), loop_factory)
    assert (got, report.errors_total, report.reason, report.left) == ([0, 2, 3], 1, "finished", {})


@pytest.mark.parametrize("first", [0, 1])
def test_a_handler_that_cancels_itself_before_its_task_ran_stops_nothing_but_itself(loop_factory, first):
    got: list[int] = []

    @node
    async def suicidal(x: int) -> int:
        if x == first:
            asyncio.current_task().cancel()
            await asyncio.Event().wait()
        return x

    report = run(graph("g", source(range(4)) >> suicidal >> sink(got.append)), loop_factory)
    assert (got, errors(report)) == ([x for x in range(4) if x != first], [("suicidal", "CancelledError")])
    assert (report.reason, report.left) == ("finished", {})


@pytest.mark.parametrize("suspends", [False, True])
def test_a_handler_that_cancels_itself_and_returns_costs_at_most_the_next_wait(loop_factory, suspends):
    got: list[int] = []

    @node
    async def careless(x: int) -> int:
        if x == 1:
            asyncio.current_task().cancel()
        elif suspends:
            await asyncio.sleep(0)
        return x

    report = run(graph("g", source(range(4)) >> careless >> sink(got.append)), loop_factory)
    assert (report.reason, report.left) == ("finished", {})
    if suspends:  # as in any task: it is the next thing awaited that is cancelled
        assert (got, errors(report)) == ([0, 1, 3], [("careless", "CancelledError")])
    else:
        assert (got, errors(report)) == ([0, 1, 2, 3], [])


@pytest.mark.parametrize("suspends", [False, True])
def test_a_handler_that_cancels_the_task_that_waited_for_its_message_stops_nothing_but_itself(
    loop_factory, suspends
):
    got: list[int] = []

    async def numbers() -> AsyncIterator[int]:
        for x in range(4):
            yield x
            for _ in range(9):  # so that each finds the handler's task waiting
                await asyncio.sleep(0)

    @node
    async def suicidal(x: int) -> int:
        if suspends:
            await asyncio.sleep(0)
        if x in {1, 3}:
            asyncio.current_task().cancel()
            await asyncio.Event().wait()
        return x

    report = run(graph("g", source(numbers) >> suicidal >> sink(got.append)), loop_factory)
    assert (got, errors(report)) == ([0, 2], [("suicidal", "CancelledError")] * 2)
    assert (report.reason, report.left) == ("finished", {})


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("ordered", [False, True])
def test_a_handler_that_cancels_its_task_among_several_stops_nothing_but_itself(
    loop_factory, ordered, suspends
):
    got: list[int] = []

    @node(concurrency=2, ordered=ordered)
    async def suicidal(x: int) -> int:
        if suspends:
            await asyncio.sleep(0)
        if x in {0, 1, 4}:
            asyncio.current_task().cancel()
            await asyncio.Event().wait()
        return x

    report = run(graph("g", source(range(6)) >> suicidal >> sink(got.append)), loop_factory)
    assert (sorted(got), errors(report)) == ([2, 3, 5], [("suicidal", "CancelledError")] * 3)
    assert (report.reason, report.left) == ("finished", {})


def cancels_others_at_the_first(mine: set[Any]) -> Any:
    """Make a node that cancels all tasks but ``mine`` when its first message comes."""

    def cancels(x: int) -> None:
        if x == 0:
            for task in asyncio.all_tasks() - mine:
                task.cancel()

    return node(cancels)


@pytest.mark.parametrize("ordered", [False, True])
def test_a_message_of_a_pool_whose_task_is_cancelled_before_its_first_step_fails_alone(loop_factory, ordered):
    got: list[int] = []
    mine: set[Any] = set()

    def numbers() -> Iterator[int]:
        mine.update(asyncio.all_tasks())
        yield from range(5)

    @node(concurrency=2, ordered=ordered)
    async def pool(x: int) -> int:
        return x

    begin = source(numbers)
    made = graph("g", begin >> pool >> sink(got.append), begin >> cancels_others_at_the_first(mine))
    report = run(made, loop_factory)
    assert (got, errors(report)) == ([1, 2, 3, 4], [("pool", "CancelledError")])
    assert (report.reason, report.left) == ("finished", {})


@pytest.mark.parametrize("sources", [1, 2])
def test_messages_of_a_pool_that_were_not_begun_when_the_run_was_cancelled_go_back_to_their_edges(
    loop_factory, sources
):
    begun: list[int] = []

    @node(concurrency=4)
    async def pool(x: int) -> int:
        begun.append(x)
        return x

    inlets = [Inlet(f"in{i}") for i in range(sources)]
    stopper = Inlet("stopper")
    stop = sink(lambda task: task.cancel(), name="stop")
    scheduler = Scheduler()
    scheduler.register(graph("g", stopper >> stop, *(inlet >> pool for inlet in inlets), pool >> sink(str)))

    async def main() -> Any:
        running = asyncio.ensure_future(scheduler.run_async())
        while not stopper.try_put(running):
            await asyncio.sleep(0)
        for i in range(4):  # in one slice with what cancels the run, and behind it
            assert inlets[i % sources].try_put(i)
        with pytest.raises(asyncio.CancelledError):
            await running
        cancelled = scheduler.report()
        assert (begun, sum(cancelled.left.values())) == ([], 4)
        for inlet in (*inlets, stopper):
            inlet.close()
        return await scheduler.run_async()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        report = runner.run(main())
    assert (sorted(begun), report.reason, report.left) == ([0, 1, 2, 3], "finished", {})


def test_an_asynchronous_source_whose_task_is_cancelled_before_its_first_step_is_exhausted(loop_factory):
    async def numbers() -> AsyncIterator[int]:
        yield 1

    scheduler = Scheduler()
    scheduler.register(graph("g", source(numbers) >> sink(str)))

    async def main() -> Any:
        async with asyncio.timeout(20):
            running = asyncio.ensure_future(scheduler.run_async())
            mine = asyncio.all_tasks()
            while not (others := asyncio.all_tasks() - mine):
                await asyncio.sleep(0)
            for task in others:
                task.cancel()
            return await running

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        report = runner.run(main())
    assert (report.reason, report.left, report.errors) == ("finished", {}, [])


@pytest.mark.parametrize("bad", [1, 2])
def test_an_asynchronous_tick_that_cancels_itself_fails_alone(loop_factory, bad):
    class Ticker(Node):
        ticks = 0

        async def on_tick(self) -> None:
            self.ticks += 1
            if self.ticks == bad:
                asyncio.current_task().cancel()
                await asyncio.sleep(0)

        def has_pending(self) -> bool:
            return self.ticks <= bad

    ticker = Ticker("ticker")
    made = Subgraph.from_nodes("g", [ticker])
    report = run(made, loop_factory, tick_interval_ms=1)
    assert (ticker.ticks > bad, report.reason) == (True, "finished")
    assert [(error.node, error.phase) for error in report.errors] == [("ticker", "on_tick")]


@pytest.mark.req("V9")
def test_a_plain_handler_that_raises_a_cancellation_fails_that_message_only():
    got: list[int] = []

    @node
    def cancelled(x: int) -> int:
        if x == 1:
            raise asyncio.CancelledError
        return x

    report = run(graph("g", source(range(4)) >> cancelled >> sink(got.append)))
    assert (got, errors(report)) == ([0, 2, 3], [("cancelled", "CancelledError")])


def test_the_current_task_and_the_context_are_the_same_before_and_after_a_wait(loop_factory):
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=-1)
    seen: list[bool] = []

    @sink
    async def looks(x: int) -> None:
        task, before = asyncio.current_task(), variable.get()
        variable.set(x)
        await asyncio.sleep(0)
        seen.append(
            task is asyncio.current_task() and task is not None and variable.get() == x and before == x - 1
        )

    run(graph("g", source(range(5)) >> looks), loop_factory)
    assert seen == [True] * 5
    assert variable.get() == -1


def test_what_an_asynchronous_sink_returns_is_ignored(loop_factory):
    handled: list[int] = []

    async def counts(x: int) -> int:
        if x % 2:
            await asyncio.sleep(0)
        handled.append(x)
        return x

    report = run(graph("g", source(range(6)) >> sink(counts)), loop_factory)
    assert (handled, report.errors, report.reason) == ([0, 1, 2, 3, 4, 5], [], "finished")


def test_the_debug_mode_of_asyncio_finds_nothing():
    got: list[int] = []

    @node
    async def sometimes(x: int) -> int:
        if x % 3 == 0:
            await asyncio.sleep(0)
        return x

    @node(concurrency=4)
    async def pooled(x: int) -> int:
        await asyncio.sleep(0)
        return x

    report = run(
        graph("g", source(range(50)) >> via(capacity=2) >> sometimes >> pooled >> sink(got.append)),
        debug=True,
    )
    assert (got, report.reason) == (list(range(50)), "finished")


class Sender(Node):
    """Sends on a path that nobody empties."""

    def __init__(self) -> None:
        made = Node.with_ports("sender", ["input"], ["output"])
        super().__init__("sender", made.inputs, made.outputs)
        self.inner: asyncio.Task[Any] | None = None
        self.outcome: list[str] = []

    async def on_message(self, port: str, msg: Message[Any]) -> None:  # type: ignore[override]
        for _ in range(4):
            try:
                async with asyncio.timeout(0):
                    await self.send("output", msg)
                self.outcome.append("sent")
            except TimeoutError:
                self.outcome.append("cancelled")


@pytest.mark.req("V4")
def test_a_cancelled_send_sends_nothing_and_leaves_the_line():
    got: list[Any] = []
    sender, gate = Sender(), asyncio.Event()

    @sink
    async def slow(x: Any) -> None:
        await gate.wait()
        got.append(x)

    made = Subgraph("g")
    for each in (source(range(1)), sender, slow):
        made.add_node(each)
    made.connect(("source", "output"), ("sender", "input"))
    made.connect(("sender", "output"), ("slow", "input"), 1)
    scheduler = Scheduler()
    scheduler.register(made)

    async def main() -> Any:
        running = asyncio.ensure_future(scheduler.run_async())
        while len(sender.outcome) < 4:
            await asyncio.sleep(0)
        gate.set()
        return await asyncio.wait_for(running, 20)

    report = asyncio.run(asyncio.wait_for(main(), 20))
    sent = sender.outcome.count("sent")
    assert sender.outcome[0] == "sent"
    assert "cancelled" in sender.outcome
    assert (len(got), report.edges[1].delivered, report.errors) == (sent, sent, [])


@pytest.mark.req("V4", "V8")
def test_a_stop_drains_what_an_asynchronous_source_was_holding():
    got: list[int] = []
    gate = asyncio.Event()
    pulled: list[int] = []

    async def feed():
        for i in range(100):
            pulled.append(i)
            yield i

    @sink
    async def slow(x: int) -> None:
        await gate.wait()
        got.append(x)

    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=20))
    scheduler.register(graph("g", source(feed) >> via(capacity=2) >> slow))

    async def main() -> Any:
        running = asyncio.ensure_future(scheduler.run_async())
        before = -1
        while len(pulled) != before or not pulled:
            before = len(pulled)
            for _ in range(20):
                await asyncio.sleep(0)
        scheduler.shutdown()
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.wait_for(running, 20)

    report = asyncio.run(asyncio.wait_for(main(), 20))
    assert got == pulled
    assert 3 <= len(got) < 10
    assert (report.reason, report.left) == ("shutdown", {})


@pytest.mark.req("V8", "V9")
def test_a_source_that_fails_to_close_ends_all_the_same():
    got: list[int] = []

    class Stubborn:
        def __init__(self) -> None:
            self.left = 3

        def __aiter__(self) -> Stubborn:
            return self

        async def __anext__(self) -> int:
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return self.left

        async def aclose(self) -> None:
            raise OSError

    report = run(graph("g", source(Stubborn()) >> sink(got.append)))
    assert (got, errors(report), report.reason) == ([2, 1, 0], [("source", "OSError")], "finished")


@pytest.mark.req("V4")
@pytest.mark.parametrize("options", [{}, {"concurrency": 4}, {"concurrency": 4, "ordered": False}])
def test_at_most_so_many_handlers_run_at_a_time_and_order_is_as_asked(loop_factory, options):
    got: list[int] = []
    running, most = 0, 0

    @node(**options)
    async def work(x: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5 - x % 5):
            await asyncio.sleep(0)
        running -= 1
        return x

    report = run(graph("g", source(range(40)) >> work >> via(capacity=2) >> sink(got.append)), loop_factory)
    assert sorted(got) == list(range(40))
    assert most <= options.get("concurrency", 1)
    if options.get("ordered", True):
        assert got == list(range(40))
    assert report.reason == "finished"


@pytest.mark.req("V4")
def test_an_asynchronous_generator_waits_where_its_edge_is_full(loop_factory):
    got: list[tuple[int, int]] = []
    made: list[int] = []

    @node
    async def many(x: int):
        for i in range(20):
            made.append(i)
            yield (x, i)

    @sink
    async def slow(pair: Any) -> None:
        await asyncio.sleep(0)
        assert len(made) <= len(got) + 4  # one at work, two queued, one in hand
        got.append(pair)

    run(graph("g", source(range(3)) >> many >> via(capacity=2) >> slow), loop_factory)
    assert got == [(x, i) for x in range(3) for i in range(20)]


@pytest.mark.req("V8")
def test_a_cancelled_run_stops_every_node_once_and_leaves_nothing_behind(loop_factory):
    stopped: list[str] = []
    entered = 0

    class Waits(Node):
        def on_stop(self) -> None:
            stopped.append(self.name)

        async def on_message(self, port: str, msg: Message[Any]) -> None:  # type: ignore[override]
            nonlocal entered
            entered += 1
            await asyncio.Event().wait()

    made = Subgraph("g")
    first = Waits("a", Node.with_ports("a", ["input"], []).inputs)
    made.add_node(source(range(9)))
    made.add_node(first)
    made.connect(("source", "output"), ("a", "input"), 2)
    scheduler = Scheduler()
    scheduler.register(made)

    async def main() -> list[str]:
        running = asyncio.ensure_future(scheduler.run_async())
        while not entered:
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await asyncio.sleep(0)
        return [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        assert runner.run(main()) == []
    report = scheduler.report()
    assert (stopped, report.reason, entered) == (["a"], "cancelled", 1)
    edge = report.edges[0]
    assert edge.accepted == edge.delivered + edge.depth


@pytest.mark.req("V8")
def test_whoever_waits_for_room_when_the_run_ends_is_told_so():
    held = Node.with_ports("held", [], ["output"])

    class Broken(Node):
        def on_start(self) -> None:
            raise RuntimeError

    broken = Broken("broken", Node.with_ports("broken", ["input"], []).inputs)
    made = Subgraph("g")
    made.add_node(held)
    made.add_node(broken)
    made.connect(("held", "output"), ("broken", "input"), 1)
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0))
    scheduler.register(made)

    async def main() -> None:
        running = asyncio.ensure_future(scheduler.run_async())
        await asyncio.sleep(0)
        await held.send("output", Message(DATA, 1))
        with pytest.raises(ClosedError):
            await held.send("output", Message(DATA, 2))
        await running

    asyncio.run(asyncio.wait_for(main(), 20))
    assert scheduler.report().left == {"held:output->broken:input": 1}


@pytest.mark.req("V4")
def test_a_handler_that_had_to_park_handles_nothing_more_until_that_is_delivered():
    handled: list[int] = []

    class Two(Node):
        async def on_message(self, port: str, msg: Message[Any]) -> None:  # type: ignore[override]
            handled.append(msg.payload)
            self.emit("output", Message(DATA, (msg.payload, 0)))
            self.emit("output", Message(DATA, (msg.payload, 1)))

    ports = Node.with_ports("two", ["input"], ["output"])
    two = Two("two", ports.inputs, ports.outputs)
    most = 0
    got: list[Any] = []

    @sink
    def check(x: Any) -> None:
        nonlocal most
        got.append(x)
        most = max(most, 2 * len(handled) - len(got))

    made = Subgraph("g")
    for each in (source(range(30)), two, check):
        made.add_node(each)
    made.connect(("source", "output"), ("two", "input"), 64)
    made.connect(("two", "output"), ("check", "input"), 3)
    run(made)
    assert got == [(x, i) for x in range(30) for i in range(2)]
    assert most <= 5  # three on the edge, two of the last call
