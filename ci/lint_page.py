"""Writes docs/reference/lint.md: every lint rule, from meridian/lint/rules.toml.

python ci/lint_page.py            write the page
python ci/lint_page.py --check    exit code 1 if the page is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

from ci.generated_page import write_or_check
from meridian.lint import LEVELS, Rule, rules

ROOT = Path(__file__).resolve().parent.parent
PAGE = Path("docs/reference/lint.md")

HEAD = """\
# Lint rules

<!-- req: N1.3 -->

What [`meridian lint`](cli.md#meridian-lint) looks for: {n} rules. `meridian lint --explain RULE` tells the same at a terminal.
[Lint a graph](../how-to/lint.md) shows how to use it, and how to suppress a finding.

An **error** is surely wrong. A **warning** is right most of the time. A **note** is worth knowing and never fails anything.
This page is generated from the rules (`make fmt` writes it, a test holds it up to date); both examples of each rule are executed
by the tests.

| rule | level | what it finds |
| --- | --- | --- |
"""

CALL = """
## From Python

::: meridian.lint.lint

::: meridian.lint.Lint

::: meridian.lint.Rule

::: meridian.lint.Settings

::: meridian.lint.read_settings

::: meridian.testing.assert_lint_clean
"""


def entry(rule: Rule) -> str:
    """Return the section of a rule."""
    # The examples are text: what they define isn't run by the test of this page, but by that of the rules.
    return (
        f"\n## {rule.id}\n\n{rule.sentence}\n\n**{rule.level}** · *Why.* {rule.reason}\n\n*Fix.* {rule.fix}\n"
        f'\n```text title="found"\n{rule.bad.strip()}\n```\n\n```text title="not found"\n{rule.good.strip()}\n```\n'
    )


def page() -> str:
    """Return the text of the page."""
    ordered = sorted(rules().values(), key=lambda rule: LEVELS.index(rule.level))
    rows = "".join(f"| [{rule.id}](#{rule.id}) | {rule.level} | {rule.sentence} |\n" for rule in ordered)
    return HEAD.format(n=len(ordered)) + rows + CALL + "".join(map(entry, rules().values()))


if __name__ == "__main__":
    sys.exit(write_or_check(sys.argv[1:], __doc__, ROOT, PAGE, page))
