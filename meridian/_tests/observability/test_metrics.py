from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meridian.observability import (
    DEFAULT_LATENCY_BUCKETS,
    NoopMetrics,
    PrometheusConfig,
    PrometheusMetrics,
    bound_counter,
    bound_gauge,
    bound_histogram,
    configure_metrics,
    get_metrics,
    is_metrics_enabled,
    time_block,
)
from meridian.observability.metrics import PrometheusCounter, PrometheusGauge, PrometheusHistogram
from meridian.redaction import Drop, Policy, Rule, install

INF = float("inf")


# --- instruments


def test_a_counter_adds_up():
    counter = PrometheusCounter("c")
    counter.inc()
    counter.inc(4)
    assert counter.value == 5.0
    assert isinstance(counter.value, float)


def test_a_counter_refuses_to_shrink():
    counter = PrometheusCounter("c")
    with pytest.raises(ValueError, match="only grows"):
        counter.inc(-1)
    assert counter.value == 0.0


def test_a_published_total_only_raises_the_counter():
    counter = PrometheusCounter("c")
    counter.set_total(7)
    counter.set_total(3)
    assert counter.value == 7.0


def test_a_gauge_goes_up_and_down():
    gauge = PrometheusGauge("g")
    gauge.set(3)
    gauge.set(-1.5)
    assert gauge.value == -1.5


def test_an_instrument_knows_its_name_and_labels():
    counter = PrometheusCounter("c", {"node": "n"})
    assert (counter.name, counter.labels, counter._labels) == ("c", {"node": "n"}, {"node": "n"})


def test_buckets_are_cumulative_with_inclusive_bounds():
    histogram = PrometheusHistogram("h", buckets=[2, 1, 2, INF])
    for number in (0.5, 1, 1.5, 2, 99):
        histogram.observe(number)
    assert histogram.bounds == (1.0, 2.0)
    assert histogram.buckets == {1.0: 2, 2.0: 4, INF: 5}
    assert (histogram.sum, histogram.count) == (104.0, 5)


def test_not_a_number_is_not_observed():
    histogram = PrometheusHistogram("h")
    histogram.observe(math.nan)
    assert (histogram.sum, histogram.count) == (0.0, 0)


def test_a_merge_adds_bins_that_were_counted_elsewhere():
    histogram = PrometheusHistogram("h", buckets=[1, 2])
    histogram.observe(0.5)
    histogram.merge([1, 2, 3], 20.0)
    assert histogram.buckets == {1.0: 2, 2.0: 4, INF: 7}
    assert histogram.sum == 20.5


@pytest.mark.parametrize("counts", [[1, 2], [1, 2, 3, 4], [1, -1, 0]])
def test_a_merge_of_other_bins_is_refused(counts: list[int]):
    with pytest.raises(ValueError, match="need 3 counts"):
        PrometheusHistogram("h", buckets=[1, 2]).merge(counts, 0.0)


@given(st.lists(st.floats(-10, 10), max_size=30), st.lists(st.floats(-10, 10), max_size=5))
def test_every_bucket_counts_what_is_at_most_its_bound(numbers: list[float], bounds: list[float]):
    histogram = PrometheusHistogram("h", buckets=bounds)
    for number in numbers:
        histogram.observe(number)
    assert histogram.buckets == {
        bound: sum(n <= bound for n in numbers) for bound in (*histogram.bounds, INF)
    }
    assert histogram.count == len(numbers)


@pytest.mark.v1("D44")
def test_increments_of_several_threads_add_up():
    metrics = PrometheusMetrics()

    def work() -> None:
        for _ in range(2000):
            metrics.counter("c").inc()
            metrics.histogram("h").observe(1.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.counter("c").value == 8000.0
    assert metrics.histogram("h").count == 8000


# --- the provider that keeps


@pytest.mark.v1("L16")
def test_the_default_configuration_is_v1s():
    config = PrometheusConfig()
    assert config.namespace == "meridian-runtime"
    assert config.default_buckets == DEFAULT_LATENCY_BUCKETS
    assert DEFAULT_LATENCY_BUCKETS == [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5]
    assert PrometheusMetrics().config == config


@pytest.mark.v1("L15")
def test_keys_show_namespace_and_sorted_unquoted_labels():
    metrics = PrometheusMetrics(PrometheusConfig(namespace="app", default_buckets=[1]))
    metrics.counter("c").inc()
    metrics.counter("c", {"b": "2", "a": "1"}).inc(2)
    metrics.gauge("g", {"a": "x"}).set(3)
    metrics.histogram("h").observe(4)
    assert {key: made.value for key, made in metrics.get_all_counters().items()} == {
        "app_c": 1.0,
        "app_c{a=1,b=2}": 2.0,
    }
    assert {key: made.value for key, made in metrics.get_all_gauges().items()} == {"app_g{a=x}": 3.0}
    assert {key: made.buckets for key, made in metrics.get_all_histograms().items()} == {
        "app_h": {1.0: 0, INF: 1}
    }


@pytest.mark.v1("L16")
def test_the_default_key_prefix_is_v1s():
    metrics = PrometheusMetrics()
    metrics.histogram("scheduler_loop_latency_seconds")
    assert list(metrics.get_all_histograms()) == ["meridian-runtime_scheduler_loop_latency_seconds"]


def test_an_empty_namespace_is_no_prefix():
    metrics = PrometheusMetrics(PrometheusConfig(namespace=""))
    metrics.counter("c")
    assert list(metrics.get_all_counters()) == ["c"]


@pytest.mark.parametrize("kind", ["counter", "gauge", "histogram"])
def test_same_name_and_labels_are_the_same_instrument(kind: str):
    make = getattr(PrometheusMetrics(), kind)
    assert make("x", {"a": "1", "b": "2"}) is make("x", {"b": "2", "a": "1"})
    assert make("x") is make("x", {})
    assert make("x") is not make("x", {"a": "1"})


def test_labels_that_read_the_same_are_not_the_same():
    metrics = PrometheusMetrics()
    assert metrics.counter("c", {"a": "1,b=2"}) is not metrics.counter("c", {"a": "1", "b": "2"})


def test_tables_read_are_copies():
    metrics = PrometheusMetrics()
    metrics.counter("c")
    metrics.get_all_counters().clear()
    assert len(metrics.get_all_counters()) == 1


# --- collectors


READS: list[Callable[[PrometheusMetrics], Any]] = [
    PrometheusMetrics.get_all_counters,
    PrometheusMetrics.get_all_gauges,
    PrometheusMetrics.get_all_histograms,
    PrometheusMetrics.render,
    PrometheusMetrics.collect,
]


@pytest.mark.req("X1")
@pytest.mark.parametrize("read", READS, ids=lambda read: read.__name__)
def test_every_read_collects_first(read: Callable[[PrometheusMetrics], Any]):
    metrics = PrometheusMetrics()
    calls: list[PrometheusMetrics] = []
    metrics.register_collector(calls.append)
    metrics.register_collector(calls.append)
    read(metrics)
    assert calls == [metrics]
    metrics.unregister_collector(calls.append)
    metrics.unregister_collector(calls.append)
    read(metrics)
    assert calls == [metrics]


def test_what_a_collector_publishes_is_in_the_same_read():
    metrics = PrometheusMetrics(PrometheusConfig(namespace="m"))
    metrics.register_collector(lambda m: m.counter("edge_enqueued_total", {"edge_id": "e"}).set_total(12))
    assert metrics.get_all_counters()["m_edge_enqueued_total{edge_id=e}"].value == 12.0


def test_a_collector_may_read_without_being_called_again():
    metrics = PrometheusMetrics()
    calls: list[int] = []

    def collect(m: PrometheusMetrics) -> None:
        calls.append(1)
        m.get_all_counters()

    metrics.register_collector(collect)
    metrics.collect()
    assert calls == [1]


@pytest.mark.req("X2")
def test_a_raising_collector_is_reported_without_its_text_and_the_others_run(records: Any):
    metrics = PrometheusMetrics()

    def broken(m: PrometheusMetrics) -> None:
        raise ValueError("4111")

    metrics.register_collector(broken)
    metrics.register_collector(lambda m: m.counter("c").inc())
    assert [made.value for made in metrics.get_all_counters().values()] == [1.0]
    metrics.collect()
    (record,) = records()
    assert (record["event"], record["level"], record["error_type"], record["error_msg"]) == (
        "metrics.collector_failed", "WARN", "ValueError", "[redacted]",
    )  # fmt: skip
    assert record["where"].startswith("test_metrics.py:")


# --- the current provider


def test_the_default_provider_keeps_nothing_with_one_shared_instrument():
    metrics = NoopMetrics()
    shared: Any = metrics.counter("a")
    assert all(other is shared for other in (metrics.gauge("b"), metrics.histogram("c", {"x": "y"})))
    shared.inc()
    metrics.gauge("b").set(1)
    metrics.histogram("c").observe(1)


def test_metrics_are_off_until_configured():
    assert isinstance(get_metrics(), NoopMetrics)
    assert is_metrics_enabled() is False
    metrics = PrometheusMetrics()
    configure_metrics(metrics)
    assert get_metrics() is metrics
    assert is_metrics_enabled() is True


@pytest.mark.v1("D43")
def test_bound_instruments_follow_a_later_configuration():
    counter, gauge, histogram = bound_counter("c", {"a": "b"}), bound_gauge("g"), bound_histogram("h")
    counter.inc(100)
    seen = []
    for metrics in (PrometheusMetrics(), PrometheusMetrics()):
        configure_metrics(metrics)
        for _ in range(2):
            counter.inc()
            gauge.set(7)
            histogram.observe(1.0)
        seen.append(
            (metrics.counter("c", {"a": "b"}).value, metrics.gauge("g").value, metrics.histogram("h").count)
        )
    assert seen == [(2.0, 7.0, 2)] * 2
    assert counter.resolve() is get_metrics().counter("c", {"a": "b"})


def test_a_timed_block_is_observed_also_when_it_raises():
    metrics = PrometheusMetrics()
    configure_metrics(metrics)
    with time_block("t", {"a": "b"}):
        pass
    with pytest.raises(KeyError), time_block("t", {"a": "b"}):
        raise KeyError
    histogram = metrics.histogram("t", {"a": "b"})
    assert histogram.count == 2
    assert 0.0 <= histogram.sum < 5.0


def test_a_timed_block_belongs_to_the_provider_at_its_end():
    metrics = PrometheusMetrics()
    with time_block("t"):
        configure_metrics(metrics)
    assert metrics.histogram("t").count == 1


# --- what labels may show


@pytest.mark.req("X2")
def test_labels_that_become_equal_are_one_series_whose_numbers_add_up():
    metrics = PrometheusMetrics(PrometheusConfig(namespace=""))
    for address in ("192.0.2.7", "192.0.2.8", "198.51.100.1"):
        metrics.counter("requests", {"peer": address}).inc()
    assert {key: made.value for key, made in metrics.get_all_counters().items()} == {
        "requests{peer=192.0.2.0/24}": 2,
        "requests{peer=198.51.100.0/24}": 1,
    }


@pytest.mark.req("X2")
def test_a_narrower_policy_holds_for_series_that_exist_already_and_keeps_them_apart():
    metrics = PrometheusMetrics(PrometheusConfig(namespace=""))
    for shop in ("a", "b"):
        metrics.counter("sold", {"shop": shop}).inc()
    before = install(Policy("narrow", (Rule("shops", Drop(), key=("shop",)),)))
    try:
        text = metrics.render()
    finally:
        install(before)
    assert text == (
        '# TYPE sold counter\nsold{shop="[redacted:shops]"} 1\nsold{shop="[redacted:shops]",series="2"} 1\n'
    )


@pytest.mark.req("X1")
def test_label_sets_beyond_the_bound_are_counted_together_and_told_about_once(records):
    metrics = PrometheusMetrics(PrometheusConfig(namespace="", max_series=2))
    for user in range(5):
        metrics.counter("orders_total", {"user": str(user)}).inc()
        metrics.histogram("wait_seconds", {"user": str(user)}).observe(1.0)
        metrics.gauge("cart", {"user": str(user)}).set(user)
    metrics.counter("orders_total").inc(10)
    counters = {key: each.value for key, each in metrics.get_all_counters().items()}
    assert counters == {
        "orders_total{user=0}": 1,
        "orders_total{user=1}": 1,
        "orders_total{overflow=true}": 3,
        "orders_total": 10,
    }
    assert metrics.get_all_histograms()["wait_seconds{overflow=true}"].count == 3
    assert list(metrics.get_all_gauges()) == ["cart{user=0}", "cart{user=1}"], "gauges don't add up"
    assert metrics.gauge("cart", {"user": "4"}) is metrics.gauge("cart", {"user": "4"})
    told = [(each["name"], each["max_series"]) for each in records() if each["event"] == "metrics.overflow"]
    assert told == [("orders_total", 2), ("wait_seconds", 2), ("cart", 2)]
