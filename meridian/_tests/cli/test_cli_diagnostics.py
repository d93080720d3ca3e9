"""``meridian diagnostics``: where a bundle goes, what is said on the way, what is shown of one, and what is refused."""

import errno
import io
import json
import os
import signal
import stat
import sys
import zipfile
from pathlib import Path

import pytest

from meridian._tests.introspect.in_a_thread import PATIENT_S, running
from meridian.cli import diagnostics as command
from meridian.diagnostics import open_bundle
from meridian.diagnostics.archive import as_json, pack
from meridian.diagnostics.manifest import MANIFEST
from meridian.introspect import serve

pytestmark = [
    pytest.mark.req("N1", "N1.1", "N1.4"),
    pytest.mark.skipif(sys.platform != "linux", reason="sockets and /proc as Linux has them"),
]

PATIENT = ("--timeout-s", str(PATIENT_S), "--window-s", "0")


@pytest.fixture(autouse=True)
def runtime_dir(tmp_path_factory, monkeypatch):
    """Sockets of their own: no other process of this machine is meant."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
    monkeypatch.delenv("MERIDIAN_INSPECT", raising=False)


@pytest.fixture
def alone(process):
    """The command as a process of its own, which sees no other one either."""

    def start(*args, env=(), **options):
        here = {"XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"], **dict(env)}
        return process(*args, env=here, **options)

    return start


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


# ---- where it goes ---------------------------------------------------------------------------------------------------


def test_a_bundle_gets_a_name_of_its_own_in_the_current_folder_and_only_its_owner_may_read_it(
    meridian, folder
):
    ran = meridian("diagnostics", "collect")
    assert ran.exit_code == 0
    (name,) = left_in(folder)
    assert name.startswith("meridian-bundle-20")
    assert f"bundle: {name} (" in ran.stdout
    assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert open_bundle(folder / name).manifest.members
    assert "environment.json     gathered" in ran.stderr
    assert "snapshots.json       left out: no process was named" in ran.stderr
    assert "incomplete" not in ran.stderr


def test_it_goes_to_the_file_or_the_folder_that_is_named(meridian, folder):
    (folder / "sub").mkdir()
    assert meridian("diagnostics", "collect", "--out", "b.zip").exit_code == 0
    assert meridian("diagnostics", "collect", "--out", "sub").exit_code == 0
    assert left_in(folder) == ["b.zip", "sub"]
    assert left_in(folder / "sub")[0].startswith("meridian-bundle-")


def test_a_file_that_is_there_is_kept_unless_it_is_to_be_replaced(meridian, folder):
    (folder / "b.zip").write_text("mine")
    ran = meridian("diagnostics", "collect", "--out", "b.zip")
    assert (ran.exit_code, (folder / "b.zip").read_text()) == (1, "mine")
    assert "b.zip is there already: give another name, or --force to replace it" in ran.stderr
    assert "gathered" not in ran.stderr, "it is noticed before anything is gathered"
    assert meridian("diagnostics", "collect", "--out", "b.zip", "--force").exit_code == 0
    assert open_bundle(folder / "b.zip").manifest


def test_a_file_that_appears_meanwhile_is_kept_too(meridian, folder, monkeypatch):
    write = command.write_file

    def late(place, data, *, replace):
        place.write_text("theirs")
        write(place, data, replace=replace)

    monkeypatch.setattr(command, "write_file", late)
    ran = meridian("diagnostics", "collect", "--out", "b.zip")
    assert (ran.exit_code, (folder / "b.zip").read_text(), left_in(folder)) == (1, "theirs", ["b.zip"])


def test_two_bundles_of_one_second_have_two_names(folder):
    for _ in range(3):
        command._write_new(folder, "b.zip", b"x")
    assert left_in(folder) == ["b-2.zip", "b-3.zip", "b.zip"]


def test_a_folder_that_is_not_there_is_said_not_to_be(meridian, folder):
    ran = meridian("diagnostics", "collect", "--out", "no/b.zip")
    assert (ran.exit_code, left_in(folder)) == (1, [])
    assert "there is no folder no: make it, or give another" in ran.stderr


def failing(number, only=None):
    """A file system that takes nothing, or nothing in one folder."""
    real = command.write_file

    def write(place, data, *, replace):
        if only is None or place.parent == only:
            raise OSError(number, os.strerror(number))
        real(place, data, replace=replace)

    return write


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_where_the_current_folder_can_not_be_written_to_it_goes_to_the_temporary_ones_and_says_so(
    meridian, monkeypatch, tmp_path_factory, number
):
    elsewhere = tmp_path_factory.mktemp("tmp")
    monkeypatch.setattr(command.tempfile, "gettempdir", lambda: str(elsewhere))
    monkeypatch.setattr(command, "write_file", failing(number, only=Path()))
    ran = meridian("diagnostics", "collect")
    assert ran.exit_code == 0
    (name,) = left_in(elsewhere)
    assert f"bundle: {elsewhere / name} (" in ran.stdout
    assert f"the current folder can't be written to ({os.strerror(number)}): taking {elsewhere}" in ran.stderr


def test_a_machine_without_a_place_for_temporary_files_says_so(meridian, folder, monkeypatch):
    def nowhere():
        raise FileNotFoundError(2, "No usable temporary directory")

    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(command.tempfile, "gettempdir", nowhere)
    monkeypatch.setattr(command, "write_file", failing(errno.ENOSPC))
    ran = meridian("diagnostics", "collect")
    assert (ran.exit_code, left_in(folder)) == (1, [])
    assert "No space left on device; No usable temporary directory. Name a place with --out" in ran.stderr


def test_where_nothing_can_be_written_to_that_is_said(meridian, folder, monkeypatch):
    monkeypatch.setattr(command, "write_file", failing(errno.ENOSPC))
    for args in ([], ["--out", "b.zip"]):
        ran = meridian("diagnostics", "collect", *args)
        assert (ran.exit_code, left_in(folder)) == (1, [])
        assert "No space left on device" in ran.stderr


def test_a_disk_that_fills_up_half_way_leaves_no_half_bundle(meridian, folder, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("meridian.diagnostics.archive.os.fsync", full)
    ran = meridian("diagnostics", "collect", "--out", "b.zip")
    assert (ran.exit_code, left_in(folder)) == (1, [])
    assert "can't write b.zip: No space left on device" in ran.stderr


def test_a_file_system_without_hard_links_gets_its_bundle_too(meridian, folder, monkeypatch):
    def link(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("meridian.diagnostics.archive.os.link", link)
    assert meridian("diagnostics", "collect", "--out", "b.zip").exit_code == 0
    assert left_in(folder) == ["b.zip"]
    ran = meridian("diagnostics", "collect", "--out", "b.zip")
    assert ran.exit_code == 1


def test_a_bundle_goes_down_a_pipe_and_everything_else_to_stderr(write, alone):
    write("app.py", "from meridian import graph, sink, source\nprint('loud')\ndef build():\n    print('louder')\n"
          "    return graph('g', source(range(3)) >> sink(print))\n")  # fmt: skip
    started = alone("diagnostics", "collect", "app.py", "--out", "-", text=False)
    out, err = started.communicate(timeout=PATIENT_S)
    assert started.returncode == 0
    with zipfile.ZipFile(io.BytesIO(out)) as archive:
        assert "topology.json" in archive.namelist()
    assert b"bundle: stdout (" in err


def test_a_reader_that_goes_away_is_no_failure(alone):
    started = alone("diagnostics", "collect", "--out", "-", text=False)
    started.stdout.close()
    assert started.wait(PATIENT_S) == 0
    assert b"Traceback" not in started.stderr.read()


def test_out_and_json_do_not_share_stdout(meridian):
    ran = meridian("diagnostics", "collect", "--out", "-", "--json")
    assert ran.exit_code == 2
    assert "both want stdout" in ran.stderr


def test_a_current_folder_that_was_removed_is_no_reason_to_fail(alone, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("tmp")
    code = (
        "import os, sys; here = os.getcwd(); os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n"
        "from meridian.cli import main; main()"
    )
    started = alone("diagnostics", "collect", code=code, env={"TMPDIR": str(elsewhere)})
    out, err = started.communicate(timeout=PATIENT_S)
    assert (started.returncode, len(left_in(elsewhere))) == (0, 1), err
    assert f"bundle: {elsewhere}" in out


# ---- what it is about ------------------------------------------------------------------------------------------------


def test_the_only_process_that_can_be_looked_at_is_meant(meridian, folder):
    with serve(), running(feed=range(3)):
        ran = meridian("diagnostics", "collect", "--out", "b.zip", "--json", *PATIENT)
    said = json.loads(ran.stdout)
    assert (said["path"], said["bytes"]) == ("b.zip", (folder / "b.zip").stat().st_size)
    assert "snapshots.json" in {each["name"] for each in said["manifest"]["members"]}


def test_a_target_alone_is_about_no_process(meridian, write, folder):
    write("app.py")
    with serve(), running():
        assert meridian("diagnostics", "collect", "app.py", "--out", "b.zip", *PATIENT).exit_code == 0
    opened = open_bundle(folder / "b.zip")
    assert [each["of"] for each in opened.data("topology.json")["graphs"]] == ["target"]
    assert opened.data("runtime.json") is None


def test_a_socket_that_nobody_serves_is_a_missing_part(meridian, folder):
    ran = meridian("diagnostics", "collect", "--socket", "nobody.sock", "--out", "b.zip")
    assert ran.exit_code == 0
    assert "incomplete: could not be had: events.json" in ran.stderr
    (found,) = open_bundle(folder / "b.zip").data("findings.json")["findings"]
    assert found["rule"] == "not-served"


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("--pid", "1", "--socket", "x"), "both name a process"),
        (("app.py:1x",), "is not an attribute's name"),
        (("--timeout-s", "nan"), "not a number of seconds"),
    ],
)
def test_a_wrong_command_line_is_refused_before_anything_is_gathered(meridian, folder, args, text):
    ran = meridian("diagnostics", "collect", *args)
    assert (ran.exit_code, left_in(folder)) == (2, [])
    assert text in " ".join(ran.stderr.replace("│", " ").split())


def test_a_log_that_can_not_be_read_is_a_missing_part(meridian, folder):
    ran = meridian("diagnostics", "collect", "--log", "no.log", "--out", "b.zip")
    assert ran.exit_code == 0
    assert "log.txt              left out: no.log is no file" in ran.stderr


def test_ctrl_c_leaves_no_bundle_and_says_so(write, alone, folder):
    write(
        "app.py",
        "import sys, threading\nsys.stdout.close()\nopen('begun', 'w').close()\nthreading.Event().wait()\n",
    )
    os.mkfifo(folder / "begun")
    started = alone("diagnostics", "collect", "app.py", "--out", "b.zip", "--timeout-s", "600")
    (folder / "begun").read_text()  # until TARGET's own code runs
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=PATIENT_S)
    assert (started.returncode, out) == (130, "")
    assert "interrupted" in err
    assert "Traceback" not in err
    assert left_in(folder) == ["app.py", "begun"]


# ---- inspect and verify ----------------------------------------------------------------------------------------------


@pytest.fixture
def bundle(meridian, write, folder):
    """A bundle of a run with an error and a loss, and of a target."""
    write("app.py")

    def fail(n):
        raise ValueError(f"hunter2 {n}")

    with serve(), running(fail, feed=range(3), name="jane@example.com") as _:
        made = meridian(
            "diagnostics", "collect", "app.py", "--pid", str(os.getpid()), "--out", "b.zip", *PATIENT
        )
        assert made.exit_code == 0, made.stderr
    return "b.zip"


def test_inspect_shows_what_is_in_it_what_was_scrubbed_and_what_is_the_matter(meridian, bundle):
    ran = meridian("diagnostics", "inspect", bundle)
    assert ran.exit_code == 0
    for text in (
        f"process {os.getpid()}, ",
        "[node-errors] node '[redacted:email]'",
        "topology.json",
        "log.txt  no log file was named",
        "email",
        "[redacted:email]",
        "edges: 1",
        "TARGET: nodes: 3",
    ):
        assert text in ran.stdout, ran.stdout
    assert "jane" not in ran.stdout
    assert "hunter2" not in ran.stdout


def test_inspect_writes_a_member_as_it_is(meridian, bundle, folder):
    ran = meridian("diagnostics", "inspect", bundle, "--member", "topology.json")
    assert json.loads(ran.stdout) == open_bundle(folder / bundle).data("topology.json")
    ran = meridian("diagnostics", "inspect", bundle, "--member", "metrics.prom", "--json")
    assert "# TYPE meridian_edge_depth gauge" in json.loads(ran.stdout)["content"]
    ran = meridian("diagnostics", "inspect", bundle, "--member", "topology.json", "--json")
    assert json.loads(ran.stdout)["content"]["graphs"]
    ran = meridian("diagnostics", "inspect", bundle, "--member", "log.txt")
    assert ran.exit_code == 2
    assert "has no member 'log.txt': it has manifest.json, " in ran.stderr


def test_inspect_as_json_has_the_manifest_and_every_member(meridian, bundle):
    said = json.loads(meridian("diagnostics", "inspect", bundle, "--json").stdout)
    assert said["path"] == bundle
    assert set(said["members"]) == {each["name"] for each in said["manifest"]["members"]}


def test_verify_says_that_a_bundle_is_whole_or_which_member_is_not(meridian, bundle, folder):
    ran = meridian("diagnostics", "verify", bundle)
    assert (ran.exit_code, ran.stdout.startswith("whole: ")) == (0, True)
    said = json.loads(meridian("diagnostics", "verify", bundle, "--json").stdout)
    assert (said["valid"], said["manifest"]["schema_version"]) == (True, "1.0")
    opened = open_bundle(folder / bundle)
    members = {each.name: opened.member(each.name) for each in opened.manifest.members}
    members["topology.json"] = members["topology.json"].replace(b"block", b"latch")
    (folder / "b.zip").write_bytes(pack({MANIFEST: opened.member(MANIFEST), **members}))
    for what in ("verify", "inspect"):
        ran = meridian("diagnostics", what, bundle)
        assert ran.exit_code == 1
        assert "member topology.json isn't what was packed: its SHA-256 differs" in ran.stderr
    said = json.loads(meridian("diagnostics", "verify", bundle, "--json").stdout)
    assert (said["valid"], said["member"]) == (False, "topology.json")


def test_a_file_that_is_not_there_is_a_wrong_command_line(meridian):
    ran = meridian("diagnostics", "verify", "no.zip")
    assert ran.exit_code == 2
    assert "can't read no.zip: No such file or directory" in ran.stderr


HOSTILE = "\x1b[2J\x07steer"


@pytest.mark.parametrize(
    "changes",
    [
        {"runtime.json": {}},
        {"snapshots.json": {"runs": [{"now": {"schema_version": "1.0"}}]}},
        {"snapshots.json": {"runs": [{"now": {"schema_version": "7.0"}}]}},
        {"snapshots.json": []},
        {"findings.json": {"findings": [{"rule": 3}]}},
        {"topology.json": {"graphs": [{"of": "target", "nodes": 3}]}},
        {"issues.json": {"issues": [[]]}},
    ],
    ids=range(7),
)
def test_a_member_of_another_shape_is_said_to_be_one(meridian, folder, changes):
    (folder / "b.zip").write_bytes(foreign(changes))
    assert meridian("diagnostics", "verify", "b.zip").exit_code == 0, "it is whole, and nonsense"
    ran = meridian("diagnostics", "inspect", "b.zip")
    assert ran.exit_code == 1
    assert f"member {next(iter(changes))} isn't made as this Meridian knows it" in ran.stderr


def foreign(changes, **said):
    """A bundle that somebody else made."""
    import hashlib

    members = {name: as_json(content) for name, content in changes.items()}
    manifest = {
        "schema_version": "1.0",
        "made_by": HOSTILE,
        "made_at": HOSTILE,
        "members": [
            {"name": name, "means": HOSTILE, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in members.items()
        ],
        "missing": [{"name": HOSTILE, "reason": HOSTILE, "failed": True}],
        "policy": "default",
        "exposes": [],
        "scrubbed": {HOSTILE: 3},
        "varies": [],
        **said,
    }
    return pack({MANIFEST: as_json(manifest), **members})


@pytest.mark.req("X2")
def test_nothing_in_a_strangers_bundle_steers_a_terminal(meridian, folder):
    finding = dict.fromkeys(("rule", "severity", "node", "edge", "what", "why", "fix"), HOSTILE)
    graph = {
        "of": "target",
        "nodes": [{"name": HOSTILE, "type": HOSTILE}],
        "edges": [{"id": HOSTILE, "policy": HOSTILE, "capacity": HOSTILE}],
    }
    members = {
        "findings.json": {"findings": [finding]},
        "runtime.json": {"pid": HOSTILE, "state": HOSTILE, "answered": HOSTILE},
        "topology.json": {"graphs": [graph]},
        "issues.json": {
            "issues": [{"level": HOSTILE, "rule": HOSTILE, "message": HOSTILE}],
            "smells": [{"level": HOSTILE, "rule": HOSTILE, "what": HOSTILE}],
        },
    }
    (folder / "b.zip").write_bytes(foreign(members))
    for args in (
        ["inspect"], ["verify"], ["inspect", "--member", MANIFEST], ["inspect", "--json"],
        ["inspect", "--member", "topology.json"],
    ):  # fmt: skip
        ran = meridian("diagnostics", args[0], "b.zip", *args[1:])
        assert ran.exit_code == 0, ran.stderr
        assert not {"\x1b", "\x07"} & set(ran.stdout + ran.stderr)
        assert "steer" in ran.stdout
