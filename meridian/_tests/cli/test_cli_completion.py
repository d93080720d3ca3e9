"""Completion: what the shells offer, and that a real bash takes it."""

import os
import pty
import select
import shlex
import shutil
import subprocess
import sys
import time

import pytest

from meridian.cli import main
from meridian.cli.complete import complete_args, complete_rule, complete_target
from meridian.introspect import serve
from meridian.lint import rules

pytestmark = pytest.mark.req("N1.4")

PATIENCE_S = 60.0


@pytest.fixture
def offered(folder, monkeypatch, capsys):
    """Ask what bash is offered for the last word, as it splits words itself."""

    def offered(*words: str, shell: str = "bash") -> list[str]:
        monkeypatch.setenv("_MERIDIAN_COMPLETE", f"complete_{shell}")
        monkeypatch.setenv("COMP_WORDS", "\n".join(["meridian", *words]))
        monkeypatch.setenv("COMP_CWORD", str(len(words)))
        monkeypatch.setenv("_TYPER_COMPLETE_ARGS", " ".join(["meridian", *words]))
        monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
        with pytest.raises(SystemExit):
            main([])
        return capsys.readouterr().out.split()

    return offered


def test_commands_are_offered(offered):
    assert {"run", "lint", "validate", "nodes", "top", "scaffold"} <= set(offered(""))
    assert offered("scaffold", "") == ["node", "subgraph"]
    assert offered("val") == ["validate"]


def test_commands_are_offered_to_the_one_that_helps(offered):
    assert offered("help", "scaf") == ["scaffold"]
    assert offered("help", "scaffold", "") == ["node", "subgraph"]
    assert offered("help", "lint", "") == offered("help", "nothing", "") == []


def test_options_are_offered(offered):
    assert offered("lint", "--se") == ["--select"]


def test_files_and_folders_are_offered_for_a_target_and_behind_the_colon_what_a_file_defines(write, offered):
    write("app.py")
    write("shop/flows.py")
    assert offered("lint", "") == ["app.py", "shop/"]
    assert offered("lint", "shop/") == ["shop/flows.py"]
    assert offered("lint", "app.py", ":") == ["double", "build"]
    assert offered("lint", "app.py", ":", "bu") == ["build"]
    assert offered("run", "shop.flows", ":", "bu") == ["build"]


def test_in_shells_that_keep_the_word_whole_the_whole_target_is_offered(write):
    write("app.py")
    assert complete_target("app.py:") == ["app.py:double", "app.py:build"]
    assert complete_target("nothing.py:") == complete_target("missing/") == []


class Parsed:
    """What typer knows of the words before."""

    def __init__(self, **params):
        self.params = params


@pytest.mark.parametrize(
    ("params", "incomplete"),
    [
        ({}, ""),
        ({"target": "app.py", "args": []}, "bu"),
        ({"target": "app.py", "args": ["--", "x"]}, "bu"),
        ({"target": None, "args": None}, ""),
    ],
)
def test_arguments_of_the_target_are_its_own(write, params, incomplete):
    write("app.py")
    assert complete_args(Parsed(**params), incomplete) == []


def test_rules_are_offered_one_after_the_other(offered):
    assert offered("lint", "--ignore", "tiny-edge,lossy-d") == ["tiny-edge,lossy-durable"]
    assert offered("lint", "--explain", "") == list(rules())
    assert complete_rule("nothing") == []


def test_values_behind_an_equals_sign_are_offered(write, offered):
    write("app.py")
    assert offered("lint", "--ignore", "=", "tiny-edge,lossy-d") == ["tiny-edge,lossy-durable"]
    assert offered("lint", "--explain", "=") == list(rules())
    assert offered("lint", "--ignore", "=", "tiny-edge", "app.py", ":", "bu") == ["build"]
    assert offered("lint", "--select", "=", "tiny-edge", "--explain", "=", "tiny") == ["tiny-edge"]


def test_nodes_are_offered(offered):
    assert offered("nodes", "CacheN") == ["CacheNode"]


def test_processes_that_let_themselves_be_looked_at_are_offered(offered):
    with serve():
        assert str(os.getpid()) in offered("top", "--pid", "")


def test_zsh_and_fish_are_answered_in_their_own_form(offered):
    assert offered("li", shell="zsh")[:2] == ["_arguments", "'*:"]
    assert offered("li", shell="fish")[0] == "lint"


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "complete -o default -F _meridian_completion meridian"),
        ("zsh", "#compdef meridian"),
        ("fish", "complete --command meridian"),
    ],
)
def test_the_script_for_each_shell_is_shown(monkeypatch, capsys, shell, line):
    monkeypatch.setenv("_MERIDIAN_COMPLETE", f"source_{shell}")
    with pytest.raises(SystemExit):
        main([])
    assert line in capsys.readouterr().out


# ---- a real bash -----------------------------------------------------------------------------------------------------


@pytest.fixture
def shell(folder):
    """An interactive bash at a terminal of its own, in the folder, with the command on its path."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash here")
    command = folder / "bin" / "meridian"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m meridian "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    script = subprocess.run(
        [sys.executable, "-m", "meridian"],
        env={**os.environ, "_MERIDIAN_COMPLETE": "source_bash"},
        capture_output=True, text=True, timeout=PATIENCE_S, check=True,
    ).stdout  # fmt: skip
    (folder / "completion.sh").write_text(script + "\nPS1='READY> '\nbind 'set bell-style none'\n", "utf-8")
    ours, its = pty.openpty()
    bash_process = subprocess.Popen(
        [bash, "--noprofile", "--rcfile", str(folder / "completion.sh"), "-i"],
        env={**os.environ, "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}", "TERM": "dumb"},
        stdin=its, stdout=its, stderr=its, start_new_session=True,
    )  # fmt: skip
    os.close(its)
    yield Terminal(ours)
    bash_process.kill()
    bash_process.wait()
    os.close(ours)


class Terminal:
    """What is typed, and what is shown."""

    def __init__(self, fd: int) -> None:
        self.fd, self.shown = fd, ""

    def wait_for(self, text: str) -> None:
        until = time.monotonic() + PATIENCE_S
        while text not in self.shown:
            ready, _, _ = select.select([self.fd], [], [], max(until - time.monotonic(), 0))
            assert ready, f"{text!r} did not come; there is {self.shown!r}"
            self.shown += os.read(self.fd, 4096).decode("utf-8", "replace")

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())


def test_a_real_bash_completes_commands_targets_and_rules(write, shell):
    write("app.py")
    shell.wait_for("READY> ")
    shell.type("meridian li\tapp\t")
    shell.wait_for("meridian lint app.py")
    shell.type("\x15meridian lint app.py:bu\t--explain tiny\t")
    shell.wait_for("meridian lint app.py:build --explain tiny-edge")
    shell.type("\x15meridian lint app.py --select=tiny\t")
    shell.wait_for("meridian lint app.py --select=tiny-edge")
    shell.type("\x15meridian run app.py:\t\t")
    shell.wait_for("double")
