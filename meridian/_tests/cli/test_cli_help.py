"""Help: every command has an example that can be typed, and fits a terminal of 80 columns."""

import re
import shlex

import pytest
import typer

from meridian.cli.app import app

pytestmark = pytest.mark.req("N1.4")


def commands(command, *names):
    """Every command there is, by the names that lead to it."""
    yield names, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, *names, name)


ALL = dict(commands(typer.main.get_command(app)))
LEAVES = [names for names, command in ALL.items() if not hasattr(command, "commands")]


@pytest.mark.parametrize("names", ALL, ids=" ".join)
def test_help_fits_80_columns_and_cuts_nothing_off(meridian, monkeypatch, names):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    text = meridian(*names, "--help").stdout
    assert [line for line in text.splitlines() if len(line) > 80 or "…" in line] == []


@pytest.mark.parametrize("names", LEAVES, ids=" ".join)
def test_the_examples_of_a_command_have_options_that_exist(names):
    examples = re.findall(r"\[bold\](meridian .+?)\[/\]", ALL[names].help.partition("Example:")[2], re.DOTALL)
    assert examples, f"the help of meridian {' '.join(names)} has no example"
    for example in examples:
        words = shlex.split(example)[1:]
        words = words[: words.index(">")] if ">" in words else words
        assert tuple(words[: len(names)]) == names
        there = {option for parameter in ALL[names].params for option in parameter.opts}
        assert {word for word in words if word.startswith("-") and word != "--"} <= there


def test_help_of_a_command_is_shown_by_a_command_too(meridian):
    def words(text: str) -> list[str]:
        return text.split()

    assert words(meridian("help").stdout) == words(meridian("--help").stdout)
    assert words(meridian("help", "scaffold", "node").stdout) == words(
        meridian("scaffold", "node", "--help").stdout
    )


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["lnt"], "'meridian' has no command 'lnt': did you mean 'lint'?"),
        (["scaffold", "graph"], "'meridian scaffold' has no command 'graph'"),
        (["lint", "rules"], "'meridian lint' has no commands below it, so there is no 'rules'"),
    ],
)
def test_a_command_that_is_not_there_exits_2_and_names_the_nearest(meridian, names, said):
    ran = meridian("help", *names)
    assert ran.exit_code == 2
    assert said in ran.stderr
