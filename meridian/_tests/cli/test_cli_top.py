"""`meridian top` without pictures: once as tables or JSON, and what it says where it can't do what was asked."""

import json
import os
import signal
import socket
import sys

import pytest

from meridian.cli.codes import Code
from meridian.introspect import Snapshot

pytestmark = [
    pytest.mark.req("N6", "N1.3"),
    pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no unix sockets"),
]

SLOW = """
import asyncio
from itertools import count
from meridian import drop, graph, node, sink, source, via

@node
def parse(n: int) -> int:
    if n == 3:
        raise ValueError("sk-live-canary-0123456789")
    return n

async def never(row):
    print("full", flush=True)
    await asyncio.Event().wait()

def build():
    return graph("slow", source(count(), name="read") >> parse >> via(capacity=8) >> sink(never, name="write"))
"""


SMELLY = """
import time
from meridian import graph, sink, source

async def write(row):
    time.sleep(1)

def build():
    return graph("smelly", source(range(3), name="read") >> sink(write, name="write"))
"""


@pytest.fixture
def slow(folder, write, process, monkeypatch):
    """A process whose consumer takes one message and no other."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    write("slow.py", SLOW)
    started = process("run", "--inspect", "--quiet", "slow.py", env={"XDG_RUNTIME_DIR": str(folder)})
    assert started.stdout.readline() == "full\n"
    return started


def test_once_names_nodes_and_edges_and_where_they_wait(slow, meridian):
    said = meridian("top", "--once", "--pid", str(slow.pid), "--interval", "0.1")
    assert said.exit_code == 0, said.output
    head, *said = said.stdout.splitlines()
    nodes, *rest = said[said.index("") + 1 :]  # findings come first, if it has been slow for long enough
    assert head.startswith(f"pid {slow.pid} · run {slow.pid}-1 · running ")
    assert nodes.split()[:2] == ["Node", "Doing"]
    assert rest[1].split()[:3] == ["parse", "■", "blocked"]
    assert rest[1].split()[-1] == "parse:output->write:input"
    assert any(line.split()[:3] == ["parse:output->write:input", "████████", "8/8"] for line in rest)


def test_once_as_json_has_snapshots_findings_and_events(slow, meridian):
    said = meridian("top", "--json", "--interval", "0.1")  # the only process there is
    assert said.exit_code == 0, said.output
    told = json.loads(said.stdout)
    (shot,) = map(Snapshot.from_dict, told["snapshots"])
    assert (told["pid"], told["events_missed"]) == (slow.pid, 0)
    assert shot.node("parse").waits_for == "parse:output->write:input"
    assert shot.window_s is not None
    assert {finding["run"] for finding in told["findings"]} <= {shot.run}
    assert [event["kind"] for event in told["events"]] == ["run.started", "node.error"]


@pytest.mark.req("X2")
def test_once_shows_no_payload(slow, meridian):
    for options in ((), ("--json",)):
        said = meridian("top", "--once", *options, "--interval", "0.1")
        assert "canary" not in said.output


def test_lints_of_a_graph_are_told_beside_the_findings(slow, write, meridian):
    write("smelly.py", SMELLY)
    said = meridian("top", "--json", "--interval", "0.1", "--lint", "smelly.py")
    assert [(each["rule"], each["node"]) for each in json.loads(said.stdout)["lints"]] == [
        ("blocking-call", "write")
    ]
    said = meridian("top", "--once", "--interval", "0.1", "--lint", "smelly.py")
    assert "[blocking-call] " in said.stdout


def test_a_graph_that_can_not_be_loaded_is_said_before_anybody_looks(meridian):
    said = meridian("top", "--once", "--lint", "nowhere.py")
    assert said.exit_code == Code.USAGE
    assert "nowhere.py" in said.stderr


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system can't stop processes")
def test_a_stopped_process_is_said_to_be_stopped(slow, meridian, monkeypatch):
    monkeypatch.setattr("meridian.cli.process.PATIENCE_S", 0.2)
    os.kill(slow.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, slow.pid, os.WSTOPPED)
    said = meridian("top", "--json")
    told = json.loads(said.stdout)
    assert (said.exit_code, told["snapshots"]) == (Code.FAILED, [])
    assert [(each["run"], each["rule"]) for each in told["findings"]] == [(None, "process-stopped")]
    assert f"it is stopped (kill -CONT {slow.pid} lets it go on)" in told["error"]
    said = meridian("top", "--once")
    assert said.exit_code == Code.FAILED
    assert said.stdout.startswith(
        f"error [process-stopped] process {slow.pid} is stopped: nothing in it moves\n  why: "
    )
    assert f"fix: let it go on: kill -CONT {slow.pid}" in said.stdout


def test_without_a_process_it_is_said_how_to_start_one(folder, meridian, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    said = meridian("top", "--once")
    assert said.exit_code == Code.USAGE
    assert "meridian run --inspect TARGET" in said.stderr


def test_without_a_terminal_it_is_said_what_to_use_instead(meridian):
    said = meridian("top")
    assert said.exit_code == Code.USAGE
    assert "meridian top --once writes tables" in said.stderr


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_can_not_show_pictures_is_refused(meridian, monkeypatch, term):
    # CliRunner puts its own streams in place of these, so they are asked as the command asks them.
    monkeypatch.setattr("meridian.cli.top.is_terminal", lambda: True)
    monkeypatch.setenv("TERM", term)
    said = meridian("top")
    assert said.exit_code == Code.USAGE
    assert "use meridian top --once" in said.stderr


def test_without_textual_it_is_said_what_to_install(meridian, monkeypatch):
    monkeypatch.setattr("meridian.cli.top.is_terminal", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    for name in [name for name in sys.modules if name.startswith(("textual.", "meridian.inspect."))]:
        monkeypatch.delitem(sys.modules, name)  # as in a process in which nobody imported them yet
    monkeypatch.setitem(sys.modules, "textual", None)
    said = meridian("top")
    assert said.exit_code == Code.MISSING
    assert "pip install 'meridian-runtime[tui]'" in said.stderr


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "0.01"])
def test_an_interval_that_is_none_is_refused(meridian, seconds):
    said = meridian("top", "--interval", seconds)
    assert said.exit_code == Code.USAGE
    assert "between 0.1 and 3600" in " ".join(said.output.replace("│", " ").split())
