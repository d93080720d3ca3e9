"""``meridian lint``: smells in a graph, without running it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import NamedTuple, TextIO

from rich.text import Text

from meridian.cli.codes import Code, CommandError
from meridian.cli.several import Looked, look_at_each
from meridian.cli.streams import answer, write_json
from meridian.cli.tables import Column, console_for, print_table
from meridian.cli.target import current_folder, load
from meridian.cli.validate import STYLES, count
from meridian.core.errors import ConfigError
from meridian.core.places import recorded
from meridian.lint import LEVELS, Lint, Rule, Settings, find_rule, lint, read_settings, rules
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


def lint_targets(targets: Sequence[str], args: Sequence[str], wishes: Wishes) -> Code:
    """Lint targets; return the exit code."""
    return answer(
        targets[0] if len(targets) == 1 else None,
        wishes.as_json,
        lambda out: _lint(targets, args, wishes, out),
    )


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


def _lint(targets: Sequence[str], args: Sequence[str], wishes: Wishes, out: TextIO) -> Code:
    if not targets:
        raise CommandError("TARGET is missing: name a graph, or ask for --list or --explain RULE")
    if wishes.as_json and wishes.as_github:
        raise CommandError("--json and --github are two different answers: give one of them")
    settings = _settings(_split(wishes.select), _split(wishes.ignore))
    looked = look_at_each(targets, lambda target: _look(target, args, settings))
    lints = [(target, each) for target, found in looked.seen.items() for each in found]
    numbers: dict[str, int] = {level: sum(each.level == level for _, each in lints) for level in LEVELS}
    failing = numbers["error"] + (numbers["warning"] if wishes.strict else 0)
    if wishes.as_json:
        several = looked.only is None
        told = [{**({"target": target} if several else {}), **each.as_dict()} for target, each in lints]
        write_json(
            out,
            looked.only,
            {
                **(looked.as_dict() if several else {}),
                "clean": not failing and not looked.refused,
                **_plural(numbers),
                "lints": told,
            },
        )
    elif wishes.as_github:
        for _, each in lints:
            print(_annotation(each), file=out)
    else:
        _show(looked, lints, numbers)
    if looked.refused:
        return Code.USAGE
    return Code.FAILED if failing else Code.OK


def lints_of(target: str) -> tuple[Lint, ...]:
    """Load a target, and return what is found in it as the project wants it.

    Raises:
        CommandError: it can't be loaded, or what the project says about lints is wrong.
    """
    return _look(target, (), _settings((), ()))


def _settings(select: Sequence[str], ignore: Sequence[str]) -> Settings:
    """Return what the project says, and the command line; asked for before the target's code runs."""
    current_folder()
    try:
        return read_settings().narrowed(select or None, ignore)
    except (ConfigError, ValueError) as error:
        raise CommandError(str(error)) from None


def _look(target: str, args: Sequence[str], settings: Settings) -> tuple[Lint, ...]:
    configure(LogLevel.WARN, json=not sys.stderr.isatty())
    with recorded() as places, asyncio.Runner() as runner:
        scheduler = load(target, args, runner)
    return lint(scheduler, settings=settings, places=places)


def _split(given: Sequence[str]) -> list[str]:
    return [id.strip() for each in given for id in each.split(",") if id.strip()]


def _plural(numbers: dict[str, int]) -> dict[str, int]:
    return {f"{level}s": n for level, n in numbers.items()}


def _show(
    looked: Looked[tuple[Lint, ...]], lints: Sequence[tuple[str, Lint]], numbers: dict[str, int]
) -> None:
    """Print what was found, each with its place; where there are several targets, what has no place has its target."""
    console = console_for("stdout")
    several = looked.only is None
    for target, each in lints:
        at = (f"{target}: " if several else "") if each.file is None else f"{each.file}:{each.line}: "
        console.print(
            Text.assemble(at, (each.level, STYLES[each.level]), f" {each.rule}: {each.what}"),
            soft_wrap=True,
        )
        console.print(Text(f"    {each.fix}", style="dim"), soft_wrap=True)
    told = ", ".join(count(n, level) for level, n in numbers.items() if n)
    said = (told or "clean") + (f" in {count(len(looked.seen), 'target')}" if several else "")
    if looked.refused:
        said += f", {len(looked.refused):,} not loaded"
    console.print(Text(said, style="bold" if told or looked.refused else "bold green"))
    if lints:
        console.print(Text(f"why: meridian lint --explain {lints[0][1].rule}", style="dim"))


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
