"""What is in a bundle, what is missing from it, and that equal states make equal bundles."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager

import jsonschema
import pytest

from meridian import Scheduler, graph, sink, source
from meridian._tests.introspect.in_a_thread import PATIENT_S, running
from meridian.diagnostics import Request, collect, gather, read_bundle
from meridian.diagnostics.manifest import CATALOGUE, MANIFEST
from meridian.diagnostics.schema import manifest_schema
from meridian.introspect import Snapshot, serve
from meridian.introspect.schema import snapshot_schema
from meridian.observability.events import get_events
from meridian.redaction import Exposed, Policy, expose, install

pytestmark = [
    pytest.mark.req("N1", "N1.1"),
    pytest.mark.skipif(sys.platform != "linux", reason="sockets and /proc as Linux has them"),
]

NOW_S = 1_795_975_200.0  # 2026-11-29T18:00:00Z

APP = """
from meridian import drop, graph, node, sink, source, via

print("a target may print")

@node
def double(x: int) -> int:
    return 2 * x

def build():
    return graph("demo", source(range(3)) >> double >> via(policy=drop(), capacity=5) >> sink(print, name="out"))

def broken():
    made = build()
    made.edges[0].source_node = "nobody"
    return made
"""


def bundle(**request):
    """Collect without waiting for anything but answers, and check what every bundle must be."""
    request.setdefault("timeout_s", PATIENT_S)
    told = []
    made = collect(
        Request(**request),
        tell=lambda name, reason: told.append((name, reason)),
        wall_s=lambda: NOW_S,
        wait=lambda _: None,
    )
    opened = read_bundle(made.content)
    assert opened.manifest == made.manifest
    jsonschema.validate(opened.data(MANIFEST), manifest_schema())
    there = [each.name for each in made.manifest.members]
    missing = [each.name for each in made.manifest.missing]
    assert sorted(there + missing) == [kind.name for kind in CATALOGUE]
    assert sorted(name for name, _ in told) == sorted(there + missing)
    return opened


def why(opened, name):
    return next(each for each in opened.manifest.missing if each.name == name)


# ---- no process ------------------------------------------------------------------------------------------------------


def test_of_nothing_at_all_it_says_what_there_is_to_run_on():
    opened = bundle()
    assert [each.name for each in opened.manifest.members] == ["configuration.json", "environment.json"]
    assert opened.manifest.made_at == "2026-11-29T18:00:00Z"
    said = opened.data("environment.json")
    assert said["python"]["version"] == ".".join(map(str, sys.version_info[:3]))
    assert said["cpu"]["visible"] >= 1
    assert "pytest" in {each["name"] for each in said["packages"]}
    assert [each["name"] for each in said["packages"]] == sorted(
        (each["name"] for each in said["packages"]), key=str.lower
    )
    assert (why(opened, "snapshots.json").reason, why(opened, "snapshots.json").failed) == (
        "no process was named",
        False,
    )


def test_of_a_target_it_has_the_topology_and_what_is_wrong_with_it(folder):
    (folder / "app.py").write_text(APP)
    opened = bundle(target="app.py")
    said = opened.data("issues.json")
    assert (said["valid"], said["issues"]) == (True, [])
    (declared,) = opened.data("topology.json")["graphs"]
    assert (declared["of"], declared["run"]) == ("target", None)
    assert declared["nodes"] == [
        {"name": "source", "type": "source"},
        {"name": "double", "type": "function"},
        {"name": "out", "type": "function"},
    ]
    assert declared["edges"][1] == {
        "id": "double:output->out:input",
        "source": "double",
        "source_port": "output",
        "target": "out",
        "target_port": "input",
        "policy": "drop",
        "capacity": 5,
        "band": None,
        "max_bytes": None,
        "max_age_s": None,
    }
    assert opened.data("configuration.json")["target"]["name"] == "app.py"


def test_of_a_target_that_is_not_valid_it_has_the_issues(folder):
    (folder / "app.py").write_text(APP)
    opened = bundle(target="app.py:broken")
    said = opened.data("issues.json")
    assert said["valid"] is False
    assert said["issues"][0]["rule"] == "UNKNOWN_NODE"
    assert "issues.json" in why(opened, "topology.json").reason


def test_of_a_target_it_has_what_lint_finds_as_the_project_wants_it(folder):
    (folder / "app.py").write_text(
        "import time\nfrom meridian import graph, sink, source\n"
        "async def slow(item):\n    time.sleep(1)\n"
        "def build():\n    return graph('g', source(range(3)) >> sink(slow, name='slow'))\n"
    )
    (smell,) = bundle(target="app.py").data("issues.json")["smells"]
    assert (smell["rule"], smell["node"], smell["file"], smell["line"]) == (
        "blocking-call", "slow", "app.py", 4,
    )  # fmt: skip
    (folder / "pyproject.toml").write_text('[tool.meridian.lint]\nignore = ["blocking-call"]\n')
    assert bundle(target="app.py").data("issues.json")["smells"] == []
    (folder / "pyproject.toml").write_text("[tool.meridian.lint]\nignore = 3\n")
    assert len(bundle(target="app.py").data("issues.json")["smells"]) == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ValueError('hunter2 is my password')", "importing 'app.py' raised ValueError"),
        ("import sys; sys.exit(3)", "called sys.exit"),
        ("import os; os._exit(7)", "its process ended with exit code 7 before the graph was there"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended with signal 9"),
        ("def build(): return None", "build"),
    ],
    ids=["raises", "exits", "exits hard", "is killed", "returns nothing"],
)
def test_a_target_that_can_not_be_loaded_is_a_missing_part_with_the_reason(folder, code, reason):
    (folder / "app.py").write_text(code)
    opened = bundle(target="app.py")
    for name in ("issues.json", "topology.json"):
        assert why(opened, name).failed is True
        assert reason in why(opened, name).reason
        assert "hunter2" not in why(opened, name).reason


def test_a_target_that_never_ends_loading_is_given_up(folder):
    (folder / "app.py").write_text("import threading; threading.Event().wait()")
    opened = bundle(target="app.py", timeout_s=0.2)
    assert why(opened, "issues.json").reason == "loading it took longer than 0.2 s"


def test_a_target_gets_its_arguments(folder):
    (folder / "app.py").write_text(
        "import sys\nfrom meridian import graph, sink, source\n"
        "def build(): return graph('g', source(range(1), name=sys.argv[1]) >> sink(print))"
    )
    opened = bundle(target="app.py", args=["chosen"])
    assert opened.data("topology.json")["graphs"][0]["nodes"][0]["name"] == "chosen"


def test_configuration_is_told_by_checksum_and_never_by_content(folder):
    (folder / "pyproject.toml").write_text("[tool.x]\nsecret = 'hunter2'\n")
    (folder / ".env").write_text("PASSWORD=hunter2")
    inner = folder / "src"
    inner.mkdir()
    os.chdir(inner)
    opened = bundle()
    said = opened.data("configuration.json")
    assert [(each["name"], each["size"]) for each in said["files"]] == [("pyproject.toml", 28)]
    assert re.fullmatch(r"[0-9a-f]{64}", said["files"][0]["sha256"])
    assert b"hunter2" not in opened.member("configuration.json")


# ---- a process -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
def test_of_a_run_it_has_two_looks_the_topology_events_logs_and_metrics(engine):
    with serve() as server, running(feed=range(3)):
        opened = bundle(process=server.path)
    (pair,) = opened.data("snapshots.json")["runs"]
    jsonschema.validate(pair["before"], snapshot_schema())
    jsonschema.validate(pair["now"], snapshot_schema())
    before, now = Snapshot.from_dict(pair["before"]), Snapshot.from_dict(pair["now"])
    assert (before.window_s, now.node("out").handled) == (None, 3)
    assert now.window_s > 0
    (declared,) = opened.data("topology.json")["graphs"]
    assert (declared["of"], declared["run"]) == ("process", now.run)
    assert [each["name"] for each in declared["nodes"]] == [each.name for each in now.nodes]
    assert declared["edges"][0]["capacity"] == 4
    assert opened.data("events.json")["events"][-1]["kind"] == "run.started"
    assert "scheduler.ready" in {each["event"] for each in opened.data("logs.json")["records"]}
    lines = opened.member("metrics.prom").decode().splitlines()
    assert 'meridian_node_handled_total{node="out"} 3' in lines
    assert f'meridian_edge_capacity{{edge_id="{now.edges[0].id}"}} 4' in lines
    said = opened.data("runtime.json")
    assert (said["pid"], said["answered"], said["runs"]) == (os.getpid(), True, [now.run])
    assert (said["socket"], said["same_interpreter"]) == ("default", True)
    assert opened.data("environment.json")["variables_of"] == "process"


def test_a_process_without_a_run_has_no_snapshots_to_show():
    with serve() as server:
        opened = bundle(process=server.path)
    assert opened.data("snapshots.json") == {"runs": []}
    assert why(opened, "topology.json").reason == "no run is under way"
    assert why(opened, "metrics.prom").failed is False


def test_a_run_that_ends_between_the_looks_was_seen_once():
    with serve() as server:
        block = running()
        block.__enter__()
        made = collect(
            Request(process=server.path, timeout_s=PATIENT_S),
            wait=lambda _: block.__exit__(None, None, None),
        )
    (pair,) = read_bundle(made.content).data("snapshots.json")["runs"]
    assert (pair["before"], pair["now"]["status"]) == (None, "running")


def test_findings_say_what_is_the_matter_and_what_was_in_the_course_of_the_run():
    def fail(_):
        raise ValueError("hunter2")

    with serve() as server, running(fail, feed=range(4)):
        opened = bundle(process=server.path)
    found = opened.data("findings.json")["findings"]
    assert [(each["over"], each["node"]) for each in found] == [("run", "out")]
    assert found[0]["rule"] in ("node-errors", "error-storm")


@pytest.mark.req("N1.2")
def test_the_manifest_says_which_policy_it_was_made_with_and_what_that_lets_out():
    before = install(Policy("support", (), (Exposed("reprs", "a test"),)))
    try:
        opened = bundle()
    finally:
        install(before)
    assert (opened.manifest.policy, opened.manifest.exposes) == ("support", ("reprs",))


def test_several_runs_are_kept_apart():
    with serve() as server, running(name="one"), running(name="two"):
        opened = bundle(process=server.path)
    assert len(opened.data("snapshots.json")["runs"]) == 2
    assert [each["nodes"][1]["name"] for each in opened.data("topology.json")["graphs"]] == ["one", "two"]
    lines = opened.member("metrics.prom").decode().splitlines()
    assert 'meridian_node_handled_total{node="two",series="2"} 0' in lines


def test_a_process_and_a_target_stand_beside_each_other(folder):
    (folder / "app.py").write_text(APP)
    with serve() as server, running():
        opened = bundle(process=server.path, target="app.py")
    assert [each["of"] for each in opened.data("topology.json")["graphs"]] == ["process", "target"]


def test_what_a_process_was_told_to_show_of_errors_stays_hidden():
    def fail(_):
        raise ValueError("the customer is Jane Doe")

    with expose(error_messages=True), serve() as server, running(fail, feed=range(1)):
        opened = bundle(process=server.path)
    (pair,) = opened.data("snapshots.json")["runs"]
    assert pair["now"]["errors"][0]["message"] == "[redacted]"
    assert pair["now"]["nodes"][1]["last_error"]["message"] == "[redacted]"
    said = [each for each in opened.data("events.json")["events"] if each["kind"] == "node.error"]
    assert said[-1]["message"] == "[redacted]"
    assert not any(b"Jane" in opened.member(each.name) for each in opened.manifest.members)
    assert opened.manifest.scrubbed["error_message"] >= 3


STOPPED = """
import sys
from meridian import Scheduler, graph, sink
from meridian.core.function import Inlet
scheduler = Scheduler(inspect=True)
inlet = Inlet("in")
scheduler.register(graph("g", inlet >> sink(print, name="out")))
scheduler.run()
"""


def test_a_stopped_process_is_told_by_what_the_system_knows(folder):
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED, "--secret=hunter2"],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as started:  # fmt: skip
        try:
            for text in started.stderr:
                if "scheduler.ready" in text:
                    break
            started.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, started.pid, os.WSTOPPED | os.WNOWAIT)
            opened = bundle(process=started.pid, timeout_s=0.5)
        finally:
            started.kill()
            started.stderr.close()
    (found,) = opened.data("findings.json")["findings"]
    assert (found["rule"], found["run"], found["over"]) == ("process-stopped", None, None)
    said = opened.data("runtime.json")
    assert (said["answered"], said["state"], said["runs"]) == (False, "stopped", [])
    assert said["command"] == ["python", "-c", "<argument>", "--secret=<argument>"]
    assert said["memory_bytes"] > 0
    for name in ("snapshots.json", "events.json", "logs.json", "metrics.prom", "topology.json"):
        assert "it is stopped" in why(opened, name).reason
        assert why(opened, name).failed is True


def test_a_process_that_is_named_by_its_socket_is_about_the_folder_it_runs_in(folder, tmp_path):
    (folder / "setup.cfg").write_text("x")
    with serve() as server:
        os.chdir(tmp_path)
        mine = bundle(process=server.path)
        os.chdir(folder)
        own = bundle(process=server.path)
    assert mine.data("configuration.json")["files"] == []
    assert [each["name"] for each in own.data("configuration.json")["files"]] == ["setup.cfg"]


def test_a_process_that_knows_nothing_of_logs_is_there_all_the_same(tmp_path):
    with impostor(tmp_path / "s", HELLO, {"ok": True, "runs": []}, {"ok": True, "runs": []},
                  {"ok": False, "message": "ask for something else"}):  # fmt: skip
        opened = bundle(process=tmp_path / "s")
    assert why(opened, "events.json").failed is True
    assert opened.data("findings.json") == {"findings": []}
    assert opened.data("runtime.json")["answered"] is True
    assert why(opened, "metrics.prom").reason == "no run is under way"


HELLO = {
    "ok": True, "protocol": 1, "meridian": "2.0.0", "schema_version": "1.0",
    "pid": os.getpid(), "runs": ["1-1"], "shed": 0,
}  # fmt: skip


@contextmanager
def impostor(place, *answers):
    """Something that answers with this, and then with nothing any more; yields what it was asked."""
    asked = []

    def play():
        connection, _ = listening.accept()
        with connection:
            for answer in answers:
                asked.append(json.loads(connection.recv(4096))["op"])
                connection.sendall(json.dumps(answer).encode() + b"\n")
            while said := connection.recv(4096):
                asked.append(json.loads(said)["op"])

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        listening.listen()
        thread = threading.Thread(target=play)
        thread.start()
        yield asked
        thread.join(PATIENT_S)


def test_a_process_that_falls_silent_on_the_way_is_asked_once_and_told_by_what_it_said(tmp_path):
    with impostor(tmp_path / "s", HELLO) as asked:
        opened = bundle(process=tmp_path / "s", timeout_s=0.3)
    assert asked == ["hello", "numbers"]
    for name in ("snapshots.json", "events.json", "logs.json", "metrics.prom", "topology.json"):
        assert "didn't answer within 0.3 s" in why(opened, name).reason
    (found,) = opened.data("findings.json")["findings"]
    assert found["rule"] == "not-answering"
    said = opened.data("runtime.json")
    assert (said["pid"], said["answered"], said["meridian"]) == (os.getpid(), False, "2.0.0")


def test_a_machine_without_a_place_for_temporary_files_gets_its_bundle(monkeypatch):
    def nowhere():
        raise FileNotFoundError(2, "No usable temporary directory")

    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    opened = bundle(process=os.getpid())
    assert (
        why(opened, "snapshots.json").reason == "no socket can be looked for: No usable temporary directory"
    )


def test_a_process_that_is_gone_is_told_to_be_so():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    opened = bundle(process=gone.pid)
    assert why(opened, "snapshots.json").reason == f"there is no process {gone.pid}"
    said = opened.data("runtime.json")
    assert (said["pid"], said["answered"], said["state"]) == (gone.pid, False, None)


def test_whichever_part_fails_the_others_are_there(monkeypatch):
    def fail(*_):
        raise RuntimeError("hunter2")

    monkeypatch.setattr(gather, "gather_configuration", fail)
    monkeypatch.setattr(gather, "facts_of", fail)
    with serve() as server, running():
        opened = bundle(process=server.path)
    for name in ("configuration.json", "runtime.json"):
        assert (why(opened, name).reason, why(opened, name).failed) == ("RuntimeError", True)
    assert opened.data("snapshots.json")["runs"]


def test_a_part_that_would_be_too_long_is_left_out(monkeypatch):
    monkeypatch.setattr(gather, "MAX_MEMBER", 1000)
    opened = bundle()
    assert re.fullmatch(r"it would have [\d,]+ bytes", why(opened, "environment.json").reason)


# ---- equal states ----------------------------------------------------------------------------------------------------


def without(data, path):
    """Return JSON without what a path of `varies` names."""
    if not path:
        return None
    step, rest = path[0], path[1:]
    if isinstance(data, list) and step == "*":
        return [without(each, rest) for each in data]
    if isinstance(data, dict):
        return {key: without(each, rest) if step in ("*", key) else each for key, each in data.items()}
    return data


def lasting(opened):
    """Return what must be the same in two bundles of one state, going by what the manifest declares."""
    varies = [each.partition("#/") for each in opened.manifest.varies]
    kept = {}
    for name in (MANIFEST, *(each.name for each in opened.manifest.members)):
        paths = [path.split("/") for member, _, path in varies if member == name]
        if [""] in paths:
            kept[name] = None
        elif name.endswith(".json"):
            data = opened.data(name)
            for path in paths:
                data = without(data, path)
            kept[name] = data
        else:
            kept[name] = opened.member(name)
    return kept


@pytest.mark.req("X2")
def test_of_a_dead_project_two_bundles_are_equal_byte_by_byte(folder):
    (folder / "app.py").write_text(APP)
    (folder / "pyproject.toml").write_text("[project]\n")
    (folder / "app.log").write_text("started as jane@example.com\n")

    def content():
        request = Request(target="app.py", log=folder / "app.log", timeout_s=PATIENT_S)
        return collect(request, wall_s=lambda: NOW_S).content

    first = content()
    assert content() == first
    later = collect(Request(), wall_s=lambda: NOW_S + 1)
    assert later.content != first


def test_of_one_run_two_bundles_differ_in_what_is_declared_to_vary_and_in_nothing_else():
    get_events().record("redaction.widened", what="x", reason="a test")
    with serve() as server, running(feed=range(3)):
        first, second = bundle(process=server.path), bundle(process=server.path)
    assert lasting(first) == lasting(second)
    assert lasting(first)["topology.json"]["graphs"][0]["nodes"]
    assert json.dumps(lasting(first)["environment.json"])
    same = {each.name: each.sha256 for each in first.manifest.members}
    for each in second.manifest.members:
        if not any(path.startswith(each.name) for path in second.manifest.varies):
            assert same[each.name] == each.sha256


def test_a_graph_that_was_run_in_the_meantime_does_not_disturb_a_bundle_without_a_process():
    first = bundle()
    scheduler = Scheduler()
    scheduler.register(graph("g", source(range(3)) >> sink(lambda _: None)))
    scheduler.run()
    assert lasting(bundle()) == lasting(first)
