"""No canary comes out of a process that handles them, wherever one looks: streams, socket, metrics, commands, files.

One process is looked at in every way there is, and what came out is searched twice: for canaries, of which there may be
none, and for a name that is planted in the graph and that each sink shows, so that each is known to be searched.
"""

import json
import os
import signal
import socket
import urllib.request
from importlib.util import find_spec

import pytest

from meridian._tests.cli import haunted
from meridian._tests.redaction.canaries import Canary, Hunter
from meridian.introspect.wire import socket_path

pytestmark = [
    pytest.mark.req("N1", "N1.2", "N6", "X2"),
    pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no unix sockets"),
]

SECONDS = 120
HUNTER = Hunter(haunted.CANARIES)
PLANTED = Hunter([Canary("planted", haunted.PLANTED, (haunted.PLANTED,))])


def asked(place, op):
    """Return the bytes of one answer, as they come through the socket."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(SECONDS)
        raw.connect(str(place))
        raw.sendall(json.dumps({"op": op}).encode() + b"\n")
        got = bytearray()
        while not got.endswith(b"\n"):
            got += raw.recv(1 << 20)
    return bytes(got)


def scraped(log):
    """Return what the endpoint answers, its headers too."""
    (url,) = {json.loads(line)["url"] for line in log.read_text().splitlines() if '"metrics.serving"' in line}
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:
        return str(answer.headers).encode() + answer.read()


@pytest.fixture
def sinks(folder, process, meridian, monkeypatch):
    """Everything that came out, as bytes, by the name of the sink."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    target = f"{haunted.__file__}:build"
    log = folder / "stderr.log"
    with log.open("wb") as stderr:
        started = process(
            "run", "--inspect", "--log-level", "debug", target, stderr=stderr,
            env={"XDG_RUNTIME_DIR": str(folder), "MERIDIAN_METRICS_PORT": "0"},
        )  # fmt: skip
        assert started.stdout.readline() == f"ready {haunted.PLANTED}\n"
        place = socket_path(started.pid)
        found = {f"socket: {op}": asked(place, op) for op in ("snapshot", "events")}
        if find_spec("prometheus_client") is not None:
            found["metrics over HTTP"] = scraped(log)
        pid = str(started.pid)
        for name, command in {
            "top": ("top", "--once", "--interval", "0.3", "--pid", pid),
            "top as JSON": ("top", "--json", "--interval", "0.3", "--pid", pid),
            "profile": ("profile", "--seconds", "0.5", "--pid", pid, "--out", "a.json", "--plot", "plot.svg"),
            "profile as JSON": ("profile", "--seconds", "0.5", "--pid", pid, "--json", "--out", "b.json"),
            "profile drawn as a page": ("profile", "--seconds", "0.3", "--pid", pid, "--plot", "plot.html"),
            "compare as JSON": ("compare", "a.json", "b.json", "--json"),
            "lint": ("lint", target),
            "lint as JSON": ("lint", target, "--json"),
        }.items():
            said = meridian(*command)
            assert not isinstance(said.exception, Exception), said.output
            found[name] = said.output.encode()
        os.kill(started.pid, signal.SIGTERM)
        out, _ = started.communicate(timeout=SECONDS)
        found["stdout"] = f"{haunted.PLANTED}\n{out}".encode()  # of which a line was read already
    for file in folder.iterdir():
        if file.is_file():
            found[f"file {file.name}"] = file.read_bytes()
    return found


def test_no_canary_is_in_any_sink_and_each_sink_is_known_to_be_searched(sinks):
    assert {name: seen[:3] for name, data in sinks.items() if (seen := HUNTER.survivors(data))} == {}
    assert [name for name, data in sinks.items() if not PLANTED.survivors(data)] == []
