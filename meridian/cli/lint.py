"""``meridian lint``: smells in a graph, without running it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import NamedTuple, TextIO

from rich.text import Text

from meridian.cli.codes import Code, CommandError
from meridian.cli.streams import answer, write_json
from meridian.cli.tables import Column, console_for, print_table
from meridian.cli.target import load
from meridian.cli.validate import STYLES, count
from meridian.core.errors import ConfigError
from meridian.core.places import recorded
from meridian.lint import LEVELS, Lint, Rule, find_rule, lint, read_settings, rules
from meridian.observability.logging import LogLevel, configure


class Wishes(NamedTuple):
    """The options of the command.

    Attributes:
        select: Rules to look with, with commas between; all that the project selects by default.
        ignore: Rules to leave out.
        strict: Warnings fail, too.
        as_json: One JSON object.
        as_github: Annotations for GitHub's workflows.
    """

    select: Sequence[str] = ()
    ignore: Sequence[str] = ()
    strict: bool = False
    as_json: bool = False
    as_github: bool = False


def lint_target(target: str | None, args: Sequence[str], wishes: Wishes) -> Code:
    """Lint a target; return the exit code."""
    return answer(target, wishes.as_json, lambda out: _lint(target, args, wishes, out))


def list_rules(*, as_json: bool) -> Code:
    """Show all rules; return the exit code."""

    def body(out: TextIO) -> Code:
        if as_json:
            write_json(out, None, {"rules": [_as_dict(rule) for rule in rules().values()]})
            return Code.OK
        all_rules = list(rules().values())
        columns = [
            Column("Rule", [rule.id for rule in all_rules]),
            Column("Level", [rule.level for rule in all_rules]),
            Column("What it finds", [rule.sentence for rule in all_rules]),
        ]
        print_table(console_for("stdout"), columns)
        return Code.OK

    return answer(None, as_json, body)


def explain(id: str, *, as_json: bool) -> Code:
    """Show one rule with its examples; return the exit code."""

    def body(out: TextIO) -> Code:
        try:
            rule = find_rule(id)
        except ValueError as error:
            raise CommandError(str(error)) from None
        if as_json:
            write_json(out, None, _as_dict(rule))
            return Code.OK
        console = console_for("stdout")
        console.print(Text.assemble((rule.id, "bold"), f" ({rule.level})"))
        for text in (rule.sentence, f"Why: {rule.reason}", f"Fix: {rule.fix}"):
            console.print(Text(text), soft_wrap=True)
        for title, example in (("Found in", rule.bad), ("Not in", rule.good)):
            console.print(Text(f"\n{title}", style="bold"))
            console.print(Text(example.strip("\n")), soft_wrap=True)
        return Code.OK

    return answer(None, as_json, body)


def _as_dict(rule: Rule) -> dict[str, str]:
    return {name: getattr(rule, name) for name in ("id", "level", "sentence", "reason", "fix", "bad", "good")}


def _lint(target: str | None, args: Sequence[str], wishes: Wishes, out: TextIO) -> Code:
    if target is None:
        raise CommandError("TARGET is missing: name a graph, or ask for --list or --explain RULE")
    if wishes.as_json and wishes.as_github:
        raise CommandError("--json and --github are two different answers: give one of them")
    found = lints_of(target, args, _split(wishes.select), _split(wishes.ignore))
    numbers: dict[str, int] = {level: sum(each.level == level for each in found) for level in LEVELS}
    failing = numbers["error"] + (numbers["warning"] if wishes.strict else 0)
    if wishes.as_json:
        write_json(
            out,
            target,
            {"clean": not failing, **_plural(numbers), "lints": [each.as_dict() for each in found]},
        )
    elif wishes.as_github:
        for each in found:
            print(_annotation(each), file=out)
    else:
        _show(found, numbers)
    return Code.FAILED if failing else Code.OK


def lints_of(
    target: str, args: Sequence[str] = (), select: Sequence[str] = (), ignore: Sequence[str] = ()
) -> tuple[Lint, ...]:
    """Load a target, and return what is found in it.

    Raises:
        CommandError: it can't be loaded, or what the project says about lints is wrong.
    """
    configure(LogLevel.WARN, json=not sys.stderr.isatty())
    try:
        settings = read_settings().narrowed(select or None, ignore)  # before the target's code runs
        with recorded() as places, asyncio.Runner() as runner:
            scheduler = load(target, args, runner)
        return lint(scheduler, settings=settings, places=places)
    except (ConfigError, ValueError) as error:
        raise CommandError(str(error)) from None


def _split(given: Sequence[str]) -> list[str]:
    return [id.strip() for each in given for id in each.split(",") if id.strip()]


def _plural(numbers: dict[str, int]) -> dict[str, int]:
    return {f"{level}s": n for level, n in numbers.items()}


def _show(found: Sequence[Lint], numbers: dict[str, int]) -> None:
    console = console_for("stdout")
    for each in found:
        place = "" if each.file is None else f"{each.file}:{each.line}: "
        console.print(
            Text.assemble(place, (each.level, STYLES[each.level]), f" {each.rule}: {each.what}"),
            soft_wrap=True,
        )
        console.print(Text(f"    {each.fix}", style="dim"), soft_wrap=True)
    told = ", ".join(count(n, level) for level, n in numbers.items() if n)
    console.print(Text(told or "clean", style="bold" if told else "bold green"))
    if found:
        console.print(Text(f"why: meridian lint --explain {found[0].rule}", style="dim"))


_GITHUB = {"error": "error", "warning": "warning", "note": "notice"}


def _annotation(each: Lint) -> str:
    """Return a finding as a command of GitHub's workflows, which shows it beside the line."""
    place = "" if each.file is None else f"file={_property(each.file)},line={each.line},"
    text = f"{each.what}. {each.fix}".replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::{_GITHUB[each.level]} {place}title={_property(each.rule)}::{text}"


def _property(text: str) -> str:
    for sign, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C")):
        text = text.replace(sign, code)
    return text
