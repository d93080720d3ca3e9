"""Programs typical for v1, written from its reference alone, run unchanged and give exactly this."""

# mypy: no-check-untyped-defs

from __future__ import annotations

import pytest

from meridian._tests.v1.programs import backpressure, composed, control, direct, hello, tested
from meridian.core.errors import EngineError
from meridian.engine.select import choose

pytestmark = pytest.mark.req("V1")


def engines() -> list[str]:
    """The engines that can be had here."""
    try:
        return ["python"] if choose("rust").name != "rust" else ["python", "rust"]
    except EngineError:
        return ["python"]


@pytest.fixture(params=engines(), autouse=True)
def engine(request, monkeypatch) -> str:
    monkeypatch.setenv("MERIDIAN_ENGINE", request.param)
    return request.param


# --- hello


@pytest.mark.v1("L1", "D19")
def test_hello_world_returns_from_the_main_thread_by_itself():
    returned, sent, received, stats = hello.hello_world()
    assert returned is None
    assert received == list(range(sent))
    assert sent > 1
    assert stats == {"status": "stopped"}


@pytest.mark.v1("L1")
def test_a_pipeline_of_three_classes():
    sent, received = hello.pipeline()
    assert received == list(range(0, 2 * sent, 4))


def test_a_lone_node_is_a_graph():
    assert hello.a_lone_node() == ["tick"]


def test_a_scheduler_runs_twice():
    assert hello.twice() == ([0, 1], [0, 1])


# --- backpressure


@pytest.mark.v1("L2", "D1")
def test_the_tutorials_retry_loop_delivers_every_message_once():
    received, blocked = backpressure.the_tutorials_retry_loop()
    assert received == list(range(3000))
    assert blocked > 0


@pytest.mark.v1("L2")
def test_emit_until_runtime_error_ends_and_what_was_accepted_arrives_once():
    received, accepted, refused = backpressure.emit_until_runtime_error()
    assert received == list(range(accepted))
    assert refused == 1


@pytest.mark.v1("L2", "D1", "D8")
def test_a_flood_that_handles_nothing_loses_nothing_and_is_no_error():
    received, sent, errors = backpressure.a_flood_without_any_handling()
    assert received == list(range(1, sent + 1))
    assert errors == 0


@pytest.mark.v1("D1", "D2", "D5")
def test_bursts_into_a_small_edge_arrive_whole():
    assert backpressure.a_burst_into_a_small_edge() == list(range(1, 41))


@pytest.mark.v1("D6", "D7")
def test_every_policy_in_one_graph():
    assert backpressure.every_policy_in_one_graph() == {
        "drop": [0, 1, 2],
        "latest": [7, 8, 9],
        "coalesce": [0, 1, sum(range(2, 10))],
    }


@pytest.mark.v1("D7")
def test_a_coalesce_function_that_returns_messages():
    assert backpressure.a_coalesce_function_for_messages() == ["a", "b+c+d+e"]


def test_a_policy_of_ones_own():
    assert backpressure.a_policy_of_ones_own() == [0, 1, 2, 3, 4, 6, 8]


# --- direct puts


@pytest.mark.v1("L3", "L17")
def test_a_benchmark_fills_an_edge_and_runs():
    assert direct.a_benchmark_fills_an_edge_and_runs() == (["OK"] * 100, list(range(100)), 0)


@pytest.mark.v1("L3", "D6")
def test_an_edge_without_a_scheduler():
    assert direct.an_edge_without_a_scheduler() == (
        ["OK", "OK", "REPLACED", "REPLACED"],
        (2, True, False),
        [2, 3, None],
    )


@pytest.mark.v1("L3", "L20", "D10")
def test_threads_feed_a_running_graph():
    assert direct.threads_feed_a_running_graph() == (list(range(200)), list(range(1000, 1200)), False)


@pytest.mark.v1("L3", "L17")
def test_a_hook_puts_on_an_edge_of_the_graph():
    assert direct.a_hook_injects() == ([99], 1, [99, 7, 99])


@pytest.mark.v1("L4", "L23", "D11")
def test_raw_items_arrive_in_messages():
    assert direct.raw_items() == [
        ("control", "CONTROL", "stop"),
        ("data", "DATA", 1),
        ("data", "DATA", None),
        ("data", "DATA", "two"),
    ]


@pytest.mark.v1("L8")
def test_a_soak_test_with_a_spec_as_third_argument_of_its_ports():
    assert direct.ports_with_a_spec_as_third_argument() == ([], ["no int, and nobody checks"])


# --- control


@pytest.mark.v1("L23")
def test_a_kill_switch_wired_as_in_v1s_examples():
    assert control.a_kill_switch() == ("kill:out->worker:control", 1, False)


@pytest.mark.v1("L23", "D15", "D17")
def test_control_is_never_far_and_data_is_not_starved():
    data, controls, longest = control.control_among_data()
    assert (data, controls) == (60, 60)
    assert longest <= 25


@pytest.mark.v1("L20")
def test_a_run_in_a_worker_thread_is_stopped_by_the_main_thread():
    while_running, alive, running, sent, received = control.a_run_in_a_worker_thread()
    assert while_running == (True, "running")
    assert (alive, running) == (False, False)
    assert received == list(range(sent))


@pytest.mark.v1("L20", "D21")
def test_a_stop_amid_a_slow_consumer_drains():
    sent, received = control.a_stop_amid_a_slow_consumer()
    assert received == list(range(sent))


@pytest.mark.v1("D27")
def test_capacities_and_bands_change_while_it_runs():
    assert control.capacities_and_bands_change_while_it_runs() == ([3], ["ValueError"] * 3)


# --- graphs


@pytest.mark.v1("D31")
def test_a_subclassed_graph_with_an_alias_and_an_exposed_port():
    issues, names, sent, received = composed.a_subclassed_graph()
    assert issues == []
    assert names == ["producer", "sink"]
    assert received == list(range(sent))
    assert sent > 0


@pytest.mark.v1("L7", "D26", "D49")
def test_a_generated_node_with_dict_ports_and_asynchronous_hooks():
    assert composed.a_generated_node() == (["HELLO", "RAW"], ["start", "stop"])


@pytest.mark.v1("L7", "L9")
def test_ports_that_are_assigned_and_appended_late():
    assert composed.ports_assigned_and_appended() == [("a", "out"), ("b", "extra")]


@pytest.mark.v1("D4")
def test_a_diamond_reads_both_of_its_edges():
    assert composed.a_diamond() == {"left": list(range(50)), "right": list(range(50))}


@pytest.mark.v1("D8", "D23", "D25")
def test_failures_are_logged_and_the_run_goes_on():
    assert composed.failures_go_on() == ([0, 2, 4], ["consumer", "producer"])


# --- tests and observation


@pytest.mark.v1("L11", "L21")
def test_a_node_of_ones_own_in_the_harness():
    assert tested.a_node_in_the_harness() == [
        ("DATA", 9),
        ("CONTROL", {"event": "completed"}),
        ("ERROR", "broken"),
    ]


@pytest.mark.v1("D51")
def test_the_error_policies_in_the_harness():
    assert tested.error_policies_in_the_harness() == (
        "ERROR",
        ["context", "error_message", "error_type", "original_payload"],
        "TypeError",
        {"error_source": "built_in_node"},
        True,
    )


@pytest.mark.v1("L6", "L21", "L22")
def test_a_node_without_a_scheduler():
    assert tested.a_node_without_a_scheduler()


@pytest.mark.v1("L15", "L16", "D44")
def test_metrics_are_read_by_their_keys_after_a_run():
    counts = tested.counts_after_a_run()
    sent = counts["sent"]
    assert sent > 0
    assert counts == {
        "sent": sent,
        "handled": sent,
        "enqueued": sent,
        "dequeued": sent,
        "depth": 0,
        "looped": True,
    }


@pytest.mark.v1("L24")
def test_the_development_configuration_shows_a_short_run():
    events, keys, spans = tested.the_development_configuration()
    assert events >= {"scheduler.start", "node.start", "scheduler.shutdown_complete"}
    assert [
        name
        for name in ("node_messages_total", "edge_enqueued_total", "scheduler_runnable_nodes")
        if f"meridian-runtime_{name}" not in keys
    ] == []
    assert spans == {"node", "scheduler"}
