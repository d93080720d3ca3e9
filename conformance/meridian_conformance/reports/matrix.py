"""Several results side by side: rules down, backends across."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meridian_conformance import __version__, rules
from meridian_conformance.reports.console import painted
from meridian_conformance.reports.html import pill, style
from meridian_conformance.reports.markup import join, page, tag, text
from meridian_conformance.reports.words import MEANING, counts, sentence, suite_name, tamed, word
from meridian_conformance.verdicts import Result, RuleResult, Verdict

MATRIX_FORMAT = 1


def rows(results: Sequence[Result]) -> list[tuple[str, str, list[RuleResult | None]]]:
    """Return (rule, level, what each result found; ``None`` where it wasn't asked), in the order of the rules."""
    levels = {found.rule: found.level for result in results for found in result.rules}
    known = list(rules.load())
    order = sorted(levels, key=lambda each: (known.index(each) if each in known else len(known), each))
    found = [{each.rule: each for each in result.rules} for result in results]
    return [(id, levels[id], [each.get(id) for each in found]) for id in order]


def to_json(results: Sequence[Result]) -> dict[str, Any]:
    """Return the matrix for programs."""
    return {
        "format": MATRIX_FORMAT,
        "backends": [
            {
                "name": result.backend,
                "suite": result.suite,
                "profiles": result.profiles,
                "counts": counts(result),
                "exit_code": int(result.exit_code),
            }
            for result in results
        ],
        "rules": [
            {
                "rule": id,
                "level": level,
                "verdicts": [found.verdict.value if found else None for found in line],
            }
            for id, level, line in rows(results)
        ],
    }


def table(results: Sequence[Result], *, colour: bool = False) -> str:
    """Return the matrix for a terminal."""
    lines = [
        f"  [{n}] {tamed(result.backend)}: {suite_name(result)} {counts(result)}"
        for n, result in enumerate(results, 1)
    ]
    width = max(len(word(verdict)) for verdict in Verdict)
    lines += ["", "  " + " " * 18 + " ".join(f"{f'[{n}]':<{width}}" for n in range(1, len(results) + 1))]
    for id, level, line in rows(results):
        cells = (
            painted(f"{word(found.verdict):<{width}}", found.verdict, colour) if found else " " * width
            for found in line
        )
        lines.append(f"  {id:<11} {level:<6}" + " ".join(cells))
    return "\n".join(line.rstrip() for line in lines)


def html(results: Sequence[Result]) -> str:
    """Return the matrix as a page of its own."""
    heads = (
        tag(
            "th",
            text(result.backend),
            tag("div", text(suite_name(result)), class_="soft"),
            tag("div", text(counts(result))),
            scope="col",
        )
        for result in results
    )
    body = (
        tag(
            "tr",
            tag("td", tag("span", id, class_="id"), tag("div", text(sentence(id)), class_="soft")),
            tag("td", level),
            *(
                tag("td", pill(found.verdict) if found else tag("span", "not asked", class_="v-none"))
                for found in line
            ),
        )
        for id, level, line in rows(results)
    )
    there = {found.verdict for _, _, line in rows(results) for found in line if found}
    return page(
        "Meridian conformance",
        style(),
        tag("header", tag("p", "Meridian conformance", class_="over"), tag("h1", "Backends and rules")),
        tag(
            "main",
            tag(
                "div",
                tag(
                    "table",
                    tag("thead", tag("tr", tag("th", "rule"), tag("th", "level"), *heads)),
                    tag("tbody", *body),
                    class_="matrix",
                ),
                class_="wide",
            ),
            tag(
                "dl",
                *(
                    join(tag("dt", pill(verdict)), tag("dd", MEANING[verdict]))
                    for verdict in Verdict
                    if verdict in there
                ),
            ),
        ),
        tag("footer", f"Written by meridian-conform {__version__}."),
    )
