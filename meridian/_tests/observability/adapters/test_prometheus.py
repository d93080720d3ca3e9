"""What a scrape says, held against prometheus-client's own parsers; and the endpoint, whatever is going on."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from meridian import (
    Node,
    Port,
    PortDirection,
    Scheduler,
    Subgraph,
    drop,
    graph,
    latest,
    node,
    sink,
    source,
    via,
)
from meridian.core.function import Inlet
from meridian.nodes.extras import MissingExtraError
from meridian.observability import PrometheusConfig, PrometheusMetrics, configure_metrics, metrics
from meridian.observability.adapters.catalogue import CATALOGUE, Reader, exposition_name
from meridian.observability.adapters.prometheus import (
    MOST_SCRAPERS,
    MeridianCollector,
    MetricsServeError,
    serve_metrics,
)
from meridian.runtime.cpu import detect

pytestmark = pytest.mark.req("N7", "X1")

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def get(url, accept="text/plain"):
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


def series(text, parse=parse_text):
    """Return name and labels of each series with its number; no two may be the same."""
    found = {}
    for family in parse(text):
        assert family.documentation
        for sample in family.samples:
            key = (sample.name, *sorted(sample.labels.items()))
            assert key not in found
            found[key] = sample.value
    return found


def exposed(collector):
    """Return what a registry with this collector exposes, in both formats."""
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode(), generate_openmetrics(registry).decode()


def numbers_run():
    @node
    def double(n: int) -> int:
        return 2 * n

    scheduler = Scheduler()
    chain = source(range(1_000), name="s") >> double >> via(capacity=8, policy=latest())
    scheduler.register(graph("g", chain >> sink(lambda _: None, name="t")))
    scheduler.run()
    return scheduler


# ---- the collector ---------------------------------------------------------------------------------------------------


@pytest.mark.req("V14")
@pytest.mark.usefixtures("engine")
def test_both_formats_say_the_same_under_the_names_of_the_catalogue():
    text, openmetrics = exposed(MeridianCollector(numbers_run()))
    said = series(text)
    same = {key: value for key, value in said.items() if "events" not in key[0]}  # events go on meanwhile
    assert {k: v for k, v in series(openmetrics, parse_openmetrics).items() if k in same} == same
    names = {exposition_name(metric) for metric in CATALOGUE}
    assert {key[0] for key in said} <= names
    lost = sum(n for (name, *labels), n in said.items() if name == "meridian_edge_lost_total")
    edge = ("edge_id", "double:output->t:input")
    gone = said["meridian_edge_delivered_total", edge] + said["meridian_edge_merged_total", edge] + lost
    assert said["meridian_edge_accepted_total", edge] == gone + said["meridian_edge_depth", edge] == 1_000


def test_types_units_and_help_are_those_of_the_catalogue():
    families = {
        family.name: family for family in parse_openmetrics(exposed(MeridianCollector(numbers_run()))[1])
    }
    kinds = {"quantiles": "summary"}
    for metric in CATALOGUE:
        base = exposition_name(metric).removesuffix("_total").removesuffix("_info")
        if base in families:
            family = families[base]
            assert (family.type, family.documentation) == (kinds.get(metric.kind, metric.kind), metric.what)
            assert family.unit == {"s": "seconds", "By": "bytes", "": ""}[metric.unit]


def test_a_registry_knows_the_names_and_refuses_a_second_collector():
    registry = CollectorRegistry()
    registry.register(MeridianCollector())
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        registry.register(MeridianCollector())


def test_the_times_of_hops_are_a_summary(monkeypatch):
    from dataclasses import replace

    from meridian.introspect import Percentiles
    from meridian.observability.adapters import catalogue

    def timed(before, scheduler, look_at_all=catalogue.look_at_all):
        (shot,) = look_at_all(before, scheduler)
        hop = Percentiles(p50=0.001, p90=0.002, p99=0.004, most=0.5, n=10)
        return [replace(shot, edges=tuple(replace(edge, hop_s=hop) for edge in shot.edges))]

    monkeypatch.setattr(catalogue, "look_at_all", timed)
    text, openmetrics = exposed(MeridianCollector(numbers_run()))
    for said in (series(text), series(openmetrics, parse_openmetrics)):
        edge = ("edge_id", "s:output->double:input")
        told = [said["meridian_edge_hop_seconds", edge, ("quantile", q)] for q in ("0.5", "0.9", "0.99", "1")]
        assert told == [0.001, 0.002, 0.004, 0.5]
        assert said["meridian_edge_hop_timed_total", edge] == 10


def test_the_metrics_of_the_program_are_there_under_the_names_that_render_gives_them():
    provider = PrometheusMetrics()
    configure_metrics(provider)
    provider.counter("orders_total", {"shop": 'a"b\\\n'}).inc(3)
    provider.gauge("temperature").set(1.5)
    provider.histogram("answer_seconds").observe(0.2)
    scheduler = numbers_run()
    text, openmetrics = exposed(MeridianCollector(scheduler))
    own = {key: value for key, value in series(text).items() if key[0].startswith("meridian_runtime_")}
    rendered = parse_text(provider.render())
    written = {(s.name, *sorted(s.labels.items())): s.value for family in rendered for s in family.samples}
    assert written
    for key, value in written.items():
        if "blocked" not in key[0]:
            assert own[key] == value, key
    assert own["meridian_runtime_edge_enqueued_total", ("edge_id", "s:output->double:input")] == 1_000
    assert ("meridian_runtime_answer_seconds_sum",) in series(openmetrics, parse_openmetrics)


@given(
    names=st.lists(
        st.tuples(
            st.sampled_from(["counter", "gauge", "histogram"]),
            st.sampled_from(["runs", "a", "a_total", "a-total", "a_sum", "a_created", "9", "ü", "node_errors_total", "a_count"]),
        ),
        max_size=8,
    ),
    namespace=st.sampled_from(["meridian", "meridian-runtime", "", "9"]),
)  # fmt: skip
def test_whatever_the_program_calls_its_metrics_a_scrape_is_legal(names, namespace):
    provider = PrometheusMetrics(PrometheusConfig(namespace=namespace, default_buckets=[1.0]))
    for kind, name in names:
        made = getattr(provider, kind)(name, {"le": "1", "x-y": "2"})
        (made.inc if kind == "counter" else made.set if kind == "gauge" else made.observe)(1)
    kept = metrics.get_metrics()
    configure_metrics(provider)
    try:
        text, openmetrics = exposed(MeridianCollector())
    finally:
        configure_metrics(kept)
    said = series(text)
    assert series(openmetrics, parse_openmetrics).keys() == said.keys()
    ours = {"meridian_build_info", "meridian_runs", "meridian_events_total", "meridian_events_held_back"}
    own = [key for key in said if key[0] not in ours]
    assert len(own) == sum(4 if kind == "histogram" else 1 for kind, _ in set(names))


def test_a_collector_that_fails_costs_no_other_its_numbers(monkeypatch, records):
    provider = PrometheusMetrics()
    configure_metrics(provider)
    provider.gauge("temperature").set(1.5)
    collector = MeridianCollector()

    def broken(self):
        raise ValueError("canary-77aa")

    monkeypatch.setattr(Reader, "read", broken)
    text, _ = exposed(collector)
    assert series(text) == {("meridian_runtime_temperature",): 1.5}
    (told,) = [each for each in records() if each["event"] == "metrics.collector_failed"]
    assert told["error_type"] == "ValueError"
    assert "canary" not in json.dumps(told)


@pytest.mark.req("X2")
def test_no_name_that_the_policy_hides_is_in_a_scrape():
    secrets = ["jane.roe@corp.example", "4111 1111 1111 1111", "ghp_0123456789abcdefghijABCDEFGHIJ012345"]
    configure_metrics(PrometheusMetrics())
    for secret in secrets:
        metrics.get_metrics().counter("orders_total", {"customer": secret}).inc()
    scheduler = Scheduler()
    pairs = (source([1], name=secret) >> sink(lambda _: 1 // 0, name=f"to {secret}") for secret in secrets)
    scheduler.register(graph("g", *pairs))
    scheduler.run()
    for text in exposed(MeridianCollector(scheduler)):
        for secret in secrets:
            assert secret not in text


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.setitem(sys.modules, "prometheus_client.metrics_core", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'meridian-runtime\[prometheus\]'"):
        MeridianCollector()
    with pytest.raises(MissingExtraError, match="serve_metrics needs prometheus_client"):
        serve_metrics(0)


# ---- the endpoint ----------------------------------------------------------------------------------------------------


def test_the_endpoint_speaks_the_format_that_is_asked_for():
    with serve_metrics(0, scheduler=numbers_run()) as server:
        assert server.url == f"http://127.0.0.1:{server.port}/metrics"
        text, openmetrics = get(server.url), get(server.url, OPENMETRICS)
    assert series(text).keys() == series(openmetrics, parse_openmetrics).keys()
    assert openmetrics.endswith("# EOF\n")


def test_a_scraper_may_ask_for_some_metrics_only():
    with serve_metrics(0, scheduler=numbers_run()) as server:
        said = series(get(f"{server.url}?name[]=meridian_edge_depth&name[]=meridian_node_handled_total"))
    assert {key[0] for key in said} == {"meridian_edge_depth", "meridian_node_handled_total"}


def test_elsewhere_nothing_is_served():
    with serve_metrics(0) as server, pytest.raises(urllib.error.HTTPError, match="404"):
        get(server.url.removesuffix("/metrics") + "/etc/passwd")


def test_a_registry_of_ones_own_is_served_as_it_is():
    with serve_metrics(0, registry=CollectorRegistry()) as server:
        assert get(server.url) == ""
    with pytest.raises(ValueError, match="a scheduler or a registry"):
        serve_metrics(0, scheduler=Scheduler(), registry=CollectorRegistry())


def test_a_port_that_is_taken_is_a_clear_error():
    with (
        serve_metrics(0) as server,
        pytest.raises(
            MetricsServeError, match=rf"no metrics at 127\.0\.0\.1:{server.port}: .*in use; port 0"
        ),
    ):
        serve_metrics(server.port)
    with serve_metrics(server.port):
        pass  # it is free again


@pytest.mark.parametrize("port", [-1, 65536, True, "9100", None])
def test_what_is_no_port_is_refused(port):
    with pytest.raises(ValueError, match="is none"):
        serve_metrics(port)


def test_after_close_nobody_answers_and_closing_again_does_nothing():
    server = serve_metrics(0)
    server.close()
    server.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.host, server.port), timeout=60)


def test_a_scraper_that_says_nothing_keeps_no_other_waiting_and_too_many_are_turned_away():
    with serve_metrics(0) as server:
        silent = [
            socket.create_connection((server.host, server.port), timeout=60) for _ in range(MOST_SCRAPERS - 1)
        ]
        assert "meridian_runs" in get(server.url)
        # That one's thread may not have ended yet: so there is room for one or for none.
        more = [socket.create_connection((server.host, server.port), timeout=60) for _ in range(2)]
        assert more[1].recv(1) == b""
        for each in (*silent, *more):
            each.close()


@pytest.mark.req("V14")
@pytest.mark.usefixtures("engine")
def test_several_scrape_at_once_while_it_runs_and_each_scrape_adds_up():
    stop = threading.Event()

    def numbers():
        n = 0
        while not stop.is_set():
            yield n
            n += 1

    scheduler = Scheduler()
    chain = source(numbers, name="s") >> via(capacity=64, policy=drop()) >> sink(lambda _: None, name="t")
    scheduler.register(graph("g", chain))
    scrapes, failed = [], []

    def scrape(url):
        try:
            scrapes.extend(series(get(url)) for _ in range(10))
        except BaseException as error:
            failed.append(error)

    with serve_metrics(0, scheduler=scheduler) as server:
        scrapers = [threading.Thread(target=scrape, args=[server.url]) for _ in range(4)]
        for each in scrapers:  # from before the run began
            each.start()
        run = threading.Thread(target=scheduler.run)
        run.start()
        for each in scrapers:
            each.join(60)
        stop.set()
        run.join(60)
        scrapes.append(series(get(server.url)))  # and after it has ended
    assert failed == []
    edge = ("edge_id", "s:output->t:input")
    for said in scrapes:
        if ("meridian_edge_depth", edge) in said:
            lost = sum(n for (name, *_), n in said.items() if name == "meridian_edge_lost_total")
            gone = said["meridian_edge_delivered_total", edge] + lost + said["meridian_edge_depth", edge]
            assert said["meridian_edge_accepted_total", edge] == gone
    last, report = scrapes[-1], scheduler.report()
    assert last["meridian_edge_delivered_total", edge] == report.edges[0].delivered
    assert last["meridian_node_state", ("node", "t"), ("state", "stopped")] == 1


def test_a_stuck_loop_is_scraped_all_the_same():
    """The handler keeps the loop until the scrape that it asks another thread for says that it is stuck."""
    said = []

    def endless(n):
        scrape = threading.Thread(target=until_stuck)
        scrape.start()
        scrape.join(60)

    def until_stuck():
        while not said or not said[-1]["meridian_loop_stuck",]:
            said.append(series(get(server.url)))

    scheduler = Scheduler()
    scheduler.register(graph("g", source([1], name="s") >> sink(endless, name="culprit")))
    with serve_metrics(0, scheduler=scheduler) as server:
        scheduler.run()
    assert said[-1]["meridian_loop_silent_seconds",] >= 0.5
    assert said[-1]["meridian_nodes", ("doing", "running")] == 1


# ---- as the environment asks for it ----------------------------------------------------------------------------------


def scraping(urls, records):
    """Return a graph that scrapes the endpoint which the log tells of, and what was said."""
    said = []

    def scrape(_):
        urls.extend(each["url"] for each in records() if each["event"] == "metrics.serving")
        said.append(series(get(urls[-1])))

    return graph("g", source([1], name="s") >> sink(scrape, name="scrape")), said


def test_the_environment_opens_it_during_each_run(monkeypatch, records):
    monkeypatch.setenv("MERIDIAN_METRICS_PORT", "0")
    urls = []
    for _ in range(2):
        made, said = scraping(urls, records)
        scheduler = Scheduler()
        scheduler.register(made)
        scheduler.run()
        assert said[0]["meridian_runs",] == 1
        with pytest.raises(urllib.error.URLError, match="refused"):
            get(urls[-1])


def test_runs_of_one_process_share_it(monkeypatch, records):
    monkeypatch.setenv("MERIDIAN_METRICS_PORT", "0")

    async def main():
        schedulers = [Scheduler(), Scheduler()]
        for scheduler in schedulers:
            scheduler.register(graph("g", Inlet("in") >> sink(lambda _: None, name="out")))
        runs = [asyncio.create_task(scheduler.run_async()) for scheduler in schedulers]
        await asyncio.sleep(0)
        (url,) = [each["url"] for each in records() if each["event"] == "metrics.serving"]
        said = [series(await asyncio.to_thread(get, url))["meridian_runs",]]
        schedulers[0].shutdown()
        await runs[0]
        said.append(series(await asyncio.to_thread(get, url))["meridian_runs",])
        schedulers[1].shutdown()
        await runs[1]
        return said

    assert asyncio.run(main()) == [2, 1]


@pytest.mark.parametrize("port", ["http", "-1", "99999", "taken"])
def test_what_the_environment_asks_for_in_vain_is_logged_and_the_run_goes_on(port, monkeypatch, records):
    with serve_metrics(0) as server:
        monkeypatch.setenv("MERIDIAN_METRICS_PORT", str(server.port) if port == "taken" else port)
        scheduler = numbers_run()
    assert scheduler.report().reason == "finished"
    (told,) = [each for each in records() if each["event"] == "metrics.unavailable"]
    assert told["reason"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_lets_go_of_it():
    program = """
import os, urllib.request
from meridian.observability import configure
from meridian.observability.adapters.prometheus import serve_metrics
configure("ERROR")
server = serve_metrics(0)
child = os.fork()
if child == 0:
    server.close()  # does nothing: it is its parent's
    os._exit(0 if server._listener.socket.fileno() == -1 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert b"meridian_runs" in urllib.request.urlopen(server.url, timeout=60).read()
server.close()
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")


class Scraping(Node):
    """Scrapes while it is started and while it is stopped."""

    def __init__(self, url, said):
        super().__init__("scraping", inputs=[Port("in", PortDirection.INPUT)])
        self._url = url
        self._said = said

    def on_start(self):
        self._said.append(series(get(self._url)))

    on_stop = on_start


@pytest.mark.usefixtures("engine")
def test_a_run_is_scraped_while_it_starts_and_while_it_stops():
    scheduler, said = Scheduler(), []
    with serve_metrics(0, scheduler=scheduler) as server:
        made = Subgraph.from_nodes("g", [source([1], name="s"), Scraping(server.url, said)])
        made.connect(("s", "output"), ("scraping", "in"))
        scheduler.register(made)
        scheduler.run()
    starting, stopping = said
    assert starting["meridian_node_handled_total", ("node", "scraping")] == 0
    assert stopping["meridian_node_handled_total", ("node", "scraping")] == 1
    assert stopping["meridian_node_state", ("node", "scraping"), ("state", "started")] == 1


@pytest.mark.req("N3")
def test_the_cpus_that_the_process_may_use_are_told():
    found = detect()
    said = series(exposed(MeridianCollector(numbers_run()))[0])
    assert said["meridian_runtime_cpu_visible",] == found.visible
    assert said["meridian_runtime_cpu_affinity_count",] == (found.affinity_count or found.visible)
    assert said.get(("meridian_runtime_cpu_quota",)) == found.quota
