"""Completion: what the shells offer, and that real ones take it."""

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
from meridian.cli.complete import complete_rule, complete_target
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
    assert offered("lint", "app.py", ":") == ["build"]
    assert offered("lint", "app.py", ":", "bu") == ["build"]
    assert offered("run", "shop.flows", ":", "bu") == ["build"]


def test_in_shells_that_keep_the_word_whole_the_whole_target_is_offered(write):
    write("app.py")
    assert complete_target("app.py:") == ["app.py:build"]
    assert complete_target("nothing.py:") == complete_target("missing/") == []


@pytest.mark.parametrize(
    "words", [("app.py", ""), ("app.py", "bu"), ("app.py", "--", "bu"), ("nothing", ":", "")]
)
def test_arguments_of_the_target_are_its_own(write, offered, words):
    write("app.py")
    assert offered("run", *words) == []


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


@pytest.mark.parametrize(
    ("option", "answered"),
    [
        ("--select=tiny", ["--select=tiny-edge"]),
        ("--select=tiny-edge,coal", ["--select=tiny-edge,coalesce-function"]),
        ("--explain=", [f"--explain={id}" for id in rules()]),
        ("--select=nothing", []),
        ("--sel", ["--select"]),
        ("--list", ["--list"]),
    ],
)
def test_fish_is_told_the_option_with_each_value_since_it_replaces_the_whole_word(offered, option, answered):
    told = offered("lint", "--strict", option, shell="fish")
    assert [word for word in told if word.startswith("--")] == answered


def test_zsh_is_told_to_keep_what_stands_before_the_equals_sign(offered):
    keep = ["compset", "-P", "1", "'*=';", "_arguments", "'*:"]
    assert offered("lint", "--select=tiny", shell="zsh")[:6] == keep
    assert "compset" not in offered("lint", "--select", "tiny", shell="zsh")


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


# ---- real shells -----------------------------------------------------------------------------------------------------


def installed(name: str) -> str:
    """Return the path of a shell."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"there is no {name} here")
    return path


@pytest.fixture
def environment(folder):
    """The environment of a shell that has the command on its path, and of the settings of its user nothing."""
    command = folder / "bin" / "meridian"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m meridian "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
        "TERM": "dumb",
        "ZDOTDIR": str(folder),
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
    }


def script_for(shell: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "meridian"],
        env={**os.environ, "_MERIDIAN_COMPLETE": f"source_{shell}"},
        capture_output=True, text=True, timeout=PATIENCE_S, check=True,
    ).stdout  # fmt: skip


@pytest.fixture
def terminal(folder, environment):
    """Start an interactive shell at a terminal of its own, in the folder."""
    begun = []

    def start(*command: str) -> Terminal:
        ours, its = pty.openpty()
        process = subprocess.Popen(
            command, env=environment, stdin=its, stdout=its, stderr=its, start_new_session=True
        )
        begun.append((process, ours))
        os.close(its)
        started = Terminal(ours)
        started.wait_for("READY> ")
        return started

    yield start
    for process, ours in begun:
        process.kill()
        process.wait()
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


def test_a_real_bash_completes_commands_targets_and_rules(folder, write, terminal):
    write("app.py")
    write("rc.sh", script_for("bash") + "\nPS1='READY> '\nbind 'set bell-style none'\n")
    shell = terminal(installed("bash"), "--noprofile", "--rcfile", str(folder / "rc.sh"), "-i")
    shell.type("meridian li\tapp\t")
    shell.wait_for("meridian lint app.py")
    shell.type("\x15meridian lint app.py:bu\t--explain tiny\t")
    shell.wait_for("meridian lint app.py:build --explain tiny-edge")
    shell.type("\x15meridian lint app.py --select=tiny\t")
    shell.wait_for("meridian lint app.py --select=tiny-edge")
    shell.type("\x15meridian run app.py:\t")
    shell.wait_for("meridian run app.py:build")


def test_a_real_zsh_completes_targets_and_what_stands_behind_an_equals_sign(write, terminal):
    write("app.py")
    settings = "\nPS1='READY> '\nunsetopt beep list_beep zle_bracketed_paste\nbindkey -e\n"
    write(".zshrc", "autoload -Uz compinit\ncompinit -D -u\n" + script_for("zsh") + settings)
    shell = terminal(installed("zsh"), "--no-global-rcs", "-i")
    shell.type("meridian lint app.py:bu\t")
    shell.wait_for("meridian lint app.py:build ")
    shell.type("--select=tiny\t")
    shell.wait_for("--select=tiny-edge ")
    shell.type("\x15meridian lint --ignore=tiny-edge,lossy-d\t")
    shell.wait_for("--ignore=tiny-edge,lossy-durable ")


def test_a_real_fish_completes_targets_and_what_stands_behind_an_equals_sign(write, environment):
    write("app.py")
    write("script.fish", script_for("fish"))
    asked = ("lint app.py:bu", "lint --select=tiny", "lint --ignore=tiny-edge,lossy-d")
    ran = subprocess.run(
        [installed("fish"), "--no-config", "-c", "source script.fish; for line in $argv; complete -C$line; end"]
        + [f"meridian {line}" for line in asked],
        env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=True,
    )  # fmt: skip
    assert ran.stdout.split() == ["app.py:build", "--select=tiny-edge", "--ignore=tiny-edge,lossy-durable"]
