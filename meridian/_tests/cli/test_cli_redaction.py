"""A policy file, named by an option or by the environment, holds before anything runs; a wrong one lets nothing out."""

import json
import os

import pytest

from meridian.core.errors import ConfigError
from meridian.core.scheduler import Scheduler, SchedulerConfig
from meridian.redaction import Policy, install, installed, redactor

pytestmark = pytest.mark.req("X2")

SECONDS = 60

APP = """
from meridian import graph, sink, source

print("loaded")

def fail(text):
    raise ValueError(text)

def build():
    return graph("app", source(["canary-90ab ada@example.com"], name="in") >> sink(fail, name="fail"))
"""

OPEN = 'expose = [{ what = "error_messages", reason = "a test" }]\n'

MISTAKES = {
    "key": ('name = "shop"\n\n[[rule]]\nnames = "x"\n', "redaction.toml:4: unknown key 'names'", "did you mean 'name'?"),
    "value": (OPEN + '[[rule]]\nname = "c"\ndetector = "cart"\naction = "drop"\n', "redaction.toml:4: unknown detector 'cart'", "did you mean 'card'?"),
    "toml": ("expose = [\n  {{\n", "redaction.toml:2: isn't TOML", ""),
    "bytes": (b'name = "\xff"\n', "redaction.toml:1: isn't UTF-8", ""),
    "huge": ("#" * 1_000_001, "redaction.toml: is larger than 1,000,000 bytes", ""),
    "missing": (None, "redaction.toml: can't be read: No such file or directory", ""),
    "folder": ("/", "redaction.toml: can't be read: Is a directory", ""),
}  # fmt: skip


@pytest.fixture(autouse=True)
def default_policy(monkeypatch):
    monkeypatch.setattr(installed, "_file", None)
    monkeypatch.delenv("MERIDIAN_REDACTION", raising=False)
    yield
    install(Policy())


def put(folder, content):
    path = folder / "redaction.toml"
    if content == "/":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def one_line(text):
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize("which", MISTAKES)
@pytest.mark.parametrize("by", ["flag", "environment"])
def test_a_file_with_a_mistake_is_refused_before_anything_runs_and_nothing_is_let_out(
    folder, write, meridian, monkeypatch, which, by
):
    content, place, hint = MISTAKES[which]
    put(folder, content)
    write("app.py", APP)
    if by == "flag":
        ran = meridian("run", "--redaction", "redaction.toml", "app.py")
    else:
        monkeypatch.setenv("MERIDIAN_REDACTION", "redaction.toml")
        ran = meridian("run", "app.py")
    assert ran.exit_code == 2
    said = one_line(ran.output)
    assert place in said
    assert hint in said
    assert "loaded" not in ran.output
    assert redactor().policy == Policy()


@pytest.mark.parametrize("by", ["flag", "environment"])
def test_a_good_file_holds_for_the_run_and_its_widening_is_said(write, process, by):
    write("app.py", APP)
    write("redaction.toml", OPEN)
    how = ["--redaction", "redaction.toml"] if by == "flag" else []
    env = {} if by == "flag" else {"MERIDIAN_REDACTION": "redaction.toml"}
    running = process("run", "app.py", "--json", *how, env=env)
    out, err = running.communicate(timeout=SECONDS)
    (error,) = json.loads(out)["errors"]
    assert error["message"] == "canary-90ab [redacted:email]"
    assert "exposure_widened" in err


def test_without_one_the_text_of_the_error_stays_inside(write, process):
    write("app.py", APP)
    out, err = process("run", "app.py", "--json").communicate(timeout=SECONDS)
    assert json.loads(out)["errors"][0]["message"] == "[redacted]"
    assert "canary" not in out + err


def test_an_empty_file_is_the_default_policy(write, meridian):
    write("app.py", APP)
    write("redaction.toml", "")
    ran = meridian("run", "--redaction", "redaction.toml", "app.py")
    assert ran.exit_code == 0
    assert (redactor().policy.rules, redactor().policy.expose) == ((), ())


def test_the_option_wins_over_the_environment_even_if_that_names_a_wrong_file(write, meridian, monkeypatch):
    write("app.py", APP)
    write("mine.toml", 'name = "mine"\n')
    monkeypatch.setenv("MERIDIAN_REDACTION", "nowhere.toml")
    assert meridian("run", "--redaction", "mine.toml", "app.py").exit_code == 0
    assert redactor().policy.name == "mine"


def test_every_command_refuses_a_wrong_file_in_the_environment_also_as_json(write, meridian, monkeypatch):
    write("app.py", APP)
    monkeypatch.setenv("MERIDIAN_REDACTION", "nowhere.toml")
    ran = meridian("info", "--json")
    assert ran.exit_code == 2
    assert "MERIDIAN_REDACTION: nowhere.toml: can't be read" in one_line(ran.output)


def test_a_file_that_changes_while_a_graph_runs_is_not_read_again(write, process):
    write("redaction.toml", "")
    write("app.py", APP.replace("def fail(text):", '''def fail(text):
    from pathlib import Path
    Path("redaction.toml").write_text('expose = [{ what = "error_messages", reason = "late" }]')'''))  # fmt: skip
    running = process("run", "app.py", "--json", "--redaction", "redaction.toml")
    out, err = running.communicate(timeout=SECONDS)
    assert json.loads(out)["errors"][0]["message"] == "[redacted]"
    assert "canary" not in out + err


def test_a_program_of_its_own_goes_by_the_environment_from_its_first_run_on(write, process):
    write("redaction.toml", OPEN)
    code = (
        APP
        + "\nfrom meridian import Scheduler\ns = Scheduler()\ns.register(build())\ns.run()\nprint(s.report().errors[0].message)\n"
    )
    out, _ = process(code=code, env={"MERIDIAN_REDACTION": "redaction.toml"}).communicate(timeout=SECONDS)
    assert out == "loaded\ncanary-90ab [redacted:email]\n"


def test_a_run_refuses_a_wrong_file_in_the_environment_each_time(folder, monkeypatch):
    monkeypatch.setenv("MERIDIAN_REDACTION", os.fspath(folder / "nowhere.toml"))
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"MERIDIAN_REDACTION: nowhere.toml: can't be read"):
            Scheduler().run()
    assert redactor().policy == Policy()


def test_a_file_is_read_once_for_several_runs(folder, monkeypatch):
    put(folder, 'name = "first"\n')
    monkeypatch.setenv("MERIDIAN_REDACTION", "redaction.toml")
    run = Scheduler(SchedulerConfig(shutdown_timeout_s=0)).run
    run()
    put(folder, 'name = "second"\n')
    run()
    assert redactor().policy.name == "first"


def test_a_path_that_is_none_is_refused_like_a_file_that_is_missing():
    from meridian.redaction import PolicyError, install_file

    with pytest.raises(PolicyError, match="it is no path"):
        install_file("a\0b")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_policy_that_one_may_not_read_is_said_to_be_such_a_one(write, meridian, folder, monkeypatch):
    write("app.py", APP)
    put(folder, OPEN)
    (folder / "redaction.toml").chmod(0)
    said = "redaction.toml: can't be read: Permission denied"
    ran = meridian("run", "app.py", "--redaction", "redaction.toml")
    assert (ran.exit_code, ran.stdout, said in one_line(ran.stderr)) == (2, "", True)
    monkeypatch.setenv("MERIDIAN_REDACTION", "redaction.toml")
    ran = meridian("validate", "app.py", "--json")
    assert (ran.exit_code, json.loads(ran.stdout)["error"]) == (2, f"MERIDIAN_REDACTION: {said}")
