"""Writes docs/reference/conformance-rules.md: every rule of the conformance kit, from its rules.toml.

    python ci/rules_page.py            write the page
    python ci/rules_page.py --check    exit code 1 if the page is out of date

Nothing is entered by hand. The file is read as data; the kit isn't imported.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

from ci.generated_page import write_or_check

ROOT = Path(__file__).resolve().parent.parent
PAGE = Path("docs/reference/conformance-rules.md")
SOURCE = Path("conformance/meridian_conformance/rules.toml")

HEAD = """\
# Rules

<!-- req: X5 -->

What `meridian-conform` checks, suite {suite}: {musts} MUST, {shoulds} SHOULD. `meridian-conform explain EDGE-101` tells the same
at a terminal. [How a report is read](../how-to/read-a-conformance-report.md) explains the verdicts, [how rules are
versioned](../explanation/conformance-rules.md) what may change from suite to suite.

A rule counts as kept only if the situations that could break it really occurred, so often as its entry says; otherwise its
verdict is *vacuous*. The faults are in the kit: `meridian-conform selftest` shows that each of them is caught by its rule.
This page is generated from `rules.toml` (`make fmt` writes it, a test holds it up to date).

| id | level | profile | needs | rule |
| --- | --- | --- | --- | --- |
"""

TARGETS = {
    "edge": "Edges",
    "ready": "Ready queues",
    "engine": "Engines",
    "node": "Nodes",
    "bridge": "Bridges",
}


def names(values: list[str]) -> str:
    """Return names as code, separated by commas."""
    return ", ".join(f"`{value}`" for value in values)


def numbers(version: str) -> list[int]:
    """Return a version as numbers that can be compared."""
    return list(map(int, version.split(".")))


def level(rule: dict[str, Any], suite: str) -> str:
    """Return the level of a rule in a suite: a MUST that doesn't bind yet is a SHOULD."""
    later = numbers(rule.get("binds", "0")) > numbers(suite)
    return "SHOULD" if later else rule["level"]


def row(rule: dict[str, Any], suite: str) -> str:
    """Return the line of a rule in the table."""
    link = f"[{rule['id']}](#{rule['id'].lower()})"
    sentence = rule["sentence"].replace("|", "\\|")
    return f"| {link} | {level(rule, suite)} | {rule['profile']} | {names(rule['needs'])} | {sentence} |\n"


def entry(rule: dict[str, Any], suite: str) -> str:
    """Return the section of a rule."""
    facts = [f"**{level(rule, suite)}**", rule["kind"], f"profile `{rule['profile']}`"]
    facts += [f"needs {names(rule['needs'])}"] if rule["needs"] else []
    facts += [f"since {rule['since']}"]
    if rule.get("binds"):
        will = "binds" if level(rule, suite) == rule["level"] else "will bind"
        facts += [f"{will} from {rule['binds']}"]
    facts += [f"for {', '.join(rule['requirements'])}"]
    text = f"### {rule['id']}\n\n{rule['sentence']}\n\n{' · '.join(facts)}\n\n*Why.* {rule['intent']}\n"
    if rule["causes"]:
        text += "\n*What breaks it most often*\n\n" + "".join(f"- {cause}\n" for cause in rule["causes"])
    if rule.get("reason"):
        text += f"\n*Not judged:* {rule['reason']}.\n"
    if rule["situations"]:
        often = ", ".join(f"{name} ({count})" for name, count in rule["situations"].items())
        text += f"\n*Has to occur:* {often}.\n"
    if rule["tests"]:
        text += f"\n*Judged by* {names(rule['tests'])}; *proven by the faults* {names(rule['faults'])}.\n"
    return text


def page(root: Path = ROOT) -> str:
    """Return the text of the page."""
    data = tomllib.loads((root / SOURCE).read_text(encoding="utf-8"))
    rules: list[dict[str, Any]] = data["rule"]
    suite = data["suite"]
    levels = [level(rule, suite) for rule in rules]
    text = HEAD.format(suite=suite, musts=levels.count("MUST"), shoulds=levels.count("SHOULD"))
    text += "".join(row(rule, suite) for rule in rules)
    for target, title in TARGETS.items():
        of_target = [rule for rule in rules if rule["target"] == target]
        if of_target:
            text += f"\n## {title}\n\n" + "\n".join(entry(rule, suite) for rule in of_target)
    return text


def main(argv: list[str]) -> int:
    """Write or check the page; return the exit code."""
    return write_or_check(argv, __doc__, ROOT, PAGE, page)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
