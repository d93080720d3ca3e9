"""MessageQueueNode within the process: v1's queue, bounded and without loss."""

from __future__ import annotations

import itertools
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian import Message, MessageType, Scheduler, SchedulerConfig, Subgraph, graph, sink, source, via
from meridian.nodes.base import NodeConfig
from meridian.nodes.network import MessageQueueNode
from meridian.testing import NodeTestHarness, simulate

pytestmark = pytest.mark.req("V11")

_names = itertools.count()


@pytest.fixture
def queue():
    """Makes ends of a queue that no other test has."""
    return ends()


def ends():
    name = f"queue-{next(_names)}"

    def end(node, mode, type="memory", maxsize=None, **settings):
        config = {} if maxsize is None else {"maxsize": maxsize}
        return MessageQueueNode(node, type, config, name, mode=mode, **settings)

    return end


def drained(consumer):
    """What a consumer emits, tick by tick, until nothing comes."""
    harness = NodeTestHarness(consumer)
    before = -1
    while len(harness.get_emitted_messages("output")) != before:
        before = len(harness.get_emitted_messages("output"))
        harness.trigger_tick()
    return [message.payload for message in harness.get_emitted_messages("output")]


# ---- by hand, as in v1 ------------------------------------------------------------------------------------------


@pytest.mark.v1("L11")
def test_a_consumer_emits_one_message_for_each_tick(queue):
    producer = NodeTestHarness(queue("p", "producer"))
    consumer = NodeTestHarness(queue("c", "consumer"))
    for n in range(3):
        producer.send_message("input", n)
    for n in range(1, 5):
        consumer.trigger_tick()
        assert len(consumer.get_emitted_messages("output")) == min(n, 3)
    emitted = consumer.get_emitted_messages("output")
    assert [message.payload for message in emitted] == [0, 1, 2]
    assert all(message.type is MessageType.DATA for message in emitted)


def test_the_default_is_a_producer():
    node = MessageQueueNode("q", "memory", {}, "x")
    assert ([port.name for port in node.inputs], node.outputs) == (["input"], [])


def test_a_producer_has_only_an_input_and_a_consumer_only_an_output():
    config = NodeConfig()
    producer = MessageQueueNode("p", "memory", {}, "x", "producer", "in", "out", config)
    consumer = MessageQueueNode("c", "memory", {}, "x", "consumer", "in", "out", config)
    assert ([port.name for port in producer.inputs], producer.outputs) == (["in"], [])
    assert (consumer.inputs, [port.name for port in consumer.outputs]) == ([], ["out"])


def test_queues_are_told_apart_by_type_and_name(queue):
    NodeTestHarness(queue("p", "producer", "a")).send_message("input", 1)
    assert drained(queue("c", "consumer", "b")) == []
    assert drained(ends()("c", "consumer", "a")) == []
    assert drained(queue("c", "consumer", "a")) == [1]


def test_a_producer_ignores_what_is_not_data_and_other_ports(queue):
    producer = NodeTestHarness(queue("p", "producer"))
    producer.send_control("input", 1)
    producer.send_error("input", 2)
    producer.send_message("elsewhere", 3)
    assert drained(queue("c", "consumer")) == []


def test_the_queue_outlives_its_producer(queue):
    NodeTestHarness(queue("p", "producer")).send_message("input", 1)
    assert drained(queue("c", "consumer")) == [1]


@pytest.mark.parametrize("type", ["redis", "rabbitmq", "anything"])
def test_without_a_url_every_type_is_simulated(queue, type):
    NodeTestHarness(queue("p", "producer", type)).send_message("input", 1)
    assert drained(queue("c", "consumer", type)) == [1]


def test_the_connection_of_a_simulated_queue_may_say_anything():
    MessageQueueNode("q", "redis", {"host": "example.org", "port": 6379}, "x")
    MessageQueueNode("q", "rabbitmq", {"url": "amqp://example.org"}, "x")
    MessageQueueNode("q", "memory", None, "x")


def test_any_payload_goes_through_as_it_is(queue):
    thing = object()
    NodeTestHarness(queue("p", "producer")).send_message("input", thing)
    assert drained(queue("c", "consumer"))[0] is thing


@pytest.mark.v1("D54")
def test_the_very_message_comes_out(queue):
    producer, consumer = queue("p", "producer"), NodeTestHarness(queue("c", "consumer"))
    message = Message(MessageType.DATA, 1, {"m": 2}, {"trace_id": "t"})
    producer.on_message("input", message)
    consumer.trigger_tick()
    assert consumer.get_emitted_messages("output")[0] is message


@pytest.mark.v1("D52")
def test_a_full_queue_loses_nothing(queue):
    producer = NodeTestHarness(queue("p", "producer", maxsize=2))
    for n in range(7):
        producer.send_message("input", n)
    seen = drained(queue("c", "consumer"))
    for _ in range(5):
        producer.trigger_tick()
        seen += drained(queue("c", "consumer"))
    assert seen == list(range(7))


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        ({"mode": "both"}, ValueError, "node 'q': mode='both' must be 'producer' or 'consumer'"),
        (
            {"connection_config": {"maxsize": 0}},
            ValueError,
            "'q': connection_config['maxsize'] must be at least 1, got 0",
        ),
        (
            {"connection_config": {"maxsize": "9"}},
            TypeError,
            "'q': connection_config['maxsize'] must be a whole number, got '",
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(settings, error, text):
    with pytest.raises(error) as caught:
        MessageQueueNode(
            "q", **{"queue_type": "memory", "connection_config": {}, "queue_name": "x", **settings}
        )
    assert text in str(caught.value)


# ---- in a run ---------------------------------------------------------------------------------------------------


def made(n, seen, maxsize=None, out=64, consumers=1, into=64):
    """A graph: source >> producer, and consumer >> sink for each of so many."""
    queue = ends()
    parts = [source(range(n)) >> via(capacity=into) >> queue("p", "producer", maxsize=maxsize)]
    parts += [
        queue(f"c{i}", "consumer") >> via(capacity=out) >> sink(seen.append, name=f"s{i}")
        for i in range(consumers)
    ]
    return graph("g", *parts)


@given(
    n=st.integers(0, 200),
    maxsize=st.integers(1, 5),
    out=st.integers(1, 3),
    into=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
@pytest.mark.v1("D52")
def test_whatever_the_sizes_nothing_is_lost_or_doubled_and_order_is_kept(n, maxsize, out, into, seed):
    seen: list[int] = []
    ran = simulate(made(n, seen, maxsize, out, into=into), seed=seed)
    assert seen == list(range(n))
    assert ran.report.errors_total == 0
    assert ran.report.left == {}


@given(n=st.integers(0, 200), consumers=st.integers(2, 4), seed=st.integers(0, 1000))
def test_consumers_share_the_messages(n, consumers, seed):
    seen: list[int] = []
    simulate(made(n, seen, 3, 1, consumers), seed=seed)
    assert sorted(seen) == list(range(n))


def test_a_consumer_is_not_limited_to_one_message_a_tick():
    seen: list[int] = []
    done: list[float] = []

    def note(n: int) -> None:
        seen.append(n)
        if n == 999:
            done.append(0)
            scheduler.shutdown()

    queue = ends()
    scheduler = Scheduler(SchedulerConfig(tick_interval_ms=1000))
    scheduler.register(
        graph(
            "g",
            source(range(1000)) >> queue("p", "producer"),
            queue("c", "consumer") >> sink(note, name="s"),
        )
    )
    ran = simulate(scheduler)
    assert seen == list(range(1000))
    assert ran.elapsed_s < 1  # before the first regular tick


def test_a_full_queue_pauses_its_producer_so_that_edges_fill():
    queue = ends()
    pulled = 0

    def items():
        nonlocal pulled
        for n in range(1000):
            pulled += 1
            yield n

    def note(n: int) -> None:
        seen.append(n)
        ahead.append(pulled - len(seen))

    seen: list[int] = []
    ahead: list[int] = []
    made = graph(
        "g",
        source(items, name="items") >> via(capacity=2) >> queue("p", "producer", maxsize=4),
        queue("c", "consumer") >> via(capacity=1) >> sink(note, name="s"),
    )
    simulate(made)
    assert seen == list(range(1000))
    # the queue, the edges on both sides, what the producer and the source hold in hand
    assert max(ahead) <= 4 + 2 + 1 + 4


def test_without_a_consumer_a_run_ends_and_the_messages_are_still_there():
    queue = ends()
    config = SchedulerConfig(shutdown_timeout_s=0.05, tick_interval_ms=10)
    producer = queue("p", "producer", maxsize=5)
    seen: list[int] = []

    def ran(*graphs):
        scheduler = Scheduler(config)
        for each in graphs:
            scheduler.register(each)
        scheduler.run()
        return scheduler.report()

    producing = graph("g", source(range(20)) >> via(capacity=4) >> producer)
    consuming = graph("h", queue("c", "consumer") >> sink(seen.append, name="s"))

    report = ran(producing)
    assert report.reason == "quiet"
    (error,) = report.errors
    assert "found no room in the queue; the next run puts them in" in error.message

    ran(consuming)
    assert seen == list(range(5))

    # The node, in another run, puts in what it held; what the edge held is still there.
    del seen[:]
    alone = Subgraph.from_nodes("p", [producer])
    ran(alone, consuming)
    (left,) = report.left.values()
    assert seen == list(range(5, 5 + len(seen)))
    assert producing.edges[0].depth() == left


def test_runs_in_two_threads_share_a_queue():
    queue = ends()
    seen: list[int] = []

    def note(n: int) -> None:
        seen.append(n)
        if n == 4999:
            consuming.shutdown()

    consuming = Scheduler(SchedulerConfig(shutdown_timeout_s=60))
    consuming.register(graph("c", queue("c", "consumer") >> via(capacity=2) >> sink(note, name="s")))
    thread = threading.Thread(target=consuming.run)
    thread.start()
    producing = Scheduler(SchedulerConfig(shutdown_timeout_s=60))
    producing.register(
        graph("p", source(range(5000)) >> via(capacity=2) >> queue("p", "producer", maxsize=3))
    )
    producing.run()
    thread.join(60)
    assert not thread.is_alive()
    assert seen == list(range(5000))


def test_a_shutdown_empties_the_queue_within_its_time():
    queue = ends()
    seen: list[int] = []

    async def note(n: int) -> None:
        if n == 0:
            scheduler.shutdown()
        seen.append(n)

    scheduler = Scheduler()
    scheduler.register(
        graph(
            "g",
            source(range(100)) >> queue("p", "producer", maxsize=10),
            queue("c", "consumer") >> via(capacity=1) >> sink(note, name="s"),
        )
    )
    report = simulate(scheduler).report
    produced = next(node.produced for node in report.nodes if node.name == "source")
    assert seen == list(range(produced))


def test_a_message_that_no_edge_takes_is_a_recorded_failure_and_the_next_one_comes():
    queue = ends()
    seen: list[int] = []

    def note(n: int) -> None:
        seen.append(n)

    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=1.03))
    scheduler.register(
        graph(
            "g",
            source([1, "two", 3]) >> queue("p", "producer"),
            queue("c", "consumer") >> sink(note, name="s"),
        )
    )
    report = simulate(scheduler).report
    assert seen == [1, 3]
    assert report.errors_total == 1
