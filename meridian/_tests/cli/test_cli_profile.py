"""``meridian profile``: a target of its own, another process, and whatever may happen to it meanwhile."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from xml.etree import ElementTree

import jsonschema
import pytest

from meridian._tests.cli.conftest import ENVIRONMENT
from meridian._tests.cli.test_cli_process import in_terminal
from meridian._tests.introspect.in_a_thread import running
from meridian.cli import process as process_module
from meridian.cli import profile as profile_module
from meridian.cli.profile_table import curve, duration, percent
from meridian.introspect import serve
from meridian.introspect.client import Client, attach
from meridian.introspect.errors import BadAnswerError, NothingRunsError
from meridian.introspect.schema import profile_schema

pytestmark = [
    pytest.mark.req("N1.3", "N1.4"),
    pytest.mark.skipif(
        sys.platform == "win32" or not hasattr(socket, "AF_UNIX"),
        reason="signals and sockets as POSIX has them",
    ),
]
SECONDS = 60  # until a test that hangs fails; nothing waits for it otherwise
PATIENT = ("--timeout-s", str(SECONDS))
CANARY = "canary-5d0e77c1"

APP = """
import asyncio, itertools, os
from meridian import Scheduler, SchedulerConfig, drop, graph, sink, source, via

def three(): return graph("three", source(range(3), name="read") >> sink(lambda n: print(n), name="write"))

async def hang(item):
    os.write(1, b"ready\\n")
    await asyncio.Event().wait()

def blocked():
    scheduler = Scheduler(SchedulerConfig(shutdown_timeout_s=0))
    feed = source(itertools.repeat("canary-5d0e77c1"), name="read")
    scheduler.register(graph("blocked", feed >> via(capacity=4) >> sink(hang, name="<b>&hang")))
    return scheduler

def endless(item):
    while True: pass

def stuck(): return graph("stuck", source([1, 2]) >> sink(endless, name="culprit"))

def invalid():
    made = three()
    made.edges[0].source_node = "nobody"
    return made

def used():
    scheduler = Scheduler()
    scheduler.register(three())
    scheduler.run()
    return scheduler
"""


UNTIL_STUCK = """
from meridian._tests.cli.test_cli_profile import until
from meridian.cli import main, profile
profile.GRACE_S = 0.1
profile._Beside._look = until(lambda shot: shot.loop.stuck)
main(["profile", "app.py:stuck", "--json", "--seconds", "3600"])
"""


@pytest.fixture(autouse=True)
def sockets(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@contextmanager
def blocked_in(folder):
    """A process of which one node waits for another that never ends; its socket is in the folder."""
    (folder / "app.py").write_text(APP, encoding="utf-8")
    command = [sys.executable, "-m", "meridian", "run", "app.py:blocked", "--inspect", "-q"]
    environment = {**ENVIRONMENT, "XDG_RUNTIME_DIR": str(folder)}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stdout.readline() == "ready\n"
            with attach(folder / "meridian" / f"{started.pid}.sock", timeout_s=SECONDS) as client:
                while client.snapshot().node("read").doing != "blocked":
                    pass
            yield started
        finally:
            started.kill()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blocked")
    with blocked_in(folder) as started:
        yield folder, started


@pytest.fixture
def blocked(shared, monkeypatch):
    """A process that the tests share: they leave it as it is."""
    folder, started = shared
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return started


@pytest.fixture
def doomed(tmp_path):
    """A process of the test's own."""
    with blocked_in(tmp_path) as started:
        yield started


def until(condition):
    """Return what looks at a target's own run, such that its time is up as soon as a look meets a condition."""
    look = profile_module._Beside._look

    def looked(self):
        shot, cost_s = look(self)
        if condition(shot):
            object.__setattr__(self._settings, "seconds", 0.0)
        return shot, cost_s

    return looked


@pytest.fixture
def after_a_look(monkeypatch):
    """Do something after the first look at another process, instead of sleeping."""

    def arrange(do):
        looks = iter((do, *[lambda: None] * 1000))
        monkeypatch.setattr(profile_module, "_sleep", lambda _: bool(next(looks)()))

    return arrange


def profile_in(ran):
    """The profile that a command wrote; it fits the published schema and is free of payloads."""
    assert CANARY not in ran.output
    made = json.loads(ran.stdout)
    jsonschema.Draft202012Validator(profile_schema()).validate(made)
    return made


# ---- a target --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attribute", ["three", "used"])
def test_a_target_that_ends_by_itself_is_profiled_from_its_start_to_its_end(write, meridian, attribute):
    write("app.py", APP)
    ran = meridian("profile", f"app.py:{attribute}", "--json")
    made = profile_in(ran)
    assert (ran.exit_code, made["end"], made["partial"], made["reason"]) == (
        0,
        "run ended",
        False,
        "finished",
    )
    nodes = {node["name"]: node for node in made["nodes"]}
    assert (nodes["read"]["produced"], nodes["write"]["handled"]) == (3, 3)
    assert made["edges"][0]["delivered"] == 3
    assert made["looks"]["measured"] == "cpu"
    assert made["target"] == f"app.py:{attribute}"
    assert "0\n1\n2\n" in ran.stderr, "what the graph prints stays out of the object"


def test_a_target_that_goes_on_is_stopped_when_the_time_is_up(write, meridian, monkeypatch):
    write("app.py", APP)
    monkeypatch.setattr(
        profile_module._Beside, "_look", until(lambda shot: shot.node("read").doing == "blocked")
    )
    ran = meridian("profile", "app.py:blocked", "--json", "--seconds", "3600", "--hz", "50")
    made = profile_in(ran)
    assert (ran.exit_code, made["end"], made["status"]) == (0, "complete", "running")
    (chain,) = made["chains"]
    assert (chain["culprit"], chain["doing"]) == ("<b>&hang", "working")


def test_the_table_of_a_target_goes_to_stderr_and_its_prints_to_stdout(write, meridian):
    write("app.py", APP)
    ran = meridian("profile", "app.py:three")
    assert ran.stdout == "0\n1\n2\n"
    assert re.search(r"^profile of run .*: the run ended \(finished\)$", ran.stderr, re.MULTILINE)
    assert re.search(r"^read:output->write:input ", ran.stderr, re.MULTILINE)
    assert not any(line != line.rstrip() or "\x1b" in line for line in ran.stderr.splitlines())


def test_a_target_whose_handler_never_returns_gives_a_verdict(write, process):
    write("app.py", APP)
    running = process(code=UNTIL_STUCK)
    out, err = running.communicate(timeout=SECONDS)
    made = json.loads(out)
    assert (running.returncode, made["end"]) == (1, "complete")
    assert made["loop"]["stuck"] > 0
    assert made["loop"]["node"] == "culprit"
    assert made["loop"]["stack"][-1]["function"] == "endless"
    assert (made["findings"][0]["rule"], made["findings"][0]["node"]) == ("loop-stuck", "culprit")
    assert "the run doesn't stop: what keeps it is interrupted" in err
    assert "Traceback" not in err


def test_a_look_that_fails_stops_the_target_and_is_not_hidden(write, meridian, monkeypatch):
    def fail(self):
        raise ZeroDivisionError("in the look itself")

    write("app.py", APP)
    monkeypatch.setattr(profile_module._Beside, "_look", fail)
    ran = meridian("profile", "app.py:blocked", "--seconds", "3600")
    assert isinstance(ran.exception, ZeroDivisionError)


def test_an_interrupted_target_gives_what_there_is(write, process):
    write("app.py", APP)
    running = process("profile", "app.py:blocked", "--json", "--seconds", "3600")
    assert running.stderr.readline().startswith("profiling app.py:blocked for 3600 s")
    assert running.stderr.readline() == "ready\n"
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=SECONDS)
    made = json.loads(out)
    assert (running.returncode, made["end"], made["partial"]) == (130, "interrupted", True)
    assert "Traceback" not in err


def test_an_invalid_target_is_refused_with_its_issues(write, meridian):
    write("app.py", APP)
    ran = meridian("profile", "app.py:invalid", "--json")
    assert ran.exit_code == 1
    assert [issue["code"] for issue in json.loads(ran.stdout)["issues"]] == ["UNKNOWN_NODE"]


# ---- another process -------------------------------------------------------------------------------------------------


@pytest.mark.req("N7", "X1")
def test_a_running_process_is_profiled_and_goes_on(blocked, meridian):
    for named in (["--pid", str(blocked.pid)], []):
        ran = meridian("profile", *named, *PATIENT, "--json", "--seconds", "0.2", "--hz", "20")
        made = profile_in(ran)
        assert (ran.exit_code, made["pid"], made["end"], made["partial"]) == (
            0,
            blocked.pid,
            "complete",
            False,
        )
        assert made["chains"][0]["nodes"] == ["read", "<b>&hang"]
        assert made["edges"][0]["depth_most"] == 4
        assert made["looks"]["measured"] == "answer"
    assert blocked.poll() is None


def test_the_table_names_the_one_that_all_wait_for(blocked, meridian):
    ran = meridian("profile", "--pid", str(blocked.pid), *PATIENT, "--seconds", "0.2")
    assert ran.exit_code == 0
    assert re.search(r"^read → <b>&hang +working +100 %", ran.stdout, re.MULTILINE)
    assert ran.stderr == f"profiling process {blocked.pid} for 0.2 s; Ctrl-C shows what there is so far\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_gives_what_there_is_marked_as_partial(blocked, meridian, after_a_look, number, code):
    after_a_look(lambda: signal.raise_signal(number))
    ran = meridian("profile", "--pid", str(blocked.pid), *PATIENT, "--json")
    made = profile_in(ran)
    assert (ran.exit_code, made["end"], made["partial"], made["looks"]["n"]) == (code, "interrupted", True, 1)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_the_first_look_is_said(blocked, meridian, monkeypatch, number, code):
    monkeypatch.setattr(Client, "snapshot", lambda *_: signal.raise_signal(number))
    ran = meridian("profile", "--pid", str(blocked.pid), *PATIENT, "--json")
    assert (ran.exit_code, json.loads(ran.stdout)["error"]) == (code, "interrupted before there was a look")


def test_a_process_that_dies_meanwhile_gives_what_there_is(doomed, meridian, after_a_look):
    def kill():
        doomed.kill()
        doomed.wait(SECONDS)

    after_a_look(kill)
    ran = meridian("profile", "--pid", str(doomed.pid), *PATIENT)
    assert ran.exit_code == 0
    assert "the process ended, or let go of the connection, partial" in ran.stdout
    assert "read → <b>&hang" in ran.stdout


def stop(process):
    os.kill(process.pid, signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)


def test_a_process_that_is_stopped_meanwhile_gives_what_there_is_and_the_reason(
    doomed, meridian, after_a_look, monkeypatch
):
    clients = []

    def connect(*args, **options):
        clients.append(process_module.connect(*args, **options))
        return clients[0]

    def stop_it():
        stop(doomed)
        clients[0]._timeout_s = 0.1

    monkeypatch.setattr(profile_module, "connect", connect)
    after_a_look(stop_it)
    ran = meridian("profile", "--pid", str(doomed.pid), *PATIENT, "--json")
    made = profile_in(ran)
    assert (ran.exit_code, made["end"], made["partial"]) == (1, "no answer", True)
    assert "it is stopped (kill -CONT" in made["error"]
    assert made["findings"][0]["rule"] == "process-stopped"
    assert made["chains"][0]["culprit"] == "<b>&hang"


def test_a_process_that_is_stopped_from_the_start_is_said_to_be(doomed, meridian):
    stop(doomed)
    ran = meridian("profile", "--pid", str(doomed.pid), "--timeout-s", "0.5", "--json")
    assert ran.exit_code == 1
    made = json.loads(ran.stdout)
    assert f"process {doomed.pid} didn't answer within 0.5 s: it is stopped" in made["error"]
    assert [found["rule"] for found in made["findings"]] == ["process-stopped"]


@pytest.mark.parametrize(
    ("error", "code", "end"), [(BadAnswerError, 1, "no answer"), (NothingRunsError, 0, "run ended")]
)
def test_nonsense_and_the_end_of_the_run_end_the_profile(
    blocked, meridian, after_a_look, monkeypatch, error, code, end
):
    def fail():
        def snapshot(*_):
            raise error("an answer makes no sense")

        monkeypatch.setattr(Client, "snapshot", snapshot)

    after_a_look(fail)
    ran = meridian("profile", "--pid", str(blocked.pid), *PATIENT, "--json")
    made = profile_in(ran)
    assert (ran.exit_code, made["end"], "error" in made) == (code, end, code == 1)


@pytest.mark.parametrize(
    ("true", "told"),
    [
        (b'["block",4,', b'["block",NaN,'),
        (b'["block",4,', b'["block","4",'),
        (b'["block",4,', b'["block",9' + b"9" * 5000 + b","),
        (
            b'["block",4,',
            b'["block",4,0,0,0,{},0,7],["block",4,',
        ),  # one edge too many, in a band that there is none of
        (b'"ready":[', b'"ready":[0,'),
    ],
    ids=range(5),
)
def test_a_process_that_begins_to_tell_nonsense_gives_what_there_was_before(
    blocked, meridian, after_a_look, monkeypatch, true, told
):
    line = Client._line

    def lie():
        monkeypatch.setattr(Client, "_line", lambda client: line(client).replace(true, told))

    after_a_look(lie)
    ran = meridian("profile", "--pid", str(blocked.pid), *PATIENT, "--json")
    made = profile_in(ran)
    assert (ran.exit_code, made["end"], made["partial"], made["looks"]["n"]) == (1, "no answer", True, 1)


@pytest.mark.parametrize("error", [BadAnswerError, NothingRunsError])
def test_what_fails_before_the_first_look_is_an_error(blocked, meridian, monkeypatch, error):
    def snapshot(*_):
        raise error("said")

    monkeypatch.setattr(Client, "snapshot", snapshot)
    ran = meridian("profile", "--pid", str(blocked.pid), *PATIENT, "--json")
    assert ran.exit_code in (1, 2)
    assert json.loads(ran.stdout)["error"] == "said"


def test_another_run_of_the_process_is_not_mixed_in(blocked, meridian):
    ran = meridian("profile", "--pid", str(blocked.pid), "--run", "1-1", *PATIENT)
    assert ran.exit_code == 2
    assert f"process {blocked.pid} has no run 1-1; under way: {blocked.pid}-1" in ran.stderr


def test_of_several_runs_one_has_to_be_named_and_it_is_said_how(meridian):
    with serve() as server, running(), running():
        ran = meridian("profile", "--socket", str(server.path), *PATIENT, "--json")
        with attach(server.path, timeout_s=SECONDS) as client:
            one, other = client.runs
        said = json.loads(ran.stdout)
        assert ran.exit_code == 2
        assert said["error"] == (
            f"2 runs are under way in process {os.getpid()}, say which of {one}, {other}, with --run ID"
        )
        assert "findings" not in said, "a process that answers is not silent"
        ran = meridian(
            "profile", "--socket", str(server.path), *PATIENT, "--run", other, "--seconds", "0.01", "--json"
        )
        assert profile_in(ran)["run"] == other


# ---- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".svg", ".html"])
def test_a_plot_is_whole_xml_needs_nothing_from_elsewhere_and_escapes_names(
    blocked, meridian, tmp_path, suffix
):
    file = tmp_path / f"plot{suffix}"
    ran = meridian("profile", "--pid", str(blocked.pid), *PATIENT, "--seconds", "0.1", "--plot", str(file))
    assert ran.exit_code == 0
    text = file.read_text(encoding="utf-8")
    svg = ElementTree.fromstring(text[text.index("<svg") : text.index("</svg>") + 6])
    said = "".join(svg.itertext())
    assert "<b>&hang" in said
    assert "read:output-><b>&hang:input" in said
    assert text.startswith("<svg" if suffix == ".svg" else "<!doctype html>")
    assert not re.findall(r"(?:href|src|url)\s*[=(]|<script", text)
    assert CANARY not in text


def test_the_profile_is_written_to_a_file_too(write, meridian, tmp_path):
    write("app.py", APP)
    file = tmp_path / "profile.json"
    file.write_text("of before", encoding="utf-8")
    assert meridian("profile", "app.py:three", "--out", str(file)).exit_code == 0
    made = json.loads(file.read_text(encoding="utf-8"))
    assert (made["kind"], made["target"]) == ("profile", "app.py:three")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a file that is always full, as Linux has it")
def test_a_file_that_cannot_be_written_is_a_failure_and_the_profile_is_still_shown(write, meridian):
    write("app.py", APP)
    ran = meridian("profile", "app.py:three", "--json", "--out", "/dev/full")
    made = profile_in(ran)
    assert (ran.exit_code, made["error"]) == (1, "can't write '/dev/full': No space left on device")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--plot", "profile.png"], "don't know how to draw .png: use .svg or .html"),
        (["--plot", "profile"], "don't know how to draw that"),
        (["--out", "no/such/folder.json"], "can't be written"),
        (["--out", "."], "can't be written"),
        (["--pid", "1"], "both say what to look at"),
        (["--socket", "s"], "both say what to look at"),
    ],
)
def test_options_that_cannot_be_followed_are_refused_before_anything_runs(write, meridian, options, said):
    write("app.py", APP)
    ran = meridian("profile", "app.py:three", *options)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert said in ran.stderr


@pytest.mark.parametrize(
    "option",
    [
        ("--seconds", "0"),
        ("--seconds", "nan"),
        ("--hz", "0"),
        ("--hz", "1e9"),
        ("--pid", "0"),
        ("--timeout-s", "-1"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(meridian, option):
    assert meridian("profile", "app.py", *option).exit_code == 2


def test_without_any_process_it_is_said_how_to_start_one(meridian):
    ran = meridian("profile")
    assert ran.exit_code == 2
    assert "no process of yours lets itself be looked at" in ran.stderr


def test_looks_that_take_long_are_taken_less_often():
    settings = profile_module.Settings(seconds=100.0, hz=10.0)
    now, pauses = [0.0], []

    class Looks:
        n = 0

        def add(self, shot, cost_s):
            self.n += 1

    def look():
        now[0] += 1.0
        return type("Shot", (), {"status": "running"}), 1.0

    def wait(seconds):
        pauses.append(seconds)
        now[0] += seconds
        return False

    sampler = profile_module._Sampler(settings, Looks(), look, wait, lambda: now[0])
    assert sampler.sample(lambda passed_s, n: None)
    assert pauses == [19.0] * 5


# ---- words -----------------------------------------------------------------------------------------------------------


def test_on_a_terminal_it_says_how_far_it_is_and_leaves_no_trace(write, process):
    write("app.py", APP)
    returned, out, shown = in_terminal(process, "profile", "app.py:three")
    assert (returned, out) == (0, "0\n1\n2\n")
    _, cleared, table = shown.rpartition("\r\x1b[K")
    assert cleared
    assert "of run" in table


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "0 s"),
        (5e-9, "5 ns"),
        (7.19e-6, "7.19 µs"),
        (0.0123, "12.3 ms"),
        (1.0, "1 s"),
        (99.94, "99.9 s"),
        (86_400.0, "86,400 s"),
    ],
)
def test_a_length_of_time_has_a_unit_that_suits_it(seconds, said):
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("share", "said"), [(0.0, "0 %"), (1e-9, "0.1 %"), (0.004, "0.4 %"), (0.5, "50 %"), (1.0, "100 %")]
)
def test_a_share_that_is_not_nothing_does_not_look_like_it(share, said):
    assert percent(share) == said


def test_a_curve_is_short_and_shows_each_peak():
    assert curve((0, 4, 8), 8) == "·▅█"
    long = curve([0] * 500 + [8] + [0] * 500, 8)
    assert (len(long), long.count("█"), long.count("·")) == (24, 1, 23)
