"""No canary comes out of a process that handles them, wherever one looks: streams, socket, metrics, commands, files.

One process is looked at in every way there is, and what came out is searched twice: for canaries, of which there may be
none, and for a name that is planted in the graph and that each sink shows, so that each is known to be searched.
"""

import json
import os
import signal
import socket
import time
import urllib.request
from importlib.util import find_spec
from zipfile import ZipFile

import pytest

from meridian._tests.cli import haunted
from meridian._tests.redaction.canaries import Canary, Hunter
from meridian.introspect import attach
from meridian.introspect.wire import socket_path
from meridian.observability.events import get_events

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
            more = raw.recv(1 << 20)
            assert more, f"the answer to {op} ended after {len(got)} bytes"
            got += more
    return bytes(got)


def logged(place):
    """Return answers with the last log lines, as many as it takes: other lines crowd out those of one node, for a while."""
    found = bytearray()
    until_s = time.monotonic() + SECONDS
    while not PLANTED.survivors(bytes(found)) and time.monotonic() < until_s:
        found += asked(place, "logs")
    return bytes(found)


def scraped(log):
    """Return what the endpoint answers, its headers too."""
    (url,) = {json.loads(line)["url"] for line in log.read_text().splitlines() if '"metrics.serving"' in line}
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:
        return str(answer.headers).encode() + answer.read()


def screens(pid):
    """Return what all screens of the terminal inspector show of a process, with the details of each row."""
    from meridian._tests.inspect.test_top import play, press, screen
    from meridian.inspect.reader import Reader

    with attach(pid, timeout_s=SECONDS) as client:
        reader = Reader(lambda: [pid], lambda place: client)
        readings = [reader.read(), reader.read()]
    shown = []

    async def script(app, pilot):
        shown.append(screen(app))
        for tab in "2345":
            await press(pilot, tab)
            shown.append(screen(app))
            await press(pilot, "enter")
            shown.append(screen(app))
            await press(pilot, "escape")

    play(script, size=(200, 100), readings=readings)
    return "\n".join(shown).encode()


@pytest.fixture
def otlp():
    """Options and environment that send everything to a collector; nothing where its packages are missing."""
    try:
        from meridian._tests.observability.adapters.collector import Collector
    except ImportError:
        yield None, (), {}
        return
    collector = Collector(get_events())
    yield (
        collector,
        ("--otel",),
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_TRACES_SAMPLER": "traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.02",
        },
    )
    collector.close()


@pytest.fixture
def sinks(folder, process, meridian, monkeypatch, otlp):
    """Everything that came out, as bytes, by the name of the sink."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    target = f"{haunted.__file__}:build"
    log = folder / "stderr.log"
    collector, options, environment = otlp
    with log.open("wb") as stderr:
        started = process(
            "run", "--inspect", "--log-level", "debug", *options, target, stderr=stderr,
            env={"XDG_RUNTIME_DIR": str(folder), "MERIDIAN_METRICS_PORT": "0", **environment},
        )  # fmt: skip
        assert started.stdout.readline() == f"ready {haunted.PLANTED}\n"
        place = socket_path(started.pid)
        found = {f"socket: {op}": asked(place, op) for op in ("snapshot", "numbers", "events")}
        found["socket: logs"] = logged(place)
        if find_spec("prometheus_client") is not None:
            found["metrics over HTTP"] = scraped(log)
        if find_spec("textual") is not None:
            found["screens of top"] = screens(started.pid)
        pid = str(started.pid)
        for name, command in {
            "top": ("top", "--once", "--interval", "0.3", "--pid", pid),
            "top as JSON": ("top", "--json", "--interval", "0.3", "--pid", pid),
            "profile": ("profile", "--seconds", "0.5", "--pid", pid, "--out", "a.json", "--plot", "plot.svg"),
            "profile as JSON": ("profile", "--seconds", "0.5", "--pid", pid, "--json", "--out", "b.json"),
            "profile drawn as a page": ("profile", "--seconds", "0.3", "--pid", pid, "--plot", "plot.html"),
            "compare as JSON": ("compare", "a.json", "b.json", "--json"),
            "schema": ("schema", "export", target),
            "bundle": (
                "diagnostics",
                "collect",
                target,
                "--pid",
                pid,
                "--window-s",
                "0.3",
                "--out",
                "bundle.zip",
                "--log",
                "stderr.log",
            ),
            "bundle, as it is shown": ("diagnostics", "inspect", "bundle.zip"),
            "lint": ("lint", target),
            "lint as JSON": ("lint", target, "--json"),
        }.items():
            said = meridian(*command)
            assert not isinstance(said.exception, Exception), said.output
            found[name] = said.output.encode()
        os.kill(started.pid, signal.SIGTERM)
        out, _ = started.communicate(timeout=SECONDS)
        if collector is not None:
            assert set(collector.asked) == {"/v1/traces", "/v1/metrics", "/v1/logs"}
            found["OTLP"] = collector.raw
        found["stdout"] = f"{haunted.PLANTED}\n{out}".encode()  # of which a line was read already
    with ZipFile(folder / "bundle.zip") as bundle:
        found["bundle, unpacked"] = b"\n".join(bundle.read(name) for name in bundle.namelist())
    for file in folder.iterdir():
        if file.is_file():
            found[f"file {file.name}"] = file.read_bytes()
    return found


def test_no_canary_is_in_any_sink_and_each_sink_is_known_to_be_searched(sinks):
    assert {name: seen[:3] for name, data in sinks.items() if (seen := HUNTER.survivors(data))} == {}
    # The command says where the bundle is, and the bundle is compressed; what is in it was searched above.
    nameless = {"bundle", "file bundle.zip"}
    assert {name for name, data in sinks.items() if not PLANTED.survivors(data)} == nameless
