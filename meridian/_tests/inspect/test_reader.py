"""A look never raises: whatever becomes of the process is a reading that says so."""

import os
import subprocess
import sys
import threading

import pytest

from meridian.inspect import reader as reader_module
from meridian.inspect.program import program_of
from meridian.inspect.reader import Looker, Reader, Status
from meridian.introspect import (
    BadAnswerError,
    NoAnswerError,
    NoSocketError,
    NoSuchProcessError,
    NotPermittedError,
    OtherVersionError,
)
from meridian.observability.events import Batch

pytestmark = pytest.mark.req("N6")


class FakeClient:
    """A connection that gives what a script says: snapshots, or what is raised."""

    pid = 4321

    def __init__(self, script, events=()):
        self.script = script
        self.told = events
        self.is_open = True
        self.asked = []

    def look(self, since):
        said = self.script.pop(0)
        if isinstance(said, Exception):
            raise said
        self.asked.append(since)
        new = tuple(each for each in self.told if each.seq > since)
        return said, Batch(new, 0, new[-1].seq if new else since, 0)

    def close(self):
        self.is_open = False


def reader(*script, place=4321, events=(), connect=()):
    """A reader of one process; ``connect`` is what connecting raises, after the first time."""
    left = [None, *connect]
    client = FakeClient(list(script), events)

    def attach(_):
        error = left.pop(0) if left else None
        if error is not None:
            raise error
        return client

    made = Reader(lambda: (place,), attach, lambda: 7.0)
    made.client = client
    return made


def test_a_look_has_snapshots_findings_and_the_events_since_the_look_before(made):
    looking = reader((made.shop(),), (made.shop(1),), events=made.EVENTS)
    first, second = looking.read(), looking.read()
    assert (first.status, first.text, first.pid, first.wall_s) == (Status.LIVE, "", 4321, 7.0)
    assert [shot.at_s for shot in (*first.shots, *second.shots)] == [12.0, 13.0]
    assert (len(first.events), second.events, looking.client.asked) == (3, (), [0, 3])
    assert set(second.findings) == {"4321-1"}


def test_without_a_process_it_teaches_and_waits_for_one():
    there = []
    looking = Reader(lambda: list(there), lambda place: FakeClient([()]), lambda: 0.0)
    reading = looking.read()
    assert reading.status is Status.NONE
    assert "MERIDIAN_INSPECT=1" in reading.text
    there.append(4321)
    assert looking.read().status is Status.ENDED  # it is there, and nothing runs in it


def test_of_several_one_has_to_be_chosen(made, monkeypatch):
    monkeypatch.setattr(reader_module, "program_of", {1: "app.py", 2: ""}.__getitem__)
    looking = Reader(lambda: (1, 2), lambda place: FakeClient([(made.shop(),)]), lambda: 0.0)
    reading = looking.read()
    assert (reading.status, reading.places, reading.programs) == (
        Status.SEVERAL,
        (1, 2),
        {1: "app.py", 2: ""},
    )
    looking.choose(2)
    assert looking.read().status is Status.LIVE


@pytest.mark.req("X2")
@pytest.mark.parametrize(
    ("command", "program"),
    [
        ("/usr/bin/python3.11 -u -X dev /srv/flows/app.py --key s3cret", "app.py"),
        ("python -m shop.flows --key s3cret", "shop.flows"),
        ("python -c print('s3cret')", "python -c"),
        ("python", "python"),
        ("python -m", ""),
        ("/opt/bin/python /opt/bin/meridian run --inspect -q flows/app.py:build -- s3cret", "meridian flows/app.py:build"),
        ("python -m meridian run shop.flows:build -- other.py", "meridian shop.flows:build"),
        ("/opt/bin/meridian run --inspect shop", "meridian"),
        ("/opt/bin/gunicorn s3cret", "gunicorn"),
        ("/opt/bin/ann.lee@example.com", "[redacted:email]"),
        ("/opt/bin/a\x1b[31m", "a?[31m"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_process_is_known_by_its_program_and_no_other_word_of_its_command_line(tmp_path, command, program):
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cmdline").write_text("".join(f"{word}\0" for word in command.split(" ")))
    assert program_of(7, tmp_path) == program


def test_of_a_process_that_is_gone_no_program_is_told(tmp_path):
    assert program_of(7, tmp_path) == ""


@pytest.mark.parametrize(
    ("error", "status", "rule"),
    [
        (NoSuchProcessError("there is no process 4321"), Status.GONE, "process-gone"),
        (NotPermittedError("not yours"), Status.REFUSED, "not-permitted"),
        (OtherVersionError("schema 9"), Status.REFUSED, "other-version"),
    ],
)
def test_a_connection_that_breaks_is_made_again_which_tells_what_happened(made, error, status, rule):
    looking = reader((made.shop(),), BadAnswerError("cut short"), connect=(error,))
    assert looking.read().status is Status.LIVE
    reading = looking.read()
    assert reading.status is status
    assert [each.rule for each in reading.findings[None]] == [rule]
    assert not looking.client.is_open


def test_a_silent_process_is_asked_again(made):
    looking = reader(NoAnswerError("process 4321 didn't answer: it is stopped"), (made.shop(),))
    reading = looking.read()
    assert (reading.status, reading.text) == (Status.SILENT, "process 4321 didn't answer: it is stopped")
    assert reading.findings[None]
    assert looking.read().status is Status.LIVE


def test_a_run_that_ended_is_told_from_a_process_that_is_no_more(made, tmp_path):
    """Of this very process the number is known, and it is there; of one that was reaped only the number is."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait(timeout=60)
    for pid, status in ((os.getpid(), Status.ENDED), (process.pid, Status.GONE)):
        looking = reader(
            (made.shop(),),
            BadAnswerError("cut short"),
            connect=(NoSocketError("nobody"),),
            place=tmp_path / "s",
        )
        looking.client.pid = pid
        looking.read()
        assert looking.read().status is status


def test_what_was_never_seen_is_refused_and_not_gone():
    def attach(_):
        raise NoSuchProcessError("there is no process 4321")

    assert Reader(lambda: (4321,), attach, lambda: 0.0).read().status is Status.REFUSED


@pytest.mark.req("X2")
def test_texts_are_redacted_here_too_and_can_not_steer_a_terminal(made):
    token = "ghp_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8"
    shot = made.shot([made.node(token), made.node("bell\x07\x1b[2J\nline")], [])
    (shown,) = reader((shot,)).read().shots
    assert token not in str(shown)
    assert shown.nodes[1].name == "bell??[2J?line"


def test_a_looker_looks_once_for_each_time_it_is_asked_and_ends():
    told, heard = [], threading.Semaphore(0)

    def tell(reading):
        told.append(reading)
        heard.release()

    looker = Looker(lambda: len(told), tell)
    looker.start()
    for _ in range(3):
        looker.look()
        assert heard.acquire(timeout=60)
    looker.stop()
    looker._thread.join(timeout=60)
    assert (told, looker._thread.is_alive()) == ([0, 1, 2], False)
