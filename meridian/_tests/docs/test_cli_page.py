"""The pages about the command line show what the commands really print."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from meridian.cli.codes import Code

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
HOW_TO = {
    page: (ROOT / "docs" / "how-to" / f"{page}.md").read_text(encoding="utf-8")
    for page in ("lint", "scaffold", "send-a-bundle")
}
FILE = re.compile(r'^```(?:python|text) title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[tuple[str, str]]:
    """The commands of a page, each with what it prints."""
    return [
        (first.partition("\n")[0], first.partition("\n")[2])
        for session in re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        for first in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]
    ]


COMMANDS = commands(PAGE)

UNSET = ("NO_COLOR", "FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "COLUMNS")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in UNSET}
ENVIRONMENT["MERIDIAN_ENGINE"] = "python"  # the page shows what everybody has


def matches(shown: str, printed: str) -> bool:
    """Compare line by line; `...` stands for anything within a line, as do the spaces before a number that varies."""
    lines = [re.escape(line).replace(r"\.\.\.", ".*").replace(r"\ .*", " *.*") for line in shown.splitlines()]
    return re.fullmatch("\n".join(lines), printed.rstrip("\n")) is not None


@pytest.mark.req("N1.4", "X6")
@pytest.mark.parametrize(("command", "shown"), COMMANDS, ids=[command for command, _ in COMMANDS])
def test_a_command_prints_what_the_page_shows(tmp_path, command, shown):
    write_files(tmp_path, PAGE)
    check(tmp_path, command, shown)


@pytest.mark.req("N1.3", "N1.4")
@pytest.mark.parametrize("page", HOW_TO)
def test_the_commands_of_a_page_print_what_it_shows_one_after_the_other(tmp_path, page):
    write_files(tmp_path, HOW_TO[page])
    for command, shown in commands(HOW_TO[page]):
        check(tmp_path, command, shown)


def write_files(folder: Path, page: str) -> None:
    """Write the files that a page shows."""
    for name, text in FILE.findall(page):
        (folder / name).write_text(text, encoding="utf-8")


PROGRAMS = {"meridian": [sys.executable, "-m", "meridian"], "python": [sys.executable, "-W", "error"]}


def check(folder: Path, command: str, shown: str) -> None:
    """Run a command, and compare exit code and output with what is shown; a lone `...` stands for anything."""
    program, *args = shlex.split(command)
    ran = subprocess.run(
        [*PROGRAMS[program], *args],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    code = re.search(r"^\[exit code (\d+)\]\n", shown, re.MULTILINE)
    shown = re.sub(r"^\[exit code \d+\]\n", "", shown, flags=re.MULTILINE)
    assert ran.returncode == (int(code[1]) if code else 0), ran.stderr
    if shown == "...\n":
        return
    printed = ran.stdout + ran.stderr
    if args == ["info"]:  # the page shows where it begins
        printed = "".join(printed.splitlines(keepends=True)[: len(shown.splitlines())])
    assert matches(shown, printed), f"it prints\n{printed}\nand the page says\n{shown}"


def test_the_page_lists_the_exit_codes_there_are():
    table = PAGE.partition("## Exit codes")[2].partition("## ")[0]
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == sorted(Code)


@pytest.mark.parametrize(
    ("section", "commands"),
    [
        ("run", [["run"]]),
        ("profile", [["profile"]]),
        ("lint", [["lint"]]),
        ("diagnostics", [["diagnostics", "collect"], ["diagnostics", "inspect"], ["diagnostics", "verify"]]),
        ("scaffold", [["scaffold", "node"], ["scaffold", "subgraph"]]),
    ],
)
def test_the_page_lists_every_option_in_a_table(section, commands):
    text = PAGE.partition(f"## meridian {section}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`--[^|]+)\|", text, re.MULTILINE)
    told = {option for cell in cells for option in re.findall(r"`(--[a-z-]+)", cell)}
    there: set[str] = set()
    for command in commands:
        ran = subprocess.run(
            [sys.executable, "-m", "meridian", *command, "--help"],
            env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=True,
        )  # fmt: skip
        there.update(re.findall(r"^\W*(--[a-z-]+)", ran.stdout, re.MULTILINE))
    assert {*told, "--help"} == there
