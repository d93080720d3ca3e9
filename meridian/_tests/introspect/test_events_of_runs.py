"""What happens in a run becomes an event: which one, with which keys, and never with a payload."""

import asyncio
import io
import json
import threading

import pytest

from meridian import (
    Node,
    Port,
    PortDirection,
    Scheduler,
    SchedulerConfig,
    coalesce,
    drop,
    graph,
    sink,
    source,
    via,
)
from meridian.core.function import Inlet
from meridian.introspect import snapshot
from meridian.observability import events
from meridian.observability import logging as log
from meridian.observability.events import BURST, KINDS, EventLog, get_events
from meridian.testing.clock import VirtualClock, VirtualLoop

pytestmark = [pytest.mark.req("X1", "N7"), pytest.mark.usefixtures("engine")]

CANARY = "canary-90b1fe"


@pytest.fixture
def news(monkeypatch):
    monkeypatch.setattr(events, "_log", EventLog())  # with nothing of other tests that is still to be told
    return get_events().subscribe()


def run(*units, clock=None, **config):
    scheduler = Scheduler(SchedulerConfig(**config), clock=clock)
    for unit in units:
        scheduler.register(unit)
    scheduler.run()
    return scheduler


def test_a_run_says_when_it_begins_and_ends_and_why(news):
    scheduler = run(graph("g", source([1]) >> sink(lambda _: None, name="out")))
    started, stopping, ended = news.take().events
    assert (started.kind, started.total) == ("run.started", 2)
    assert stopping.kind == "run.stopping"
    assert (ended.kind, ended.reason) == ("run.ended", "finished")
    assert {each.run for each in (started, stopping, ended)} == {snapshot(scheduler).run}


@pytest.mark.req("X2")
def test_a_failure_is_an_event_without_its_payload(news):
    def fail(text: str) -> None:
        raise ValueError(text)

    run(graph("g", source([CANARY]) >> sink(fail, name="out")))
    (event,) = [each for each in news.take().events if each.kind == "node.error"]
    assert (event.level, event.node, event.phase, event.error) == ("error", "out", "on_message", "ValueError")
    assert event.where.startswith("test_events_of_runs.py:")
    assert (event.message, event.total) == ("[redacted]", 1)
    assert CANARY not in json.dumps(event.as_dict())


@pytest.mark.req("X2")
def test_an_error_storm_is_held_back_in_events_and_in_the_log_and_the_end_tells_how_much(news):
    def fail(text: str) -> None:
        raise ValueError(text)

    stream = io.StringIO()
    kept = log.get_logger().config
    log.replace_config(log.LogConfig(level="ERROR", stream=stream))
    try:
        run(graph("g", source([CANARY] * 500) >> sink(fail, name="out")), clock=VirtualClock())
    finally:
        log.replace_config(kept)
    errors = [each for each in news.take().events if each.kind in ("node.error", "events.suppressed")]
    assert [each.kind for each in errors] == ["node.error"] * BURST + ["events.suppressed"]
    assert (errors[-1].n, errors[-1].node) == (500 - BURST, "out")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    lines = [line for line in lines if line["event"] == "node.message_error"]
    assert len(lines) < 100
    assert sum(1 + line["suppressed"] for line in lines[:-1]) + lines[-1]["suppressed"] == 500
    assert CANARY not in stream.getvalue()


def test_a_node_that_can_not_be_started_says_so(news):
    class Broken(Node):
        def on_start(self):
            raise RuntimeError

    run(Broken("broken", [Port("in", PortDirection.INPUT)]))
    kinds = [(each.kind, each.node, each.state) for each in news.take().events if each.node]
    assert kinds == [("node.error", "broken", None), ("node.failed", "broken", "failed")]


@pytest.mark.req("V14")
def test_losses_are_told_exactly_by_edge_and_cause(news):
    made = graph("g", source([]) >> via(capacity=2, policy=drop()) >> sink(lambda _: None, name="out"))
    (edge,) = made.edges

    class Burst(Node):
        def on_start(self):
            for n in range(1000):
                edge.try_put(n, drop())

    made.add_node(Burst("burst"))
    scheduler = run(made)
    losses = [each for each in news.take().events if each.kind in ("edge.loss", "events.suppressed")]
    told = scheduler.report().edges[0].lost["dropped"]
    assert told == 998
    assert sum(each.n for each in losses) == told
    assert losses[0].cause == "dropped"
    assert losses[0].edge == edge.id
    assert losses[0].total == 998


@pytest.mark.req("V14", "X2")
def test_a_coalesce_function_that_raises_tells_its_class_and_place(news):
    def join(old, new):
        raise KeyError(CANARY)

    inlet = Inlet("in")
    made = graph("g", inlet >> via(capacity=1, policy=coalesce(join)) >> sink(lambda _: None, name="out"))

    async def main():
        scheduler = Scheduler()
        scheduler.register(made)
        task = asyncio.create_task(scheduler.run_async())
        await asyncio.sleep(0)
        for _ in range(3):
            made.edges[0].try_put(CANARY)
        inlet.close()
        await task

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
    losses = [each for each in news.take().events if each.kind == "edge.loss"]
    assert losses[0].cause == "coalesce_error"
    assert losses[0].error == "KeyError"
    assert losses[0].where.startswith("test_events_of_runs.py:")
    assert CANARY not in json.dumps([each.as_dict() for each in losses])


def test_a_slow_handler_is_told_with_its_node(news):
    time = VirtualClock()

    def work(n: int) -> None:
        time.advance(0.25 if n == 3 else 0.0001)

    run(graph("g", source(range(5)) >> sink(work, name="work")), clock=time)
    (event,) = [each for each in news.take().events if each.kind == "node.slow"]
    assert (event.node, event.level) == ("work", "warn")
    assert event.duration_s == pytest.approx(0.25, abs=0.01)


def test_a_stuck_loop_is_told_once_and_so_is_that_it_goes_on(news):
    time = VirtualClock()
    inside, go_on = threading.Event(), threading.Event()

    def endless(n: int) -> None:
        inside.set()
        go_on.wait(30)

    inlet = Inlet("in")
    scheduler = Scheduler(clock=time)
    scheduler.register(graph("g", source([1]) >> sink(endless, name="culprit")))
    scheduler.register(graph("h", inlet >> sink(lambda _: None, name="out")))
    thread = threading.Thread(target=scheduler.run)
    thread.start()
    assert inside.wait(30)
    snapshot(scheduler)
    time.advance(2)
    for _ in range(3):
        snapshot(scheduler)
    go_on.set()
    while snapshot(scheduler).loop.stuck:
        pass
    inlet.close()
    thread.join(30)
    events = [each for each in news.take().events if each.kind.startswith("loop.")]
    assert [each.kind for each in events] == ["loop.stuck", "loop.unstuck"]
    assert (events[0].node, events[0].duration_s) == ("culprit", pytest.approx(2.0))


def test_an_event_fills_the_keys_that_its_kind_promises_and_no_others(news):
    def fail(n: int) -> None:
        raise ValueError

    class Broken(Node):
        def on_start(self):
            raise RuntimeError

    made = graph("g", source(range(50)) >> sink(fail, name="out"))
    made.add_node(Broken("broken", [Port("in", PortDirection.INPUT)]))
    run(made)
    always = {"seq", "kind", "level", "at_s", "wall_s", "run"}
    for event in news.take().events:
        assert set(event.as_dict()) - always <= set(KINDS[event.kind].keys)
