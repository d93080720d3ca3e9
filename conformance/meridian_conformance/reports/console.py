"""The summary for people at a terminal, and the same as Markdown for a page or a comment."""

from __future__ import annotations

import os
import textwrap
from typing import TYPE_CHECKING, Final, TextIO

from meridian_conformance.reports.junit import story
from meridian_conformance.reports.words import (
    MEANING,
    ORDER,
    counts,
    exercised,
    headline,
    level,
    sentence,
    suite_name,
    tamed,
    word,
)
from meridian_conformance.verdicts import Result, RuleResult, Verdict

if TYPE_CHECKING:
    from pathlib import Path

_COLOURS: Final = {
    Verdict.PASS: "32",
    Verdict.FAIL: "31;1",
    Verdict.ERROR: "35",
    Verdict.VACUOUS: "33",
    Verdict.INCONCLUSIVE: "33",
    Verdict.WAIVED: "33",
    Verdict.NOT_APPLICABLE: "2",
    Verdict.UNTESTABLE: "2",
}


def wants_colour(stream: TextIO) -> bool:
    """Say whether to colour what goes to ``stream``: only on a terminal, and never against ``NO_COLOR``."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(said: str, verdict: Verdict, colour: bool) -> str:
    """Return text in the colour of a verdict."""
    return f"\x1b[{_COLOURS[verdict]}m{said}\x1b[0m" if colour else said


def table(result: Result, *, colour: bool = False, width: int = 100, folder: Path | None = None) -> str:
    """Return the result as a table with what is to be done about it.

    Args:
        result: What was found.
        colour: Whether verdicts are coloured; see `wants_colour`.
        width: Longest line, in characters; histories of failures aren't wrapped.
        folder: Where the reports were written, if they were.
    """
    lines = [_title(result), ""]
    lines += [_row(found, colour, width) for found in result.rules]
    kept = None if folder is None else str(folder)
    broken = [found for found in result.rules if found.verdict in (Verdict.FAIL, Verdict.ERROR)]
    for found in broken:
        lines += ["", painted(f"{found.rule} {word(found.verdict)}", found.verdict, colour)]
        lines += textwrap.indent(story(result, found, kept), "  ").splitlines()
    for found in result.rules:
        if found.verdict in (Verdict.VACUOUS, Verdict.INCONCLUSIVE):
            lines += ["", painted(f"{found.rule} {word(found.verdict)}", found.verdict, colour)]
            lines += textwrap.indent(story(result, found, kept), "  ").splitlines()
    if kept is None and any(found.failures for found in result.rules):
        lines += ["", "Name a folder for the reports, and the histories are kept there to be replayed."]
    return "\n".join([*lines, "", *_closing(result)])


def brief(result: Result) -> str:
    """Return the result in a few lines, for where each rule has been told already."""
    return "\n".join([_title(result), *_closing(result)])


def _title(result: Result) -> str:
    return f"{suite_name(result)}: {tamed(result.backend)}"


def _closing(result: Result) -> list[str]:
    lines = [
        f"{found.rule} waived: {waiver(found)}" for found in result.rules if found.verdict is Verdict.WAIVED
    ]
    lines += [f"{found.rule} doesn't bind yet: {level(found)}" for found in result.rules if found.binds]
    if result.could_claim:
        lines.append(f"you could claim: {tamed(', '.join(result.could_claim))}")
    lines += [f"note: {tamed(note)}" for note in result.notes]
    return [*lines, f"{counts(result)}. {headline(result)}"]


def _row(found: RuleResult, colour: bool, width: int) -> str:
    verdict = painted(f"{word(found.verdict):<14}", found.verdict, colour)
    about = (
        tamed(found.reason) if found.reason and found.verdict is not Verdict.PASS else sentence(found.rule)
    )
    front = f"  {found.rule:<11} {found.level:<6} "
    room = max(width - len(front) - 14 - 13, 20)
    return (
        f"{front}{verdict} {exercised(found):>11} {textwrap.shorten(about, room, placeholder='…')}".rstrip()
    )


def waiver(found: RuleResult) -> str:
    """Return the waiver of a rule as one line."""
    told = found.waiver or {}
    line = told.get("reason", "")
    for name in ("issue", "expires"):
        line += f" ({name}: {told[name]})" if told.get(name) else ""
    return tamed(line)


def markdown(result: Result) -> str:
    """Return the result as Markdown."""
    lines = [
        f"## {_cell(suite_name(result))}: {_cell(result.backend)}",
        "",
        f"**{_cell(counts(result))}.** {headline(result)}",
        "",
        "| rule | level | verdict | exercised | what it asks |",
        "| --- | --- | --- | ---: | --- |",
    ]
    lines += [
        f"| {found.rule} | {level(found)} | {_emphasised(found.verdict)} | {exercised(found)} "
        f"| {_cell(sentence(found.rule))} |"
        for found in result.rules
    ]
    there = {found.verdict for found in result.rules}
    lines += ["", *(f"- *{word(verdict)}*: {MEANING[verdict]}" for verdict in ORDER if verdict in there)]
    for found in result.rules:
        if found.waiver:
            lines.append(f"- {found.rule} is waived: {_cell(waiver(found))}")
    if result.could_claim:
        lines.append(f"- could be claimed: {_cell(', '.join(result.could_claim))}")
    lines += [f"- {_cell(note)}" for note in result.notes]
    for found in result.rules:
        if found.verdict is Verdict.FAIL:
            # Four spaces make a block that no text can end.
            lines += [
                "",
                f"### {found.rule} was broken",
                "",
                textwrap.indent(story(result, found), "    "),
            ]
    return "\n".join(lines) + "\n"


def _emphasised(verdict: Verdict) -> str:
    wants_attention = verdict in (Verdict.FAIL, Verdict.ERROR, Verdict.VACUOUS, Verdict.INCONCLUSIVE)
    return f"**{word(verdict)}**" if wants_attention else word(verdict)


def _cell(said: str) -> str:
    """Return text that stays in its cell and stays text."""
    told = tamed(said)
    for character in "\\`*_{}[]<>|#":
        told = told.replace(character, f"\\{character}" if character not in "<>" else f"&#{ord(character)};")
    return told
