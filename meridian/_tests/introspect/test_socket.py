"""Other processes look through a socket: what they see, who may, and that nobody who connects can do harm."""

import asyncio
import json
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from meridian import Scheduler, graph, sink, source
from meridian._tests.introspect.in_a_thread import PATIENT_S, running
from meridian.core.policies import PutResult
from meridian.introspect import (
    BadAnswerError,
    Client,
    NoAnswerError,
    NoSocketError,
    NoSuchProcessError,
    NothingRunsError,
    NotPermittedError,
    OtherVersionError,
    ServeError,
    attach,
    serve,
)
from meridian.introspect import client as client_module
from meridian.introspect import server as server_module
from meridian.introspect.wire import MAX_REQUEST, socket_directory, socket_path
from meridian.observability.logging import get_logger
from meridian.redaction import Exposed, Policy, install

pytestmark = [
    pytest.mark.req("N6", "N7", "X2"),
    pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no unix sockets"),
]

CANARY = "canary-6612f0a9"


@pytest.fixture(autouse=True)
def runtime_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("MERIDIAN_INSPECT", raising=False)
    return tmp_path


def connect(server):
    raw = socket.socket(socket.AF_UNIX)
    raw.settimeout(PATIENT_S)
    raw.connect(str(server.path))
    return raw


def answer(raw):
    """Read one line."""
    got = b""
    while not got.endswith(b"\n"):
        more = raw.recv(1)
        if not more:
            return got
        got += more
    return json.loads(got)


# ---- what is seen -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("engine")
def test_another_connection_sees_the_run_its_rates_and_its_events():
    with serve() as server, running(feed=range(3)) as scheduler:
        with attach(server.path, timeout_s=PATIENT_S) as client:
            assert (client.pid, client.runs) == (os.getpid(), (scheduler.facts().id,))
            one, two = client.snapshot(), client.snapshot(client.runs[0])
            assert one.node("out").handled == 3
            assert (one.window_s, two.edges[0].accepted_per_s) == (None, 0.0)
            assert two.window_s > 0
            assert one.loop.lag_s is not None, (
                "the first answer waits until the loop has shown that it goes on"
            )
            batch = client.events()
            assert batch.events[-1].kind == "run.started"
            assert client.events(batch.next).events == ()
        with (
            pytest.raises(NothingRunsError, match="has no run 1-1; under way: "),
            attach(server.path) as client,
        ):
            client.snapshot("1-1")


@pytest.mark.usefixtures("engine")
def test_a_look_has_what_snapshots_and_events_have_also_if_its_answer_has_to_wait_for_the_loop():
    with serve() as server, running(feed=range(3)), attach(server.path, timeout_s=PATIENT_S) as client:
        (one,), batch = client.look()
        assert (one.node("out").handled, one.loop.lag_s is None) == (3, False)
        assert batch == client.events()
        (two,), rest = client.look(batch.next)
        assert (two.window_s is None, rest.events, rest.next) == (False, (), batch.next)
        with pytest.raises(ValueError, match="negative"):
            client.look(-1)
        assert client.snapshot().run == one.run, "nothing was asked for in vain"


def test_two_clients_have_a_look_before_of_their_own():
    with serve() as server, running(), attach(server.path, timeout_s=PATIENT_S) as one:
        one.snapshot()
        assert one.snapshot().window_s is not None
        with attach(server.path, timeout_s=PATIENT_S) as two:
            assert two.snapshot().window_s is None


def test_without_a_run_there_is_nothing_to_see():
    with serve() as server, attach(server.path, timeout_s=PATIENT_S) as client:
        assert (client.runs, client.snapshots()) == ((), ())
        with pytest.raises(NothingRunsError, match="no run is under way"):
            client.snapshot()
        with pytest.raises(NothingRunsError, match="has no run 1-1; under way: none"):
            client.snapshot("1-1")


@pytest.mark.usefixtures("engine")
def test_a_stuck_loop_answers_that_it_is_stuck_with_the_node_and_no_values():
    go_on, inside = threading.Event(), threading.Event()

    def endless(text):
        inside.set()
        go_on.wait(PATIENT_S)

    scheduler = Scheduler(inspect=True)
    scheduler.register(graph("g", source([CANARY]) >> sink(endless, name="culprit")))
    thread = threading.Thread(target=scheduler.run)
    thread.start()
    try:
        assert inside.wait(PATIENT_S)
        with attach(os.getpid(), timeout_s=PATIENT_S) as client:
            shot = client.snapshot()
            assert (shot.loop.stuck, shot.loop.node) == (True, "culprit")
            assert any(frame.function.endswith("endless") for frame in shot.loop.stack)
            assert CANARY not in shot.as_json()
            assert client.events().events[-1].kind == "loop.stuck"
    finally:
        go_on.set()
        thread.join(PATIENT_S)


@pytest.mark.usefixtures("engine")
def test_no_payload_is_in_any_byte_of_the_socket():
    def fail(text):
        raise ValueError(text, {CANARY: text})

    async def hang(text):
        await asyncio.Event().wait()

    for handle in (fail, hang):
        with serve() as server, running(handle, feed=[CANARY] * 4, abort=True), connect(server) as raw:
            for op in ("hello", "snapshot", "numbers", "events", CANARY):
                raw.sendall(json.dumps({"op": op, "note": CANARY}).encode() + b"\n")
                assert CANARY not in json.dumps(answer(raw))


# ---- who may look ---------------------------------------------------------------------------------------------------


def test_the_socket_is_private_and_in_a_private_folder():
    with serve() as server:
        assert server.path == socket_path(os.getpid())
        assert stat.S_IMODE(server.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(server.path.parent.stat().st_mode) == 0o700
    assert not server.path.exists()


def test_without_a_runtime_folder_it_is_among_the_temporary_files(monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert socket_directory().name == f"meridian-{os.getuid()}"


@pytest.mark.parametrize("what", ["open", "file", "link"])
def test_a_folder_that_others_may_enter_is_refused(runtime_dir, what):
    folder = runtime_dir / "meridian"
    if what == "open":
        folder.mkdir()
        folder.chmod(0o755)
    elif what == "file":
        folder.touch()
    else:
        (runtime_dir / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(runtime_dir / "elsewhere")
    with pytest.raises(ServeError, match="only you can enter"):
        serve()


def test_a_server_of_another_user_is_not_trusted_and_one_lets_in_no_other_user(monkeypatch):
    with serve() as server:
        monkeypatch.setattr(client_module, "user_of_peer", lambda _: os.geteuid() + 1)
        with pytest.raises(NotPermittedError, match="another user"):
            attach(server.path)
        monkeypatch.undo()
        monkeypatch.setattr(server_module, "user_of_peer", lambda _: os.geteuid() + 1)
        with connect(server) as raw:
            assert raw.recv(1) == b""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do everything")
def test_a_socket_that_one_may_not_open_is_said_to_be_somebody_elses(runtime_dir):
    with serve(runtime_dir / "s") as server:
        server.path.chmod(0)
        with pytest.raises(NotPermittedError):
            attach(server.path)


# ---- where it is ------------------------------------------------------------------------------------------------------


def test_a_run_opens_the_socket_only_if_it_is_asked_to(monkeypatch, runtime_dir):
    place = socket_path(os.getpid())
    with running():
        assert not place.exists()
    with running(inspect=True):
        assert place.exists()
    assert not place.exists()
    with running(inspect=runtime_dir / "here"):
        assert (runtime_dir / "here").exists()
    monkeypatch.setenv("MERIDIAN_INSPECT", "1")
    with running():
        assert place.exists()
    with running(inspect=False):
        assert not place.exists()
    monkeypatch.setenv("MERIDIAN_INSPECT", str(runtime_dir / "there"))
    with running():
        assert (runtime_dir / "there").exists()
    for nothing in ("", "0"):
        monkeypatch.setenv("MERIDIAN_INSPECT", nothing)
        with running():
            assert not place.exists()


def test_what_the_environment_asks_for_in_vain_stops_no_run(monkeypatch, runtime_dir):
    monkeypatch.setenv("MERIDIAN_INSPECT", str(runtime_dir / "no" / "such" / "folder"))
    with running(feed=[1]) as scheduler:
        pass
    assert scheduler.report().reason == "finished"
    scheduler = Scheduler(inspect=runtime_dir / "no" / "such" / "folder")
    scheduler.register(graph("g", source([1]) >> sink(lambda _: None, name="out")))
    with pytest.raises(ServeError, match="No such file"):
        scheduler.run()


def test_opened_twice_it_is_served_until_it_was_closed_twice():
    one, two = serve(), serve()
    assert one is two
    one.close()
    attach(os.getpid(), timeout_s=PATIENT_S).close()
    two.close()
    with pytest.raises(NoSocketError):
        attach(os.getpid())


def test_sockets_of_dead_processes_are_removed_and_nothing_else(runtime_dir):
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    folder = socket_directory()
    folder.mkdir(mode=0o700)
    stale, alive, other = (
        folder / f"{int(dead.stdout)}.sock",
        folder / f"{os.getppid()}.sock",
        folder / "x.sock",
    )
    for each in (stale, alive, other):
        each.touch()
    with serve():
        assert [each.exists() for each in (stale, alive, other)] == [False, True, True]


def test_a_place_that_is_left_over_is_taken_and_one_in_use_is_not(runtime_dir):
    place = runtime_dir / "s"
    left_over = socket.socket(socket.AF_UNIX)
    left_over.bind(str(place))
    left_over.close()
    with serve(place):
        attach(place, timeout_s=PATIENT_S).close()
    other = socket.socket(socket.AF_UNIX)
    with other:
        other.bind(str(place))
        other.listen()
        with pytest.raises(ServeError, match="another process serves"):
            serve(place)
    place.unlink()
    place.write_text("mine", encoding="utf-8")
    with pytest.raises(ServeError, match="is no socket"):
        serve(place)
    assert place.read_text(encoding="utf-8") == "mine"


def test_a_path_that_is_too_long_is_refused(runtime_dir):
    with pytest.raises(ServeError, match="no socket at"):
        serve(runtime_dir / ("x" * 200))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_child_leaves_the_socket_to_its_parent_and_may_open_its_own():
    with serve() as server, attach(server.path, timeout_s=PATIENT_S) as client:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                server.close()
                with serve() as own:
                    code = 0 if own.path != server.path and own.path.exists() else 2
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert client.snapshots() == ()
        assert server.path.exists()
        attach(os.getpid(), timeout_s=PATIENT_S).close()


# ---- hostile and slow clients -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        b"\n",
        b"\x00\xff\xfe\n",
        b"[]\n",
        b"7\n",
        b'{"op": null}\n',
        b'{"op": ["hello"]}\n',
        b'{"op": "shutdown"}\n',
        b"[" * 50_000 + b"\n",
        b'{"op": "events", "since": -1}\n',
        b'{"op": "events", "since": 1e400}\n',
        b'{"op": "events", "since": "0", "limit": true}\n',
        b"9" * 6000 + b"\n",
    ],
    ids=range(12),
)
def test_nonsense_is_answered_as_such_and_the_connection_goes_on(request_):
    with serve() as server, connect(server) as raw:
        raw.sendall(request_)
        assert answer(raw)["ok"] is False
        raw.sendall(b'{"op": "hello"}\n')
        assert answer(raw)["pid"] == os.getpid()


def test_a_request_without_end_is_refused_and_others_are_served():
    with serve() as server, connect(server) as raw:
        try:
            while True:
                raw.sendall(b"x" * MAX_REQUEST)
        except OSError:  # it hung up
            pass
        with attach(server.path, timeout_s=PATIENT_S) as client:
            assert client.snapshots() == ()


def test_half_a_request_and_a_client_that_goes_harm_nobody():
    with serve() as server:
        for piece in (b"", b'{"op": "sn', b'{"op": "snapshot"}\n', b'{"op": "hello"}\n' * 50):
            raw = connect(server)
            raw.sendall(piece)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raw.close()
        with attach(server.path, timeout_s=PATIENT_S) as client:
            assert client.snapshots() == ()


def test_requests_that_come_at_once_or_in_pieces_are_answered_one_by_one():
    with serve() as server, connect(server) as raw:
        raw.sendall(b'{"op": "hello"}\n' * 3000)
        assert [answer(raw)["ok"] for _ in range(3000)] == [True] * 3000
        for byte in b'{"op": "events"}\n':
            raw.sendall(bytes([byte]))
        assert answer(raw)["ok"] is True


@pytest.mark.parametrize(("together", "sends"), [(server_module.TOGETHER, 1), (1, 3)])
def test_requests_that_come_at_once_are_answered_at_once_up_to_a_bound(monkeypatch, together, sends):
    sent = []

    def counted(self, client, send=server_module.Server._send):
        sent.append(bytes(client.to_send))
        send(self, client)

    monkeypatch.setattr(server_module, "TOGETHER", together)
    monkeypatch.setattr(server_module.Server, "_send", counted)
    with serve() as server, connect(server) as raw:
        raw.sendall(b'{"op": "snapshot"}\n{"op": "nothing"}\n{"op": "events", "limit": 0}\n')
        said = [answer(raw) for _ in range(3)]
    assert [each["ok"] for each in said] == [True, False, True]
    assert (said[0]["snapshots"], said[2]["events"]) == ([], [])
    assert [json.loads(each) for each in b"".join(sent).splitlines()] == said
    assert len(sent) == sends


def test_a_client_that_does_not_take_its_answer_is_shed_and_that_is_told():
    now = [0.0]
    with serve(now_s=lambda: now[0]) as server, running(), connect(server) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        with attach(server.path, timeout_s=PATIENT_S) as client:
            slow.settimeout(0)
            asked = b'{"op": "snapshot"}\n' * 100
            try:
                while True:  # a part may be taken: what follows is the rest of it
                    sent = slow.send(asked)
                    asked = asked[sent:] + asked[:sent]
            except BlockingIOError:  # its answers are in the way, so no more is taken from it
                pass
            assert client.snapshots()
            while attached_shed(server) == 0:
                now[0] += (
                    server_module.PATIENCE_S
                )  # the server may have come to a halt after the last look at the clock
                client.snapshots()
            assert client.snapshots()


def attached_shed(server):
    with attach(server.path, timeout_s=PATIENT_S) as again:
        return again.shed


def test_more_clients_than_are_served_are_turned_away_with_a_reason():
    with serve() as server:
        clients = [attach(server.path, timeout_s=PATIENT_S) for _ in range(server_module.MOST_CLIENTS)]
        with pytest.raises(NoAnswerError, match="16 clients are served already"):
            attach(server.path, timeout_s=PATIENT_S)
        clients.pop().close()
        assert clients[0].snapshots() == ()
        with attach(server.path, timeout_s=PATIENT_S) as again:
            assert again.shed == 1
        for each in clients:
            each.close()


# ---- what can go wrong for a client ---------------------------------------------------------------------------------------


def test_no_such_process_and_no_socket_are_told_apart(runtime_dir):
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    with pytest.raises(NoSuchProcessError, match="there is no process"):
        attach(int(dead.stdout))
    with pytest.raises(NoSocketError, match="MERIDIAN_INSPECT=1"):
        attach(os.getpid())
    (runtime_dir / "file").touch()
    with pytest.raises(NoSocketError, match="nobody serves"):
        attach(runtime_dir / "file")


def test_a_path_that_leads_nowhere_is_named_once(runtime_dir, monkeypatch):
    place = runtime_dir / "gone"
    with pytest.raises(
        NoSocketError, match=f"^nobody serves {place}: start the process with MERIDIAN_INSPECT=1"
    ):
        attach(place)

    def refuse(_):
        raise PermissionError

    monkeypatch.setattr(client_module, "user_of_peer", refuse)
    with serve() as server:
        with pytest.raises(NotPermittedError, match=f"^you may not look at {server.path}: it belongs to"):
            attach(server.path)
        with pytest.raises(
            NotPermittedError, match=f"^you may not look at process .*: {server.path} belongs to"
        ):
            attach(os.getpid())


@contextmanager
def impostor(place: Path, *answers: bytes):
    """Something that listens and says what it likes."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(place))
    listening.listen()

    def play():
        connection, _ = listening.accept()
        with connection:
            for each in answers:
                connection.recv(MAX_REQUEST)
                connection.sendall(each)

    thread = threading.Thread(target=play)
    thread.start()
    with listening:
        yield thread
        thread.join(PATIENT_S)


HELLO = {
    "ok": True,
    "protocol": 1,
    "meridian": "9.9.9",
    "schema_version": "1.0",
    "pid": 1,
    "runs": [],
    "shed": 0,
}


def said(**changes):
    return json.dumps({**HELLO, **changes}).encode() + b"\n"


def test_who_is_turned_away_before_it_could_ask_hears_the_reason(runtime_dir):
    refusal = b'{"ok": false, "error": "busy", "message": "no more"}\n'
    with (
        impostor(runtime_dir / "s", said() + refusal) as hanging_up,
        attach(runtime_dir / "s", timeout_s=PATIENT_S) as client,
    ):
        hanging_up.join(PATIENT_S)
        with pytest.raises(NoAnswerError, match="refused: no more"):
            client.snapshots()


@pytest.mark.parametrize(
    ("first", "error", "text"),
    [
        (said(protocol=2), OtherVersionError, r"Meridian 9\.9\.9 \(protocol 2"),
        (said(schema_version="2.0"), OtherVersionError, r"snapshots 2\.0"),
        (said()[:20], BadAnswerError, "cut short"),
        (b"", BadAnswerError, "cut short"),
        (b"SSH-2.0\r\n", BadAnswerError, "makes no sense"),
        (b"{}\n", NoAnswerError, "refused"),
        (b"[]\n", BadAnswerError, "makes no sense"),
        (said(pid="x"), BadAnswerError, "no Meridian"),
        (said(pid=float("inf")), BadAnswerError, "no Meridian"),
    ],
)
def test_an_answer_of_something_else_is_said_to_be_so(runtime_dir, first, error, text):
    with impostor(runtime_dir / "s", first), pytest.raises(error, match=text):
        attach(runtime_dir / "s", timeout_s=PATIENT_S)


TOLD = {
    "run": "1-1",
    "fixed": {
        "meridian": "9.9.9", "pid": 1, "run": "1-1", "engine": {"name": "python", "reason": "so"}, "cpu": None,
        "weights": [4, 2, 1], "nodes": [["a", "source"], ["b", "function"]],
        "edges": [["a:x->b:y", 0, "x", 1, "y", None, None]],
    },
    "numbers": {
        "at_s": 2.0, "wall_s": 2.0, "status": "running", "reason": None, "elapsed_s": 1.0, "ready": [0, 0, 1],
        "slices": 3, "in_flight": 0, "open_sources": 1, "stopping": False,
        "loop": {"lag_s": 0.1, "silent_s": 0.0, "stuck": False, "node": None, "stack": []}, "running": None,
        "nodes": [["started", 0, 9, 0, 0, 0, 5, 1], ["started", 8, 0, 0, 0, 0, 5, 1]],
        "edges": [["block", 8, 8, 1, 0, {}, 0, 2]],
        "errors": [], "errors_total": 0, "last_errors": [], "events": {"last": 1, "held_back": 0},
    },
}  # fmt: skip
"""A run, as it goes through the socket."""


def spoilt(told, part, key, value):
    return {**told, part: {**told[part], key: value}}


def test_numbers_are_told_and_what_a_newer_version_adds_to_them_is_left_out(runtime_dir):
    newer = spoilt(
        spoilt(
            TOLD,
            "numbers",
            "edges",
            [["block", 8, 8, 1, 0, {"dropped": 2}, 0, 2, 0, 0, None, None, None, [], 0, 99]],
        ),
        "fixed",
        "new",
        1,
    )
    with (
        impostor(
            runtime_dir / "s",
            said(),
            json.dumps({"ok": True, "runs": [newer]}).encode() + b"\n",
            json.dumps({"ok": True, "runs": [{"run": "1-1", "numbers": newer["numbers"]}]}).encode() + b"\n",
        ),
        attach(runtime_dir / "s", timeout_s=PATIENT_S) as client,
    ):
        one, two = client.snapshot(), client.snapshot()
    edge = one.edge("a:x->b:y")
    assert (edge.source, edge.target, edge.accepted, edge.lost, edge.hop_s) == (
        "a",
        "b",
        11,
        {"dropped": 2},
        None,
    )
    assert [node.doing for node in one.nodes] == ["idle", "ready"]
    assert (one.window_s, two.window_s, two.nodes) == (None, 0.0, one.nodes)


@pytest.fixture
def policies():
    """Whatever a test installs is put back."""
    yield
    install(Policy())


@pytest.mark.usefixtures("engine", "policies")
def test_what_is_fixed_of_a_run_is_told_once_and_again_when_another_policy_shows_other_texts():
    def fixed(raw):
        raw.sendall(b'{"op": "numbers"}\n')
        (of_run,) = answer(raw)["runs"]
        return of_run.get("fixed")

    with serve() as server, running(name="jo@example.com"), connect(server) as raw:
        assert fixed(raw)["nodes"][1] == ["[redacted:email]", "function"]
        assert fixed(raw) is None
        with connect(server) as other:
            assert fixed(other) is not None, "another client was told nothing yet"
        install(Policy("open", (), (Exposed("email", "a test"),)))
        assert fixed(raw)["nodes"][1] == ["jo@example.com", "function"]
        assert fixed(raw) is None


@pytest.mark.usefixtures("engine")
def test_the_name_of_a_policy_of_ones_own_is_redacted_too():
    class Policy_ghp_abcdefghijklmnopqrstuvwxyz0123456789:
        def on_enqueue(self, capacity, size, item):
            return PutResult.OK if size < capacity else PutResult.DROPPED

    policy = Policy_ghp_abcdefghijklmnopqrstuvwxyz0123456789()
    with serve() as server, running(policy=policy), attach(server.path, timeout_s=PATIENT_S) as client:
        assert client.snapshot().edges[0].policy == "policy_[redacted:github_token]"


@pytest.mark.parametrize(
    "second",
    [
        b'{"ok": true}\n',
        b'{"ok": true, "runs": [1]}\n',
        b'{"ok": true, "runs": [{"run": "1-1", "numbers": {}}]}\n',
        b'{"ok": true, "runs": [{"run": "1-1", "fixed": {"pid": 1}, "numbers": {}}]}\n',
        *(
            json.dumps({"ok": True, "runs": [spoilt(TOLD, *of)]}).encode() + b"\n"
            for of in (
                ("fixed", "nodes", []),
                ("fixed", "edges", [["a:x->b:y", 0, "x", 2, "y", None, None]]),  # there is no third node
                ("fixed", "edges", [["a:x->b:y", 0]]),
                ("fixed", "weights", [1, 2]),
                ("numbers", "edges", []),
                ("numbers", "edges", [["block", 8, 0, 0, 0, {}, 0, 7]]),  # no such band
                ("numbers", "edges", [["block", 8, 1, 0, 0, {}, 0, 2, 0, 0, None, None, None, [1, 2], 9]]),
                ("numbers", "nodes", [["started", 0, 0, 0, 0, 0, 0, 0, 5], ["started", 0, 0, 0, 0, 0, 0, 0]]),
                ("numbers", "elapsed_s", "long"),
            )
        ),
    ],
    ids=range(13),
)
def test_a_snapshot_that_is_none_is_said_to_be_so(runtime_dir, second):
    with impostor(runtime_dir / "s", said(), second):
        client = attach(runtime_dir / "s", timeout_s=PATIENT_S)
        with pytest.raises(BadAnswerError, match="makes no sense"):
            client.snapshots()
        with pytest.raises(BadAnswerError, match="broken"):
            client.snapshots()


def test_of_a_look_either_answer_may_make_no_sense(runtime_dir):
    no_shots, no_events = b'{"ok": true, "runs": []}\n', b'{"ok": true}\n'
    for i, answers in enumerate([no_shots + no_events, no_events + no_shots]):
        with impostor(runtime_dir / str(i), said(), answers):
            client = attach(runtime_dir / str(i), timeout_s=PATIENT_S)
            with pytest.raises(BadAnswerError, match="makes no sense"):
                client.look()
            with pytest.raises(BadAnswerError, match="broken"):
                client.look()


def test_events_of_a_newer_version_are_read_without_what_is_new(runtime_dir):
    event = {"seq": 1, "kind": "new.kind", "level": "info", "at_s": 0, "wall_s": 0, "run": "1-1", "new": 5}
    batch = {"ok": True, "events": [event], "missed": 0, "next": 1, "held_back": 0}
    place = runtime_dir / "s"
    with (
        impostor(place, said(), json.dumps(batch).encode() + b"\n"),
        attach(place, timeout_s=PATIENT_S) as client,
    ):
        assert client.events().events[0].kind == "new.kind"
        with pytest.raises(ValueError, match="negative"):
            client.events(-1)


PROGRAM = """
import sys
from meridian import Scheduler, SchedulerConfig, graph, sink
from meridian.core.function import Inlet
scheduler = Scheduler(inspect=True)
inlet = Inlet("in")
scheduler.register(graph("g", inlet >> sink(print, name="out")))
scheduler.run()
"""


@pytest.fixture
def other_process(runtime_dir):
    """A process that serves; the number of it."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as started:
        assert started.stderr is not None
        for text in started.stderr:
            if "scheduler.ready" in text:
                break
        yield started
        started.kill()
        started.stderr.close()


def test_a_stopped_process_is_said_to_be_stopped(other_process):
    with attach(other_process.pid, timeout_s=PATIENT_S) as client:
        assert client.snapshot().node("out").doing == "idle"
        other_process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, other_process.pid, os.WSTOPPED | os.WNOWAIT)
        client._timeout_s = 0.05
        with pytest.raises(NoAnswerError, match=f"kill -CONT {other_process.pid}"):
            client.snapshot()
    with pytest.raises(NoAnswerError, match="is stopped"):
        attach(other_process.pid, timeout_s=0.05)


def test_a_killed_process_cuts_its_answer_short_and_leaves_a_socket_that_nobody_serves(other_process):
    with attach(other_process.pid, timeout_s=PATIENT_S) as client:
        other_process.kill()
        other_process.wait()
        with pytest.raises(BadAnswerError, match=r"cut short|broken"):
            client.snapshot()
    place = socket_path(other_process.pid)
    with pytest.raises(NoSocketError, match="has died"):
        attach(place)
    with serve():
        assert not place.exists()


def test_meridian_run_opens_it_with_a_flag(runtime_dir):
    (runtime_dir / "app.py").write_text(
        "import os\nfrom meridian import graph, sink, source\n"
        "from meridian.introspect import attach\n"
        "def look(n: int) -> None:\n"
        "    client = attach(os.getpid(), timeout_s=60)\n"
        "    print(client.runs, flush=True)\n"
        "    client.close()\n"
        "graph = graph('g', source([1]) >> sink(look, name='out'))\n",
        encoding="utf-8",
    )
    for flags, seen in ((["--inspect"], True), ([], False)):
        ran = subprocess.run(
            [sys.executable, "-m", "meridian", "run", "app.py:graph", "--quiet", *flags],
            cwd=runtime_dir, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert (ran.stdout.startswith("('"), "NoSocketError" in ran.stdout + ran.stderr) == (seen, not seen)


def test_a_client_says_what_it_is_connected_to():
    with serve() as server, attach(os.getpid(), timeout_s=PATIENT_S) as client:
        assert isinstance(client, Client)
        assert (client.path, client.shed) == (server.path, 0)


# ---- the log ------------------------------------------------------------------------------------------------------


@pytest.mark.req("N1", "X2")
def test_the_last_records_of_the_log_are_told_without_their_texts():
    get_logger().error("shop.failed", f"order of {CANARY}", node="out", n=3, customer=CANARY, left={"a": 1})
    with serve() as server, attach(server.path, timeout_s=PATIENT_S) as client:
        record = next(each for each in client.logs() if each["event"] == "shop.failed")
    assert set(record) == {"ts", "level", "event", "node", "n"}
    assert (record["level"], record["node"], record["n"]) == ("ERROR", "out", 3)


@pytest.mark.req("N1")
def test_a_log_with_numbers_that_json_has_none_of_is_told_without_them():
    get_logger().error("shop.odd", "text", n=float("nan"), attempt=2)
    with serve() as server, attach(server.path, timeout_s=PATIENT_S) as client:
        record = next(each for each in client.logs() if each["event"] == "shop.odd")
    assert (record.get("n"), record["attempt"]) == (None, 2)


def test_an_answer_about_the_log_that_is_none_is_said_to_make_no_sense(runtime_dir):
    with impostor(runtime_dir / "s", said(), b'{"ok": true, "records": 3}\n'):
        client = attach(runtime_dir / "s", timeout_s=PATIENT_S)
        with pytest.raises(BadAnswerError, match="makes no sense"):
            client.logs()
