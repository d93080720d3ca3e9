"""The pages for graphs in trouble are followed as a reader does: their programs run, and their commands print what they show."""

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

PAGES = Path(__file__).resolve().parents[3] / "docs" / "how-to"
SECONDS = 60.0

pytestmark = pytest.mark.req("N1.3", "N6")

UNSET = ("NO_COLOR", "FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "COLUMNS")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in UNSET}


def files(page: str) -> list[tuple[str, str]]:
    return re.findall(r'^```python title="([^"]+)"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)


def sessions(page: str) -> list[list[tuple[str, str]]]:
    """The consoles of a page; each has commands, and what they print."""
    return [
        [(each.partition("\n")[0], each.partition("\n")[2]) for each in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]]
        for text in re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    ]  # fmt: skip


def matches(shown: str, printed: str) -> bool:
    """Say whether it is printed as shown: `...` stands for anything within a line, alone for any lines."""
    parts = []
    for line in shown.splitlines():
        if line == "...":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(re.sub(r"(?:\\ )*\\\.\\\.\\\.(?:\\ )*", ".*", re.escape(line)) + r"[ ]*\n")
    return re.fullmatch("".join(parts), printed) is not None


def ask(command: str, shown: str, folder: Path, environment: dict[str, str]) -> None:
    """Run a command until it prints what is shown: a process needs a moment until its trouble shows."""
    until_s = time.monotonic() + SECONDS
    while True:
        ran = subprocess.run(
            [sys.executable, "-m", *shlex.split(command)],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        printed = ran.stderr + ran.stdout
        if ran.returncode == 0 and matches(shown, printed):
            return
        assert time.monotonic() < until_s, f"{command} prints\n{printed}\nand the page says\n{shown}"


@pytest.mark.parametrize("name", ["why-is-my-graph-slow", "why-were-messages-lost"])
def test_the_commands_of_the_page_print_what_it_shows(name, tmp_path):
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    environment = {**ENVIRONMENT, "XDG_RUNTIME_DIR": str(tmp_path)}
    for file, text in files(page):
        (tmp_path / file).write_text(text, encoding="utf-8")
    running: subprocess.Popen[bytes] | None = None
    try:
        for session in sessions(page):
            for command, shown in session:
                if command.endswith(" &"):
                    stop(running)  # the reader's terminal before
                    args = shlex.split(command.removesuffix(" &"))
                    running = subprocess.Popen([sys.executable, "-m", *args], cwd=tmp_path, env=environment)
                else:
                    ask(command, shown, tmp_path, environment)
    finally:
        stop(running)


def stop(process: "subprocess.Popen[bytes] | None") -> None:
    if process is not None:
        process.kill()
        process.wait()


def test_dots_stand_for_a_part_of_a_line_or_alone_for_lines():
    assert matches("a ... c\n...\nz\n", "a b c\nx\ny\nz\n")
    assert matches("a\n...\n", "a\n")
    assert not matches("a\n", "a\nb\n")
    assert not matches("a ... c\n", "a b\nc\n")
