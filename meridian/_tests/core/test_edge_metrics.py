"""What metrics learn of an edge that is used without a run, and when."""

import gc
import io

import pytest

from meridian import Edge, Port, PortDirection, Scheduler, graph, sink, source
from meridian.observability import LogConfig
from meridian.observability.logging import replace_config
from meridian.observability.metrics import NoopMetrics, PrometheusMetrics, configure_metrics

pytestmark = pytest.mark.req("N4", "X1")
OUT, IN = Port("out", PortDirection.OUTPUT), Port("in", PortDirection.INPUT)


def edge(name="a", capacity=8):
    return Edge(name, OUT, "b", IN, capacity)


def enqueued(metrics, name="a"):
    found = metrics.get_all_counters().get(
        f"meridian-runtime_edge_enqueued_total{{edge_id={name}:out->b:in}}"
    )
    return None if found is None else found.value


class Written:
    """A provider that isn't read, and notes what it is told."""

    def __init__(self):
        self.told = []

    def counter(self, name, labels=None):
        return Noting(self, name)

    gauge = histogram = counter


class Noting:
    def __init__(self, provider, name):
        self.provider, self.name = provider, name

    def inc(self, n=1):
        self.provider.told.append((self.name, n))

    set = observe = inc


class Read(Written):
    """One that is read."""

    def __init__(self):
        super().__init__()
        self.collectors = []

    def register_collector(self, collect):
        self.collectors.append(collect)

    def unregister_collector(self, collect):
        self.collectors.remove(collect)

    def read(self):
        for collect in self.collectors:
            collect(self)


def test_a_provider_that_is_read_is_told_nothing_until_it_is():
    provider = Read()
    configure_metrics(provider)
    made = edge()
    for n in range(5):
        made.try_put(n)
    made.try_get()
    made.put_many([5, 6])
    made.take_many(2)
    assert provider.told == []
    provider.read()
    assert provider.told == [("edge_enqueued_total", 7), ("edge_dequeued_total", 3), ("edge_queue_depth", 4)]


def test_a_provider_that_is_not_read_is_told_at_once():
    provider = Written()
    configure_metrics(provider)
    made = edge()
    for n in range(3):
        made.try_put(n)
        assert provider.told[-2:] == [("edge_enqueued_total", 1), ("edge_queue_depth", n + 1)]


def test_an_edge_that_is_gone_when_somebody_reads_was_counted():
    provider = PrometheusMetrics()
    configure_metrics(provider)
    for name in ("a", "b"):
        edge(name).put_many(range(3))
    gc.collect()
    assert (enqueued(provider), enqueued(provider, "b")) == (3, 3)


def test_figures_of_edges_that_are_gone_do_not_gather_where_nobody_reads():
    from meridian.observability import accounts

    configure_metrics(PrometheusMetrics())
    for _ in range(100):
        edge().try_put(1)
    gc.collect()
    assert len(accounts._book.gone) <= 1
    assert len(accounts._book._edges) <= 1


def test_the_former_provider_has_what_was_counted_until_another_one_came():
    first, second = PrometheusMetrics(), PrometheusMetrics()
    configure_metrics(first)
    made = edge()
    made.put_many(range(3))
    configure_metrics(second)
    made.try_put(3)
    assert (enqueued(first), enqueued(second)) == (3, 1)
    configure_metrics(NoopMetrics())
    made.try_put(4)
    assert (enqueued(first), enqueued(second)) == (3, 1)


def test_an_edge_that_nobody_used_since_metrics_came_is_not_shown():
    made = edge()
    made.try_put(1)
    provider = PrometheusMetrics()
    configure_metrics(provider)
    assert enqueued(provider) is None
    made.try_get()
    assert enqueued(provider) == 1


def test_what_is_put_by_hand_before_a_run_and_after_it_is_counted_though_nobody_reads_meanwhile():
    provider = PrometheusMetrics()
    configure_metrics(provider)
    made = graph("g", source([], name="a") >> sink(lambda n: None, name="b"))
    put = made.edges[0]
    put.put_many(range(3))
    scheduler = Scheduler()
    scheduler.register(made)
    scheduler.run()
    put.put_many(range(2))
    counters = provider.get_all_counters()
    names = [f"meridian-runtime_edge_{name}_total{{edge_id={put.id}}}" for name in ("enqueued", "dequeued")]
    assert [counters[name].value for name in names] == [5, 3]


def test_debug_events_of_single_calls_come_and_go_with_the_level():
    lines = io.StringIO()
    made = edge()
    made.try_put(1)
    replace_config(LogConfig(level="DEBUG", stream=lines))
    made.try_put(2)
    made.try_get()
    assert [line.count("edge.enqueue") for line in lines.getvalue().splitlines()] == [1, 0]
    replace_config(LogConfig(level="INFO", stream=lines))
    made.try_put(3)
    assert len(lines.getvalue().splitlines()) == 2
