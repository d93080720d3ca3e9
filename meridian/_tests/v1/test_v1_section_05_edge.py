"""Section 5 of the v1 contract: the edge by itself, and raw items on the edges of a run."""

# mypy: no-check-untyped-defs, disable-error-code="annotation-unchecked"
# What v1 programs may write, and what they get for it, is more than the types allow.

from __future__ import annotations

import dataclasses
import threading
from unittest.mock import Mock

import pytest

from meridian import Edge, Message, Node, Port, PortSpec, PriorityBand, Subgraph, block, drop, latest
from meridian._tests.core.parts import (
    CONTROL,
    DATA,
    ERROR,
    IN,
    OUT,
    Collect,
    TickBurst,
    chain,
    control,
    data,
    edge,
    in_thread,
    inputs,
    join,
    outputs,
    run,
    scheduler,
    taken,
)
from meridian.core.policies import PutResult
from meridian.observability.metrics import NoopMetrics, PrometheusMetrics, configure_metrics

OK, BLOCKED, DROPPED, REPLACED, COALESCED = PutResult
pytestmark = [pytest.mark.req("V1", "V3"), pytest.mark.usefixtures("engine")]

ID = "a:out->b:in"


def test_fields_by_position_and_their_defaults():
    source, target, spec = Port("out", OUT), Port("in", IN), PortSpec("in", int)
    made = Edge("a", source, "b", target)
    assert (made.source_node, made.source_port, made.target_node, made.target_port) == (
        "a",
        source,
        "b",
        target,
    )
    assert (made.capacity, made.spec, made.default_policy) == (1024, None, None)
    policy = drop()
    made = Edge("a", source, "b", target, 3, spec, policy)
    assert (made.capacity, made.spec, made.default_policy) == (3, spec, policy)


def test_fields_by_name():
    made = Edge(
        source_node="a", source_port=Port("out", OUT), target_node="b", target_port=Port("in", IN),
        capacity=2, spec=None, default_policy=None,
    )  # fmt: skip
    assert made._edge_id() == ID


def test_fields_may_be_assigned():
    made = edge(1)
    made.source_node, made.target_node = "x", "y"
    made.source_port, made.target_port = Port("o", OUT), Port("i", IN)
    assert made._edge_id() == made.id == "x:o->y:i"
    made.try_put(1)
    made.capacity = 2
    assert made.try_put(2) is OK
    made.default_policy = block()
    assert made.try_put(3) is BLOCKED
    made.spec = PortSpec("i", str)
    with pytest.raises(TypeError):
        made.try_put(4)
    assert taken(made) == [1, 2]


def test_it_is_a_dataclass_to_the_dataclasses_module():
    made = edge(3, drop(), int)
    names = [field.name for field in dataclasses.fields(made)]
    assert names == [
        "source_node",
        "source_port",
        "target_node",
        "target_port",
        "capacity",
        "spec",
        "default_policy",
    ]
    other = dataclasses.replace(made, capacity=5)
    assert (other.capacity, other.default_policy, other.spec) == (5, made.default_policy, made.spec)
    assert other.depth() == 0


def test_it_is_subscriptable():
    made: Edge[int] = Edge[int]("a", Port("out", OUT), "b", Port("in", IN))
    assert isinstance(made, Edge)


@pytest.mark.v1("D35")
def test_equality_and_hash_are_by_identity():
    one, other = edge(), edge()
    assert one == one
    assert one != other
    assert len({one, other, one}) == 2


def test_depth_and_its_questions():
    made = edge(2)
    assert (made.depth(), made.is_empty(), made.is_full()) == (0, True, False)
    made.try_put(1)
    assert (made.depth(), made.is_empty(), made.is_full()) == (1, False, False)
    made.try_put(2)
    assert (made.depth(), made.is_empty(), made.is_full()) == (2, False, True)


@pytest.mark.req("V7")
def test_items_come_out_first_in_first_out_and_none_when_empty():
    made = edge(4)
    for n in range(3):
        made.try_put(n)
    assert [made.try_get() for _ in range(4)] == [0, 1, 2, None]


def test_messages_come_out_as_the_same_objects():
    made, sent = edge(), data(1)
    made.try_put(sent)
    assert made.try_get() is sent


@pytest.mark.v1("L3", "D5")
def test_try_put_without_any_policy_is_latest():
    made = edge(2)
    assert [made.try_put(n) for n in range(4)] == [OK, OK, REPLACED, REPLACED]
    assert taken(made) == [2, 3]


def test_the_argument_goes_before_the_edges_own_policy():
    made = edge(1, drop())
    assert [made.try_put(0), made.try_put(1), made.try_put(2, latest()), made.try_put(3, block())] == [
        OK, DROPPED, REPLACED, BLOCKED,
    ]  # fmt: skip
    assert taken(made) == [2]
    assert made.try_put(4, policy=drop()) is OK


def test_a_misfit_raises_logs_and_leaves_the_depth(records):
    made = edge(4, schema=int)
    for wrong in ("secret-payload", data("secret-payload")):
        with pytest.raises(TypeError) as caught:
            made.try_put(wrong)
        assert ID in str(caught.value)
        assert "secret" not in str(caught.value)
    assert made.depth() == 0
    assert [(each["event"], each["level"], each["edge_id"]) for each in records()] == [
        ("edge.validation_failed", "WARN", ID)
    ] * 2
    assert "secret" not in str(records())


def test_payloads_and_raw_items_are_validated_alike():
    made = edge(4, schema=int)
    assert made.try_put(1) is OK
    assert made.try_put(data(2)) is OK
    assert made.try_put(True) is OK


@pytest.mark.v1("D9")
def test_control_and_error_pass_a_data_schema():
    made = edge(4, schema=int)
    assert made.try_put(control({"event": "completed"})) is OK
    assert made.try_put(Message(ERROR, "text")) is OK


@pytest.mark.v1("D9")
def test_a_completion_signal_reaches_a_typed_input():
    out = Collect("c", schema=int)
    run(chain(TickBurst("t", [1, 2, control("done")]), out))
    assert sorted(map(str, out.got)) == ["1", "2", "done"]


def test_a_spec_with_a_validate_of_its_own_is_asked():
    class Even(PortSpec):
        def validate(self, value):
            return value % 2 == 0

    made = Edge("a", Port("out", OUT), "b", Port("in", IN), 4, Even("in"))
    assert made.try_put(2) is OK
    with pytest.raises(TypeError):
        made.try_put(3)
    duck = Mock()
    duck.validate.return_value = False
    with pytest.raises(TypeError):
        Edge("a", Port("out", OUT), "b", Port("in", IN), 4, duck).try_put(1)
    duck.validate.assert_called_once_with(1)


def test_a_spec_with_a_validate_of_its_own_is_asked_in_a_run_too():
    class Even(PortSpec):
        def validate(self, value):
            return value % 2 == 0

    out = Collect("c")
    made = chain(TickBurst("t", [1, 2, 3, 4]), out)
    made.edges[0].spec = Even("in")
    ran = run(made)
    assert out.got == []
    assert ran.report().errors_total == 1


@pytest.mark.v1("L18")
@pytest.mark.parametrize("capacity", [0, -1])
def test_the_constructor_takes_a_bad_capacity_which_holds_nothing(capacity):
    made = edge(capacity)
    assert made.capacity == capacity
    assert made.is_full() is True


@pytest.mark.v1("D10")
@pytest.mark.parametrize("capacity", [0, -1])
def test_nothing_is_ever_stored_at_capacity_zero(capacity):
    from meridian import coalesce

    made = edge(capacity)
    assert made.try_put(1, block()) is BLOCKED
    assert made.try_put(1, drop()) is DROPPED
    assert made.try_put(1, latest()) is DROPPED
    assert made.try_put(1, coalesce(lambda old, new: new)) is DROPPED
    assert made.try_put(control()) is BLOCKED
    assert made.depth() == 0
    assert made.ring().lost == {"dropped": 3}


@pytest.mark.v1("D10")
@pytest.mark.parametrize("policy", [block(), drop(), latest()])
def test_many_threads_never_exceed_the_capacity_and_every_put_is_accounted_for(policy):
    made = edge(3)
    depths, results = [], []
    barrier = threading.Barrier(4)

    def put():
        barrier.wait(10)
        for n in range(500):
            results.append(made.try_put(n, policy))
            depths.append(made.depth())

    threads = [in_thread(put) for _ in range(4)]
    for thread in threads:
        join(thread)
    assert max(depths) == 3
    assert made.depth() == 3
    assert len(results) == 2000
    assert results.count(OK) == 3
    lost = made.ring().lost or {}
    assert sum(lost.values()) == results.count(DROPPED) + results.count(REPLACED)


def test_lowering_the_capacity_keeps_what_is_above_it_until_it_is_taken():
    made = edge(4)
    for n in range(4):
        made.try_put(n)
    made.capacity = 2
    assert made.depth() == 4
    assert made.is_full()
    assert made.try_put(9, block()) is BLOCKED
    assert [made.try_get(), made.try_get(), made.try_get()] == [0, 1, 2]
    assert made.try_put(9, block()) is OK
    assert taken(made) == [3, 9]


@pytest.mark.v1("D11")
def test_a_raw_none_counts_as_an_item():
    made = edge()
    assert made.try_put(None) is OK
    assert made.depth() == 1
    assert not made.is_empty()
    assert made.try_get() is None
    assert made.is_empty()


@pytest.mark.v1("D11")
def test_a_raw_none_is_delivered():
    out = Collect("c")
    graph = chain(Node("n", outputs=outputs("out")), out)
    graph.edges[0].try_put(None)
    graph.edges[0].try_put(1)
    run(graph)
    assert out.got == [None, 1]


@pytest.mark.v1("L4")
def test_raw_items_are_wrapped_as_data_on_delivery():
    out = Collect("c")
    graph = chain(Node("n", outputs=outputs("out")), out)
    graph.edges[0].try_put({"raw": 1})
    run(graph)
    (message,) = out.messages
    assert (type(message), message.type, message.payload) == (Message, DATA, {"raw": 1})
    assert message.get_trace_id()
    assert message.get_timestamp() > 0


@pytest.mark.v1("L4", "L23")
def test_raw_items_are_wrapped_as_control_where_the_edges_band_is_control():
    out = Collect("c")
    graph = chain(Node("n", outputs=outputs("out")), out)
    made = scheduler()
    made.set_priority(graph.edges[0]._edge_id(), PriorityBand.CONTROL)
    made.register(graph)
    graph.edges[0].try_put("stop")
    graph.edges[0].try_put(data("kept as it is"))
    made.run()
    assert [(m.type, m.payload) for m in out.messages] == [(CONTROL, "stop"), (DATA, "kept as it is")]


@pytest.mark.v1("L3")
def test_items_put_by_another_thread_are_noticed_by_a_waiting_run():
    out = Collect("c")
    graph = chain(Node("n", outputs=outputs("out")), out)
    made = scheduler(graph, shutdown_timeout_s=5.0)
    out.stop, out.until = made.shutdown, 3
    started = threading.Event()
    out.on_start = started.set
    thread = in_thread(made.run)
    assert started.wait(10)
    for n in range(3):
        assert graph.edges[0].try_put(n) is OK
    join(thread)
    assert out.got == [0, 1, 2]
    assert made.report().reason == "shutdown"


@pytest.mark.v1("L3")
def test_items_put_by_another_nodes_hook_are_noticed_without_an_emit():
    out = Collect("c")
    graph = Subgraph.from_nodes("g", [Node("n", outputs=outputs("out")), out])
    graph.connect(("n", "out"), ("c", "in"))

    class Outsider(Node):
        def _handle_tick(self):
            graph.edges[0].try_put("from a tick")

        def on_start(self):
            graph.edges[0].try_put("from a start")

    run(graph, Outsider("o"))
    assert out.got[0] == "from a start"
    assert "from a tick" in out.got


@pytest.mark.v1("L3")
def test_direct_puts_into_a_full_edge_of_a_run_keep_the_newest():
    out = Collect("c")
    graph = chain(Node("n", outputs=outputs("out")), out, capacity=2)
    for n in range(5):
        graph.edges[0].try_put(n)
    run(graph)
    assert out.got == [3, 4]


def test_a_handler_may_take_from_an_edge_itself():
    graph = Subgraph("g")
    seen = []

    class Sink(Node):
        def _handle_message(self, port, msg):
            seen.append(msg.payload)
            rest = graph.edges[0].try_get()
            seen.append(None if rest is None else ("by hand", rest))

    graph.add_node(Node("n", outputs=outputs("out")))
    graph.add_node(Sink("s", inputs("in")))
    graph.connect(("n", "out"), ("s", "in"))
    graph.edges[0].try_put("one")
    run(graph, max_batch_per_node=1)
    assert seen == ["one", None]


def test_per_item_events_are_written_at_debug_only(debug, records):
    made = edge(1)
    made.try_put(1)
    made.try_put(2)
    made.try_put(3, drop())
    made.try_put(4, block())
    made.try_put(5, lambda_policy())
    made.try_get()
    assert [(each["event"], each["level"], each["edge_id"]) for each in records()] == [
        (event, "DEBUG", ID)
        for event in (
            "edge.enqueue",
            "edge.replace",
            "edge.drop",
            "edge.blocked",
            "edge.coalesce",
            "edge.dequeue",
        )
    ]


def lambda_policy():
    from meridian import coalesce

    return coalesce(lambda old, new: new)


def test_nothing_is_logged_per_item_at_info(records):
    made = edge(1)
    for policy in (None, None, drop(), block()):
        made.try_put(1, policy)
    made.try_get()
    assert records() == []


def test_its_repr_shows_no_payload():
    made = edge(2)
    made.try_put("secret")
    assert repr(made) == "<Edge a:out->b:in 1/2>"


# --- metrics


@pytest.fixture
def metrics():
    provider = PrometheusMetrics()
    configure_metrics(provider)
    return provider


def counts(metrics, id="a:out->b:in"):
    """Enqueued, dequeued, dropped, depth."""
    counters, gauges = metrics.get_all_counters(), metrics.get_all_gauges()
    found = [
        counters[f"meridian-runtime_edge_{name}_total{{edge_id={id}}}"].value
        for name in ("enqueued", "dequeued", "dropped")
    ]
    return (*found, gauges[f"meridian-runtime_edge_queue_depth{{edge_id={id}}}"].value)


@pytest.mark.v1("D6", "D44")
def test_an_edge_without_a_run_counts_what_is_put_and_taken(metrics):
    made = edge(3)
    for n in range(5):
        made.try_put(n)
    assert counts(metrics) == (5, 0, 2, 3)
    made.try_get()
    assert counts(metrics) == (5, 1, 2, 2)


@pytest.mark.v1("D43")
def test_asking_for_the_depth_refreshes_the_gauge_of_a_late_provider():
    made = edge(3)
    made.try_put(1)
    provider = PrometheusMetrics()
    configure_metrics(provider)
    assert made.depth() == 1
    assert provider.get_all_gauges()["meridian-runtime_edge_queue_depth{edge_id=a:out->b:in}"].value == 1


@pytest.mark.v1("D44")
def test_what_is_put_by_hand_is_counted_once_before_during_and_after_runs(metrics):
    graph = Subgraph.from_nodes("g", [Node.with_ports("a", [], ["out"]), sink := Collect("b")])
    graph.connect(("a", "out"), ("b", "in"), 3, "drop")
    made = scheduler(graph, shutdown_timeout_s=0.01)
    for n in range(5):
        graph.edges[0].try_put(n)
    assert counts(metrics) == (5, 0, 2, 3)
    made.run()
    assert counts(metrics) == (5, 3, 2, 0)
    graph.edges[0].try_put(5)
    assert counts(metrics) == (6, 3, 2, 1)
    made.run()
    assert counts(metrics) == (6, 4, 2, 0)
    assert sink.got == [0, 1, 2, 5]


@pytest.mark.v1("D44")
def test_what_a_run_left_behind_is_not_counted_again_by_the_next(metrics):
    graph = Subgraph.from_nodes("g", [Node.with_ports("a", [], ["out"]), sink := Collect("b")])
    graph.connect(("a", "out"), ("b", "in"))
    made = scheduler(graph, shutdown_timeout_s=0, max_batch_per_node=1)
    sink.stop, sink.until = made.shutdown, 1
    for n in range(5):
        graph.edges[0].try_put(n)
    made.run()
    enqueued, dequeued, _, depth = counts(metrics)
    assert (enqueued, depth) == (5, 5 - dequeued)
    made.run()
    assert counts(metrics) == (5, 5, 0, 0)


def test_counts_go_on_after_a_time_without_metrics(metrics):
    graph = Subgraph.from_nodes("g", [Node.with_ports("a", [], ["out"]), Collect("b")])
    graph.connect(("a", "out"), ("b", "in"))
    made = scheduler(graph, shutdown_timeout_s=0.01)
    graph.edges[0].try_put(1)
    assert counts(metrics) == (1, 0, 0, 1)
    configure_metrics(NoopMetrics())
    made.run()
    configure_metrics(metrics)
    graph.edges[0].try_put(2)
    assert counts(metrics)[0] == 2
