"""Which running process a command looks at: the one that is named, or the only one there is."""

import os
import socket
import subprocess
import sys

import pytest

from meridian.cli import process as process_module
from meridian.cli.codes import Code, CommandError
from meridian.cli.complete import complete_pid
from meridian.cli.process import choose, connect, inspected, refused
from meridian.introspect import (
    BadAnswerError,
    NoAnswerError,
    NoSocketError,
    NoSuchProcessError,
    NotPermittedError,
    serve,
)
from meridian.introspect.wire import socket_directory

pytestmark = [
    pytest.mark.req("N1.3", "N7"),
    pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no unix sockets"),
]


@pytest.fixture(autouse=True)
def sockets(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "meridian"


def test_a_number_or_a_path_is_taken_as_it_is_and_both_are_refused(tmp_path):
    assert choose(12, None) == 12
    assert choose(None, str(tmp_path / "s")) == tmp_path / "s"
    with pytest.raises(CommandError, match="--pid 12 and --socket s both name a process"):
        choose(12, "s")


def test_without_either_the_only_one_is_meant():
    with serve():
        assert inspected() == [os.getpid()]
        assert choose(None, None) == os.getpid()


def test_where_there_is_none_it_is_said_how_to_start_one(sockets):
    for there in (False, True):
        if there:
            sockets.mkdir(mode=0o700)
        with pytest.raises(CommandError, match="meridian run --inspect TARGET") as caught:
            choose(None, None)
        assert caught.value.code == Code.USAGE


def test_where_there_are_several_they_are_listed(sockets):
    other = socket.socket(socket.AF_UNIX)
    with serve(), other:
        other.bind(str(sockets / f"{os.getppid()}.sock"))
        other.listen()
        both = sorted((os.getpid(), os.getppid()))
        with pytest.raises(CommandError) as caught:
            choose(None, None)
        assert f"say which, --pid {both[0]} or --pid {both[1]}" in str(caught.value)


def test_what_is_left_over_and_what_is_no_socket_does_not_count(sockets):
    sockets.mkdir(mode=0o700)
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    left_over = socket.socket(socket.AF_UNIX)
    left_over.bind(str(sockets / f"{os.getpid()}.sock"))
    left_over.close()
    (sockets / f"{int(dead.stdout)}.sock").touch()
    (sockets / "12.sock.txt").touch()
    assert inspected() == []


def test_a_folder_of_somebody_else_is_not_looked_into(monkeypatch):
    with serve():
        monkeypatch.setattr(process_module.os, "geteuid", lambda: -1)
        assert inspected() == []


def test_where_nobody_made_a_folder_nothing_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "no"))
    assert socket_directory() != tmp_path / "no"
    monkeypatch.setattr(process_module, "socket_directory", lambda: tmp_path / "no" / "meridian")
    assert inspected() == []


@pytest.mark.parametrize("place", [None, os.getpid()])
def test_where_sockets_have_no_place_it_is_said_what_to_set(monkeypatch, meridian, place):
    def gettempdir():
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.gettempdir", gettempdir)
    named = () if place is None else ("--pid", str(place))
    ran = meridian("profile", *named)
    assert ran.exit_code == 2
    assert "there is no place for sockets: No usable temporary directory found" in ran.stderr
    assert "Set XDG_RUNTIME_DIR to a folder of yours" in ran.stderr
    assert complete_pid() == []


@pytest.mark.parametrize("command", [("top",), ("top", "--once"), ("profile",)])
def test_a_place_that_is_no_folder_is_said_to_be_none(sockets, meridian, command):
    sockets.touch()
    ran = meridian(*command)
    assert ran.exit_code == 2
    assert f"can't look for processes in '{sockets}': Not a directory" in ran.stderr


def test_a_process_that_cannot_be_looked_at_is_told_with_the_cause(tmp_path):
    with pytest.raises(CommandError, match="serves") as caught:
        connect(tmp_path / "s")
    assert isinstance(caught.value.__cause__, NoSocketError)
    with serve() as server, connect(server.path, timeout_s=60) as client:
        assert client.pid == os.getpid()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NoAnswerError, Code.FAILED),
        (BadAnswerError, Code.FAILED),
        (NoSuchProcessError, Code.USAGE),
        (NoSocketError, Code.USAGE),
        (NotPermittedError, Code.USAGE),
    ],
)
def test_the_exit_code_tells_a_process_that_is_silent_from_one_that_is_not_there(error, code):
    assert refused(error("said")).code == code
