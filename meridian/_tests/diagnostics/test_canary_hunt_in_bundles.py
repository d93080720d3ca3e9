"""Five hundred canaries at every place that a bundle is made from; none may be in it, in any form.

They are what a graph handles, what its code raises, the names of its nodes, lines of its log in every shape, and the
environment, the command line, the configuration and the code of the project.
"""

import dataclasses
import json
import os
import subprocess
import sys

import pytest

from meridian._tests.introspect.in_a_thread import PATIENT_S, running
from meridian._tests.redaction.canaries import SHAPES, Hunter, corpus, failing
from meridian.diagnostics import Bundle, Request, collect, read_bundle
from meridian.diagnostics.manifest import CATALOGUE, MANIFEST
from meridian.introspect import serve
from meridian.observability import get_logger

pytestmark = [
    pytest.mark.req("N1", "N1.2", "X2"),
    pytest.mark.skipif(sys.platform != "linux", reason="sockets and /proc as Linux has them"),
]

CANARIES = corpus()
HUNTER = Hunter(CANARIES)
TEXT_SHAPES = [make for make in SHAPES.values() if isinstance(make("x"), str)]


def survivors(opened: Bundle):
    """Every canary in the unpacked members."""
    found = []
    for name in (MANIFEST, *(each.name for each in opened.manifest.members)):
        found += [(name, each) for each in HUNTER.survivors(opened.member(name))]
    return found


def fail(canary):
    raise failing(canary)


def test_no_canary_of_a_running_graph_or_its_log_is_in_a_bundle(folder):
    log = folder / "app.log"
    with log.open("w", encoding="utf-8", errors="surrogatepass") as file:
        for i, canary in enumerate(CANARIES):
            file.write(f"{i} {TEXT_SHAPES[i % len(TEXT_SHAPES)](canary.text)}\n")
            file.write(json.dumps({"event": "order", "line": canary.text, "password": canary.text}) + "\n")
    names = "/".join(canary.text.replace("/", "|") for canary in CANARIES[::25])
    with serve() as server, running(fail, feed=[canary.text for canary in CANARIES], name=names):
        for canary in CANARIES:
            get_logger().error(
                canary.text, canary.text, node=canary.text, where=canary.text, customer=canary.text
            )
        made = collect(Request(process=server.path, log=log, timeout_s=PATIENT_S), wait=lambda _: None)
    opened = read_bundle(made.content)
    assert {"snapshots.json", "events.json", "logs.json", "metrics.prom", "log.txt", "topology.json"} <= {
        each.name for each in opened.manifest.members
    }
    assert len(opened.data("logs.json")["records"]) == 256
    assert opened.data("snapshots.json")["runs"][0]["now"]["errors_total"] == len(CANARIES)
    assert opened.member("log.txt").count(b"\n") > 100
    assert survivors(opened) == []
    assert sum(made.manifest.scrubbed.values()) > 500
    for rule in ("email", "jwt", "private_key", "card", "error_message", "secret_key"):
        assert made.manifest.scrubbed[rule] > 0


SECRETIVE = """
import sys
from pathlib import Path
from meridian import graph, sink, source
CANARIES = Path(__file__).with_name("canaries").read_text().split(chr(30))
print(CANARIES)
def build():
    return graph("g", source(CANARIES, name="|".join(CANARIES[::40])) >> sink(print, name=sys.argv[1]))
def broken():
    made = build()
    made.edges[0].source_node = CANARIES[1]
    return made
def loud():
    raise RuntimeError(CANARIES)
"""

WAITING = """
import sys
from meridian import Scheduler, graph, sink
from meridian.core.function import Inlet
scheduler = Scheduler(inspect=True)
scheduler.register(graph("g", Inlet("in") >> sink(print, name="out")))
scheduler.run()
"""


@pytest.mark.parametrize("attribute", ["build", "broken", "loud", "missing"])
def test_no_canary_of_a_project_is_in_a_bundle(folder, attribute):
    texts = [canary.text.replace("\x1e", "") for canary in CANARIES]
    (folder / "canaries").write_text("\x1e".join(texts), encoding="utf-8")
    (folder / "app.py").write_text(SECRETIVE, encoding="utf-8")
    (folder / "pyproject.toml").write_text(f"[tool.x]\nsecrets = {json.dumps(texts)}\n", encoding="utf-8")
    request = Request(target=f"app.py:{attribute}", args=[texts[3]], timeout_s=PATIENT_S)
    opened = read_bundle(collect(request).content)
    assert survivors(opened) == []
    assert {"configuration.json", "environment.json"} <= {each.name for each in opened.manifest.members}


def test_no_canary_of_a_command_line_or_an_environment_is_in_a_bundle(tmp_path):
    texts = [canary.text.replace("\0", "") for canary in CANARIES if "\n" not in canary.text]
    environment = {
        **os.environ,
        **{f"SETTING_{i}": text for i, text in enumerate(texts)},
        "MERIDIAN_TOKEN": texts[0],
        "PYTHONPATH": os.pathsep.join([*sys.path, texts[1].replace(os.pathsep, "")]),
        "LANG": texts[2],
    }
    with subprocess.Popen(
        [sys.executable, "-c", WAITING, *texts, *(f"--key={text}" for text in texts)],
        env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as started:  # fmt: skip
        try:
            for text in started.stderr:
                if "scheduler.ready" in text:
                    break
            made = collect(Request(process=started.pid, timeout_s=PATIENT_S), wait=lambda _: None)
        finally:
            started.kill()
            started.stderr.close()
    opened = read_bundle(made.content)
    said = opened.data("runtime.json")
    assert (said["answered"], len(said["command"])) == (True, 3 + 2 * len(texts))
    assert opened.data("environment.json")["other_variables"] > len(texts)
    assert survivors(opened) == []


@pytest.mark.parametrize("name", [MANIFEST, *(kind.name for kind in CATALOGUE)])
def test_a_leak_that_is_planted_in_a_member_is_found(name):
    """Each member is made once with a canary in it, so that a hunter that finds nothing is known to look there."""
    canary = CANARIES[17]
    members = {MANIFEST: b"{}", name: f"...{canary.text}...".encode()}
    made = collect(Request(), wait=lambda _: None)
    manifest = dataclasses.replace(
        made.manifest,
        members=tuple(
            dataclasses.replace(made.manifest.members[0], name=each) for each in members if each != MANIFEST
        ),
    )
    assert {member for member, _ in survivors(Bundle(manifest, members))} == {name}
