"""The inspector in a real terminal: tmux is one, and says what is on its screen."""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

pytest.importorskip("textual", reason="the extra tui isn't installed")

TMUX = shutil.which("tmux")
pytestmark = [
    pytest.mark.req("N6"),
    pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="this system has no unix sockets"),
    pytest.mark.skipif(TMUX is None and not os.environ.get("CI"), reason="tmux is not installed; CI has it"),
]
SECONDS = 60  # until a test that hangs fails; nothing waits for it otherwise

APP = """
import asyncio
from itertools import count
from meridian import graph, node, sink, source, via

@node
def parse(n: int) -> int:
    if n == 3:
        raise ValueError("canary-payload-3")
    return n

async def never(row):
    print("full", flush=True)
    await asyncio.Event().wait()

def build():
    return graph("slow", source(count(), name="numbers") >> parse >> via(capacity=8) >> sink(never, name="never"))
"""


class Terminal:
    """A terminal of 80 by 24 with a shell's command in it."""

    def __init__(self, folder, command: str, **env: str) -> None:
        self._socket = str(folder / "tmux")
        words = [f"{name}={shlex.quote(value)}" for name, value in env.items()]
        self._tmux(
            "-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "-s", "top",
            " ".join([*words, "sh", "-c", shlex.quote(command)]),
        )  # fmt: skip

    def _tmux(self, *words: str) -> str:
        # Given by hand: readline, which pytest imports, adds LINES and COLUMNS behind Python's back.
        done = subprocess.run(
            [TMUX, "-S", self._socket, *words],
            env=dict(os.environ), capture_output=True, text=True, check=True, timeout=SECONDS,
        )  # fmt: skip
        return done.stdout

    def press(self, *keys: str) -> None:
        self._tmux("send-keys", "-t", "top", *keys)

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p", "-t", "top")

    def says(self, what: str) -> str:
        return self._tmux("display-message", "-p", "-t", "top", what).strip()

    def resize(self, width: int, height: int) -> None:
        self._tmux("resize-window", "-t", "top", "-x", str(width), "-y", str(height))

    def wait_for(self, *texts: str) -> str:
        """Return the screen once all of the texts are on it."""
        until_s = time.monotonic() + SECONDS
        while time.monotonic() < until_s:
            shown = self.screen()
            if all(text in shown for text in texts):
                return shown
            time.sleep(0.05)
        raise AssertionError(f"{texts} didn't come:\n{self.screen()}")

    def close(self) -> None:
        subprocess.run([TMUX, "-S", self._socket, "kill-server"], check=False, capture_output=True)


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="top") as name:  # short: a socket's path has 108 bytes
        yield Path(name)


def test_a_running_graph_is_watched_and_the_terminal_is_given_back(folder):
    (folder / "app.py").write_text(APP, encoding="utf-8")
    env = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
    command = [sys.executable, "-m", "meridian", "run", "--inspect", "--quiet", "app.py"]
    terminal = None
    with subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "full\n"
            top = f"{shlex.quote(sys.executable)} -m meridian top --pid {process.pid} --interval 0.25"
            terminal = Terminal(
                folder, f"echo before; {top}; echo after $?; cat", XDG_RUNTIME_DIR=str(folder)
            )
            shown = terminal.wait_for("numbers", "parse", "never", "blocked")
            assert f"pid {process.pid}" in shown
            assert terminal.says("#{alternate_on}") == "1"

            terminal.press("2")
            terminal.wait_for("Waits for", "parse", "by Spent")
            terminal.press("Enter")
            terminal.wait_for("NODE ", "since start")
            terminal.press("Escape")
            terminal.wait_for("Waits for")
            terminal.press("4")
            terminal.wait_for("node.error", "ValueError")
            assert "canary" not in terminal.screen()
            terminal.press("3")
            terminal.wait_for("by Fill")
            terminal.resize(120, 40)
            terminal.wait_for("parse:output->never:input", "8/8")
            terminal.press("?")
            terminal.wait_for("unfold all subgraphs")
            terminal.press("x")

            process.send_signal(signal.SIGSTOP)
            terminal.wait_for("NO ANSWER", "it is stopped")
            process.send_signal(signal.SIGCONT)
            terminal.wait_for("by Fill")
            process.kill()
            terminal.wait_for("PROCESS GONE", "parse:output->never:input")

            # tmux gives back what stood there before only where the size is the one before, too.
            terminal.resize(80, 24)
            terminal.wait_for("numbers:out…")
            terminal.press("q")
            shown = terminal.wait_for("before", "after 0")
            assert "parse" not in shown
            flags = "#{alternate_on} #{cursor_flag} #{mouse_any_flag} #{keypad_flag}"
            assert terminal.says(flags) == "0 1 0 0"
        finally:
            process.kill()
            if terminal is not None:
                terminal.close()
