"""Whatever looks at a process in trouble names the culprit: the node or edge where it begins, or the process itself."""

import json
import os
import signal
import socket
import time

import pytest

from meridian._tests.cli import culprits
from meridian._tests.cli.culprits import CULPRITS
from meridian.cli.process import connect
from meridian.diagnostics import open_bundle

pytestmark = [
    pytest.mark.req("N1", "N1.3", "N6"),
    pytest.mark.skipif(
        not hasattr(socket, "AF_UNIX") or not hasattr(signal, "SIGSTOP"),
        reason="this system has no unix sockets, or can't stop processes",
    ),
]

PATIENCE_S = 60.0
"""Until a culprit is named. Most are at the first look; on a loaded machine some need a second one."""


@pytest.fixture
def troubled(folder, process, monkeypatch):
    """Start the graph of that name, and wait until its trouble has begun."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))

    def start(name):
        target = f"{culprits.__file__}:{name}"
        started = process(
            "run", "--inspect", "--quiet", "--log-level", "error", target,
            env={"XDG_RUNTIME_DIR": str(folder)}, stderr=None,
        )  # fmt: skip
        assert started.stdout.readline() == "ready\n"
        if name == "stopped":
            os.kill(started.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, started.pid, os.WSTOPPED)
            monkeypatch.setitem(connect.__kwdefaults__, "timeout_s", 1.0)  # it won't answer after five either
        return started

    return start


def first_of(findings):
    return (findings[0]["rule"], findings[0]["node"], findings[0]["edge"]) if findings else None


def named(look, wanted):
    """Look until the culprit is the first of the findings; return the findings."""
    until_s = time.monotonic() + PATIENCE_S
    while True:
        findings = look()
        if first_of(findings) == wanted or time.monotonic() > until_s:
            assert first_of(findings) == wanted
            return findings


def by_top(meridian, started):
    return said(meridian("top", "--once", "--json", "--interval", "0.6", "--pid", str(started.pid)))


def by_profile(meridian, started):
    how = ("--seconds", "0.6", "--hz", "5", "--timeout-s", "2")
    return said(meridian("profile", "--json", *how, "--pid", str(started.pid)))


def said(ran):
    assert "canary" not in ran.output
    return json.loads(ran.stdout)["findings"]


def by_bundle(meridian, started):
    patience = "1" if "stopped" in started.args[-1].rpartition(":") else str(PATIENCE_S)
    ran = meridian(
        "diagnostics", "collect", "--pid", str(started.pid), "--out", "b.zip", "--force",
        "--window-s", "0.6", "--timeout-s", patience,
    )  # fmt: skip
    assert ran.exit_code == 0
    bundle = open_bundle("b.zip")
    assert not any(b"canary" in bundle.member(each.name) for each in bundle.manifest.members)
    return bundle.data("findings.json")["findings"]


@pytest.mark.parametrize("name", CULPRITS)
def test_top_a_profile_and_a_bundle_name_the_culprit(name, troubled, meridian):
    started = troubled(name)
    for look in (by_top, by_profile, by_bundle):
        found = named(lambda look=look: look(meridian, started), CULPRITS[name])
        assert all(found[0][key] for key in ("what", "why", "fix"))
