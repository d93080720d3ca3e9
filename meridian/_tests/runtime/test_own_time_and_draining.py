"""Nodes with state of their own: they tick when they asked to, take no more than they can hold, and are drained."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from meridian import graph, sink, source, via
from meridian.core.message import CONTROL, DATA, Message
from meridian.core.node import Node
from meridian.core.scheduler import Scheduler, SchedulerConfig
from meridian.core.subgraph import Subgraph
from meridian.nodes.base import BurstNode, setup_standard_ports
from meridian.testing import Pause, simulate

pytestmark = pytest.mark.req("V8")


class Timed(Node):
    """Keeps what comes; subclasses say when it leaves."""

    regular_ticks = False

    def __init__(self, name: str = "timed") -> None:
        super().__init__(name, *setup_standard_ports(["in"], ["out"]))
        self.held: list[Any] = []
        self.ticked_at: list[float] = []
        self.began = 0.0

    def on_start(self) -> None:
        self.began = self.now()

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        self.held.append(msg)

    def _handle_tick(self) -> None:
        self.ticked_at.append(round(self.now() - self.began, 6))

    def let_go(self) -> None:
        held, self.held = self.held, []
        for msg in held:
            self.emit("out", msg)


def into(got: list[Any]) -> Any:
    return sink(got.append, name="end")


def stepwise(items: int, seconds: float) -> Any:
    async def items_() -> Any:
        for i in range(items):
            yield i
            await asyncio.sleep(seconds)

    return source(items_())


# --- ticks that a node asks for


def test_a_node_ticks_exactly_when_it_asked_to():
    class Asks(Timed):
        def _handle_message(self, port: str, msg: Message[Any]) -> None:
            self.tick_in(msg.payload)

        def has_pending(self) -> bool:
            return not self.ticked_at

    made = Asks()
    simulate(graph("g", source([3600.0]) >> made))
    assert made.ticked_at == [3600.0]


def test_the_earliest_of_several_requests_counts():
    class Asks(Timed):
        def _handle_message(self, port: str, msg: Message[Any]) -> None:
            for seconds in (5.0, 2.0, 9.0):
                self.tick_in(seconds)

        def has_pending(self) -> bool:
            return not self.ticked_at

    made = Asks()
    simulate(graph("g", source([0]) >> made))
    assert made.ticked_at == [2.0]


def test_a_tick_asked_for_in_on_start_comes_after_the_start():
    class Asks(Timed):
        def on_start(self) -> None:
            super().on_start()
            self.tick_in(0)

        def has_pending(self) -> bool:
            return not self.ticked_at

    class Slow(Node):
        async def on_start(self) -> None:
            await asyncio.sleep(1)

    made = Asks()
    both = Subgraph.from_nodes("g", [made, Slow("slow")])
    simulate(both)
    assert made.ticked_at == [1.0]


def test_asking_for_a_tick_without_a_tick_hook_is_an_error_that_names_the_node():
    class Asks(Node):
        def on_start(self) -> None:
            self.tick_in(1)

    made = Scheduler(SchedulerConfig(shutdown_timeout_s=0))
    made.register(Asks("hasty"))
    report = made.run() or made.report()
    assert [(error.node, error.phase, error.type) for error in report.errors] == [
        ("hasty", "on_start", "RuntimeError")
    ]


def test_without_a_run_asking_pausing_and_recording_do_nothing():
    made = Timed()
    made.tick_in(1)
    made.pause()
    made.resume()
    made.record_error(ValueError("secret"))
    assert made.now() <= made.now()


def test_a_thread_may_ask_for_a_tick_and_wakes_an_idle_loop():
    class Threaded(Timed):
        done = False

        def _handle_message(self, port: str, msg: Message[Any]) -> None:
            threading.Thread(target=self.work).start()

        def work(self) -> None:
            self.done = True
            self.tick_in(0)

        def has_pending(self) -> bool:
            return not self.ticked_at

    made = Threaded()
    scheduler = Scheduler()
    scheduler.register(graph("g", source([0]) >> made))

    async def bounded() -> Any:
        async with asyncio.timeout(20):
            return await scheduler.run_async()

    report = asyncio.run(bounded())
    assert (report.reason, made.done, len(made.ticked_at)) == ("finished", True, 1)


# --- taking no more


@pytest.mark.req("V4")
@pytest.mark.parametrize("capacity", [1, 3, 1000])
def test_a_paused_node_gets_no_more_data_and_nothing_is_lost(capacity):
    class Two(Timed):
        def _handle_message(self, port: str, msg: Message[Any]) -> None:
            super()._handle_message(port, msg)
            self.most = max(getattr(self, "most", 0), len(self.held))
            if len(self.held) == 2:
                self.pause()
                self.tick_in(10)

        def _handle_tick(self) -> None:
            super()._handle_tick()
            self.let_go()
            self.resume()

        on_drain = Timed.let_go

    got: list[Any] = []
    made = Two()
    simulation = simulate(
        graph("g", source(range(7)) >> via(capacity=capacity) >> made >> via(capacity=1) >> into(got))
    )
    assert (got, made.most) == (list(range(7)), 2)
    assert simulation.report.reason == "finished"


@pytest.mark.req("V6")
def test_a_paused_node_still_gets_control():
    class Obeys(Timed):
        def _handle_message(self, port: str, msg: Message[Any]) -> None:
            if msg.type is CONTROL:
                self.resume()
                self.let_go()
            else:
                super()._handle_message(port, msg)
                self.pause()

        on_drain = Timed.let_go

    got: list[Any] = []
    made = Obeys()

    async def items() -> Any:
        yield Message(DATA, 1)
        yield Message(DATA, 2)
        await asyncio.sleep(1)
        yield Message(CONTROL, "go")
        await asyncio.sleep(1)
        yield Message(CONTROL, "go")

    simulate(graph("g", source(items()) >> made >> into(got)))
    assert got == [1, 2]


@pytest.mark.req("V4")
def test_an_asynchronous_handler_may_pause_too():
    class Asynchronous(Timed):
        async def _handle_message(self, port: str, msg: Message[Any]) -> None:  # type: ignore[override]
            await asyncio.sleep(0.1)
            self.held.append(msg)
            self.pause()
            self.tick_in(1)

        def _handle_tick(self) -> None:
            assert len(self.held) == 1
            self.let_go()
            self.resume()

        def has_pending(self) -> bool:
            return bool(self.held)

    got: list[Any] = []
    simulation = simulate(graph("g", source(range(5)) >> Asynchronous() >> into(got)))
    assert got == [0, 1, 2, 3, 4]
    assert simulation.elapsed_s == pytest.approx(5.5, abs=0.01)


# --- draining


def test_nodes_are_drained_in_topological_order_each_when_the_one_before_has_been_handled():
    order: list[str] = []

    class Drains(Timed):
        def on_drain(self) -> None:
            order.append(f"{self.name} holds {len(self.held)}")
            self.let_go()

    got: list[Any] = []
    first, second = Drains("first"), Drains("second")
    made = graph(
        "g", source(range(300)) >> first >> via(capacity=2) >> second >> via(capacity=2) >> into(got)
    )
    simulation = simulate(made)
    assert order == ["first holds 300", "second holds 300"]
    assert (got, simulation.report.reason, simulation.report.left) == (list(range(300)), "finished", {})


def test_a_shutdown_drains_too():
    class Drains(Timed):
        async def on_drain(self) -> None:  # type: ignore[override]
            await asyncio.sleep(0.5)
            self.let_go()

    got: list[Any] = []
    simulation = simulate(
        graph("g", stepwise(10**9, 1.0) >> Drains() >> into(got)),
        until_s=4.5,
        config=SchedulerConfig(shutdown_timeout_s=1),
    )
    assert (got, simulation.report.reason) == ([0, 1, 2, 3, 4], "shutdown")


def test_a_drain_that_takes_longer_than_a_shutdown_may_is_cut_off():
    class Stuck(Timed):
        ended = ""

        async def on_drain(self) -> None:  # type: ignore[override]
            try:
                await asyncio.Event().wait()
            finally:
                self.ended = "cancelled"

    made = Stuck()
    simulation = simulate(
        graph("g", stepwise(10**9, 1.0) >> made), until_s=3, config=SchedulerConfig(shutdown_timeout_s=1)
    )
    assert made.ended == "cancelled"
    assert simulation.elapsed_s == pytest.approx(4, abs=0.01)


def test_a_drain_whose_task_is_cancelled_before_its_first_step_is_done_after_all():
    cancelled: list[Any] = []

    class Drains(Timed):
        on_drain = Timed.let_go

    def numbers() -> Any:
        mine = asyncio.all_tasks()

        def cancel() -> None:
            cancelled.extend(asyncio.all_tasks() - mine)
            for task in cancelled:
                task.cancel()
            if not cancelled:
                asyncio.get_running_loop().call_soon(cancel)

        asyncio.get_running_loop().call_soon(cancel)
        yield from range(3)

    got: list[Any] = []
    simulation = simulate(graph("g", source(numbers) >> Drains() >> into(got)))
    assert (got, len(cancelled), simulation.report.reason) == ([0, 1, 2], 1, "finished")


def test_endless_tickers_are_drained_at_the_quiet_moment_that_ends_their_run():
    class Endless(Timed):
        regular_ticks = True

        def _handle_tick(self) -> None:
            self.held.append(Message(DATA, len(self.held)))

        on_drain = Timed.let_go

    got: list[Any] = []
    simulation = simulate(
        graph("g", Endless() >> into(got)), config=SchedulerConfig(shutdown_timeout_s=1, tick_interval_ms=100)
    )
    assert simulation.report.reason == "quiet"
    assert got == list(range(len(got)))
    assert len(got) >= 9


def test_during_a_shutdown_ticks_that_were_asked_for_still_come_and_what_is_pending_is_waited_for():
    class Paced(Timed):
        def _handle_message(self, port: str, msg: Message[Any]) -> None:
            super()._handle_message(port, msg)
            self.tick_in(0.25)

        def _handle_tick(self) -> None:
            if self.held:
                self.emit("out", self.held.pop(0))
                self.tick_in(0.25)

        def has_pending(self) -> bool:
            return bool(self.held)

    got: list[Any] = []
    made = graph("g", stepwise(10**9, 0.1) >> Paced() >> into(got))
    simulation = simulate(made, until_s=1, config=SchedulerConfig(shutdown_timeout_s=100))
    assert got == list(range(10))
    assert simulation.report.reason == "shutdown"


def test_a_node_that_failed_to_start_is_not_drained():
    class Fails(Timed):
        drained = False

        def on_start(self) -> None:
            raise OSError

        def on_drain(self) -> None:
            self.drained = True

    made = Fails()
    simulate(Subgraph.from_nodes("g", [made]), config=SchedulerConfig(shutdown_timeout_s=0.1))
    assert not made.drained


@pytest.mark.req("V9")
def test_a_drain_that_raises_is_recorded_and_the_others_are_drained():
    class Fails(Timed):
        def on_drain(self) -> None:
            raise ValueError("secret")

    class Drains(Timed):
        on_drain = Timed.let_go

    got: list[Any] = []
    simulation = simulate(graph("g", source(range(3)) >> Drains("good") >> [Fails("bad"), into(got)]))
    assert [(error.node, error.phase, error.message) for error in simulation.report.errors] == [
        ("bad", "on_drain", "[redacted]")
    ]
    assert got == [0, 1, 2]


# --- failures that a node dealt with itself


@pytest.mark.req("V9")
def test_a_failure_that_a_node_dealt_with_itself_is_in_the_report_without_its_text():
    class Deals(Timed):
        def _handle_message(self, port: str, msg: Message[Any]) -> None:
            try:
                raise ValueError("secret")
            except ValueError as error:
                self.record_error(error)

    report = simulate(graph("g", source(range(3)) >> Deals())).report
    assert report.errors_total == 3
    assert {(error.node, error.type, error.message) for error in report.errors} == {
        ("timed", "ValueError", "[redacted]")
    }


# --- bursts


class Flat(BurstNode):
    def __init__(self, many: Any) -> None:
        super().__init__("flat", *setup_standard_ports(["in"], ["out"]))
        self.many = many

    def _handle_message(self, port: str, msg: Message[Any]) -> None:
        self._emit_all("out", (msg.with_payload((msg.payload, i)) for i in self.many(msg.payload)))


@pytest.mark.req("V4")
@pytest.mark.parametrize("capacity", [1, 7, 1024])
def test_a_burst_larger_than_all_room_arrives_whole_and_in_order(capacity):
    got: list[Any] = []
    made = graph("g", source(range(3)) >> Flat(lambda _: range(2500)) >> via(capacity=capacity) >> into(got))
    simulation = simulate(made)
    assert got == [(x, i) for x in range(3) for i in range(2500)]
    assert simulation.report.reason == "finished"


@pytest.mark.req("V9")
def test_a_burst_that_fails_half_way_keeps_what_came_before_and_goes_on_with_the_next_message():
    def fails(x: int) -> Any:
        yield from range(1500)
        if x == 0:
            raise ValueError

    got: list[Any] = []
    simulation = simulate(graph("g", source(range(2)) >> Flat(fails) >> via(capacity=1) >> into(got)))
    assert got == [(x, i) for x in range(2) for i in range(1500)]
    assert simulation.report.errors_total == 1


def test_a_burst_waits_for_a_slow_consumer_without_asking_its_iterator_for_more():
    asked = []

    def endless(_: int) -> Any:
        i = 0
        while True:
            asked.append(i)
            yield i
            i += 1

    async def slow(_: Any) -> None:
        await asyncio.sleep(1)

    made = graph("g", source([0]) >> Flat(endless) >> via(capacity=1) >> sink(slow, name="slow"))
    simulate(made, until_s=5, config=SchedulerConfig(shutdown_timeout_s=1))
    assert len(asked) < 1024 + 80  # what is parked, what is on the way, and one


@pytest.mark.v1("L1")
def test_a_graph_that_only_a_thread_feeds_does_not_end_because_its_nodes_have_nothing_to_do_yet():
    class Waits(Timed):
        def has_pending(self) -> bool:
            return bool(self.held)

        on_drain = Timed.let_go

    got: list[Any] = []
    made = graph("g", Waits() >> into(got))
    simulation = simulate(made, config=SchedulerConfig(shutdown_timeout_s=3))
    assert simulation.report.reason == "quiet"
    assert simulation.elapsed_s == pytest.approx(3)


@pytest.mark.req("V15")
def test_a_node_that_paused_itself_and_one_that_a_fault_holds_up_are_two_things():
    class Once(Timed):
        regular_ticks = True

        def _handle_message(self, port: str, msg: Message[Any]) -> None:
            super()._handle_message(port, msg)
            self.pause()

    made = Once()
    graph_ = graph("g", source(range(20), name="s") >> via(capacity=4) >> made)
    simulation = simulate(
        graph_, faults=[Pause("timed", from_s=0.5, for_s=0.5)], config=SchedulerConfig(shutdown_timeout_s=3)
    )
    assert simulation.report.reason == "quiet"
    assert simulation.report.left == {"s:output->timed:in": 4}
    assert len(made.held) == 1


@pytest.mark.req("V4")
def test_a_shutdown_does_not_drain_a_node_that_will_still_take_what_waits_on_its_edge():
    class Two(Timed):
        drained_after = -1

        def _handle_message(self, port: str, msg: Message[Any]) -> None:
            super()._handle_message(port, msg)
            self.tick_in(1)
            if len(self.held) == 2:
                self.pause()

        def _handle_tick(self) -> None:
            self.let_go()
            self.resume()

        def has_pending(self) -> bool:
            return bool(self.held)

        def on_drain(self) -> None:
            self.drained_after = len(got) + len(self.held)

    got: list[Any] = []
    made = Two()

    async def endless() -> Any:
        for x in range(10**9):
            yield x

    simulation = simulate(
        graph("g", source(endless()) >> via(capacity=4) >> made >> into(got)),
        until_s=0.5,
        config=SchedulerConfig(shutdown_timeout_s=100),
    )
    assert (simulation.report.reason, simulation.report.left) == ("shutdown", {})
    assert got == list(range(len(got)))
    assert made.drained_after == len(got)
