"""The same numbers as one object."""

import json

import jsonschema
import pytest

from meridian import Scheduler, graph, sink, source
from meridian.introspect.schema import snapshot_schema
from meridian.observability import PrometheusMetrics, configure_metrics
from meridian.observability.adapters.catalogue import Reader
from meridian.observability.adapters.json import JsonReader

pytestmark = pytest.mark.req("N7", "X1")


def finished():
    scheduler = Scheduler()
    scheduler.register(graph("g", source(range(10), name="s") >> sink(lambda _: None, name="t")))
    scheduler.run()
    return scheduler


def test_runs_are_snapshots_and_say_what_the_other_adapters_say():
    scheduler = finished()
    (run,) = json.loads(JsonReader(scheduler).line())["runs"]
    jsonschema.validate(run, snapshot_schema())
    points = {metric.name: points for metric, points in Reader(scheduler).read()}
    assert {edge["id"]: edge["accepted"] for edge in run["edges"]} == {
        point.labels["edge_id"]: point.value for point in points["meridian.edge.accepted"]
    }
    assert {node["name"]: node["handled"] for node in run["nodes"]} == {
        point.labels["node"]: point.value for point in points["meridian.node.handled"]
    }


def test_a_second_reading_has_rates_and_without_a_run_there_is_none():
    scheduler = finished()
    reader = JsonReader(scheduler)
    first, second = reader.read()["runs"][0], reader.read()["runs"][0]
    assert (first["window_s"], second["window_s"]) == (None, 0.0)
    assert JsonReader().read() == {"runs": [], "metrics": []}


def test_the_metrics_of_the_program_are_there_and_no_number_breaks_the_line():
    provider = PrometheusMetrics()
    configure_metrics(provider)
    provider.counter("orders_total", {"shop": "north"}).inc(3)
    provider.gauge("ratio").set(float("inf"))
    provider.histogram("wait_seconds").observe(0.2)
    families = {each["name"]: each for each in json.loads(JsonReader().line())["metrics"]}
    orders = families["meridian_runtime_orders_total"]
    assert orders["kind"] == "counter"
    assert orders["samples"] == [
        {"name": "meridian_runtime_orders_total", "labels": {"shop": "north"}, "value": 3.0}
    ]
    assert families["meridian_runtime_ratio"]["samples"][0]["value"] is None
    sums = [
        each["value"]
        for each in families["meridian_runtime_wait_seconds"]["samples"]
        if "_sum" in each["name"]
    ]
    assert sums == [0.2]


@pytest.mark.req("X2")
def test_no_name_that_the_policy_hides_is_in_a_line():
    secret = "jane.roe@corp.example"
    configure_metrics(PrometheusMetrics())
    scheduler = Scheduler()
    scheduler.register(graph("g", source([1], name=secret) >> sink(lambda _: 1 // 0, name=f"to {secret}")))
    scheduler.run()
    assert secret not in JsonReader(scheduler).line()
