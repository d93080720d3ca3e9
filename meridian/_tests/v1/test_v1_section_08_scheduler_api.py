"""Sections 8.1 and 8.2 of the v1 contract: configuration, registering, settings, statistics."""

# mypy: no-check-untyped-defs, disable-error-code="annotation-unchecked"
# What v1 programs may write, and what they get for it, is more than the types allow.

from __future__ import annotations

import threading

import pytest

from meridian import Node, PriorityBand, Scheduler, SchedulerConfig, Subgraph
from meridian._tests.core.parts import (
    Burst,
    Collect,
    Ticker,
    chain,
    in_thread,
    join,
    outputs,
    run,
    scheduler,
)
from meridian.core.errors import ConfigError

pytestmark = [pytest.mark.req("V1"), pytest.mark.usefixtures("engine")]

CONTROL, HIGH, NORMAL = PriorityBand.CONTROL, PriorityBand.HIGH, PriorityBand.NORMAL
ID = "b:out->c:in"


class Inside(Node):
    """Does something from within a run, once, at its first tick."""

    def __init__(self, do):
        super().__init__("inside")
        self.do = do

    def _handle_tick(self):
        do, self.do = self.do, lambda: None
        do()


def test_the_configuration_has_v1s_fields_in_v1s_order():
    made = SchedulerConfig(10, (8, 4, 1), 16, 0, 1.5)
    assert (made.tick_interval_ms, made.fairness_ratio, made.max_batch_per_node) == (10, (8, 4, 1), 16)
    assert (made.idle_sleep_ms, made.shutdown_timeout_s) == (0, 1.5)
    defaults = SchedulerConfig()
    assert (defaults.tick_interval_ms, defaults.fairness_ratio, defaults.shutdown_timeout_s) == (
        50,
        (4, 2, 1),
        2.0,
    )
    assert defaults.idle_sleep_ms == 1
    defaults.shutdown_timeout_s = 0.1
    assert defaults.shutdown_timeout_s == 0.1
    with pytest.raises(AttributeError):
        defaults.unknown = 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fairness_ratio", (1, 2)),
        ("fairness_ratio", (0, 1, 1)),
        ("max_batch_per_node", 0),
        ("max_batch_per_node", 1.5),
        ("tick_interval_ms", -1),
        ("shutdown_timeout_s", -1),
        ("shutdown_timeout_s", float("nan")),
        ("idle_timeout_s", "soon"),
    ],
)
def test_a_setting_that_cant_be_used_is_refused_when_a_run_begins(field, value):
    made = scheduler(Collect("c"), **{field: value})
    with pytest.raises(ConfigError, match=field) as caught:
        made.run()
    assert isinstance(caught.value, ValueError)
    assert made.is_running() is False


@pytest.mark.parametrize(
    "config",
    [{"tick_interval_ms": 0}, {"idle_sleep_ms": 0}, {"shutdown_timeout_s": 0}, {"fairness_ratio": [1, 1, 1]}],
)
def test_settings_that_v1_tests_use_are_taken(config):
    out = Collect("c")
    run(chain(Burst("b", [1, 2]), out), **config)
    assert out.got == [1, 2]


def test_a_scheduler_needs_no_configuration():
    made = Scheduler()
    assert made.is_running() is False
    assert made.get_stats() == {"status": "stopped"}
    assert Scheduler(config=SchedulerConfig(shutdown_timeout_s=0)).run() is None


# ---- register -------------------------------------------------------------------------------------------------


def test_register_takes_graphs_and_nodes_any_number_of_times():
    one, two = Collect("one"), Collect("two")
    made = run(chain(Burst("b1", [1]), one), chain(Burst("b2", [2]), two), Node("alone"))
    assert (one.got, two.got) == ([1], [2])
    assert [node.name for node in made.report().nodes] == ["b1", "one", "b2", "two", "alone"]


def test_register_while_running_is_a_runtime_error():
    caught = []

    def register():
        try:
            made.register(Node("late"))
        except RuntimeError as error:
            caught.append(error)

    made = scheduler(Inside(register))
    made.run()
    assert len(caught) == 1
    made.register(Node("later"))


def test_register_is_logged_at_debug(debug, records):
    made = Scheduler()
    made.register(Node("n"))
    made.register(Subgraph("g"))
    assert [(each["event"], each["level"]) for each in records()] == [
        ("scheduler.register_node", "DEBUG"),
        ("scheduler.register_subgraph", "DEBUG"),
    ]


# ---- set_priority ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [3, 1, "HIGH", None, 2.0, True])
def test_a_priority_that_is_no_band_is_a_value_error(wrong):
    with pytest.raises(ValueError, match="PriorityBand"):
        Scheduler().set_priority(ID, wrong)


@pytest.mark.v1("L23", "L4")
def test_a_priority_set_before_register_is_applied(events, debug):
    out = Collect("c")
    made = scheduler()
    made.set_priority(ID, CONTROL)
    graph = chain(Node("b", outputs=outputs("out")), out)
    made.register(graph)
    graph.edges[0].try_put("raw")
    made.run()
    assert out.messages[0].is_control()
    assert "scheduler.priority_pending" in events()


def test_a_priority_of_an_unknown_edge_before_a_run_is_ignored(events):
    made = scheduler(Collect("c"))
    made.set_priority("no:such->edge:at", HIGH)
    made.run()
    assert "scheduler.edge_not_found" not in events()


def test_a_priority_set_during_a_run_takes_effect_at_once(records):
    out = Collect("c")
    source = Node("b", outputs=outputs("out"))
    graph = chain(source, out)

    def do():
        made.set_priority(ID, CONTROL)
        graph.edges[0].try_put("raw")

    made = scheduler(Inside(do), graph)
    made.run()
    assert out.messages[0].is_control()
    (changed,) = [each for each in records() if each["event"] == "scheduler.priority_changed"]
    assert (changed["level"], changed["edge_id"], changed["old_priority"], changed["new_priority"]) == (
        "INFO", ID, "NORMAL", "CONTROL",
    )  # fmt: skip


@pytest.mark.v1("D27")
def test_settings_of_an_unknown_edge_during_a_run_are_a_warning_and_no_exception(records):
    def do():
        made.set_priority("no:such->edge:at", HIGH)
        made.set_capacity("no:such->edge:at", 5)

    made = scheduler(Inside(do))
    made.run()
    missing = [each for each in records() if each["event"] == "scheduler.edge_not_found"]
    assert [(each["level"], each["edge_id"]) for each in missing] == [("WARN", "no:such->edge:at")] * 2
    assert made.report().errors_total == 0


def test_a_priority_outlives_a_run():
    out = Collect("c")
    graph = chain(Node("b", outputs=outputs("out")), out)
    made = scheduler(graph)
    made.set_priority(ID, CONTROL)
    made.run()
    graph.edges[0].try_put("raw")
    made.run()
    assert out.messages[0].is_control()


# ---- set_capacity ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "5", None, True])
def test_a_capacity_that_is_no_positive_number_is_a_value_error(wrong):
    with pytest.raises(ValueError, match="capacity"):
        Scheduler().set_capacity(ID, wrong)


@pytest.mark.v1("D27")
def test_a_capacity_set_before_a_run_is_remembered():
    out = Collect("c")
    graph = chain(Burst("b", range(10)), out, capacity=4, policy="drop")
    made = scheduler()
    made.set_capacity(ID, 7)
    made.register(graph)
    made.run()
    assert graph.edges[0].capacity == 7
    assert out.got == list(range(7))


def test_a_capacity_set_during_a_run_takes_effect_at_once(records):
    out, taken = Collect("c"), []
    graph = chain(Node("b", outputs=outputs("out")), out, capacity=2)

    def do():
        made.set_capacity(ID, 3)
        taken.append(graph.edges[0].capacity)
        taken.extend(graph.edges[0].try_put(n).name for n in range(4))

    made = scheduler(Inside(do), graph)
    made.run()
    assert taken == [3, "OK", "OK", "OK", "REPLACED"]
    (changed,) = [each for each in records() if each["event"] == "scheduler.capacity_changed"]
    assert (changed["level"], changed["edge_id"], changed["old_capacity"], changed["new_capacity"]) == (
        "INFO",
        ID,
        2,
        3,
    )


@pytest.mark.req("V4")
def test_a_larger_capacity_lets_a_waiting_producer_go_on():
    class Slow(Collect):
        def _handle_message(self, port, msg):
            if not self.messages:
                depths.append(graph.edges[0].depth())
                made.set_capacity(ID, 20)
            super()._handle_message(port, msg)

    depths = []
    out = Slow("c")
    graph = chain(Burst("b", range(15)), out, capacity=2)
    made = scheduler(graph, max_batch_per_node=1)
    made.run()
    assert out.got == list(range(15))
    assert depths[0] <= 2


def test_settings_may_come_from_another_thread():
    out = Collect("c")
    graph = chain(Node("b", outputs=outputs("out")), out)
    made = scheduler(graph, shutdown_timeout_s=5.0)
    out.stop, out.until = made.shutdown, 1

    def outside():
        made.set_priority(ID, CONTROL)
        made.set_capacity(ID, 9)
        graph.edges[0].try_put("raw")

    started = threading.Event()
    out.on_start = started.set
    thread = in_thread(made.run)
    assert started.wait(10)
    outside()
    join(thread)
    assert graph.edges[0].capacity == 9
    assert out.got == ["raw"]


# ---- statistics -----------------------------------------------------------------------------------------------


def test_statistics_of_a_run_count_nodes_and_edges():
    seen = []
    made = scheduler(chain(Burst("b", []), Collect("c")), Inside(lambda: seen.append(made.get_stats())))
    assert made.get_stats() == {"status": "stopped"}
    made.run()
    assert made.get_stats() == {"status": "stopped"}
    (stats,) = seen
    assert (stats["status"], stats["nodes_count"], stats["edges_count"]) == ("running", 3, 1)
    assert isinstance(stats["runnable_nodes"], int)
    assert isinstance(stats["blocked_nodes"], int)


def test_statistics_have_their_keys_from_the_moment_a_run_is_running():
    seen = []

    class Looks(Node):
        def on_start(self):
            seen.append((made.is_running(), set(made.get_stats())))

    made = scheduler(Looks("l"))
    made._running = True
    assert {"status", "nodes_count", "edges_count", "runnable_nodes", "blocked_nodes"} <= set(
        made.get_stats()
    )
    made._running = False
    made.run()
    assert seen[0][0] is True
    assert {"status", "nodes_count", "edges_count", "runnable_nodes", "blocked_nodes"} <= seen[0][1]


def test_a_node_that_waits_for_room_counts_as_blocked():
    seen = []

    class Looks(Collect):
        def _handle_message(self, port, msg):
            if not seen:
                seen.append(made.get_stats()["blocked_nodes"])

    made = scheduler(chain(Burst("b", range(10)), Looks("c"), capacity=2), max_batch_per_node=1)
    made.run()
    assert seen == [1]


def test_is_running_is_true_within_a_run_only():
    seen = []
    made = scheduler(Inside(lambda: seen.append(made.is_running())))
    assert made.is_running() is False
    made.run()
    assert seen == [True]
    assert made.is_running() is False


def test_a_second_run_while_running_returns_none_at_once():
    seen = []
    made = scheduler(Inside(lambda: seen.append(made.run())), Ticker())
    made.run()
    assert seen == [None]


def test_two_graphs_share_one_name_space():
    made = scheduler(chain(Burst("b", [1]), Collect("c"), name="one"), chain(Burst("b", [2]), Collect("d")))
    with pytest.raises(ValueError, match="'b'"):
        made.run()


def test_a_node_registered_by_itself_is_a_graph_of_its_own_name():
    with pytest.raises(ValueError, match="'same'"):
        run(Collect("same"), Collect("same"))
