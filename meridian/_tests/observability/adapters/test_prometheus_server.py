"""A real Prometheus scrapes a graph that runs, and says what the graph says."""

import json
import os
import re
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request

import pytest

from meridian import Scheduler, drop, graph, node, sink, source, via
from meridian.core.function import Inlet
from meridian.observability import PrometheusMetrics, configure_metrics
from meridian.observability.adapters.prometheus import grafana_dashboard, serve_metrics

pytestmark = pytest.mark.req("N7", "X1")

PATIENCE_S = 60


def installed(program):
    """Return the path of a program from the Debian package prometheus, which CI has."""
    path = shutil.which(program)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(f"{program} is not installed")
        pytest.skip(f"{program} is not installed: apt-get install prometheus")
    return path


class Prometheus:
    """A server with one target."""

    def __init__(self, folder, target):
        config = folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 500ms, scrape_timeout: 500ms}\n"
            f"scrape_configs: [{{job_name: meridian, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        self.process = subprocess.Popen(
            [installed("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
             "--web.listen-address=127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.log = []
        self.url = ""
        ready = False
        for line in self.process.stdout:
            self.log.append(line)
            if listening := re.search(r'msg="Listening on" address=(\S+)', line):
                self.url = f"http://{listening[1]}"
            ready = ready or "ready to receive web requests" in line
            if ready and self.url:  # two of its threads say so, in any order
                break
        else:
            raise AssertionError("".join(self.log))
        # Its log is read on, so that it never waits for us.
        self.reader = threading.Thread(target=lambda: self.log.extend(self.process.stdout))
        self.reader.start()

    def ask(self, what, **query):
        with urllib.request.urlopen(
            f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(query)}", timeout=PATIENCE_S
        ) as answer:
            return json.load(answer)["data"]

    def values(self, expression):
        """Return the values of an instant query, by labels."""
        return {
            tuple(sorted((k, v) for k, v in each["metric"].items() if k not in ("__name__", "instance", "job"))):
                float(each["value"][1])
            for each in self.ask("query", query=expression)["result"]
        }  # fmt: skip

    def until(self, expression, right):
        """Ask until the answer is right: only scrapes bring it about, and nothing tells of one."""
        until_s = time.monotonic() + PATIENCE_S
        while not right(values := self.values(expression)):
            assert time.monotonic() < until_s, (expression, values, "".join(self.log[-20:]))
            time.sleep(0.05)
        return values

    def close(self):
        self.process.terminate()
        self.reader.join(PATIENCE_S)
        self.process.communicate(timeout=PATIENCE_S)


@pytest.fixture
def running():
    """Return a scheduler whose run has handled 1,000 messages, lost some, and waits."""
    configure_metrics(PrometheusMetrics())
    done = threading.Event()

    @node
    def check(n: int) -> int:
        if n % 100 == 0:
            raise ValueError("canary-0042")
        return n

    inlet, scheduler = Inlet("more"), Scheduler()
    made = graph(
        "g",
        source(range(1_000), name="s")
        >> check
        >> via(capacity=8, policy=drop())
        >> sink(lambda _: None, name="t"),
        inlet >> sink(lambda _: done.set(), name="u"),
    )
    scheduler.register(made)
    run = threading.Thread(target=scheduler.run)
    run.start()
    until_s = time.monotonic() + PATIENCE_S
    while not inlet.try_put(1):
        assert time.monotonic() < until_s
    assert done.wait(PATIENCE_S)
    yield scheduler
    scheduler.shutdown()
    run.join(PATIENCE_S)


def test_a_real_server_scrapes_a_graph_that_runs(running, tmp_path):
    with serve_metrics(0, scheduler=running) as endpoint:
        server = Prometheus(tmp_path, f"127.0.0.1:{endpoint.port}")
        try:
            handled = server.until(
                "meridian_node_handled_total", lambda said: said.get((("node", "check"),)) == 1_000
            )
            report = running.report()
            assert handled[("node", "u"),] == 1
            assert server.values("meridian_node_errors_total")[("node", "check"),] == 10
            assert server.values("meridian_runs") == {(): 1}
            for edge in report.edges:
                label = (("edge_id", edge.id),)
                assert server.values("meridian_edge_accepted_total")[label] == edge.accepted
                assert server.values("meridian_edge_capacity")[label] == edge.capacity
            # Within one scrape, every edge adds up: of all scrapes so far, none doesn't.
            off = server.until(
                "max_over_time((meridian_edge_accepted_total - meridian_edge_delivered_total - meridian_edge_merged_total"
                " - meridian_edge_depth - (sum by (edge_id, instance, job) (meridian_edge_lost_total) or"
                " 0 * meridian_edge_depth))[1m:500ms])",
                lambda said: len(said) == len(report.edges),
            )
            assert set(off.values()) == {0}
            # v1's names, from the program's own metrics.
            old = server.values("meridian_runtime_edge_enqueued_total")
            assert old[("edge_id", report.edges[0].id),] == 1_000
            # Every question of the dashboard is one that the server understands.
            panels = json.loads(grafana_dashboard())["panels"]
            for target in (target for panel in panels for target in panel.get("targets", ())):
                asked = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
                assert server.ask("query", query=asked)["resultType"] == "vector"
            fill = server.values("max by (edge_id) (meridian_edge_depth / meridian_edge_capacity)")
            assert len(fill) == len(report.edges)
            described = server.ask("metadata", metric="meridian_node_time_seconds")
            (about,) = described["meridian_node_time_seconds"]
            assert (about["type"], about["unit"]) == ("counter", "seconds")
            (target,) = server.ask("targets")["activeTargets"]
            assert (target["health"], target["lastError"]) == ("up", "")
        finally:
            server.close()
    assert "level=error" not in "".join(server.log)
    assert "canary" not in "".join(server.log)


def test_promtool_finds_nothing_but_the_name_that_the_requirements_fix(running):
    with serve_metrics(0, scheduler=running) as endpoint, urllib.request.urlopen(endpoint.url) as answer:
        text = answer.read()
    ran = subprocess.run(
        [installed("promtool"), "check", "metrics"],
        input=text,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    found = {line.split(" ", 1)[0] for line in (ran.stdout + ran.stderr).decode().splitlines()}
    assert found == {"meridian_runtime_cpu_affinity_count", "meridian_runtime_runtime_cpu_affinity_count"}
