"""``meridian run``: what it prints where, and what it returns."""

import json
import socket
import sys

import pytest

import meridian as package

pytestmark = pytest.mark.req("N1.4")

FAILING = """
import sys
from meridian import Node, Scheduler, SchedulerConfig, graph, node, sink, source
from meridian.core.policies import ErrorPolicy

@node(on_error=ErrorPolicy.RAISE_EXCEPTION)
def strict(x: int) -> None:
    raise ValueError("canary")

@node
def lenient(x: int) -> None:
    raise ValueError("canary")

def raising(): return graph("raising", source(range(3)) >> strict)
def recording(): return graph("recording", source(range(3)) >> lenient)
def leaving(): return graph("leaving", source(range(3)) >> sink(sys.exit))

def invalid():
    made = graph("invalid", source(range(3)) >> sink(print))
    made.edges[0].source_node = "nobody"
    return made

def misconfigured():
    scheduler = Scheduler(SchedulerConfig(max_batch_per_node=0))
    scheduler.register(recording())
    return scheduler

class Broken(Node):
    def on_start(self):
        raise OSError("canary")

def unstarted():
    made = graph("unstarted", source(range(3)) >> sink(print))
    made.add_node(Broken("broken"))
    return made
"""


def test_what_the_graph_prints_is_all_of_stdout(write, meridian):
    write("app.py")
    ran = meridian("run", "app.py:build")
    assert (ran.exit_code, ran.stdout) == (0, "0\n2\n4\n")


@pytest.mark.req("N2.2")
def test_the_report_goes_to_stderr_as_plain_aligned_lines(write, meridian, monkeypatch):
    monkeypatch.setenv("MERIDIAN_ENGINE", "python")
    write("app.py")
    lines = meridian("run", "app.py").stderr.splitlines()
    assert lines[0].startswith("finished after ")
    assert lines[0].endswith(" s on engine python (MERIDIAN_ENGINE=python): sources exhausted, edges drained")
    edge = next(line for line in lines if line.startswith("double:output->print:input"))
    assert edge.split()[1:5] == ["block", "1,024", "3", "3"]
    assert not any(line != line.rstrip() or "\x1b" in line for line in lines)


def test_json_is_one_object_and_the_graphs_prints_go_to_stderr(write, meridian):
    write("app.py")
    ran = meridian("run", "app.py", "--json")
    report = json.loads(ran.stdout)
    assert ran.stdout.count("\n") == 1
    assert (report["target"], report["version"], report["reason"]) == (
        "app.py",
        package.__version__,
        "finished",
    )
    assert {edge["id"]: edge["delivered"] for edge in report["edges"]} == {
        "source:output->double:input": 3,
        "double:output->print:input": 3,
    }
    assert ran.stderr == "0\n2\n4\n"


def test_the_json_object_is_the_report_with_target_and_version(write, meridian):
    from meridian.runtime.report import RunReport

    write("app.py")
    report = json.loads(meridian("run", "app.py", "--json").stdout)
    assert set(report) == {"target", "version", *RunReport.__dataclass_fields__}


def test_quiet_says_nothing(write, meridian):
    write("app.py")
    ran = meridian("run", "app.py", "--quiet")
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "0\n2\n4\n", "")


def test_arguments_after_two_dashes_are_the_targets_argv(write, meridian):
    write("app.py", "import sys\nfrom meridian import graph, sink, source\ndef build():\n"
          "    return graph('argv', source(sys.argv) >> sink(print))\n")  # fmt: skip
    ran = meridian("run", "app.py", "--quiet", "--", "--json", "x")
    assert ran.stdout == "app.py\n--json\nx\n"


def test_a_failing_node_that_stops_the_run_is_named_without_its_payload(write, meridian):
    write("app.py", FAILING)
    ran = meridian("run", "app.py:raising", "--json")
    report = json.loads(ran.stdout)
    assert (ran.exit_code, report["reason"]) == (1, "failed")
    assert report["error"].startswith("node 'strict' failed in on_message with ValueError (app.py:")
    assert "canary" not in ran.output


def test_errors_that_the_policy_lets_pass_are_reported_and_the_run_is_fine(write, meridian):
    write("app.py", FAILING)
    ran = meridian("run", "app.py:recording")
    assert ran.exit_code == 0
    assert "\n3 errors\n" in ran.stderr
    assert "canary" not in ran.output


def test_a_node_that_cannot_start_fails_the_run(write, meridian):
    write("app.py", FAILING)
    ran = meridian("run", "app.py:unstarted", "--json")
    assert ran.exit_code == 1
    assert {node["name"]: node["state"] for node in json.loads(ran.stdout)["nodes"]}["broken"] == "failed"


def test_an_invalid_graph_is_refused_with_every_issue(write, meridian):
    write("app.py", FAILING)
    ran = meridian("run", "app.py:invalid", "--json")
    said = json.loads(ran.stdout)
    assert ran.exit_code == 1
    assert [(issue["level"], issue["code"]) for issue in said["issues"]] == [("error", "UNKNOWN_NODE")]
    assert "UNKNOWN_NODE" in ran.stderr


def test_a_configuration_that_cannot_be_used_fails_the_run_in_words(write, meridian):
    write("app.py", FAILING)
    ran = meridian("run", "app.py:misconfigured")
    assert ran.exit_code == 1
    assert ran.stderr.endswith("Error: max_batch_per_node=0: a whole number of at least 1\n")


def test_a_node_that_exits_ends_the_run_as_failed(write, meridian):
    write("app.py", FAILING)
    ran = meridian("run", "app.py:leaving", "--quiet")
    assert (ran.exit_code, ran.stderr) == (1, "Error: a node called sys.exit(0), which ended the run\n")


def test_a_timeout_is_a_request_to_stop(write, meridian):
    write("app.py", "import itertools\nfrom meridian import graph, sink, source\n"
          "def build():\n    return graph('endless', source(itertools.count()) >> sink(str))\n")  # fmt: skip
    ran = meridian("run", "app.py", "--timeout-s", "0", "--json")
    report = json.loads(ran.stdout)
    assert (ran.exit_code, report["reason"], report["left"]) == (0, "shutdown", {})


def test_an_idle_run_stops_after_the_idle_timeout(write, meridian):
    write("app.py", "import asyncio\nfrom meridian import graph, sink, source\n"
          "async def silent():\n    await asyncio.Event().wait()\n    yield 1\n"
          "def build():\n    return graph('idle', source(silent) >> sink(str))\n")  # fmt: skip
    ran = meridian("run", "app.py", "--idle-timeout-s", "0", "--shutdown-timeout-s", "0", "--json")
    assert (ran.exit_code, json.loads(ran.stdout)["reason"]) == (0, "idle")


@pytest.mark.parametrize("option", ["--timeout-s", "--idle-timeout-s", "--shutdown-timeout-s"])
@pytest.mark.parametrize("value", ["-1", "nan", "inf", "soon"])
def test_seconds_that_are_none_are_a_usage_error(write, meridian, option, value):
    write("app.py")
    ran = meridian("run", "app.py", option, value)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert option in ran.stderr


def test_warnings_are_logged_and_more_only_when_asked(write, meridian):
    write("app.py")
    assert "scheduler.start" not in meridian("run", "app.py").stderr
    assert '"event":"scheduler.start"' in meridian("run", "app.py", "--log-level", "info").stderr


def test_the_targets_own_log_configuration_wins_unless_the_option_is_given(write, meridian):
    write("app.py", "from meridian.observability import configure\nfrom meridian import graph, sink, source\n"
          "configure('INFO')\ndef build():\n    return graph('loud', source([1]) >> sink(str))\n")  # fmt: skip
    assert '"event":"scheduler.start"' in meridian("run", "app.py").stderr
    assert "scheduler.start" not in meridian("run", "app.py", "--log-level", "ERROR").stderr


def test_a_wrong_engine_name_is_a_usage_error(write, meridian, monkeypatch):
    write("app.py")
    monkeypatch.setenv("MERIDIAN_ENGINE", "quick")
    ran = meridian("run", "app.py")
    assert ran.exit_code == 2
    assert ran.stderr.endswith("Error: MERIDIAN_ENGINE='quick': use auto, python or rust\n")


def test_a_large_report_is_cut_and_says_so(write, meridian):
    write("app.py", "from meridian import graph, sink, source\n"
          "def build():\n    return graph('wide', *(source([i], name=f's{i}') >> sink(str, name=f'n{i}') for i in range(250)))\n")  # fmt: skip
    said = meridian("run", "app.py").stderr
    assert "\nand 50 more edges: --json lists them all\n" in said
    assert "\nand 300 more nodes: --json lists them all\n" in said


METERED = """
import re, sys, time, urllib.request
from pathlib import Path
from meridian import graph, sink, source

def scrape(_):
    told = Path("stderr.txt")
    while not (found := re.search(r"metrics at (http://127[.]0[.]0[.]1:[0-9]+/metrics)\\n", told.read_text())):
        time.sleep(0.01)
    text = urllib.request.urlopen(found[1], timeout=60).read().decode()
    print([line for line in text.splitlines() if line.startswith("meridian_node_produced_total")])

def build():
    return graph("demo", source([1], name="once") >> sink(scrape, name="scrape"))
"""


@pytest.mark.req("N7")
@pytest.mark.parametrize("more", [(), ("--quiet",)])
def test_metrics_are_served_during_a_run_and_a_picked_port_is_told(folder, process, more):
    (folder / "metered.py").write_text(METERED)
    with open(folder / "stderr.txt", "w") as told:
        ran = process("run", "metered.py", "--metrics-port", "0", *more, stderr=told)
        out, _ = ran.communicate(timeout=60)
    assert ran.returncode == 0
    assert 'meridian_node_produced_total{node="once"} 1.0' in out


@pytest.mark.req("N7")
def test_a_port_for_metrics_that_is_taken_fails_the_command_before_anything_runs(folder, meridian):
    (folder / "metered.py").write_text(METERED)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = meridian("run", "metered.py", "--metrics-port", str(taken.getsockname()[1]))
    assert ran.exit_code == 1
    assert "in use; port 0 picks one that is free" in ran.stderr
    assert meridian("run", "metered.py", "--metrics-port", "65536").exit_code == 2


@pytest.mark.req("N7")
def test_metrics_without_the_extra_say_what_to_install(folder, meridian, monkeypatch):
    (folder / "metered.py").write_text(METERED)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    ran = meridian("run", "metered.py", "--metrics-port", "0")
    assert ran.exit_code == 3
    assert "pip install 'meridian-runtime[prometheus]'" in ran.stderr
