"""Sections 8.3 to 8.5 and 9.2 of the v1 contract: a run from start to end, routing, fairness, and what is logged."""

# mypy: no-check-untyped-defs, disable-error-code="annotation-unchecked"
# What v1 programs may write, and what they get for it, is more than the types allow.

from __future__ import annotations

import asyncio
import itertools
import signal
import threading
import time
from collections import Counter

import pytest

from meridian import Message, Node, PriorityBand, Subgraph
from meridian._tests.core.parts import (
    DATA,
    ERROR,
    Burst,
    Collect,
    Relay,
    TickBurst,
    Ticker,
    chain,
    control,
    data,
    in_thread,
    inputs,
    join,
    outputs,
    run,
    scheduler,
)
from meridian.core.errors import NodeError
from meridian.core.message import current_scope
from meridian.core.policies import ErrorPolicy
from meridian.observability.config import configure_observability, get_development_config
from meridian.observability.logging import configure
from meridian.observability.metrics import PrometheusMetrics, configure_metrics, get_metrics
from meridian.observability.tracing import get_trace_id, get_tracer
from meridian.testing import simulate

pytestmark = [pytest.mark.req("V1"), pytest.mark.usefixtures("engine")]


class Recorder(Node):
    """Notes its life cycle in a list that several share."""

    def __init__(self, name, notes, ins=(), outs=()):
        super().__init__(name, inputs(*ins), outputs(*outs))
        self.notes = notes

    def on_start(self):
        self.notes.append(f"start {self.name}")

    def on_stop(self):
        self.notes.append(f"stop {self.name}")


class FailsUntilReady(Collect):
    """Takes no part in a run before it is ready."""

    ready = False

    def on_start(self):
        if not self.ready:
            raise ValueError


# ---- start and stop -------------------------------------------------------------------------------------------


@pytest.mark.req("V8")
@pytest.mark.v1("D25")
def test_nodes_start_in_registration_order_and_stop_in_reverse_topological_order():
    notes = []
    made = Subgraph.from_nodes(
        "g",
        [
            Recorder("sink", notes, ["in"]),
            Recorder("mid", notes, ["in"], ["out"]),
            Recorder("src", notes, (), ["out"]),
        ],
    )
    made.connect(("src", "out"), ("mid", "in"))
    made.connect(("mid", "out"), ("sink", "in"))
    run(made, Recorder("alone", notes))
    assert notes[:4] == ["start sink", "start mid", "start src", "start alone"]
    stops = [note for note in notes if note.startswith("stop")]
    assert len(stops) == 4
    assert stops.index("stop sink") < stops.index("stop mid") < stops.index("stop src")


@pytest.mark.req("V8", "V9")
@pytest.mark.v1("D24", "D25")
def test_a_node_whose_start_fails_takes_no_part_and_is_not_stopped(records):
    notes = []

    class Fails(Recorder):
        def on_start(self):
            notes.append("start bad")
            raise ValueError("secret-payload")

        def on_tick(self):
            notes.append("tick bad")

        def on_message(self, port, msg):
            notes.append("message bad")

    bad = Fails("bad", notes, ["in"])
    made = run(Subgraph("g", {"good": Recorder("good", notes), "bad": bad, "last": Recorder("last", notes)}))
    assert [note for note in notes if note.startswith("start")] == ["start good", "start bad", "start last"]
    assert "stop bad" not in notes
    assert {"stop good", "stop last"} <= set(notes)
    assert "tick bad" not in notes
    report = {node.name: node for node in made.report().nodes}
    assert (report["bad"].state, report["bad"].errors) == ("failed", 1)
    (error,) = [each for each in records() if each["level"] == "ERROR"]
    assert (error["event"], error["node"], error["error_type"]) == ("node.start_error", "bad", "ValueError")
    assert "secret" not in str(records())


def test_messages_for_a_node_that_failed_to_start_stay_on_its_edge_and_are_reported():
    class Fails(Collect):
        def on_start(self):
            raise ValueError

    out = Fails("c")
    made = run(chain(Burst("b", [1, 2]), out))
    assert out.got == []
    assert made.report().left == {"b:out->c:in": 2}


@pytest.mark.v1("D25")
def test_nothing_is_stopped_that_was_never_started():
    notes = []
    made = scheduler(Subgraph.from_nodes("g", [Recorder("a", notes), Recorder("a", notes)]))
    with pytest.raises(ValueError):
        made.run()
    assert notes == []


@pytest.mark.req("V9")
def test_a_failing_stop_keeps_no_other_from_its_own(records):
    notes = []

    class Fails(Recorder):
        def on_stop(self):
            raise ValueError

    run(Recorder("a", notes), Fails("b", notes), Recorder("c", notes))
    assert {"stop a", "stop c"} <= set(notes)
    assert [each["event"] for each in records() if each["level"] == "ERROR"] == ["node.stop_error"]


def test_stop_is_called_when_run_raises():
    notes = []

    class Fails(Recorder):
        error_policy = ErrorPolicy.RAISE_EXCEPTION

        def on_tick(self):
            raise ValueError

    made = scheduler(Recorder("a", notes), Fails("b", notes))
    with pytest.raises(NodeError) as caught:
        made.run()
    assert isinstance(caught.value.__cause__, ValueError)
    assert (caught.value.node, caught.value.phase) == ("b", "on_tick")
    assert {"stop a", "stop b"} <= set(notes)
    assert made.is_running() is False


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_a_keyboard_interrupt_leaves_run_after_on_stop(kind):
    notes = []

    class Interrupts(Recorder):
        def on_message(self, port, msg):
            raise kind

    made = scheduler(chain(Burst("b", [1, 2, 3]), Interrupts("i", notes, ["in"])))
    with pytest.raises(kind):
        made.run()
    assert notes == ["start i", "stop i"]
    assert made.is_running() is False


def test_what_was_in_the_same_batch_as_an_interrupt_is_not_lost():
    class Interrupts(Relay):
        done = False

        def on_message(self, port, msg):
            if not self.done:
                self.done = True
                raise KeyboardInterrupt
            self.emit("out", msg)

    out = Collect("c")
    made = scheduler(chain(Burst("b", range(10)), Interrupts("i"), out, capacity=20))
    with pytest.raises(KeyboardInterrupt):
        made.run()
    assert made.report().left["b:out->i:in"] == 9
    made._graphs[0].nodes["b"].items = []
    made.run()
    assert out.got == list(range(1, 10))


@pytest.mark.req("V8")
def test_a_signal_ends_a_run_that_sleeps_and_is_raised_when_all_is_stopped():
    notes = []
    main = threading.main_thread().ident

    class Waits(Recorder):
        async def on_message(self, port, msg):
            threading.Thread(target=signal.pthread_kill, args=(main, signal.SIGINT)).start()

    before = signal.getsignal(signal.SIGINT)
    made = scheduler(chain(Burst("b", [1]), Waits("w", notes, ["in"])), shutdown_timeout_s=30)
    with pytest.raises(KeyboardInterrupt):
        made.run()
    assert notes == ["start w", "stop w"]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.req("V8")
def test_sigterm_ends_a_run_in_good_order():
    notes = []
    main = threading.main_thread().ident

    class Waits(Recorder):
        def on_message(self, port, msg):
            threading.Thread(target=signal.pthread_kill, args=(main, signal.SIGTERM)).start()

    made = scheduler(chain(Burst("b", [1]), Waits("w", notes, ["in"])), shutdown_timeout_s=30)
    made.run()
    assert made.report().reason == "shutdown"
    assert notes == ["start w", "stop w"]


# ---- the end --------------------------------------------------------------------------------------------------


@pytest.mark.v1("L1", "D19")
def test_endless_tickers_end_at_a_quiet_moment_after_the_timeout():
    ticker, out = Ticker(), Collect("c")
    report = simulate(scheduler(chain(ticker, out), shutdown_timeout_s=0.05)).report
    assert report.reason == "quiet"
    assert report.elapsed_s == pytest.approx(0.05, abs=0.002)
    assert out.got == list(range(ticker.ticks))
    assert ticker.ticks == pytest.approx(50, abs=2)
    assert report.left == {}


@pytest.mark.v1("L1")
def test_an_empty_scheduler_runs_until_its_timeout(events):
    made = run(shutdown_timeout_s=0.05)
    assert made.report().reason == "quiet"
    assert made.report().elapsed_s >= 0.05
    assert "scheduler.timeout" in events()


def test_a_graph_that_ends_by_itself_logs_no_timeout(events):
    from meridian import graph, sink, source

    seen = []
    made = run(graph("g", source(range(3)) >> sink(seen.append)), shutdown_timeout_s=30)
    assert made.report().reason == "finished"
    assert "scheduler.timeout" not in events()


@pytest.mark.req("V8")
@pytest.mark.v1("D19")
def test_an_explicit_idle_timeout_ends_a_run_that_has_had_nothing_to_do():
    made = run(Collect("c"), shutdown_timeout_s=30, idle_timeout_s=0.02)
    assert made.report().reason == "idle"


@pytest.mark.req("V8")
@pytest.mark.v1("D19")
def test_a_node_that_says_it_has_something_pending_keeps_the_run_alive():
    class Window(Node):
        def __init__(self):
            super().__init__("window")
            self.left = 30

        def _handle_tick(self):
            self.left -= 1

        def has_pending(self):
            return self.left > 0

    window = Window()
    run(window, shutdown_timeout_s=0.01, tick_interval_ms=1)
    assert window.left == 0


@pytest.mark.req("V8")
@pytest.mark.v1("D20")
def test_a_shutdown_before_the_run_is_honoured():
    notes = []
    made = scheduler(Recorder("a", notes), Ticker(), shutdown_timeout_s=30)
    made.shutdown()
    made.run()
    assert made.report().reason == "shutdown"
    assert notes == ["start a", "stop a"]


@pytest.mark.req("V8")
@pytest.mark.v1("D20")
def test_a_shutdown_between_two_runs_counts_for_the_next_one_and_for_that_only():
    ticker = Ticker()
    made = scheduler(ticker, shutdown_timeout_s=0.05)
    reasons, ticks = [], []
    for asked in (True, True, False):
        if asked:
            made.shutdown()
        made.run()
        reasons.append(made.report().reason)
        ticks.append(ticker.ticks)
    assert reasons == ["shutdown", "shutdown", "quiet"]
    assert ticks[:2] == [0, 0]
    assert ticks[2] > 0


@pytest.mark.req("V8")
def test_a_shutdown_during_a_run_is_spent_on_that_run():
    ticker = Ticker()
    made = scheduler(ticker, shutdown_timeout_s=0.05)
    ticker._handle_tick = made.shutdown
    made.run()
    assert made.report().reason == "shutdown"
    ticker._handle_tick = lambda: None
    made.run()
    assert made.report().reason == "quiet"


def test_a_stop_that_is_asked_for_while_the_loop_closes_is_spent_on_the_run_that_used_it(monkeypatch):
    closing = asyncio.Runner.close

    def close(runner):
        made.shutdown()
        closing(runner)

    made = scheduler(Ticker(), shutdown_timeout_s=0.05)
    with monkeypatch.context() as patched:
        patched.setattr(asyncio.Runner, "close", close)
        made.run()
    made.run()
    assert made.report().reason == "quiet"


@pytest.mark.parametrize("hook", ["on_start", "_handle_tick", "_handle_message", "on_stop"])
def test_shutdown_may_be_called_from_any_hook(hook):
    class Stops(Node):
        pass

    setattr(Stops, hook, lambda self, *args: (made.shutdown(), made.shutdown())[0])
    stops = Stops("s", inputs("in"))
    made = scheduler(
        chain(Burst("b", [1]), stops), Ticker(), shutdown_timeout_s=0.05 if hook == "on_stop" else 30
    )
    made.run()
    assert made.report().reason == ("quiet" if hook == "on_stop" else "shutdown")


def test_a_shutdown_is_logged_once_however_often_it_is_asked_for(events):
    made = scheduler(Ticker(), shutdown_timeout_s=30)

    class Stops(Node):
        def on_tick(self):
            for _ in range(3):
                made.shutdown()

    made.register(Stops("s"))
    made.run()
    assert events().count("scheduler.shutdown_requested") == 1
    assert events().count("scheduler.shutdown_start") == 1
    assert events().count("scheduler.shutdown_complete") == 1


@pytest.mark.v1("L20")
def test_shutdown_from_another_thread_ends_endless_tickers_soon():
    ticker, out = Ticker(), Collect("c")
    made = scheduler(chain(ticker, out), shutdown_timeout_s=5)
    first = threading.Event()
    out.stop, out.until = first.set, 3
    thread = in_thread(made.run)
    assert first.wait(10)
    made.shutdown()
    made.shutdown()
    join(thread, 2)
    assert made.is_running() is False
    assert made.report().reason == "shutdown"
    assert out.got == list(range(ticker.ticks))


@pytest.mark.v1("L20")
def test_many_threads_may_ask_for_a_shutdown_at_once():
    made = scheduler(Ticker(), shutdown_timeout_s=5)
    started = threading.Event()
    made.register(type("S", (Node,), {"on_start": lambda self: started.set()})("s"))
    thread = in_thread(made.run)
    assert started.wait(10)
    for asking in [in_thread(made.shutdown) for _ in range(8)]:
        join(asking)
    join(thread, 2)


@pytest.mark.req("V8")
@pytest.mark.v1("D21", "L20")
def test_a_stop_ends_sources_first_and_drains_what_is_queued():
    out = Collect("c")

    class Slow(Relay):
        def _handle_message(self, port, msg):
            super()._handle_message(port, msg)
            if msg.payload == 3:
                made.shutdown()

    made = scheduler(chain(TickBurst("b", range(100)), Slow("s"), out, capacity=8), max_batch_per_node=1)
    made.run()
    assert out.got == list(range(100))
    assert made.report().left == {}


@pytest.mark.req("V8")
@pytest.mark.v1("D21")
def test_what_a_stop_has_no_time_for_is_reported_and_kept(records):
    never = asyncio.Event

    class Hangs(Node):
        async def on_message(self, port, msg):
            made.shutdown()
            await never().wait()

    made = scheduler(chain(Burst("b", range(5)), Hangs("h", inputs("in"))), shutdown_timeout_s=0.02)
    made.run()
    report = made.report()
    assert report.reason == "shutdown"
    (edge,) = report.edges
    assert edge.accepted == edge.delivered + edge.depth + edge.merged + sum(edge.lost.values()) == 5
    assert report.left == {"b:out->h:in": 4}
    (complete,) = [each for each in records() if each["event"] == "scheduler.shutdown_complete"]
    assert complete["left"] == {"b:out->h:in": 4}


def test_ticks_end_when_a_stop_begins():
    class Counts(Node):
        ticks = 0

        def on_tick(self):
            self.ticks += 1
            made.shutdown()

    counts = Counts("c")
    made = scheduler(counts, shutdown_timeout_s=30)
    made.run()
    assert counts.ticks == 1


# ---- again, elsewhere -----------------------------------------------------------------------------------------


def test_a_scheduler_runs_again_and_starts_its_nodes_again():
    notes = []
    out = Collect("c")
    made = scheduler(chain(Burst("b", [1, 2]), out), Recorder("r", notes))
    made.run()
    made.run()
    assert out.got == [1, 2, 1, 2]
    assert notes == ["start r", "stop r"] * 2


@pytest.mark.req("V8")
def test_leftovers_on_edges_are_kept_for_the_next_run():
    out = FailsUntilReady("c")
    made = scheduler(chain(Burst("b", [1, 2]), out))
    made.run()
    out.ready = True
    made._graphs[0].nodes["b"].items = [3]
    made.run()
    assert out.got == [1, 2, 3]


@pytest.mark.req("V4", "V8")
def test_parked_messages_are_kept_for_the_next_run():
    out, source = FailsUntilReady("c"), Burst("b", range(10))
    made = scheduler(chain(source, out, capacity=3))
    made.run()
    assert made.report().nodes[0].parked == 7
    out.ready, source.items = True, [10]
    made.run()
    assert out.got == list(range(11))


def test_items_put_between_two_runs_are_delivered_by_the_second():
    out = Collect("c")
    graph = chain(Node("n", outputs=outputs("out")), out)
    made = scheduler(graph)
    made.run()
    graph.edges[0].try_put(1)
    made.run()
    assert out.got == [1]


def test_another_scheduler_may_run_the_same_graph_afterwards():
    out = Collect("c")
    graph = chain(Burst("b", [1]), out)
    run(graph)
    run(graph)
    assert out.got == [1, 1]


def test_run_works_in_a_worker_thread():
    out = Collect("c")
    made = scheduler(chain(Burst("b", [1, 2]), out))
    join(in_thread(made.run))
    assert out.got == [1, 2]


def test_two_schedulers_run_side_by_side_in_two_threads():
    outs = [Collect("c"), Collect("c")]
    threads = [in_thread(scheduler(chain(Burst("b", range(100)), out, capacity=3)).run) for out in outs]
    for thread in threads:
        join(thread)
    assert [out.got for out in outs] == [list(range(100))] * 2


@pytest.mark.req("V2")
def test_run_works_inside_a_running_loop_as_in_a_notebook():
    out = Collect("c")

    async def notebook():
        scheduler(chain(Burst("b", [1, 2]), out)).run()
        return "went on"

    assert asyncio.run(notebook()) == "went on"
    assert out.got == [1, 2]


@pytest.mark.req("V2")
def test_errors_of_a_run_inside_a_running_loop_reach_the_caller():
    async def notebook():
        scheduler(Subgraph.from_nodes("g", [Node("a"), Node("a")])).run()

    with pytest.raises(ValueError, match="DUP_NODE"):
        asyncio.run(notebook())


@pytest.mark.req("V2")
def test_run_async_leaves_the_loop_to_others_and_returns_the_report():
    out = Collect("c")
    turns = []

    async def other():
        while not out.got:
            turns.append(1)
            await asyncio.sleep(0)

    async def both():
        report, _ = await asyncio.gather(scheduler(chain(Burst("b", [1]), out)).run_async(), other())
        return report

    report = asyncio.run(both())
    assert report.status == "stopped"
    assert turns


def test_a_second_run_async_while_running_returns_none():
    async def both():
        made = scheduler(Ticker())
        return await asyncio.gather(made.run_async(), made.run_async())

    first, second = asyncio.run(both())
    assert first is not None
    assert second is None


# ---- errors ---------------------------------------------------------------------------------------------------


@pytest.mark.req("V9")
@pytest.mark.v1("D8")
def test_a_failing_handler_is_logged_without_payload_and_the_run_goes_on(records):
    class Picky(Relay):
        def _handle_message(self, port, msg):
            if msg.payload == "secret-payload":
                raise ValueError(msg.payload)
            super()._handle_message(port, msg)

    out = Collect("c")
    made = run(chain(Burst("b", ["a", "secret-payload", "b"]), Picky("p"), out))
    assert out.got == ["a", "b"]
    (error,) = [each for each in records() if each["level"] == "ERROR"]
    assert (error["event"], error["node"], error["port"], error["error_type"]) == (
        "node.message_error", "p", "in", "ValueError",
    )  # fmt: skip
    assert "error_msg" in error
    assert made.report().errors_total == 1
    assert "secret" not in str(records()) + str(made.report())


@pytest.mark.req("V9")
def test_a_node_may_turn_its_failures_into_error_messages():
    class Fails(Relay):
        error_policy = ErrorPolicy.EMIT_ERROR

        def _handle_message(self, port, msg):
            raise ValueError("secret-payload")

    out = Collect("c")
    run(chain(Burst("b", [1]), Fails("f"), out))
    (message,) = out.messages
    assert message.type is ERROR
    assert message.payload["error_type"] == "ValueError"
    assert "secret" not in str(message.payload)


@pytest.mark.v1("D23")
def test_a_failing_tick_waits_for_its_next_interval(records):
    class Fails(Node):
        ticks = 0

        def on_tick(self):
            self.ticks += 1
            raise ValueError

    fails, good = Fails("f"), Ticker()
    simulate(scheduler(fails, good, tick_interval_ms=10, shutdown_timeout_s=0.05), shuffle=False)
    assert fails.ticks == good.ticks  # v1: without a pause
    errors = [each for each in records() if each["level"] == "ERROR"]
    assert {each["event"] for each in errors} == {"node.tick_error"}
    # At most one a second is written, and the rest is summed up at the end.
    assert sum(("node" in each) + each["suppressed"] for each in errors) == fails.ticks


# ---- ticks ----------------------------------------------------------------------------------------------------


@pytest.mark.v1("L19")
def test_the_first_tick_comes_one_interval_after_the_start():
    ticker = Ticker()
    run(ticker, tick_interval_ms=100, shutdown_timeout_s=0)
    assert ticker.ticks == 0


@pytest.mark.v1("L19")
def test_every_node_that_defines_a_tick_hook_ticks_sinks_included():
    class Sink(Collect):
        ticks = 0

        def _handle_tick(self):
            self.ticks += 1

    sink, lone = Sink("s"), Ticker("lone")
    run(chain(Burst("b", [1]), sink), lone)
    assert sink.ticks > 0
    assert lone.ticks > 0


@pytest.mark.v1("D16")
def test_a_node_with_messages_waiting_ticks_all_the_same():
    class Loop(Relay):
        ticks = 0

        def _handle_tick(self):
            self.ticks += 1
            if self.ticks >= 3:
                made.shutdown()

        def _handle_message(self, port, msg):
            if not made._shutdown:
                super()._handle_message(port, msg)

    loop = Loop("loop")
    graph = Subgraph.from_nodes("g", [loop])
    graph.connect(("loop", "out"), ("loop", "in"))
    graph.edges[0].try_put("round and round")
    made = scheduler(graph, shutdown_timeout_s=5)
    made.run()
    assert loop.ticks == 3


# ---- routing --------------------------------------------------------------------------------------------------


@pytest.mark.req("V4")
@pytest.mark.v1("D2")
@pytest.mark.parametrize("producer_first", [True, False])
def test_an_overflow_stalls_nothing_whatever_the_registration_order(producer_first):
    source, out = TickBurst("p", range(40)), Collect("c")
    nodes = [source, out] if producer_first else [out, source]
    graph = Subgraph.from_nodes("g", nodes)
    graph.connect(("p", "out"), ("c", "in"), 4)
    made = run(graph)
    assert out.got == list(range(40))
    assert made.report().reason == "quiet"


@pytest.mark.req("V4")
@pytest.mark.v1("D2")
def test_others_go_on_while_one_producer_waits():
    class Hangs(Node):
        async def on_message(self, port, msg):
            await asyncio.Event().wait()

    out = Collect("c")
    hanging = chain(Burst("p", range(40)), Hangs("h", inputs("in")), capacity=4, name="hanging")
    made = scheduler(hanging, chain(TickBurst("q", range(40)), out, capacity=4), shutdown_timeout_s=0.05)
    out.stop, out.until = made.shutdown, 40
    made.run()
    assert out.got == list(range(40))


@pytest.mark.v1("D45")
def test_dropped_messages_are_counted_and_logged_at_a_limited_rate(records):
    out = Collect("c")
    made = run(chain(TickBurst("b", range(5000)), out, capacity=1, policy="drop"))
    dropped = [each for each in records() if each["event"] == "scheduler.message_dropped"]
    assert 1 <= len(dropped) <= 5
    assert dropped[0]["level"] == "WARN"
    assert dropped[0]["edge_id"] == "b:out->c:in"
    (edge,) = made.report().edges
    assert edge.lost["dropped"] == 5000 - edge.delivered


def test_error_messages_go_by_the_edges_own_policy():
    out = Collect("c")
    run(chain(Burst("b", [Message(ERROR, n) for n in range(4)]), out, capacity=2, policy="drop"))
    assert out.got == [0, 1]


# ---- fairness -------------------------------------------------------------------------------------------------


@pytest.mark.req("V6")
@pytest.mark.v1("D13")
@pytest.mark.parametrize("most", [1, 3])
def test_a_slice_handles_at_most_max_batch_messages_and_more_than_one_if_it_may(most):
    order = []

    class Notes(Node):
        def _handle_message(self, port, msg):
            order.append(self.name)

    graph = Subgraph.from_nodes(
        "g", [Node("s", outputs=outputs("out")), Notes("a", inputs("in")), Notes("b", inputs("in"))]
    )
    graph.connect(("s", "out"), ("a", "in"))
    graph.connect(("s", "out"), ("b", "in"))
    for edge, n in itertools.product(graph.edges, range(30)):
        edge.try_put(n)
    simulate(scheduler(graph, max_batch_per_node=most), shuffle=False)  # slow slices have smaller batches
    runs = [len(list(group)) for _, group in itertools.groupby(order)]
    assert max(runs) == most
    assert len(order) == 60


@pytest.mark.req("V6")
@pytest.mark.v1("D14")
def test_ready_nodes_of_one_band_are_served_in_turn():
    order = []

    class Notes(Node):
        def _handle_message(self, port, msg):
            order.append(self.name)

    names = [f"n{i}" for i in range(5)]
    graph = Subgraph.from_nodes(
        "g", [Node("s", outputs=outputs("out")), *(Notes(name, inputs("in")) for name in names)]
    )
    for name in names:
        graph.connect(("s", "out"), (name, "in"))
    for edge, n in itertools.product(graph.edges, range(10)):
        edge.try_put(n)
    run(graph, max_batch_per_node=1)
    assert order == names * 10


@pytest.mark.req("V6")
@pytest.mark.v1("D15")
def test_bands_are_served_by_the_ratio_and_none_starves():
    order = []

    class Notes(Node):
        def _handle_message(self, port, msg):
            order.append(self.name)

    bands = {"c": PriorityBand.CONTROL, "h": PriorityBand.HIGH, "n": PriorityBand.NORMAL}
    graph = Subgraph.from_nodes(
        "g", [Node("s", outputs=outputs("out")), *(Notes(name, inputs("in")) for name in bands)]
    )
    made = scheduler(graph, max_batch_per_node=1, fairness_ratio=(4, 2, 1))
    for name, band in bands.items():
        made.set_priority(graph.connect(("s", "out"), (name, "in")), band)
    for edge, n in itertools.product(graph.edges, range(40)):
        edge.try_put(n)
    made.run()
    assert Counter(order[:70]) == {"c": 40, "h": 20, "n": 10}
    assert Counter(order) == {"c": 40, "h": 40, "n": 40}


@pytest.mark.req("V6")
@pytest.mark.v1("D17")
def test_a_control_message_overtakes_data_on_its_own_edge_and_keeps_its_own_order():
    out = Collect("c")
    graph = chain(Node("n", outputs=outputs("out")), out)
    for item in [1, 2, 3, control("a"), 4, control("b")]:
        graph.edges[0].try_put(item)
    run(graph)
    assert [m.payload for m in out.messages if m.is_control()] == ["a", "b"]
    assert [m.payload for m in out.messages if m.is_data()] == [1, 2, 3, 4]
    assert out.got.index("a") <= 1


@pytest.mark.req("V6")
@pytest.mark.v1("D17", "L23")
def test_a_kill_switch_reaches_its_node_within_a_slice_of_the_data_before_it():
    handled = []

    class Worker(Node):
        killed = False

        def _handle_message(self, port, msg):
            if port == "kill":
                self.killed = True
                made.shutdown()
            elif not self.killed:
                handled.append(msg.payload)
                if msg.payload == 20:
                    switch.emit("out", control("kill"))

    switch = Node("switch", outputs=outputs("out"))
    worker = Worker("w", inputs("data", "kill"))
    graph = Subgraph.from_nodes("g", [TickBurst("b", range(1000)), switch, worker])
    graph.connect(("b", "out"), ("w", "data"), 500)
    kill = graph.connect(("switch", "out"), ("w", "kill"), 2)
    made = scheduler(max_batch_per_node=8)
    made.set_priority(kill, PriorityBand.CONTROL)
    made.register(graph)
    made.run()
    assert worker.killed
    assert 20 <= max(handled) <= 20 + 2 * 8


@pytest.mark.req("V6")
@pytest.mark.v1("L23")
def test_at_most_25_data_messages_come_between_two_control_messages():
    order = []

    class Sink(Node):
        def _handle_message(self, port, msg):
            order.append(port)

    class Feeds(Node):
        n = 0

        def _handle_message(self, port, msg):
            self.emit("out", msg)

    graph = Subgraph.from_nodes(
        "g",
        [
            TickBurst("d", range(300)),
            TickBurst("k", [control(n) for n in range(20)]),
            Sink("s", inputs("data", "control")),
        ],
    )
    graph.connect(("d", "out"), ("s", "data"), 2)
    made = scheduler()
    made.set_priority("k:out->s:control", PriorityBand.CONTROL)
    graph.connect(("k", "out"), ("s", "control"), 2)
    made.register(graph)
    made.run()
    assert order.count("control") == 20
    where = [i for i, port in enumerate(order) if port == "control"]
    assert max(b - a - 1 for a, b in itertools.pairwise(where)) <= 25


@pytest.mark.req("V13")
@pytest.mark.v1("D18", "D22")
def test_idle_nodes_get_no_slices():
    out = Collect("c")
    made = run(chain(Burst("b", range(10)), out), *(Relay(f"idle{i}") for i in range(50)))
    assert out.got == list(range(10))
    assert {node.busy_s for node in made.report().nodes if node.name.startswith("idle")} == {0}


# ---- logs, metrics, traces ------------------------------------------------------------------------------------


def test_the_life_cycle_is_logged_in_order_at_info(records):
    made = scheduler(chain(Burst("b", [1]), Collect("c")))
    made.run()
    told = [
        (each["event"], each["level"])
        for each in records()
        if each["event"].startswith(("scheduler.", "node."))
    ]
    assert told == [
        ("scheduler.start", "INFO"),
        ("node.start", "INFO"),
        ("scheduler.ready", "INFO"),
        ("scheduler.timeout", "INFO"),
        ("scheduler.shutdown_start", "INFO"),
        ("node.stop", "INFO"),
        ("node.stop", "INFO"),
        ("scheduler.shutdown_complete", "INFO"),
    ]
    by_event = {each["event"]: each for each in records()}
    assert by_event["scheduler.start"]["graphs_count"] == 1
    assert by_event["scheduler.start"]["tick_interval_ms"] == 1
    assert by_event["scheduler.ready"]["nodes_count"] == 2


def test_a_shutdown_is_logged_between_ready_and_complete(events):
    made = scheduler(Collect("c"), Ticker(), shutdown_timeout_s=30)
    made.shutdown()
    made.run()
    assert [each for each in events() if each.startswith("scheduler.")] == [
        "scheduler.shutdown_requested",
        "scheduler.start",
        "scheduler.shutdown_start",
        "scheduler.ready",
        "scheduler.shutdown_complete",
    ]


def test_a_run_that_fails_is_logged_as_an_error(records):
    with pytest.raises(ValueError):
        run(Subgraph.from_nodes("g", [Node("a"), Node("a")]))
    (error,) = [each for each in records() if each["level"] == "ERROR"]
    assert (error["event"], error["error_type"]) == ("scheduler.error", "meridian.core.errors.GraphError")
    assert "DUP_NODE" in error["error_msg"]


def test_nothing_is_logged_per_message_at_info(records):
    before = len(records())
    run(chain(Burst("b", range(100)), Relay("r"), Collect("c"), capacity=8))
    many = len(records()) - before
    run(chain(Burst("b", range(1)), Relay("r"), Collect("c"), capacity=8))
    assert len(records()) - before - many == many


def test_messages_ticks_and_emits_are_logged_at_debug(debug, records):
    run(chain(TickBurst("b", [data(1, trace_id="t")]), Relay("r"), Collect("c")))
    told = [
        (each["event"], each["level"], each["node"])
        for each in records()
        if each["event"].startswith("node.")
    ]
    assert ("node.emit", "DEBUG", "b") in told
    assert told.count(("node.emit", "DEBUG", "r")) == 1
    assert told.count(("node.message_processed", "DEBUG", "r")) == 1
    assert told.count(("node.message_processed", "DEBUG", "c")) == 1
    assert ("node.tick_processed", "DEBUG", "b") in told
    emitted = next(each for each in records() if each["event"] == "node.emit" and each["node"] == "r")
    assert (emitted["trace_id"], emitted["message_type"], emitted["port"]) == ("t", "DATA", "out")


@pytest.mark.v1("L15")
def test_any_run_observes_the_loop_latency_without_labels():
    metrics = PrometheusMetrics()
    configure_metrics(metrics)
    run(chain(Burst("b", [1]), Collect("c")))
    (key,) = [key for key in metrics.get_all_histograms() if key.endswith("scheduler_loop_latency_seconds")]
    assert key == "meridian-runtime_scheduler_loop_latency_seconds"
    assert metrics.get_all_histograms()[key].count > 0


@pytest.mark.req("V14")
@pytest.mark.v1("D43", "D44")
def test_the_edges_metrics_obey_the_law_of_conservation():
    graph = chain(Burst("b", range(10)), Collect("c"), capacity=4, policy="drop")
    metrics = PrometheusMetrics()
    configure_metrics(metrics)  # after the nodes and edges were made
    run(graph)
    counters, gauges = metrics.get_all_counters(), metrics.get_all_gauges()

    def of(name):
        return counters[f"meridian-runtime_{name}{{edge_id=b:out->c:in}}"].value

    assert (of("edge_enqueued_total"), of("edge_dequeued_total"), of("edge_dropped_total")) == (10, 4, 6)
    assert gauges["meridian-runtime_edge_queue_depth{edge_id=b:out->c:in}"].value == 0
    assert counters["meridian-runtime_node_messages_total{node=c}"].value == 4


def test_the_schedulers_own_metrics_are_there():
    metrics = PrometheusMetrics()
    configure_metrics(metrics)
    made = scheduler(chain(Burst("b", range(10)), Collect("c"), capacity=2))
    made.set_priority("b:out->c:in", PriorityBand.HIGH)
    made.run()
    gauges, histograms, counters = (
        metrics.get_all_gauges(),
        metrics.get_all_histograms(),
        metrics.get_all_counters(),
    )
    for name in ("scheduler_runnable_nodes", "scheduler_blocked_nodes"):
        assert f"meridian-runtime_{name}" in gauges
    for name in ("build_time", "startup_time", "shutdown_time"):
        assert histograms[f"meridian-runtime_scheduler_{name}_seconds"].count == 1
    assert counters["meridian-runtime_scheduler_priority_applied_total"].value == 1
    key = "meridian-runtime_scheduler_backpressure_events_total{edge_id=b:out->c:in,source_node=b,target_node=c}"
    assert counters[key].value >= 1


@pytest.mark.v1("L24")
def test_the_development_configuration_shows_a_short_run_in_logs_metrics_and_traces(log, events):
    config = get_development_config()
    config.log_stream = log
    configure_observability(config)
    run(chain(Burst("b", [1, 2, 3]), Collect("c")))
    counters = get_metrics().get_all_counters()
    assert counters["meridian-runtime_node_messages_total{node=c}"].value == 3
    assert counters["meridian-runtime_edge_enqueued_total{edge_id=b:out->c:in}"].value == 3
    assert "meridian-runtime_scheduler_runnable_nodes" in get_metrics().get_all_gauges()
    names = {span.name for span in get_tracer().get_spans()}
    assert any(name.startswith("scheduler.") for name in names)
    assert any(name.startswith("node.") for name in names)
    assert {"scheduler.start", "node.start", "scheduler.shutdown_complete"} <= set(events())


@pytest.mark.req("V16")
@pytest.mark.v1("D40")
@pytest.mark.parametrize("style", ["plain", "async", "mixed"])
def test_one_trace_leads_through_all_hops_with_each_message_its_parents_child(style):
    class Plain(Node):
        def _handle_message(self, port, msg):
            self.emit("out", Message(DATA, msg.payload + 1))

    class Async(Node):
        async def _handle_message(self, port, msg):
            await asyncio.sleep(0)
            made = Message(DATA, msg.payload + 1)
            await asyncio.sleep(0)
            await self.send("out", made)

    kinds = {"plain": [Plain] * 3, "async": [Async] * 3, "mixed": [Plain, Async, Plain]}[style]
    nodes = [kind(f"n{i}", inputs("in"), outputs("out")) for i, kind in enumerate(kinds)]
    sent = [data(100 * n) for n in range(5)]
    out, seen = Collect("c"), []
    out._handle_message = lambda port, msg: seen.append((msg, get_trace_id()))
    run(chain(Burst("b", sent), *nodes, out))
    assert [m.payload for m, _ in seen] == [100 * n + 3 for n in range(5)]
    assert [m.get_trace_id() for m, _ in seen] == [m.get_trace_id() for m in sent]
    assert [current for _, current in seen] == [m.get_trace_id() for m in sent]
    assert all(m.get_parent_id() for m, _ in seen)
    assert len({m.get_id() for m, _ in seen}) == 5


@pytest.mark.req("V16")
@pytest.mark.v1("D40")
def test_interleaved_asynchronous_handlers_dont_mix_up_their_traces():
    gate = []

    class Slow(Node):
        async def on_message(self, port, msg):
            gate.append(self.name)
            while len(set(gate)) < 2:
                await asyncio.sleep(0)
            self.emit("out", Message(DATA, (self.name, get_trace_id())))

    out = Collect("c")
    graph = Subgraph.from_nodes("g", [out])
    for name in "ab":
        graph.add_node(Burst(f"source {name}", [data(name, trace_id=name)]))
        graph.add_node(Slow(name, inputs("in"), outputs("out")))
        graph.connect((f"source {name}", "out"), (name, "in"))
        graph.connect((name, "out"), ("c", "in"))
    run(graph)
    assert sorted(out.got) == [("a", "a"), ("b", "b")]
    assert sorted(m.get_trace_id() for m in out.messages) == ["a", "b"]


@pytest.mark.req("V16")
def test_a_message_made_late_in_an_asynchronous_handler_has_the_time_it_was_made():
    class Slow(Node):
        async def on_message(self, port, msg):
            early = Message(DATA, 1).get_timestamp()
            later = asyncio.get_running_loop().time() + 0.02
            while asyncio.get_running_loop().time() < later:
                await asyncio.sleep(0)
            stamps.extend([early, Message(DATA, 2).get_timestamp()])

    stamps = []
    run(chain(Burst("b", [1]), Slow("s", inputs("in"))))
    assert stamps[1] - stamps[0] >= 0.015


@pytest.mark.v1("D40")
def test_no_context_is_left_behind_by_a_run():
    async def in_a_loop():
        await scheduler(chain(Burst("b", [data(1, trace_id="t")]), Collect("c"))).run_async()
        return get_trace_id(), current_scope.get(), Message(DATA, 1).get_parent_id()

    run(chain(Burst("b", [data(1, trace_id="t")]), Collect("c")))
    assert get_trace_id() is None
    assert current_scope.get() is None
    assert asyncio.run(in_a_loop()) == (None, None, None)


def test_switching_to_debug_during_a_run_shows_the_messages_from_then_on(records):
    class Switch(Relay):
        def _handle_message(self, port, msg):
            if msg.payload == "now":
                configure("DEBUG")
            super()._handle_message(port, msg)

    source = Ticker()
    out = Collect("c")
    made = scheduler(
        chain(source, out),
        chain(Burst("b", ["now"]), Switch("s"), Collect("d"), name="x"),
        shutdown_timeout_s=5,
    )
    out.stop, out.until = made.shutdown, 5
    made.run()
    assert "node.message_processed" in [each["event"] for each in records()]


def test_a_bug_of_the_engine_ends_the_run_and_leaves_it(engine, monkeypatch, records):
    def breaks(self, messages, nanoseconds):
        raise ZeroDivisionError

    notes = []
    made = scheduler(Recorder("r", notes), shutdown_timeout_s=30)
    monkeypatch.setattr(engine, "run", breaks)
    with pytest.raises(ZeroDivisionError):
        made.run()
    assert notes == ["start r", "stop r"]
    assert made.is_running() is False
    assert "scheduler.error" in [each["event"] for each in records()]
    assert made.report().reason == "failed"


# ---- routing --------------------------------------------------------------------------------------------------


def test_an_emit_reaches_the_edges_of_its_port_in_connect_order():
    order = []

    class Notes(Collect):
        def _handle_message(self, port, msg):
            order.append(self.name)

    graph = Subgraph.from_nodes("g", [Burst("b", [1]), Notes("x"), Notes("y"), Notes("z")])
    for name in ("z", "x", "y"):
        graph.connect(("b", "out"), (name, "in"))
    run(graph)
    assert order == ["z", "x", "y"]


@pytest.mark.v1("D44")
def test_the_blocked_time_is_the_time_somebody_really_waited():
    metrics = PrometheusMetrics()
    configure_metrics(metrics)

    class Slow(Collect):
        def _handle_message(self, port, msg):
            time.sleep(0.002)

    run(chain(Burst("b", range(6)), Slow("c"), capacity=1), shutdown_timeout_s=1)
    blocked = metrics.get_all_histograms()["meridian-runtime_edge_blocked_time_seconds{edge_id=b:out->c:in}"]
    assert blocked.sum >= 0.004  # v1: microseconds


@pytest.mark.v1("D44")
def test_backpressure_is_no_error_of_the_node():
    metrics = PrometheusMetrics()
    configure_metrics(metrics)
    run(chain(Burst("b", range(50)), Collect("c"), capacity=1))
    assert metrics.get_all_counters()["meridian-runtime_node_errors_total{node=b}"].value == 0
