"""The log pipeline with --inspect: whoever looks sees how it does, and no address of a visitor."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from meridian.cli.app import app
from meridian.introspect import attach
from meridian.redaction import redactor

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "access_log"
SECONDS = 60.0
LINES = 400

pytestmark = [
    pytest.mark.req("N6", "N11", "X2"),
    pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no unix sockets"),
]


def address(n: int) -> str:
    """A visitor's address, as they stand in real logs."""
    return f"2001:db8:7:{n:x}::{n + 17:x}" if n % 5 == 0 else f"203.0.113.{n % 250 + 1}"


def line(n: int) -> bytes:
    """One line of Apache's combined format; one in forty is broken behind its address."""
    if n % 40 == 39:
        return f"{address(n)} - - [17/May/2026:10:05:03\n".encode()
    return (
        f'{address(n)} - - [17/May/2026:10:05:{n % 60:02} +0000] "GET /page/{n % 9}?from={address(n)} HTTP/1.1" '
        f'200 {n} "http://{address(n)}/" "agent"\n'
    ).encode()


def test_no_address_of_a_visitor_is_seen_from_outside_or_in_what_it_logs(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "access.log"
    log.write_bytes(b"".join(map(line, range(LINES))))
    command = [sys.executable, str(EXAMPLE / "demo.py"), "--log", str(log), "--follow", "--inspect", "--json"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        until_s = time.monotonic() + SECONDS
        while not (tmp_path / "meridian" / f"{started.pid}.sock").exists():
            assert time.monotonic() < until_s
            assert started.poll() is None
            time.sleep(0.02)
        with attach(started.pid, timeout_s=SECONDS) as client:
            while (now := client.snapshot()).node("visits").handled < LINES - LINES // 40:
                assert time.monotonic() < until_s
            seen = [now.as_json(), json.dumps([each.as_dict() for each in client.events().events])]
        pid = str(started.pid)
        for args in (
            ("top", "--once", "--interval", "0.2", "--pid", pid),
            ("top", "--json", "--interval", "0.2", "--pid", pid),
            ("profile", "--seconds", "0.3", "--pid", pid, "--out", "profile.json"),
        ):
            said = CliRunner().invoke(app, list(args))
            assert said.exit_code == 0, said.output
            seen.append(said.output)
        seen.append((tmp_path / "profile.json").read_text())
        os.kill(started.pid, signal.SIGINT)
        out, err = started.communicate(timeout=SECONDS)
    finally:
        started.kill()
        started.wait()
    assert json.loads(out)["parsed"] == LINES - LINES // 40
    seen += [out.decode(), err.decode()]
    for text in seen:
        assert [n for n in range(LINES) if address(n) in text] == []
    assert all("lookup" in text for text in (seen[0], *seen[2:5])), "they do show the nodes"


def test_what_is_left_of_an_address_that_somebody_logs_is_its_network():
    shown = redactor().text(line(1).decode())
    assert address(1) not in shown
    assert "203.0.113.0/24" in shown
