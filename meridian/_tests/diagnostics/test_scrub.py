"""What may stand in a bundle: nothing that names the machine or its owner, nothing that a rule knows, and counts of both."""

import os
import platform
import sysconfig
from dataclasses import dataclass

import pytest

from meridian.diagnostics import DiagnosticsError
from meridian.diagnostics import scrub as scrub_module
from meridian.diagnostics.environment import OTHER_VALUE, VARIABLES, gather_environment
from meridian.diagnostics.runtime import facts_of, folder_of, shown_command, variables_of
from meridian.diagnostics.scrub import GENERIC_NAMES, Scrub, host_names, user_names
from meridian.diagnostics.texts import LOG_BYTES, log_tail

pytestmark = pytest.mark.req("N1.2", "X2")


@pytest.fixture
def scrub(monkeypatch):
    monkeypatch.setattr(scrub_module, "machine_places", lambda: {"/home/jdoe": "<home>", "/tmp": "<tmp>"})
    monkeypatch.setattr(scrub_module, "user_names", lambda: {"jdoe"})
    monkeypatch.setattr(scrub_module, "host_names", lambda: {"db7.corp.example", "db7"})
    return Scrub({"<cwd>": "/home/jdoe/shop"})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/jdoe/shop/app.py:3", "<cwd>/app.py:3"),
        ("/home/jdoe/other/app.py", "<home>/other/app.py"),
        ("in '/home/jdoe'", "in '<home>'"),
        ("/home/jdoe2/x.py", "<path>/x.py"),
        ("/opt/acme/secret project/x.py", "<path>/secret project/x.py"),
        ("can't open /srv/customers/acme/list.csv: no such file", "can't open <path>/list.csv: no such file"),
        ("jdoe@DB7: db7.corp.example", "<user>@<host>: <host>"),
        ("jdoes and db77", "jdoes and db77"),
        ("sub/graph:out->b:in", "sub/graph:out->b:in"),
        ("https://docs.example/a/b", "https://docs.example/a/b"),
        ("mail jane@example.org now", "mail [redacted:email] now"),
        ("a node", "a node"),
    ],
)
def test_a_text_is_made_anonymous_and_then_redacted(scrub, text, shown):
    assert scrub.text(text) == shown
    assert scrub.document(text) == shown


def test_what_is_scrubbed_is_counted_by_rule_each_time(scrub):
    for _ in range(2):
        scrub.text("jane@example.org wrote to jdoe from /home/jdoe/x")
        scrub.text("it said [redacted] and [redacted:jwt]")
        scrub.text("nothing here")
    assert scrub.counts() == {"email": 2, "error_message": 2, "jwt": 2, "path": 2, "user_name": 2}


@dataclass
class Inner:
    name: str
    note: None = None


def test_plain_data_has_the_declared_fields_and_every_text_is_scrubbed(scrub):
    value = {"jdoe": (Inner("jdoe"), 3, 2.5, True, None)}
    assert scrub.plain(value) == {"<user>": [{"name": "<user>", "note": None}, 3, 2.5, True, None]}
    with pytest.raises(TypeError, match="a object has no place"):
        scrub.plain(object())


def test_names_that_tell_nothing_are_not_replaced(monkeypatch):
    monkeypatch.setenv("USER", "root")
    monkeypatch.setenv("LOGNAME", "jo")
    monkeypatch.setattr(platform, "node", lambda: "localhost")
    monkeypatch.setenv("HOSTNAME", "")
    assert not user_names() & {"root", "jo"}
    assert host_names() == set()
    assert all(name == name.lower() for name in GENERIC_NAMES)


def test_the_owner_and_the_machine_are_known_by_all_their_names(monkeypatch):
    monkeypatch.setenv("LOGNAME", "jane.doe")
    monkeypatch.setattr(platform, "node", lambda: "web3.corp.example")
    monkeypatch.delenv("HOSTNAME", raising=False)
    assert "jane.doe" in user_names()
    assert host_names() == {"web3.corp.example", "web3"}


def test_the_folders_of_a_machine_have_names():
    library = sysconfig.get_path("purelib")
    scrubbed = Scrub({"<cwd>": os.getcwd()})
    assert scrubbed.text(f"{library}/meridian/x.py") == "<site-packages>/meridian/x.py"
    assert scrubbed.text(f"{os.getcwd()}/app.py") == "<cwd>/app.py"
    assert scrubbed.text(f"{os.path.expanduser('~')}") in ("<home>", "/")


# ---- commands and variables ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], ()),
        (
            ["/usr/bin/python3.11", "-m", "meridian", "run", "--inspect", "shop.app:build"],
            ("python", "-m", "meridian", "run", "--inspect", "<argument>"),
        ),
        (["/srv/bin/meridian", "run", "app.py"], ("meridian", "run", "<argument>")),
        (
            ["hunter2", "--password=hunter2", "-phunter2", "run", "--", "x"],
            ("<program>", "--password=<argument>", "<argument>", "<argument>", "--", "<argument>"),
        ),
        (["python", "-c", "print('hunter2')"], ("python", "-c", "<argument>")),
        (["python", "--Hunter2", "meridian"], ("python", "<argument>", "<argument>")),
    ],
)
def test_of_a_command_its_shape_is_told_and_no_word_that_somebody_chose(words, shown):
    assert shown_command(words) == shown


def test_variables_are_told_by_name_from_a_list_and_values_only_where_they_are_known():
    given = {
        "MERIDIAN_ENGINE": "python",
        "MERIDIAN_INSPECT": "/run/hunter2.sock",
        "PYTHONPATH": "/home/hunter2",
        "AWS_SECRET_ACCESS_KEY": "hunter2",
        "MERIDIAN_HUNTER2": "1",
    }
    made = gather_environment(given)
    assert [(each.name, each.value) for each in made.variables] == [
        ("MERIDIAN_ENGINE", "python"),
        ("MERIDIAN_INSPECT", OTHER_VALUE),
        ("PYTHONPATH", None),
    ]
    assert (made.other_variables, made.variables_of) == (2, "process")
    assert "hunter2" not in repr(made).lower()
    assert all(name.startswith("MERIDIAN_") for name, values in VARIABLES.items() if values)


def test_an_engine_that_can_not_be_had_is_told_without_the_value_that_asked_for_it(monkeypatch):
    monkeypatch.setenv("MERIDIAN_ENGINE", "hunter2")
    made = gather_environment(None)
    assert (made.engine, made.engine_reason) == (None, "MERIDIAN_ENGINE asks for one that can't be had")
    assert made.variables_of == "command"


# ---- what the system knows -------------------------------------------------------------------------------------------


def test_what_the_system_tells_of_a_process_is_read_from_its_files(tmp_path):
    place = tmp_path / "7"
    (place / "fd").mkdir(parents=True)
    (place / "fd" / "0").touch()
    # state, ..., utime and stime (14, 15), threads (20), starttime (22), rss (24), counted as the manual does
    rest = ["T", *["0"] * 10, "250", "50", *["0"] * 4, "3", "0", "1000", "0", "10", "0"]
    (place / "stat").write_text(f"7 (a) b) {' '.join(rest)}")
    (place / "cmdline").write_bytes(b"python\0-c\0x\0")
    (place / "environ").write_bytes(b"A=1\0B=2=3\0")
    (tmp_path / "uptime").write_text("100.0 50.0\n")
    tick = os.sysconf("SC_CLK_TCK")
    assert facts_of(7, tmp_path) == {
        "state": "stopped",
        "cpu_s": 300 / tick,
        "threads": 3,
        "memory_bytes": 10 * os.sysconf("SC_PAGE_SIZE"),
        "age_s": 100.0 - 1000 / tick,
        "command": ("python", "-c", "<argument>"),
        "open_files": 1,
        "same_interpreter": False,
    }
    assert variables_of(7, tmp_path) == {"A": "1", "B": "2=3"}


def test_where_the_system_tells_nothing_nothing_is_made_up(tmp_path):
    assert facts_of(7, tmp_path) == {}
    assert (variables_of(7, tmp_path), folder_of(7, tmp_path)) == (None, None)


# ---- a log file ------------------------------------------------------------------------------------------------------


def test_a_log_is_scrubbed_line_by_line_and_as_a_whole(scrub, tmp_path):
    log = tmp_path / "app.log"
    lines = [
        "user jane@example.org logged in",
        '{"event": "x", "password": "hunter2", "n": 3}',
        "-----BEGIN PRIVATE KEY-----",
        "aGVsbG8gd29ybGQsIHRoaXMgaXMgYSBrZXkgdGhhdCBub2JvZHkgdXNlcw==",
        "-----END PRIVATE KEY-----",
        "{not json",
        "done",
    ]
    log.write_text("\n".join(lines))
    assert log_tail(log, scrub).splitlines() == [
        "user [redacted:email] logged in",
        '{"event": "x", "password": "[redacted:secret_key]", "n": 3}',
        "[redacted:private_key]",
        "{not json",
        "done",
    ]


def test_of_a_long_log_whole_lines_of_its_end_are_taken(scrub, tmp_path):
    log = tmp_path / "app.log"
    log.write_text("".join(f"line {i} of jane{i}@example.org\n" for i in range(20_000)))
    shown = log_tail(log, scrub).splitlines()
    assert shown[0].startswith("[about ")
    assert shown[-1] == "line 19999 of [redacted:email]"
    assert all(line.startswith("line ") for line in shown[1:])
    assert len(log_tail(log, scrub)) <= LOG_BYTES + 200


def test_a_key_that_begins_before_the_end_of_a_log_is_recognised(scrub, tmp_path):
    log = tmp_path / "app.log"
    body = [f"{i:04}QWxsIHdvcmsgYW5kIG5vIHBsYXkgbWFrZXMgSmFjayBhIGR1bGwgYm95IQ" for i in range(400)]
    key = "\n".join(["-----BEGIN PRIVATE KEY-----", *body, "-----END PRIVATE KEY-----"])
    log.write_text("x" * 100 + "\n" + key + "\n" + "line\n" * ((LOG_BYTES - len(key) // 2) // 5))
    shown = log_tail(log, scrub)
    assert "QWxsIHdvcms" not in shown
    assert shown.splitlines()[-1] == "line"


def test_what_is_no_file_is_said_to_be_none(scrub, tmp_path):
    with pytest.raises(DiagnosticsError, match="is no file"):
        log_tail(tmp_path, scrub)


def test_bytes_that_are_no_text_are_shown_as_such(scrub, tmp_path):
    log = tmp_path / "app.log"
    log.write_bytes(b"a\xff\xfeb\n")
    assert log_tail(log, scrub) == "a��b\n"


def test_a_line_that_can_not_be_read_takes_no_other_with_it(scrub, tmp_path):
    log = tmp_path / "app.log"
    log.write_text("first\n" + "\0".join("jane@example.org") + "\n\0odd\nlast\n")
    assert log_tail(log, scrub) == "first\n[redacted:email]\nodd\nlast\n"
